//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const srtPassphrase = "e2e-srt-passphrase"

// moving are ffmpeg's arguments for a picture and sound in real time, as MPEG-TS.
var moving = strings.Fields("-hide_banner -v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=25 -re -f lavfi -i sine=frequency=440:sample_rate=48000 " +
	"-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -g 25 -b:v 1M -c:a aac -f mpegts")

// metric is the value of a line of /metrics, which begins with name.
func (s *server) metric(t *testing.T, name string) float64 {
	t.Helper()
	res, err := http.Get(s.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// TestSRTThroughABadNetwork publishes with ffmpeg and with srt-live-transmit, plain and
// encrypted, over a way that loses 5 % both ways and delays by 50 ms, at a latency of
// 400 ms: packets are lost, and none stays lost.
func TestSRTThroughABadNetwork(t *testing.T) {
	for _, passphrase := range []string{"", srtPassphrase} {
		for _, program := range []string{"ffmpeg", "srt-live-transmit"} {
			t.Run(fmt.Sprintf("%s,encrypted=%t", program, passphrase != ""), func(t *testing.T) {
				t.Parallel()
				s := start(t)
				settings, query := map[string]any{}, ""
				if passphrase != "" {
					settings["srt_passphrase"] = passphrase
					query = "&pbkeylen=32&passphrase=" + passphrase
				}
				st := s.createWith(settings)
				address := "srt://" + badNetwork(t, s.ports["srt"], 0.05, 50*time.Millisecond)
				var p *publisher
				if program == "ffmpeg" {
					p = encode(t, "ffmpeg", append(moving, address+"?latency=400000&linger=2&streamid=publish:"+st.StreamKey+query)...)
				} else {
					port := freeUDPPort(t)
					p = encode(t, program, "-q", "udp://127.0.0.1:"+port, address+"?latency=400&streamid=#!::m=publish,r="+st.StreamKey+query)
					encode(t, "ffmpeg", append(moving, "udp://127.0.0.1:"+port+"?pkt_size=1316")...)
				}
				s.waitStatus(st, "active", 15*time.Second)
				s.decodes(t, st, "5")
				got := s.get(st.ID)
				if codec, width, _ := got.track("video"); codec != "H.264" || width != 320 || got.ActiveIngest.Protocol != "srt" {
					t.Errorf("it receives %+v", got.ActiveIngest)
				}
				p.stop()
				deadline := time.Now().Add(10 * time.Second)
				for s.metric(t, "onair_srt_connections") > 0 && time.Now().Before(deadline) {
					pause(t.Context(), 100*time.Millisecond)
				}
				lost, dropped := s.metric(t, `onair_srt_packets_total{event="lost"}`), s.metric(t, `onair_srt_packets_total{event="dropped"}`)
				if lost < 10 || dropped != 0 {
					t.Errorf("%v packets were lost on the way, and %v of them for good", lost, dropped)
				}
			})
		}
	}
}

// TestSRTPlay plays with ffmpeg and srt-live-transmit, plain and encrypted.
func TestSRTPlay(t *testing.T) {
	beside(t)
	s := start(t)
	for _, passphrase := range []string{"", srtPassphrase} {
		t.Run(fmt.Sprintf("encrypted=%t", passphrase != ""), func(t *testing.T) {
			s := s.in(t)
			settings, query := map[string]any{}, ""
			if passphrase != "" {
				settings["srt_passphrase"] = passphrase
				query = "&passphrase=" + passphrase
			}
			st := s.createWith(settings)
			s.testcard(st, "--size", "320x180")
			url := s.srtURL("play:"+st.playbackID()) + query
			out := filepath.Join(t.TempDir(), "played.ts")
			if _, said, err := run(t, 30*time.Second, "ffmpeg", "-hide_banner", "-v", "warning", "-nostdin", "-i", url, "-t", "3", "-c", "copy", "-f", "mpegts", out); err != nil {
				t.Errorf("ffmpeg: %v\n%s", err, said)
			}
			wantPictures(t, out, 60)
			live := encode(t, "sh", "-c", `exec srt-live-transmit -q -chunk:1316 "$0" file://con > "$1"`, url, out)
			pause(t.Context(), 4*time.Second)
			live.stop()
			wantPictures(t, out, 50)
		})
	}
}

// wantPictures decodes a file and wants so many pictures at least, and no complaint.
func wantPictures(t *testing.T, file string, least int) {
	t.Helper()
	out, said, err := run(t, 30*time.Second, "ffprobe", "-v", "error", "-select_streams", "v:0", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", file)
	n, _ := strconv.Atoi(strings.TrimSpace(strings.Split(strings.TrimSpace(out), "\n")[0]))
	if err != nil || n < least {
		t.Errorf("%d pictures, want at least %d (%v)\n%s", n, least, err, said)
	}
}

// TestSRTCaller sends a stream to listeners, and fetches one from a listener.
func TestSRTCaller(t *testing.T) {
	beside(t)
	s := start(t, "--allow-private-addresses")
	for _, passphrase := range []string{"", srtPassphrase} {
		t.Run(fmt.Sprintf("encrypted=%t", passphrase != ""), func(t *testing.T) {
			s := s.in(t)
			query := ""
			if passphrase != "" {
				query = "&passphrase=" + passphrase
			}
			st := s.create("low")
			s.testcard(st, "--size", "320x180")
			dir := t.TempDir()
			listeners := map[string]*publisher{}
			for i, name := range []string{"ffmpeg", "srt-live-transmit"} {
				port, file := freeUDPPort(t), filepath.Join(dir, name+".ts")
				listen := "srt://127.0.0.1:" + port + "?mode=listener&passphrase=" + passphrase
				if i == 0 {
					listeners[file] = encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-y", "-i", listen, "-c", "copy", "-f", "mpegts", file)
				} else {
					listeners[file] = encode(t, "sh", "-c", `exec srt-live-transmit -q -chunk:1316 "$0" file://con > "$1"`, listen, file)
				}
				if status := s.call("POST", "/v1/live-streams/"+st.ID+"/simulcast-targets", map[string]any{"url": "srt://127.0.0.1:" + port + "?streamid=x" + query}, nil); status != 201 {
					t.Fatalf("adding a target: status %d", status)
				}
			}
			pause(t.Context(), 6*time.Second)
			for file, l := range listeners {
				l.stop()
				wantPictures(t, file, 50)
			}

			port := freeUDPPort(t)
			encode(t, "ffmpeg", append(moving, "srt://127.0.0.1:"+port+"?mode=listener&passphrase="+passphrase)...)
			fetched := s.createWith(map[string]any{"source": map[string]any{"url": "srt://127.0.0.1:" + port + "?streamid=x" + query}})
			s.waitStatus(fetched, "active", 15*time.Second)
			s.decodes(t, fetched, "2")
		})
	}
}

// TestSRTRefusals reads what an encoder is told that comes with the wrong key, without the
// passphrase, or with the wrong one.
func TestSRTRefusals(t *testing.T) {
	beside(t)
	s := start(t)
	open, locked := s.create("low"), s.createWith(map[string]any{"srt_passphrase": srtPassphrase})
	file := filepath.Join(t.TempDir(), "clip.ts")
	args := append([]string{}, moving...)
	if _, said, err := run(t, 20*time.Second, "ffmpeg", append(args[:len(args)-2], "-t", "1", "-f", "mpegts", file)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, tt := range []struct{ name, query, says string }{
		{"wrong key", "publish:nonsense", "rejection"},
		{"no stream id", "", "rejection"},
		{"wrong passphrase", "publish:" + locked.StreamKey + "&passphrase=wrong-horse-battery", "ncorrect passphrase"},
		{"no passphrase", "publish:" + locked.StreamKey, "assword required or unexpected"},
		{"passphrase not wanted", "publish:" + open.StreamKey + "&passphrase=" + srtPassphrase, "assword required or unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, said, err := run(t, 10*time.Second, "ffmpeg", "-hide_banner", "-v", "info", "-nostdin", "-re", "-i", file, "-c", "copy", "-f", "mpegts", s.srtURL(tt.query))
			if err == nil || !strings.Contains(said, tt.says) {
				t.Errorf("%v; it says\n%s", err, said)
			}
		})
	}
	for _, secret := range []string{locked.StreamKey, open.StreamKey, srtPassphrase, "nonsense"} {
		if strings.Contains(s.log.tail(1000), secret) {
			t.Errorf("the log has %q in it", secret)
		}
	}
}

// TestGStreamerOverSRT lets GStreamer publish a transport stream over SRT.
func TestGStreamerOverSRT(t *testing.T) {
	beside(t)
	s := start(t)
	st := s.create("low")
	encode(t, "gst-launch-1.0", strings.Fields("-q videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! "+
		"x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! h264parse ! mpegtsmux alignment=7 name=m ! srtsink mode=caller uri="+
		s.srtURL("publish:"+st.StreamKey)+" audiotestsrc is-live=true ! audioconvert ! avenc_aac ! aacparse ! m.")...)
	s.waitStatus(st, "active", 20*time.Second)
	s.decodes(t, st, "5")
	got := s.get(st.ID)
	video, width, _ := got.track("video")
	audio, _, _ := got.track("audio")
	if video != "H.264" || width != 320 || audio != "AAC" || got.ActiveIngest.Protocol != "srt" {
		t.Errorf("received %s of %d and %s over %s", video, width, audio, got.ActiveIngest.Protocol)
	}
}
