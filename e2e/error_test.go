//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// says fails unless the text holds every part.
func says(t *testing.T, who, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", who, part, text)
		}
	}
}

func TestEncodersAreToldWhatIsWrong(t *testing.T) {
	s := start(t)
	live := s.create("low")
	s.testcard(live, "--size", "320x180", "--bitrate", "300")

	send := func(url string, codecs ...string) (string, error) {
		args := []string{"-hide_banner", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"}
		args = append(append(args, codecs...), "-t", "20", "-f", "flv", url)
		_, errOut, err := run(t, 40*time.Second, "ffmpeg", args...)
		return errOut, err
	}
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

	t.Run("wrong key", func(t *testing.T) {
		out, err := send("rtmp://"+s.rtmp+"/live/sk_wrong", x264...)
		if err == nil {
			t.Error("a wrong key was taken")
		}
		says(t, "ffmpeg", out, "key")
		if strings.Contains(s.log.tail(10000), "sk_wrong") {
			t.Error("the key is in the log")
		}
	})
	t.Run("disabled stream", func(t *testing.T) {
		s := s.in(t)
		st := s.create("low")
		if status := s.call("POST", "/v1/live-streams/"+st.ID+"/disable", nil, nil); status != 200 {
			t.Fatalf("disable: %d", status)
		}
		out, err := send(s.publishURL(st), x264...)
		if err == nil {
			t.Error("a disabled stream was taken")
		}
		says(t, "ffmpeg", out, "disabled")
	})
	t.Run("unknown codec", func(t *testing.T) {
		s := s.in(t)
		st := s.create("low")
		out, err := send(s.publishURL(st), "-c:v", "flv1")
		if err == nil {
			t.Error("Sorenson video was taken")
		}
		t.Logf("ffmpeg: %v %s", err, out)
		s.log.wait(t, "Sorenson", 5*time.Second)
	})
	t.Run("hostile bytes", func(t *testing.T) {
		for _, hello := range []string{"GET / HTTP/1.1\r\n\r\n", strings.Repeat("\xff", 4000), "\x03" + strings.Repeat("\x00", 3072) + strings.Repeat("\xff", 70000)} {
			c, err := net.Dial("tcp", s.rtmp)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(15 * time.Second))
			c.Write([]byte(hello))
			buf := make([]byte, 64<<10)
			for err == nil {
				_, err = c.Read(buf)
			}
			c.Close()
			if os.IsTimeout(err) {
				t.Errorf("the connection is open 15 s after %q…", hello[:10])
			}
		}
	})
	// Whatever came, the rest keeps running.
	if got := s.get(live.ID); got.Status != "active" {
		t.Errorf("the other stream is %s", got.Status)
	}
	s.decodes(t, live, "4")
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("rtmp: :0\nhub:\n  max-feed-bytes: many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unknown := filepath.Join(t.TempDir(), "onair.yaml")
	if err := os.WriteFile(unknown, []byte("rtmp: :0\nrtpm: :1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		says []string
	}{
		{"busy RTMP port", []string{"serve", "--rtmp", "127.0.0.1:" + port, "--http", "127.0.0.1:0", "--srt", "off", "--webrtc", "off"}, []string{port, "in use", "--rtmp"}},
		{"busy HTTP port", []string{"serve", "--http", "127.0.0.1:" + port, "--rtmp", "127.0.0.1:0", "--srt", "off", "--webrtc", "off"}, []string{port, "in use", "--http"}},
		{"unwritable data folder", []string{"serve", "--data", file + "/below", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--srt", "off", "--webrtc", "off"}, []string{file, "--data"}},
		{"bad flag", []string{"serve", "--log-level", "loud"}, []string{"log-level", "debug"}},
		{"bad value in the file", []string{"serve", "--config", file}, []string{"hub-max-feed-bytes", "many"}},
		{"unknown key in the file", []string{"config", "check", unknown}, []string{"rtpm", ":2:", "config doc"}},
		{"missing file", []string{"serve", "--config", file + ".yaml"}, []string{file + ".yaml", "config default"}},
		{"short admin token", []string{"serve", "--admin-token", "short", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--srt", "off", "--webrtc", "off"}, []string{"admin-token", "16"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if args[0] == "serve" && !strings.Contains(strings.Join(args, " "), "--data") {
				args = append(args, "--data", t.TempDir())
			}
			out, errOut, err := run(t, 20*time.Second, program(t), args...)
			if err == nil {
				t.Fatal("it did not fail")
			}
			says(t, "onair", out+errOut, tt.says...)
			if strings.Contains(errOut, "goroutine") {
				t.Errorf("it panics:\n%s", errOut)
			}
		})
	}
}

// TestStopIsClean stops a server in the middle of a broadcast: within five seconds the
// encoder was told, and a blocked viewer got the end of the playlist.
func TestStopIsClean(t *testing.T) {
	s := start(t)
	st := s.create("low")
	p := s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.waitPlayable(st, 10*time.Second)
	media := firstMediaPlaylist(t, s.hlsURL(st))
	pause(t.Context(), 4*time.Second)

	ended := make(chan string, 1)
	go func() {
		// A player that reloads: the last playlist it gets must say that it is the last.
		last := ""
		for {
			body, err := fetch(media + "?poll=" + fmt.Sprint(time.Now().UnixNano()))
			if err != nil {
				ended <- last
				return
			}
			last = body
			if strings.Contains(body, "#EXT-X-ENDLIST") {
				ended <- last
				return
			}
			pause(t.Context(), 50*time.Millisecond)
		}
	}()
	begun := time.Now()
	if err := s.stop(); err != nil {
		t.Errorf("the server stopped with %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if last := <-ended; !strings.Contains(last, "#EXT-X-ENDLIST") {
		t.Errorf("the last playlist has no end:\n%s", last)
	}
	if err := p.wait(5 * time.Second); err == nil {
		t.Error("the encoder was not told")
	}
	says(t, "the encoder", p.out.tail(5), "stopping")
}

// fetch returns the body of a successful answer.
func fetch(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var b strings.Builder
	buf := make([]byte, 64<<10)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if res.StatusCode != 200 {
		return "", fmt.Errorf("%s: %s", url, res.Status)
	}
	return b.String(), nil
}

// firstMediaPlaylist returns the address of the first variant.
func firstMediaPlaylist(t *testing.T, master string) string {
	t.Helper()
	body, err := fetch(master)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(body, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			return master[:strings.LastIndex(master, "/")+1] + line
		}
	}
	t.Fatalf("no variant in\n%s", body)
	return ""
}
