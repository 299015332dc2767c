package pull

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// camera is an RTSP server with one picture track, over TCP only. It answers DESCRIBE with
// a redirect if it has one.
type camera struct {
	l        net.Listener
	units    [][]byte // NAL units, one a picture but for parameter sets
	redirect string
	asked    chan string // the first request to describe
}

func newCamera(t *testing.T, redirect string) *camera {
	t.Helper()
	out, err := exec.Command(mediatest.Program(t, "ffmpeg"), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25", "-t", "2", "-c:v", "libx264",
		"-preset", "ultrafast", "-x264-params", "slices=1:scenecut=0", "-threads", "1", "-g", "25", "-f", "h264", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	c := &camera{redirect: redirect, asked: make(chan string, 1)}
	for nal := range bitstream.SplitAnnexB(out) {
		c.units = append(c.units, nal)
	}
	if c.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := c.l.Accept()
			if err != nil {
				return
			}
			c.serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = c.l.Close()
		<-done
	})
	return c
}

func (c *camera) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		request, err := r.ReadString('\n')
		if err != nil {
			return
		}
		seq := ""
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if strings.TrimSpace(line) == "" {
				break
			}
			if strings.HasPrefix(line, "CSeq:") {
				seq = strings.TrimSpace(line)
			}
		}
		answer, body := "RTSP/1.0 200 OK\r\n"+seq+"\r\n", ""
		switch method, _, _ := strings.Cut(request, " "); method {
		case "OPTIONS":
			answer += "Public: DESCRIBE, SETUP, PLAY\r\n"
		case "DESCRIBE":
			select {
			case c.asked <- request:
			default:
			}
			if c.redirect != "" {
				answer = "RTSP/1.0 302 Found\r\n" + seq + "\r\nLocation: " + c.redirect + "\r\n"
				break
			}
			b64 := base64.StdEncoding.EncodeToString
			body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
				"a=fmtp:96 packetization-mode=1;sprop-parameter-sets=" + b64(c.units[0]) + "," + b64(c.units[1]) + "\r\na=control:track\r\n"
			answer += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
		case "SETUP":
			answer += "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
		case "PLAY":
			answer += "Session: 1\r\n"
		}
		if _, err := io.WriteString(conn, answer+"\r\n"+body); err != nil {
			return
		}
		if strings.HasPrefix(request, "PLAY") {
			c.play(conn)
			return
		}
	}
}

// play sends everything as fast as it goes.
func (c *camera) play(conn net.Conn) {
	stamp := uint32(90000)
	for i, nal := range c.units {
		b := []byte{'$', 0, 0, 0, 0x80, 96, byte(i >> 8), byte(i)}
		binary.BigEndian.PutUint16(b[2:], uint16(12+len(nal)))
		b = binary.BigEndian.AppendUint32(b, stamp)
		b = append(append(b, 0, 0, 0, 1), nal...)
		if kind := nal[0] & 0x1f; kind == 1 || kind == 5 {
			b[5] |= 0x80 // the last of its picture
			stamp += 3600
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// What ffmpeg fetches over RTSP passes the relay with all its pictures.
func TestRTSP(t *testing.T) {
	c := newCamera(t, "")
	got, tracks, err := fetch(t, puller(t, fence{}), "rtsp://"+c.l.Addr().String()+"/cam/secret")
	if len(tracks) != 1 || tracks[0].Codec != media.H264 || tracks[0].Width != 128 {
		t.Fatal(err, tracks)
	}
	if n := len(got[tracks[0].ID]); n < 49 || n > 50 {
		t.Errorf("%d pictures, %v", n, err)
	}
}

// A redirect is not followed, wherever it leads, and an address behind the fence not called.
func TestRTSPIsGuarded(t *testing.T) {
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = behind.Close() }()
	called := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := behind.Accept(); err == nil {
			_ = conn.Close()
			close(called)
		}
	}()
	c := newCamera(t, "rtsp://"+behind.Addr().String()+"/x")
	p := puller(t, fence{address: behind.Addr().String()})
	if _, _, err := fetch(t, p, "rtsp://"+c.l.Addr().String()+"/cam"); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "another address") {
		t.Errorf("a redirect: %v", err)
	}
	if _, err := p.startRelay(t.Context(), &url.URL{Scheme: "rtsp", Host: behind.Addr().String(), Path: "/x"}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("an address behind the fence: %v", err)
	}
	_ = behind.Close()
	<-done
	select {
	case <-called:
		t.Error("it was called")
	default:
	}
	if _, _, err := fetch(t, p, "rtsp://127.0.0.1:1/x"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("nobody there: %v", err)
	}
}
