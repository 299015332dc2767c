//go:build e2e

package e2e

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// TestRTMPS publishes with ffmpeg by way of TLS, and takes the wrong port both ways.
func TestRTMPS(t *testing.T) {
	beside(t)
	pair := selfSigned(t)
	s := start(t, "--rtmps", "127.0.0.1:0", "--tls-cert", pair.cert, "--tls-key", pair.key)
	st := s.create("low")
	picture := []string{"-hide_banner", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac"}
	p := encode(t, "ffmpeg", append(picture, "-f", "flv", s.rtmpsURL(st))...)
	got := s.waitStatus(st, "active", 20*time.Second)
	if got.ActiveIngest == nil || got.ActiveIngest.Protocol != "rtmps" {
		t.Errorf("it came by %+v", got.ActiveIngest)
	}
	s.decodes(t, st, "6")
	p.stop()

	if _, errOut, err := run(t, 20*time.Second, "ffmpeg", append(picture, "-t", "1", "-f", "flv", "rtmp://127.0.0.1:"+s.ports["rtmps"]+"/live/"+st.StreamKey)...); err == nil {
		t.Errorf("plain RTMP to the port for RTMPS went well: %s", errOut)
	}
	line := s.log.wait(t, "took the wrong port", 5*time.Second)
	if !strings.Contains(line, "plain RTMP on the port for RTMPS") || strings.Contains(line, st.StreamKey) {
		t.Error(line)
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{RootCAs: pair.pool, ServerName: "localhost"}}
	if c, err := d.DialContext(t.Context(), "tcp", s.rtmp); err == nil {
		c.Close()
		t.Error("the port for plain RTMP speaks TLS")
	}
	s.log.wait(t, "TLS on the port for plain RTMP", 5*time.Second)
	// Nobody is harmed.
	encode(t, "ffmpeg", append(picture, "-f", "flv", s.rtmpsURL(st))...)
	s.waitStatus(st, "active", 20*time.Second)
}
