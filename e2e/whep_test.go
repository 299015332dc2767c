//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"onair/internal/media"
)

// realtimeView is what browser/whep.mjs reports.
type realtimeView struct {
	States []string `json:"states"`
	// Joins are how long after the click something had come, of each time it joined.
	Joins []struct {
		AnsweredMs, ConnectedMs float64
		FirstFrameMs            *float64
	} `json:"joins"`
	FirstFrameMs *float64 `json:"firstFrameMs"` // of the last of them
	Transport    string   `json:"transport"`
	Deleted      int      `json:"deleted"`
	Video        struct {
		Codec         string `json:"codec"`
		Frames        int    `json:"frames"`
		Width, Height int
	} `json:"video"`
	Audio struct {
		Codec              string
		Packets            int
		Samples, Concealed float64
		Energy             float64
	} `json:"audio"`
}

// browse watches a stream in Chromium for some seconds over WHEP.
func (s *server) browse(st stream, seconds string, args ...string) realtimeView {
	s.t.Helper()
	args = append([]string{"browser/whep.mjs", "--whep", s.http + "/whep/" + st.playbackID(), "--seconds", seconds}, args...)
	out, errOut, err := run(s.t, 60*time.Second, "node", args...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, errOut)
	}
	s.t.Logf("Chromium: %s", strings.TrimSpace(out))
	var v realtimeView
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		s.t.Fatalf("%v in %q", err, out)
	}
	return v
}

// usual is the median time from the click to the first picture, in ms.
func (v realtimeView) usual() float64 {
	times := []float64{}
	for _, j := range v.Joins {
		if j.FirstFrameMs == nil {
			return math.Inf(1)
		}
		times = append(times, *j.FirstFrameMs)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// made are the renditions that the server makes of a stream now.
func (s *server) made(st stream) (names []string) {
	s.t.Helper()
	for _, r := range s.renditions(st) {
		if r.MadeBy == "server" && r.State == "running" {
			names = append(names, r.Name)
		}
	}
	return names
}

// flash and beep are the test card's square and tone, at the same instant of each second,
// for ffmpeg.
const (
	flash = "testsrc2=size=640x360:rate=25,drawbox=x=iw*57/64:y=ih*27/32:w=iw/32:h=ih/16:color=black:t=fill," +
		"drawbox=x=iw*57/64:y=ih*27/32:w=iw/32:h=ih/16:color=white:t=fill:enable='lt(mod(t,1),0.2)'"
	beep = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:c=stereo"
)

// TestRealtimePlayback watches over WebRTC what came in several ways, in Chromium and with
// a viewer that measures: picture and sound are there, soon after the click, and as far
// apart as they were. The first picture is there within 1 s of the click, by the median of
// a few joins in a row. The first of them has the start of the browser's WebRTC in it, and of an
// encoder where one is needed.
func TestRealtimePlayback(t *testing.T) {
	s := start(t, "--transcode", "just-in-time", "--transcode-cores", "2")
	for _, source := range []struct {
		name    string
		publish func(s *server, st stream) *whenSent
		codec   string
		within  float64  // ms from the click to the first picture
		made    []string // what is encoded for it; an H.264 rung of the same size is the real-time picture as well
	}{
		{"RTMP with B-frames and AAC", func(s *server, st stream) *whenSent {
			s.testcard(st, "--size", "640x360", "--bitrate", "800", "--b-frames", "2")
			return nil
		}, webrtc.MimeTypeH264, 5000, []string{media.RenditionRealtime, media.RenditionOpus}},
		{"RTMP with Opus", func(s *server, st stream) *whenSent {
			s.testcard(st, "--size", "640x360", "--bitrate", "800", "--audio-codec", "opus")
			return nil
		}, webrtc.MimeTypeH264, 2500, nil},
		{"SRT with HEVC and AAC", func(s *server, st stream) *whenSent {
			encode(s.t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", flash, "-re", "-f", "lavfi", "-i", beep,
				"-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25:min-keyint=25:scenecut=0:open-gop=0:pools=1",
				"-b:v", "800k", "-c:a", "aac", "-f", "mpegts", s.srtURL("publish:"+st.StreamKey))
			return nil
		}, webrtc.MimeTypeH264, 5000, []string{"360p", media.RenditionRealtime, media.RenditionOpus}},
		{"WHIP with VP8 and Opus", (*server).publishVP8, webrtc.MimeTypeVP8, 2500, nil},
	} {
		t.Run(source.name, func(t *testing.T) {
			s := s.in(t)
			st := s.create("low")
			sent := source.publish(s, st)
			s.waitStatus(st, "active", 20*time.Second)
			pause(t.Context(), 2*time.Second) // the pace of what has just begun is not known yet
			v := s.browse(st, "3", "--joins", "5")
			if made := s.made(st); !slices.Equal(made, source.made) {
				t.Errorf("%v is made for one viewer and not %v", made, source.made)
			}
			if first := deref(v.Joins[0].FirstFrameMs); v.Joins[0].FirstFrameMs == nil || *v.Joins[0].FirstFrameMs > source.within {
				t.Errorf("the first picture came %v ms after the first click", first)
			}
			if usual := v.usual(); usual > 1000 {
				t.Errorf("the first picture comes %.0f ms after a click", usual)
			}
			if v.Video.Codec != source.codec || v.Video.Frames < 20 || v.Video.Width != 640 {
				t.Errorf("the picture is %+v", v.Video)
			}
			if v.Audio.Codec != webrtc.MimeTypeOpus || v.Audio.Packets < 50 || v.Audio.Samples-v.Audio.Concealed < 24000 || v.Audio.Energy == 0 {
				t.Errorf("the sound is %+v", v.Audio)
			}
			if v.Deleted != http.StatusOK {
				t.Errorf("leaving was answered with %d", v.Deleted)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			video, audio, err := s.viewWHEP(ctx, st, 7*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			offsets := rtcOffsets(t, video, audio)
			t.Logf("%d pictures, %d packets of sound; the sound is late by %v", len(video.frames), len(audio.frames), offsets)
			if len(offsets) < 3 {
				t.Errorf("only %d beeps with a square", len(offsets))
			}
			for _, o := range offsets {
				if o.Abs() > 60*time.Millisecond {
					t.Errorf("sound and picture are %v apart", o)
				}
			}
			if sent != nil {
				delays := sent.delays(video)
				if len(delays) < len(video.frames)*7/10 {
					t.Fatalf("%d of %d pictures are as they were sent", len(delays), len(video.frames))
				}
				most := delays[len(delays)*95/100]
				t.Logf("the server adds %v in the middle, %v to 95 %% of %d pictures", delays[len(delays)/2], most, len(delays))
				if most > 100*time.Millisecond {
					t.Errorf("the server adds %v to 95 %% of the pictures", most)
				}
			}
		})
	}
	t.Run("TCP where UDP is blocked", func(t *testing.T) {
		s := s.in(t)
		st := s.create("low")
		s.testcard(st, "--size", "640x360", "--bitrate", "800", "--audio-codec", "opus")
		v := s.browse(st, "2", "--only", "tcp")
		if v.Transport != "tcp" || v.FirstFrameMs == nil || *v.FirstFrameMs > 4000 || v.Video.Frames < 20 || v.Audio.Packets < 50 {
			t.Errorf("without UDP the first picture came after %v ms: %+v", deref(v.FirstFrameMs), v)
		}
	})
}

// whenSent is a sink that remembers when each picture was handed over whole.
type whenSent struct {
	to media.Sink
	mu sync.Mutex
	at map[[32]byte]time.Time
}

// WritePacket implements media.Sink.
func (w *whenSent) WritePacket(ctx context.Context, p *media.Packet) error {
	err := w.to.WritePacket(ctx, p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[sha256.Sum256(p.Data)] = time.Now()
	return err
}

// delays are the times from there to the viewer's last packet of a picture, sorted.
func (w *whenSent) delays(video *rtcRecord) (delays []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range video.frames {
		// What was sent before the viewer came is in the burst that it begins with.
		if at, ok := w.at[sha256.Sum256(f.data)]; ok && at.After(video.frames[0].arrived) {
			delays = append(delays, f.arrived.Sub(at))
		}
	}
	slices.Sort(delays)
	return delays
}

// publishVP8 publishes flash and beep over WHIP until the test ends.
func (s *server) publishVP8(st stream) *whenSent {
	t := s.t
	t.Helper()
	const length = "45"
	dir := t.TempDir()
	picture, sound := filepath.Join(dir, "picture.ivf"), filepath.Join(dir, "sound.mp4")
	out, err := exec.Command("ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-f", "lavfi", "-i", flash, "-f", "lavfi", "-i", beep,
		"-map", "0:v", "-t", length, "-pix_fmt", "yuv420p", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "16", "-threads", "2", "-g", "25", "-b:v", "800k", picture,
		"-map", "1:a", "-t", length, "-c:a", "libopus", "-b:a", "64k", "-use_editlist", "0", "-movflags", "frag_keyframe+empty_moov+default_base_moof", sound).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	packets, tracks := readMP4(t, data)
	video := &media.Track{ID: 9, Codec: media.VP8, Timescale: 25, Width: 640, Height: 360}
	pictures, err := readIVF(picture, video)
	if err != nil {
		t.Fatal(err)
	}
	packets = append(packets, pictures...)
	slices.SortStableFunc(packets, func(a, b *media.Packet) int { return int(a.Track.Duration(a.DTS) - b.Track.Duration(b.DTS)) })

	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		pc.Close()
		working.Wait()
	})
	sink := rtcSink{}
	for _, track := range append(tracks, video) {
		r, err := newRTCTrack(track)
		if err != nil {
			t.Fatal(err)
		}
		sender, err := pc.AddTrack(r.local)
		if err != nil {
			t.Fatal(err)
		}
		working.Go(func() { // what comes back has to be read
			for {
				if _, _, err := sender.ReadRTCP(); err != nil {
					return
				}
			}
		})
		sink[track] = r
	}
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	if _, err := whipOffer(ctx, pc, s.http+"/whip", st.StreamKey); err != nil {
		t.Fatal(err)
	}
	select {
	case <-connected:
	case <-time.After(10 * time.Second):
		t.Fatal("WHIP does not connect")
	}
	w := &whenSent{to: sink, at: map[[32]byte]time.Time{}}
	working.Go(func() {
		if err := paced(ctx, w, packets); err != nil && ctx.Err() == nil {
			t.Errorf("publishing: %v", err)
		}
	})
	return w
}
