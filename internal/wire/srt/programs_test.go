package srt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// program returns a command that ends with the test, or skips where it is not installed.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path := mediatest.Program(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

func ffmpeg(t *testing.T, args ...string) *exec.Cmd {
	return program(t, "ffmpeg", append([]string{"-hide_banner", "-nostdin", "-loglevel", "error"}, args...)...)
}

// output2s makes a transport stream of two seconds: 50 pictures with B-frames, and sound.
func output2s(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "two.ts")
	out, err := ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return file
}

// received is what a publisher sent.
type received struct {
	video, audio int
	err          error
	key          string
	encrypted    bool
}

// collect is a handler that takes one publisher, and tells of each of its pictures if it is
// to, which may wait for nobody.
func collect(results chan<- received, pictures chan<- struct{}) handler {
	return handler{publish: func(ctx context.Context, r *PublishRequest) {
		if err := r.Accept(ctx); err != nil {
			results <- received{err: err}
			return
		}
		got := received{key: r.Key(), encrypted: r.Encrypted()}
		for {
			p, err := r.ReadPacket(ctx)
			if err != nil {
				got.err = err
				results <- got
				return
			}
			if p.Track.Kind() == media.Video {
				got.video++
				if pictures != nil {
					pictures <- struct{}{}
				}
			} else {
				got.audio++
			}
		}
	}}
}

func (r received) check(t *testing.T) {
	t.Helper()
	if !errors.Is(r.err, io.EOF) {
		t.Errorf("the end is %v", r.err)
	}
	if r.video != 50 || r.audio < 93 {
		t.Errorf("%d pictures and %d frames of sound arrive", r.video, r.audio)
	}
}

func TestFFmpegPublishes(t *testing.T) {
	file := output2s(t)
	for _, tt := range []struct{ name, passphrase, more string }{
		{"plain", "", ""},
		{"AES-128", "correct horse battery", "&pbkeylen=16"},
		{"AES-192", "correct horse battery", "&pbkeylen=24"},
		{"AES-256", "correct horse battery", "&pbkeylen=32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := onLoopback(t, DefaultConfig(), secret(tt.passphrase))
			results := make(chan received, 1)
			defer serve(t, s, collect(results, nil))()
			url := fmt.Sprintf("srt://%s?streamid=#!::m=publish,r=key&latency=200000&linger=2%s", s.Addr(), tt.more)
			if tt.passphrase != "" {
				url += "&passphrase=" + tt.passphrase
			}
			out, err := ffmpeg(t, "-re", "-i", file, "-c", "copy", "-f", "mpegts", url).CombinedOutput()
			if err != nil {
				t.Fatalf("ffmpeg: %v\n%s", err, out)
			}
			got := <-results
			got.check(t)
			if got.key != "key" || got.encrypted != (tt.passphrase != "") {
				t.Errorf("got %d pictures, the end is %v", got.video, got.err)
			}
		})
	}
}

func TestSRTLiveTransmitPublishes(t *testing.T) {
	file := output2s(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := onLoopback(t, DefaultConfig(), secret("correct horse battery"))
	results, accepted, pictures := make(chan received, 1), make(chan struct{}), make(chan struct{}, 100)
	h := collect(results, pictures)
	defer serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) {
		close(accepted)
		h.publish(ctx, r)
	}})()
	cmd := program(t, "srt-live-transmit", "-q", "-chunk:1316", "file://con", fmt.Sprintf("srt://%s?streamid=publish:key&latency=120&passphrase=correct horse battery", s.Addr()))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-accepted
	pace := time.NewTicker(tick)
	defer pace.Stop()
	for ; len(data) > 0; <-pace.C {
		n := min(len(data), tsPayload)
		if _, err := in.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	in.Close()
	// It does not end with its input, and drops on a signal what it has not sent: all but the
	// last picture, of whose end only the next one tells, has to be there before.
	var got received
	for n, ended := 0, false; n < 48 && !ended; n++ {
		select {
		case <-pictures:
		case got = <-results:
			results <- got
			ended = true
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	got = <-results
	_ = cmd.Wait()
	if got.video < 48 {
		t.Errorf("got %d pictures, the end is %v", got.video, got.err)
	}
}

// TestWrongSecretsAreTold asks real ffmpeg what it makes of a refusal.
func TestWrongSecretsAreTold(t *testing.T) {
	file := output2s(t)
	for _, tt := range []struct{ name, set, sent, says string }{
		{"wrong", "correct horse battery", "wrong horse battery", "ncorrect passphrase"},
		{"missing", "correct horse battery", "", "assword required or unexpected"},
		{"not wanted", "", "wrong horse battery", "assword required or unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := onLoopback(t, DefaultConfig(), secret(tt.set))
			defer serve(t, s, handler{publish: func(context.Context, *PublishRequest) { t.Error("it was let in") }})()
			url := fmt.Sprintf("srt://%s?streamid=publish:key", s.Addr())
			if tt.sent != "" {
				url += "&passphrase=" + tt.sent
			}
			cmd := program(t, "ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "info", "-re", "-i", file, "-c", "copy", "-f", "mpegts", url)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("ffmpeg did not fail")
			}
			if !strings.Contains(string(out), tt.says) {
				t.Errorf("ffmpeg does not say %q:\n%s", tt.says, out)
			}
		})
	}
}

// TestFFmpegListens publishes to ffmpeg and plays from it.
func TestFFmpegListens(t *testing.T) {
	file := output2s(t)
	for _, passphrase := range []string{"", "correct horse battery"} {
		t.Run("publish, encrypted="+fmt.Sprint(passphrase != ""), func(t *testing.T) {
			port := freePort(t)
			out := filepath.Join(t.TempDir(), "out.ts")
			cmd := ffmpeg(t, "-i", "srt://"+port+"?mode=listener&passphrase="+passphrase, "-c", "copy", "-f", "mpegts", out)
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			packets, tracks := readAll(t, file)
			p, err := DialPublish(t.Context(), "srt://"+port+"?streamid=x&passphrase="+passphrase, tracks)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for _, pkt := range packets {
				due := began.Add(pkt.Track.Duration(pkt.DTS - packets[0].DTS))
				timer := time.NewTimer(time.Until(due))
				<-timer.C
				if err := p.WritePacket(t.Context(), pkt); err != nil {
					t.Fatal(err)
				}
			}
			if l := p.Link(); l.RTT == nil || *l.Packets == 0 {
				t.Errorf("the link is unknown: %+v", l)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // ffmpeg calls the end of a connection an error
			again, _ := readAll(t, out)
			if n := pictures(again); n < 49 {
				t.Errorf("%d pictures of 50 arrive; ffmpeg says %s", n, &said)
			}
		})
		t.Run("play, encrypted="+fmt.Sprint(passphrase != ""), func(t *testing.T) {
			port := freePort(t)
			cmd := ffmpeg(t, "-re", "-i", file, "-c", "copy", "-f", "mpegts", "srt://"+port+"?mode=listener&linger=2&passphrase="+passphrase)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p, err := DialPlay(t.Context(), "srt://"+port+"?streamid=x&passphrase="+passphrase)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			n := 0
			for {
				pkt, err := p.ReadPacket(t.Context())
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					break
				}
				if pkt.Track.Kind() == media.Video {
					n++
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if n != 50 {
				t.Errorf("%d pictures of 50 arrive", n)
			}
		})
	}
}

// TestGosrtCalls lets the library's own caller publish: it is another implementation.
func TestGosrtCalls(t *testing.T) {
	for _, passphrase := range []string{"", "correct horse battery"} {
		s := onLoopback(t, DefaultConfig(), secret(passphrase))
		results, there := make(chan []int, 1), make(chan struct{})
		stop := serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) {
			if err := r.Accept(ctx); err != nil {
				t.Error(err)
			}
			var got []int
			src, b := &stream{conn: r.conn, ctx: ctx}, make([]byte, tsPayload)
			for {
				_, err := io.ReadFull(src, b)
				if err == nil {
					if got = append(got, int(binary.BigEndian.Uint32(b))); len(got) == 500 {
						close(there)
					}
					continue
				}
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				results <- got
				return
			}
		}})
		cfg := srt.DefaultConfig()
		cfg.StreamId, cfg.Passphrase = "/live/key", passphrase
		cfg.Latency = 2 * time.Second // it gives up what it could not send in that time
		c, err := srt.Dial("srt", s.Addr().String(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			if _, err := c.Write(payload(i)); err != nil {
				t.Fatal(err)
			}
		}
		// When it is closed it does not send again what was lost on the way.
		select {
		case <-there:
		case got := <-results:
			results <- got
		}
		c.Close()
		if got := <-results; len(got) != 500 || got[499] != 499 {
			t.Errorf("%d of 500 payloads arrive", len(got))
		}
		stop()
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func pictures(packets []*media.Packet) (n int) {
	for _, p := range packets {
		if p.Track.Kind() == media.Video {
			n++
		}
	}
	return n
}

// TestNobodyListens wants the fault that says so, soon.
func TestNobodyListens(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := DialPlay(ctx, "srt://"+freePort(t)+"?streamid=play:x")
	if !fault.Is(err, fault.Timeout) {
		t.Errorf("got %v", err)
	}
}
