package rtmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/fault"
	"onair/internal/media/mediatest"
)

// allocated runs f and returns how many bytes it allocated in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func TestR1ChunkSizeBomb(t *testing.T) {
	for _, v := range []uint32{0, 1, 0xffffff, maxChunkSize, maxChunkSize + 1, 0x7fffffff, 0x80000000, 0xffffffff} {
		for _, published := range []bool{false, true} {
			s := newScript(t)
			if published {
				s = publishing(t, goodKey)
			}
			s.message(csidControl, typeSetChunkSize, 0, 0, u32(v))
			s.w.size = int(min(v, maxChunkSize))
			if v > 0 {
				s.message(csidAudio, typeAudio, 1, 0, bytes.Repeat([]byte{0xaf}, 100))
				s.command(1, "deleteStream", 0.0, nil)
			}
			in := s.bytes()
			var st *station
			got := allocated(func() { st, _ = replay(t, bytes.NewReader(in)) })
			if got > 1<<20 {
				t.Errorf("chunk size %#x: %d bytes were allocated", v, got)
			}
			if !published {
				continue
			}
			if ok := v > 0 && v <= maxChunkSize; ok != errors.Is(st.ended, io.EOF) {
				t.Errorf("chunk size %#x: ended with %v", v, st.ended)
			}
		}
	}
}

func TestR2TinyChunksBeforeAuthorisationAreRefused(t *testing.T) {
	for _, v := range []uint32{1, 2, 127} {
		s := newScript(t).message(csidControl, typeSetChunkSize, 0, 0, u32(v))
		s.w.size = int(v)
		s.command(0, "connect", 1.0, connectProperties("rtmp://localhost/live"))
		_, rec := replay(t, bytes.NewReader(s.bytes()))
		if contains(rec.out.Bytes(), "Connect.Success") {
			t.Errorf("chunk size %d was taken before authorisation", v)
		}
	}
	s := newScript(t).message(csidControl, typeSetChunkSize, 0, 0, u32(128))
	s.command(0, "connect", 1.0, connectProperties("rtmp://localhost/live"))
	if _, rec := replay(t, bytes.NewReader(s.bytes())); !contains(rec.out.Bytes(), "Connect.Success") {
		t.Error("chunk size 128 was not taken")
	}
}

// openAt sends bytes on a new connection of a server and keeps it open.
func openAt(t *testing.T, srv *server, b []byte) net.Conn {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(t.Context(), "tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	return nc
}

func TestR3DeclaredLengthsCostNothing(t *testing.T) {
	const conns, csids = 20, 55
	srv := serve(t, testConfig(), &many{})
	before := heap()
	var in []byte
	for id := range byte(csids) {
		in = append(in, head(id+7, 0, maxMediaMessage, typeVideo)...)
		in = append(in, make([]byte, 64)...)
		// The chunk is not finished: with a chunk size of 64 it would be.
	}
	s := publishing(t, goodKey).message(csidControl, typeSetChunkSize, 0, 0, u32(64)).raw(in...)
	script := s.bytes()
	for range conns {
		nc := openAt(t, srv, script)
		// The answer to a ping shows that everything before it was read.
		ping := newScript(t).message(csidControl, typeUserControl, 0, 0, eventBody(eventPingRequest, 0x51515151))
		ping.w.size = 64
		if _, err := nc.Write(ping.bytes()[len(simpleHandshake()):]); err != nil {
			t.Fatal(err)
		}
		readUntil(t, nc, "QQQQ")
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d bytes more are in use", after-before)
	}
}

func TestR3NoLongMessageBeforeAuthorisation(t *testing.T) {
	in := newScript(t).raw(head(4, 0, maxOtherMessage+1, typeVideo)...).raw(make([]byte, 128)...).bytes()
	srv := serve(t, testConfig(), newStation())
	nc := openAt(t, srv, in)
	if _, err := io.Copy(io.Discard, nc); err != nil {
		t.Log(err) // closed either way
	}
	srv.stop()
	if srv.rejected(t, reasonProtocol) != 1 {
		t.Error("the connection was not rejected")
	}
}

// many lets everybody publish and throws everything away.
type many struct{}

func (*many) ServePublish(ctx context.Context, r *PublishRequest) {
	if err := r.Accept(ctx); err != nil {
		return
	}
	for {
		if _, err := r.ReadPacket(ctx); err != nil {
			r.Close(err)
			return
		}
	}
}

func (*many) ServePlay(_ context.Context, r *PlayRequest) {
	r.Reject(fault.New(fault.NotFound, "play", "", "no", ""))
}

func readUntil(t *testing.T, r io.Reader, want string) {
	t.Helper()
	var got []byte
	b := make([]byte, 4096)
	for !contains(got, want) {
		n, err := r.Read(b)
		if err != nil {
			t.Fatalf("%v before %q came", err, want)
		}
		got = append(got, b[:n]...)
	}
}

func TestR4NestedAMFClosesTheConnection(t *testing.T) {
	for _, marker := range []byte{amfObject, amfECMAArray, amfStrictArray, amfTypedObject} {
		for _, depth := range []int{65, 1000, 5000} {
			value := nested(marker, depth)
			connect := append(amfText("connect"), cat([]byte{amfNumber}, make([]byte, 8), value)...)
			metadata := append(amfText("onMetaData"), value...)
			for name, in := range map[string][]byte{
				"connect":     newScript(t).message(csidCommand, typeCommandAMF0, 0, 0, connect).bytes(),
				"connect 17":  newScript(t).message(csidCommand, typeCommandAMF3, 0, 0, append([]byte{0}, connect...)).bytes(),
				"metadata":    publishing(t, goodKey).message(csidData, typeDataAMF0, 1, 0, metadata).bytes(),
				"metadata 15": publishing(t, goodKey).message(csidData, typeDataAMF3, 1, 0, append([]byte{0}, metadata...)).bytes(),
			} {
				var st *station
				start := time.Now()
				got := allocated(func() { st, _ = replay(t, bytes.NewReader(in)) })
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("%s with %d levels of %#x took %v", name, depth, marker, d)
				}
				if got > 1<<20 {
					t.Errorf("%s with %d levels of %#x allocated %d bytes", name, depth, marker, got)
				}
				if strings.HasPrefix(name, "metadata") && !fault.Is(st.ended, fault.TooLarge) {
					t.Errorf("%s with %d levels of %#x ended with %v", name, depth, marker, st.ended)
				}
			}
		}
	}
}

func amfText(s string) []byte {
	b, err := amf0.Data{s}.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func TestR5EveryArgumentOfEveryType(t *testing.T) {
	values := map[string][]byte{
		"number": {amfNumber, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1}, "bool": {amfBoolean, 0}, "string": {amfString, 0, 1, 'x'},
		"object": {amfObject, 0, 1, 'a', amfNull, 0, 0, 9}, "null": {amfNull}, "undefined": {amfUndefined}, "reference": {amfReference, 0, 0},
		"array": {amfECMAArray, 255, 255, 255, 255, 0, 0, 9}, "strict": {amfStrictArray, 0, 0, 0, 0}, "huge": {amfStrictArray, 255, 255, 255, 255},
		"date": append([]byte{amfDate}, make([]byte, 10)...), "long": {amfLongString, 0, 0, 0, 1, 'x'}, "xml": {amfXML, 0, 0, 0, 0},
		"typed": {amfTypedObject, 0, 1, 'T', 0, 0, 9}, "amf3": {amfAMF3, 1}, "unknown": {0x55}, "nothing": {},
	}
	enc := func(v any) []byte {
		b, err := amf0.Data{v}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	commands := [][]any{
		{"connect", 1.0, connectProperties("rtmp://localhost/live")},
		{"releaseStream", 2.0, nil, "key"}, {"FCPublish", 3.0, nil, "key"}, {"createStream", 4.0, nil}, {"_checkbw", 5.0, nil},
		{"publish", 6.0, nil, "key", "live"}, {"play", 6.0, nil, "key", 0.0}, {"getStreamLength", 6.0, nil, "key"},
		{"deleteStream", 7.0, nil, 1.0}, {"FCUnpublish", 7.0, nil, "key"}, {"closeStream", 7.0, nil},
	}
	for _, c := range commands {
		for i := range c {
			for name, v := range values {
				var body []byte
				for j, arg := range c {
					if i == j {
						body = append(body, v...)
					} else {
						body = append(body, enc(arg)...)
					}
				}
				for when, s := range map[string]*script{"before connect": newScript(t), "after connect": connected(t), "after publish": publishing(t, goodKey)} {
					// It must end, and not with a crash.
					_, rec := replay(t, bytes.NewReader(s.message(csidCommand, typeCommandAMF0, 1, 0, body).bytes()))
					if rec.out.Len() < 1+2*handshakeSize {
						t.Errorf("%v %s, argument %d as %s: no handshake", c[0], when, i, name)
					}
				}
			}
		}
	}
	// A property of connect that is no text is an answer, not a crash.
	for name, v := range values {
		body := cat(amfText("connect"), []byte{amfNumber}, make([]byte, 8), []byte{amfObject}, []byte("\x00\x03app"), v, []byte("\x00\x05tcUrl"), v, []byte{0, 0, 9})
		_, rec := replay(t, bytes.NewReader(newScript(t).message(csidCommand, typeCommandAMF0, 0, 0, body).bytes()))
		if text := name == "string" || name == "long"; text != contains(rec.out.Bytes(), "Connect.Success") {
			t.Errorf("connect with app as %s answers %q", name, rec.out.Bytes()[1+2*handshakeSize:])
		}
	}
}

func TestR6HalfOpenHandshakes(t *testing.T) {
	const conns = 2000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*conns+100 {
		t.Skipf("only %d files may be open (%v)", limit.Cur, err)
	}
	cfg := testConfig()
	cfg.MaxPerAddress, cfg.MaxConnections = conns+10, conns+10
	cfg.HandshakeTimeout = 20 * time.Second
	st := newStation()
	srv := serve(t, cfg, st)
	before, goroutines := heap(), runtime.NumGoroutine()
	var open []net.Conn
	for range conns {
		open = append(open, openAt(t, srv, []byte{rtmpVersion}))
	}
	for runtime.NumGoroutine() < goroutines+conns {
		runtime.Gosched()
	}
	perConn := (heap() - before) / conns
	t.Logf("%d bytes a half-open connection, both ends", perConn)
	if perConn > 24<<10 {
		t.Errorf("a half-open connection takes %d bytes", perConn)
	}
	// A real publisher gets in meanwhile.
	start := time.Now()
	pub, err := DialPublish(t.Context(), srv.url(goodKey))
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("a publisher waited %v", d)
	}
	pub.Close()
	for _, nc := range open {
		nc.Close()
	}
	st.wait(t)
	srv.stop()
	settle(t, goroutines)
	if after := heap(); after > before+4<<20 {
		t.Errorf("%d bytes stay", after-before)
	}
	if len(srv.conns) != 0 || len(srv.from) != 0 {
		t.Error("the server remembers connections")
	}
}

func TestR6ConnectionsAreBounded(t *testing.T) {
	cfg := testConfig()
	cfg.MaxPerAddress = 3
	srv := serve(t, cfg, newStation())
	for range 3 {
		readUntil(t, openAt(t, srv, simpleHandshake()), "\x03")
	}
	nc := openAt(t, srv, nil)
	if _, err := io.ReadAll(nc); err != nil {
		t.Log(err)
	}
	if srv.rejected(t, reasonAddress) != 1 {
		t.Error("the fourth connection was not counted")
	}
}

func TestR8KeysReachTheGateVerbatim(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, tt := range []struct{ name, key string }{
		{"..%2f..%2fetc", "..%2f..%2fetc"}, {"%2e%2e", "%2e%2e"}, {`..\..\x`, `..\..\x`}, {"a\x00b", "a\x00b"}, {".", "."}, {"..", ".."},
		{"CON", "CON"}, {"a\u2215b", "a\u2215b"}, {"trailing.", "trailing."}, {"/etc/passwd", "passwd"}, {"../../x", "x"},
		{strings.Repeat("k", maxAddress), strings.Repeat("k", maxAddress)}, {"key?x=../..", "key"}, {" key ", " key "},
	} {
		st := newStation()
		var got []string
		st.admit = func(key string) error {
			got = append(got, key)
			return fault.New(fault.Unauthorized, "publish", "", "unknown", "")
		}
		rec := &recording{Reader: bytes.NewReader(publishing(t, tt.name).bytes())}
		offline(t).serve(context.Background(), rec, nil, st)
		if len(got) != 1 || got[0] != tt.key {
			t.Errorf("%q reached the gate as %q", tt.name, got)
		}
		if !contains(rec.out.Bytes(), publishDenied) {
			t.Errorf("%q was not answered", tt.name)
		}
	}
	if files, err := filepath.Glob("*"); err != nil || len(files) != 0 {
		t.Errorf("files were made: %v %v", files, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "x")); err == nil {
		t.Error("a file was made above")
	}
}

func TestR9LongNamesAreRefused(t *testing.T) {
	long := strings.Repeat("a", maxAddress+1)
	for name, in := range map[string][]byte{
		"stream name":   publishing(t, long).bytes(),
		"query":         publishing(t, "key?"+long).bytes(),
		"play name":     connected(t).command(1, "play", 3.0, nil, long).bytes(),
		"tcUrl":         newScript(t).command(0, "connect", 1.0, connectProperties("rtmp://h/"+long)).command(0, "publish", 0.0, nil, "k").bytes(),
		"64 KiB name":   newScript(t).raw(head(3, 0, 70_000, typeCommandAMF0)...).raw(make([]byte, 70_000)...).bytes(),
		"releaseStream": connected(t).command(0, "releaseStream", 2.0, nil, strings.Repeat("a", 60_000)).bytes(),
	} {
		st, rec := replay(t, bytes.NewReader(in))
		if len(st.keys) != 0 {
			t.Errorf("%s: a key of %d bytes reached the gate", name, len(st.keys[0]))
		}
		if name != "64 KiB name" && name != "releaseStream" && !contains(rec.out.Bytes(), `error`) {
			t.Errorf("%s: no answer", name)
		}
	}
}

func TestR10WhatComesAfterPublishInAnyOrder(t *testing.T) {
	var bodies [][2]any
	for _, o := range []mediatest.Options{{}, {Width: 640, Height: 360, BFrames: 2}} {
		o.Timescale, o.Duration, o.FrameSize = 1000, 100*time.Millisecond, 30
		g := mediatest.NewGenerator(o)
		for _, tr := range g.Tracks() {
			if tr.Width > 0 {
				bodies = append(bodies, [2]any{byte(typeVideo), append([]byte{0x17, 0, 0, 0, 0}, tr.Config...)})
			} else {
				bodies = append(bodies, [2]any{byte(typeAudio), append([]byte{0xaf, 0}, tr.Config...)})
			}
		}
		bodies = append(bodies,
			[2]any{byte(typeVideo), append([]byte{0x17, 1, 0, 0, 0}, g.Next().Data...)},
			[2]any{byte(typeAudio), []byte{0xaf, 1, 1, 2, 3}})
	}
	bodies = append(bodies,
		[2]any{byte(typeVideo), []byte("\x90hvc1")}, [2]any{byte(typeVideo), []byte{0x1c, 1, 0, 0, 0, 1}}, [2]any{byte(typeAudio), []byte{}},
		[2]any{byte(typeAudio), []byte("\x91Opus\x01")}, [2]any{byte(typeAggregate), []byte{9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 12}})
	n := len(bodies)
	for i := range n * n {
		s := publishing(t, goodKey)
		for k, at := range []int{i % n, i / n % n, (i*7 + 3) % n, i % n} {
			s.message(csidVideo, bodies[at][0].(byte), 1, uint32(k)*40, bodies[at][1].([]byte))
		}
		st, _ := replay(t, bytes.NewReader(s.command(1, "deleteStream", 0.0, nil).bytes()))
		if st.ended == nil || !errors.Is(st.ended, io.EOF) && fault.KindOf(st.ended) == fault.Internal {
			t.Fatalf("order %d ended with %v", i, st.ended)
		}
	}
}

func TestR11NothingElseIsParsedBeforeAuthorisation(t *testing.T) {
	bomb := append([]byte{amfNumber, 0, 0, 0, 0, 0, 0, 0, 0}, nested(amfObject, 5000)...)
	s := connected(t)
	// Had any of these been parsed, the connection would be closed and not publish.
	for _, name := range []string{"call", "pause", "seek", "receiveAudio", "FCSubscribe", "@setDataFrame", "onMetaData", "", "__proto__"} {
		s.message(csidCommand, typeCommandAMF0, 0, 0, append(amfText(name), bomb...))
		s.message(csidData, typeDataAMF0, 0, 0, append(amfText(name), bomb...))
	}
	s.message(csidAudio, typeAudio, 1, 0, []byte{0xb0}).message(csidVideo, typeVideo, 1, 0, []byte{0x14, 0, 0, 0, 0, 0})
	s.message(csidControl, 99, 0, 0, []byte{1, 2, 3, 4, 5})
	st, _ := replay(t, bytes.NewReader(s.command(1, "publish", 3.0, nil, goodKey).bytes()))
	if len(st.keys) != 1 {
		t.Error("the publish command was not reached")
	}

	s = connected(t)
	for range maxCommands {
		s.command(0, "_checkbw", 0.0, nil)
	}
	if st, _ := replay(t, bytes.NewReader(s.command(1, "publish", 3.0, nil, goodKey).bytes())); len(st.keys) != 0 {
		t.Errorf("a publish after %d commands was taken", maxCommands)
	}
	for _, name := range []string{"publish", "play", "createStream", "FCPublish", "deleteStream"} {
		st, rec := replay(t, bytes.NewReader(newScript(t).command(1, name, 3.0, nil, goodKey).bytes()))
		if len(st.keys) != 0 || rec.out.Len() != 1+2*handshakeSize {
			t.Errorf("%s before connect was answered", name)
		}
	}
}

func TestTooManyChunkStreams(t *testing.T) {
	s := publishing(t, goodKey)
	for i := range byte(maxChunkStreams) {
		s.raw(cat([]byte{0, i + 100}, head(0, 0, 0, typeAudio)[1:])...)
	}
	st, _ := replay(t, bytes.NewReader(s.bytes()))
	if !fault.Is(st.ended, fault.TooMany) {
		t.Errorf("ended with %v", st.ended)
	}
}

func TestPublishersComeAndGo(t *testing.T) {
	const cycles = 300
	srv := serve(t, testConfig(), &many{})
	g := mediatest.NewGenerator(mediatest.Options{})
	packet := g.Next()
	cycle := func() error {
		pub, err := DialPublish(t.Context(), srv.url(goodKey), g.Tracks()...)
		if err != nil {
			return err
		}
		defer pub.Close()
		return pub.WritePacket(t.Context(), packet)
	}
	if err := cycle(); err != nil {
		t.Fatal(err)
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range cycles / 4 {
				if err := cycle(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	srv.stop()
	settle(t, goroutines)
	if after := heap(); after > before+2<<20 {
		t.Errorf("%d bytes stay after %d publishers", after-before, cycles)
	}
}
