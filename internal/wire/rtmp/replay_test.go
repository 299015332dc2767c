package rtmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
	"onair/internal/media/mediatest"
)

// recording is a connection whose peer says what stands in a reader, and nothing more.
type recording struct {
	io.Reader
	out    bytes.Buffer
	closed bool
}

func (r *recording) Write(b []byte) (int, error)      { return r.out.Write(b) }
func (r *recording) Close() error                     { r.closed = true; return nil }
func (r *recording) LocalAddr() net.Addr              { return loopback }
func (r *recording) RemoteAddr() net.Addr             { return loopback }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

var loopback = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1"))

// offline is a server without a socket.
func offline(t testing.TB) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listen = Off
	s, err := Listen(cfg, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// anyone lets everybody publish.
func anyone(string) error { return nil }

// replay runs one connection through an offline server and returns what came of it.
func replay(t testing.TB, r io.Reader) (*station, *recording) {
	t.Helper()
	st := newStation()
	st.admit = anyone
	rec := &recording{Reader: r}
	offline(t).serve(context.Background(), rec, nil, st)
	return st, rec
}

// piece is what a client sent at a time after it began.
type piece struct {
	at   time.Duration
	data []byte
}

func joined(pieces []piece) (out []byte) {
	for _, p := range pieces {
		out = append(out, p.data...)
	}
	return out
}

// atItsOwnPace replays pieces as they came, on a clock of the test's own, and returns how
// long that took and what came of it.
func atItsOwnPace(t *testing.T, pieces []piece) (st *station, said []byte, took time.Duration) {
	t.Helper()
	return inBubble(t, func(nc net.Conn) {
		start := time.Now()
		for _, p := range pieces {
			<-time.After(p.at - time.Since(start))
			if _, err := nc.Write(p.data); err != nil {
				return
			}
		}
		nc.Close()
	})
}

// everyWay replays pieces in one piece, byte by byte and at their own pace, and fails
// where that makes a difference.
func everyWay(t *testing.T, pieces []piece) (st *station, said []byte, took time.Duration) {
	t.Helper()
	b := joined(pieces)
	whole, rec := replay(t, bytes.NewReader(b))
	bitwise, _ := replay(t, iotest.OneByteReader(bytes.NewReader(b)))
	paced, _, took := atItsOwnPace(t, pieces)
	for name, other := range map[string]*station{"byte by byte": bitwise, "at its own pace": paced} {
		if d := cmp.Diff(whole.packets, other.packets, packetOptions); d != "" {
			t.Errorf("%s it is read differently:\n%s", name, d)
		}
		if d := cmp.Diff(whole.tracks, other.tracks); d != "" || fault.KindOf(whole.ended) != fault.KindOf(other.ended) {
			t.Errorf("%s it ends with %v and not %v, and tracks differ:\n%s", name, other.ended, whole.ended, d)
		}
	}
	return whole, rec.out.Bytes(), took
}

// tcpPayload reads a pcapng file of Ethernet, Linux cooked or raw IP frames and returns what was
// sent to a TCP port, in order.
func tcpPayload(t *testing.T, file string, port uint16) []piece {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	var out []piece
	var begin uint64
	var next uint32
	started := false
	tick := time.Microsecond
	link := uint16(0)
	for len(b) >= 12 {
		typ, size := le.Uint32(b), le.Uint32(b[4:])
		body := b[8 : size-4]
		b = b[size:]
		switch typ {
		case 1: // interface description
			link = le.Uint16(body)
			for o := body[8:]; len(o) >= 4; o = o[4+(int(le.Uint16(o[2:]))+3)&^3:] {
				if le.Uint16(o) == 9 && o[4] == 9 { // if_tsresol
					tick = time.Nanosecond
				}
			}
		case 6: // enhanced packet
			frame := body[20 : 20+le.Uint32(body[12:])]
			skip, ok := map[uint16]int{1: 14, 101: 0, 113: 16, 276: 20}[link]
			if !ok {
				t.Fatalf("link type %d", link)
			}
			ip := frame[skip:]
			if ip[0]>>4 != 4 || ip[9] != 6 {
				continue
			}
			total := int(binary.BigEndian.Uint16(ip[2:]))
			tcp := ip[int(ip[0]&15)*4 : total]
			if binary.BigEndian.Uint16(tcp[2:]) != port {
				continue
			}
			seq := binary.BigEndian.Uint32(tcp[4:])
			data := tcp[int(tcp[12]>>4)*4:]
			if tcp[13]&2 != 0 { // SYN
				next, started = seq+1, true
				continue
			}
			if !started || len(data) == 0 {
				continue
			}
			if ahead := int32(seq - next); ahead != 0 {
				if ahead > 0 {
					t.Fatalf("%d bytes are missing in the capture", ahead)
				}
				if int(-ahead) >= len(data) {
					continue // sent again
				}
				data = data[-ahead:]
			}
			at := uint64(le.Uint32(body[4:]))<<32 | uint64(le.Uint32(body[8:]))
			if len(out) == 0 {
				begin = at
			}
			out = append(out, piece{time.Duration(at-begin) * tick, data})
			next += uint32(len(data))
		}
	}
	return out
}

func TestCapturesReplay(t *testing.T) {
	for _, tt := range []struct {
		file    string
		encoder string
		frames  int
		keys    int
		sounds  int
		lasts   time.Duration
	}{
		{"wire-captures/obs29_rtmp_publish.pcapng", "obs-output module (libobs version 29.0.2.1-1+b1)", 228, 1, 354, 7 * time.Second},
		{"wire-captures/ffmpeg51_rtmp_publish_bframes.pcapng", "Lavf59.27.100", 135, 4, 231, 5 * time.Second},
	} {
		t.Run(tt.file, func(t *testing.T) {
			pieces := tcpPayload(t, mediatest.SharedFile(t, tt.file), 21935)
			if len(pieces) == 0 {
				t.Fatal("the capture has nothing from the client")
			}
			whole, _, took := everyWay(t, pieces)
			if took < tt.lasts || took > 2*tt.lasts {
				t.Errorf("its own pace takes %v", took)
			}
			frames, keys := count(whole.packets, media.Video)
			sounds, _ := count(whole.packets, media.Audio)
			if frames != tt.frames || keys != tt.keys || sounds != tt.sounds || whole.encoder != tt.encoder {
				t.Errorf("%d frames, %d keys and %d sounds of %q", frames, keys, sounds, whole.encoder)
			}
			last := map[int]int64{}
			for _, p := range whole.packets {
				if p.DTS < last[p.Track.ID] || p.PTS < p.DTS {
					t.Fatalf("track %d at %d is shown at %d, after one at %d", p.Track.ID, p.DTS, p.PTS, last[p.Track.ID])
				}
				last[p.Track.ID] = p.DTS
			}
		})
	}
}

func TestCorpusFiles(t *testing.T) {
	for _, tt := range []struct {
		file                 string
		frames, keys, sounds int
		refused              bool
	}{
		{file: "bbb.flv", frames: 250, keys: 4, sounds: 432},
		{file: "bun33s_audio.flv", sounds: 1423},
		{file: "testsrc.flv", frames: 75, keys: 1, sounds: 132},
		{file: "rotations.flv", frames: 462, keys: 16, sounds: 510},
		{file: "test_short.flv", frames: 252, keys: 2, sounds: 431},
		{file: "sample-with-key-frame-index.flv", frames: 71, keys: 3},
		{file: "test.flv", refused: true},
	} {
		t.Run(tt.file, func(t *testing.T) {
			file := mediatest.SharedFile(t, "flv-rtmp/"+tt.file)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			st, said, took := everyWay(t, published(t, b[13:]))
			if tt.refused {
				if !fault.Is(st.ended, fault.Unsupported) || !bytes.Contains(said, []byte("VP6 is not supported")) || took > 2*time.Second {
					t.Errorf("ended after %v with %v", took, st.ended)
				}
				return
			}
			frames, keys := count(st.packets, media.Video)
			sounds, _ := count(st.packets, media.Audio)
			if frames != tt.frames || keys != tt.keys || sounds != tt.sounds || !errors.Is(st.ended, io.EOF) {
				t.Errorf("%d frames, %d keys and %d sounds, ended with %v", frames, keys, sounds, st.ended)
			}
			compareWithFFprobe(t, file, st.packets)
		})
	}
}

// compareWithFFprobe checks the times of packets against what ffprobe reads.
func compareWithFFprobe(t *testing.T, file string, packets []*media.Packet) {
	t.Helper()
	out, err := run(t, program(t, "ffprobe", "-loglevel", "error", "-show_entries", "packet=codec_type,pts,dts,size", "-of", "csv=p=0", file))
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, out)
	}
	var want, got []string
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) >= 3 && (f[0] == "video" || f[0] == "audio") {
			want = append(want, strings.Join(f[:3], ","))
		}
	}
	for _, p := range packets {
		got = append(got, fmt.Sprintf("%v,%d,%d", p.Track.Kind(), p.PTS, p.DTS))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("times differ from ffprobe's (-ffprobe +ours):\n%s", d)
	}
}

// script writes what a client sends after its handshake.
type script struct {
	t   testing.TB
	buf bytes.Buffer
	w   *chunkWriter
}

func newScript(t testing.TB) *script {
	s := &script{t: t}
	s.w = newChunkWriter(&s.buf)
	return s
}

// message adds a message.
func (s *script) message(csid uint32, typ uint8, streamID, timestamp uint32, body []byte) *script {
	s.t.Helper()
	if err := s.w.write(csid, typ, streamID, timestamp, body); err != nil {
		s.t.Fatal(err)
	}
	return s
}

// command adds a command.
func (s *script) command(streamID uint32, values ...any) *script {
	s.t.Helper()
	if err := writeValues(s.w, csidCommand, typeCommandAMF0, streamID, values...); err != nil {
		s.t.Fatal(err)
	}
	return s
}

// raw adds bytes as they are.
func (s *script) raw(b ...byte) *script {
	s.t.Helper()
	if err := s.w.flush(); err != nil {
		s.t.Fatal(err)
	}
	s.buf.Write(b)
	return s
}

// bytes returns the script behind a handshake.
func (s *script) bytes() []byte {
	s.t.Helper()
	if err := s.w.flush(); err != nil {
		s.t.Fatal(err)
	}
	return append(simpleHandshake(), s.buf.Bytes()...)
}

// simpleHandshake is C0, C1 and C2 of a client without a digest.
func simpleHandshake() []byte {
	b := make([]byte, 1+2*handshakeSize)
	b[0] = rtmpVersion
	return b
}

// connected begins a script with what comes before publish.
func connected(t testing.TB) *script {
	return newScript(t).
		command(0, "connect", 1.0, connectProperties("rtmp://localhost/live")).
		command(0, "createStream", 2.0, nil)
}

// publishing begins a script with everything up to media.
func publishing(t testing.TB, key string) *script {
	return connected(t).command(1, "publish", 3.0, nil, key, "live")
}

// published is what a client sends that publishes the tags of a file, at the time of each.
func published(t testing.TB, tags []byte) []piece {
	t.Helper()
	s := publishing(t, goodKey)
	out := []piece{{0, s.bytes()}}
	add := func(at time.Duration) {
		if err := s.w.flush(); err != nil {
			t.Fatal(err)
		}
		out = append(out, piece{at, bytes.Clone(s.buf.Bytes())})
		s.buf.Reset()
	}
	s.buf.Reset()
	last := time.Duration(0)
	for tag, err := range flv.Tags(tags) {
		if err != nil {
			t.Fatal(err)
		}
		s.message(csidAudio, tag.Type, 1, tag.Timestamp, tag.Body)
		last = max(last, time.Duration(tag.Timestamp)*time.Millisecond)
		add(last)
	}
	s.command(1, "deleteStream", 4.0, nil, 1.0)
	add(last)
	return out
}
