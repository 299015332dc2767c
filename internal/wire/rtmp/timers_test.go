package rtmp

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
)

// inBubble runs f as the client of a server whose clock is the bubble's. What the
// server sends is kept.
func inBubble(t *testing.T, f func(nc net.Conn)) (st *station, said []byte, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st = newStation()
		st.admit = anyone
		srv := offline(t)
		client, served := net.Pipe()
		var running sync.WaitGroup
		start := time.Now()
		running.Go(func() {
			srv.serve(context.Background(), served, nil, st)
			took = time.Since(start)
			served.Close()
		})
		running.Go(func() { said, _ = io.ReadAll(client) })
		f(client)
		running.Wait()
		client.Close()
	})
	return st, said, took
}

func TestR6HandshakeDeadlineIsNotRenewedByBytes(t *testing.T) {
	_, _, took := inBubble(t, func(nc net.Conn) {
		for _, b := range simpleHandshake() {
			if _, err := nc.Write([]byte{b}); err != nil {
				return
			}
			<-time.After(time.Second)
		}
	})
	if took != DefaultConfig().HandshakeTimeout {
		t.Errorf("a byte a second was read for %v", took)
	}
}

func TestPublishDeadlineIsNotRenewedByCommands(t *testing.T) {
	_, _, took := inBubble(t, func(nc net.Conn) {
		if _, err := nc.Write(connected(t).bytes()); err != nil {
			t.Error(err)
		}
		for {
			if _, err := nc.Write(newScript(t).command(0, "_checkbw", 0.0, nil).bytes()[len(simpleHandshake()):]); err != nil {
				return
			}
			<-time.After(time.Second)
		}
	})
	if want := DefaultConfig().PublishTimeout; took < want || took > want+2*lingerTime {
		t.Errorf("a client that does not publish was kept for %v", took)
	}
}

func TestIdlePublisherIsClosedAndToldSo(t *testing.T) {
	st, said, took := inBubble(t, func(nc net.Conn) {
		if _, err := nc.Write(publishing(t, goodKey).bytes()); err != nil {
			t.Error(err)
		}
		for {
			// What is no media does not keep the connection.
			s := newScript(t).message(csidControl, typeAck, 0, 0, []byte{0, 0, 0, 1})
			if _, err := nc.Write(s.bytes()[len(simpleHandshake()):]); err != nil {
				return
			}
			<-time.After(time.Second)
		}
	})
	if want := DefaultConfig().IdleTimeout; took < want || took > want+2*lingerTime {
		t.Errorf("an idle encoder was kept for %v", took)
	}
	if !fault.Is(st.ended, fault.Timeout) || !contains(said, "nothing came in time") {
		t.Errorf("ended with %v", st.ended)
	}
}

func TestQuietEncoderIsPinged(t *testing.T) {
	st, said, _ := inBubble(t, func(nc net.Conn) {
		if _, err := nc.Write(publishing(t, goodKey).bytes()); err != nil {
			t.Error(err)
		}
		<-time.After(pingAfter + time.Second)
		end := newScript(t).command(1, "deleteStream", 0.0, nil, 1.0)
		if _, err := nc.Write(end.bytes()[len(simpleHandshake()):]); err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(st.ended, io.EOF) {
		t.Errorf("ended with %v", st.ended)
	}
	// Basic header, stamp 0, 6 bytes of type 4 on stream 0, event 6.
	if !contains(said, "\x02\x00\x00\x00\x00\x00\x06\x04\x00\x00\x00\x00\x00\x06") {
		t.Error("no ping was sent")
	}
}
