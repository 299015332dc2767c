package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
	"onair/internal/media/mediatest"
)

// R12 is these: every parser of bytes from outside.

func FuzzHandshake(f *testing.F) {
	c1 := make([]byte, handshakeSize)
	copy(c1[4:], []byte{9, 0, 0x7c, 2})
	at := digestAt(c1, digestBases[1])
	copy(c1[at:], digestOf(c1, at, clientKey))
	f.Add([]byte{rtmpVersion}, uint16(2*handshakeSize))
	f.Add(append([]byte{rtmpVersion}, c1[:at+digestSize]...), uint16(2*handshakeSize+7))
	f.Add([]byte("\x06"), uint16(0))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(0))
	// The zeros behind the bytes need not be found by chance.
	f.Fuzz(func(t *testing.T, b []byte, zeros uint16) {
		b = append(b, make([]byte, zeros)...)
		var out bytes.Buffer
		err := serveHandshake(duplex{bytes.NewReader(b), &out})
		if (err == nil) != (len(b) >= 1+2*handshakeSize && b[0] == rtmpVersion) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err == nil && out.Len() != 1+2*handshakeSize {
			t.Fatalf("answered with %d bytes", out.Len())
		}
	})
}

func FuzzChunks(f *testing.F) {
	var buf bytes.Buffer
	w := newChunkWriter(&buf)
	for i, ts := range []uint32{0, 33, extended24, extended24 + 33, 5} {
		if err := w.write(uint32(3+i%2), typeVideo, 1, ts, make([]byte, 100*i)); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes(), true)
	f.Add(cat(head(4, extended24, 200, 9), []byte{1, 0, 0, 5}, make([]byte, 128), []byte{0xc4}, make([]byte, 72)), false)
	f.Add(cat([]byte{1, 10, 2}, head(0, 9, 1, 8)[1:], []byte{5, 0xc4, 0x84}), true)
	f.Fuzz(func(t *testing.T, b []byte, trusted bool) {
		r := reader(b)
		r.trusted = trusted
		got, err := readAll(r)
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && fault.KindOf(err) == fault.Internal {
			t.Fatal(err)
		}
		total := 0
		for _, m := range got {
			total += len(m.body)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of messages in %d", total, len(b))
		}
		if limit := firstAlloc*len(r.streams) + 4*len(b); r.partial < 0 || r.partial > limit {
			t.Fatalf("%d bytes are held of %d that came", r.partial, len(b))
		}
	})
}

func FuzzAMF(f *testing.F) {
	f.Add(nested(amfObject, 3))
	f.Add(nested(amfTypedObject, 17))
	f.Add([]byte{amfECMAArray, 0, 0, 0, 9, 0, 1, 'a', amfDate, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'b', amfLongString, 0, 0, 0, 1, 'x'})
	f.Add([]byte{amfStrictArray, 0, 0, 0, 2, amfNull, amfBoolean, 1, amfReference, 0, 1, amfXML, 0, 0, 0, 1, '<'})
	connect, err := writeConnect()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(connect)
	f.Fuzz(func(t *testing.T, b []byte) {
		clean, err := cleanAMF(b)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		if len(clean) > len(b)+3*maxAMFDepth {
			t.Fatalf("%d bytes became %d", len(b), len(clean))
		}
		data, err := decodeAMF(b)
		if err != nil {
			t.Fatalf("what was found well formed is not: %v", err)
		}
		for _, v := range data {
			if o, ok := object(v); ok {
				metadataOf(o)
			}
		}
	})
}

func writeConnect() ([]byte, error) {
	var buf bytes.Buffer
	w := newChunkWriter(&buf)
	w.size = 1 << 16
	err := writeValues(w, csidCommand, typeCommandAMF0, 0, "connect", 1.0, connectProperties("rtmp://h/live"))
	if err == nil {
		err = w.flush()
	}
	return buf.Bytes()[12:], err
}

func FuzzServerConn(f *testing.F) {
	skip := len(simpleHandshake())
	f.Add(connected(f).bytes()[skip:])
	f.Add(publishing(f, goodKey).message(csidVideo, typeVideo, 1, 0, []byte{0x17, 0, 0, 0, 0, 1}).command(1, "deleteStream", 0.0, nil).bytes()[skip:])
	f.Add(connected(f).command(1, "play", 3.0, nil, goodKey).bytes()[skip:])
	g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, FrameSize: 40})
	var mux flv.Muxer
	s := publishing(f, goodKey)
	for range 4 {
		messages, err := mux.Packet(g.Next())
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range messages {
			typ := byte(typeVideo)
			if m.Kind == media.Audio {
				typ = typeAudio
			}
			s.message(csidVideo, typ, 1, m.Timestamp, m.Body())
		}
	}
	f.Add(s.bytes()[skip:])
	srv := offline(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		st := newStation()
		st.admit = anyone
		st.source = func() ([]*media.Track, media.Source) { return g.Tracks(), &slice{} }
		srv.serve(context.Background(), &recording{Reader: io.MultiReader(bytes.NewReader(simpleHandshake()), bytes.NewReader(b))}, nil, st)
		if st.ended != nil && !errors.Is(st.ended, io.EOF) && fault.KindOf(st.ended) == fault.Internal {
			t.Fatal(st.ended)
		}
	})
}

// FuzzKey finds keys and their queries in whatever an encoder's user typed.
func FuzzKey(f *testing.F) {
	f.Add("rtmp://h/live", "live", "sk_a")
	f.Add("rtmp://h/live?token=x", "live?token=x", "sk_a?key=b&streamkey=c")
	f.Add("rtmp://h/live/inst", "live/inst", "?stream_key=%zz")
	f.Add("", "", "../..%2f\x00")
	f.Fuzz(func(t *testing.T, tcURL, app, name string) {
		key, query := splitKey(tcURL, app, name)
		if len(key)+len(query) > 2*(len(tcURL)+len(app)+len(name))+2 {
			t.Errorf("key %q and query %q are longer than what they come from", key, query)
		}
		if again, _ := splitKey(tcURL, app, name); again != key {
			t.Errorf("found %q and then %q", key, again)
		}
	})
}
