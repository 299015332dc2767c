//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// island is a network of its own, from which nothing of this machine can be reached but
// TCP ports that are let through. It is gone with the last process in it: there is nothing
// to be left behind.
type island struct {
	t    *testing.T
	work chan func() // what is done there
}

// newIsland makes one, and skips the test where that is not allowed.
func newIsland(t *testing.T) *island {
	t.Helper()
	i := &island{t: t, work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function, and nobody else gets it
		err := unix.Unshare(unix.CLONE_NEWNET)
		made <- err
		for do := range i.work {
			do()
		}
	}()
	t.Cleanup(func() { close(i.work) })
	if err := <-made; errors.Is(err, unix.EPERM) {
		t.Skip("a network of its own needs more rights: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	// An interface that leads nowhere: browsers use no network without one.
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"link", "add", "out0", "type", "veth", "peer", "name", "out1"},
		{"addr", "add", "10.73.0.2/24", "dev", "out0"}, {"link", "set", "out1", "up"}, {"link", "set", "out0", "up"}} {
		if out, err := i.run("ip", args...); err != nil {
			t.Skipf("a network of its own cannot be set up: ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	return i
}

// do does something on a thread that is there.
func (i *island) do(what func()) {
	done := make(chan struct{})
	i.work <- func() {
		defer close(done)
		what()
	}
	<-done
}

// run runs a program there for at most a minute.
func (i *island) run(name string, args ...string) (out string, err error) {
	i.do(func() {
		// A process is where the thread is that starts it.
		out, _, err = run(i.t, time.Minute, name, args...)
	})
	return out, err
}

// let passes TCP connections to an address there on to the same address outside.
func (i *island) let(addr string) {
	i.t.Helper()
	var ln net.Listener
	var err error
	i.do(func() { ln, err = net.Listen("tcp", addr) })
	if err != nil {
		i.t.Fatal(err)
	}
	var conns sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	}
	conns.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			keep(in)
			keep(out)
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				conns.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
					pair[1].Close()
				})
			}
		}
	})
	i.t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		conns.Wait()
	})
}

// TestWatchWithoutUDP opens the watch page in networks that let no UDP through: over TCP to
// the media port where that is open, else over HLS the picture is there within 4 s of the
// page's offer.
func TestWatchWithoutUDP(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("ip is missing: make e2e installs it")
	}
	s := start(t)
	st := s.create("low")
	s.testcard(st, "--size", "640x360", "--bitrate", "800", "--audio-codec", "opus")
	s.waitStatus(st, "active", 15*time.Second)
	s.waitPlayable(st, 20*time.Second)
	for _, network := range []struct {
		name  string
		media bool // TCP to the media port is let through
		way   string
	}{
		{"TCP to the media port", true, "webrtc"},
		{"HTTP alone", false, "hls"},
	} {
		t.Run(network.name, func(t *testing.T) {
			there := newIsland(t)
			there.let(strings.TrimPrefix(s.http, "http://"))
			if network.media {
				there.let(net.JoinHostPort("127.0.0.1", s.ports["webrtc"]))
			}
			out, err := there.run("node", "browser/reach.mjs", "--url", s.http+"/watch/"+st.playbackID(), "--until", network.way)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Log(strings.TrimSpace(out))
			type stats struct {
				Way, Connection string
				Code            string `json:"way_code"`
			}
			var v struct {
				OpenedMs, OfferedMs float64
				First, Then         stats
			}
			if err := json.Unmarshal([]byte(out), &v); err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			if v.OfferedMs > 4000 {
				t.Errorf("the picture came %.0f ms after the offer", v.OfferedMs)
			}
			if v.Then.Way != network.way {
				t.Errorf("it plays over %+v", v.Then)
			}
			if network.media && v.Then.Connection != "connected over TCP" {
				t.Errorf("it is %q", v.Then.Connection)
			}
			if !network.media && !strings.HasPrefix(v.Then.Code, "blocked") {
				t.Errorf("it plays over %+v", v.Then)
			}
		})
	}
}
