//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// finding and health are what the API tells of a stream's health.
type finding struct {
	Code     string         `json:"code"`
	Severity string         `json:"severity"`
	Title    string         `json:"title"`
	Evidence map[string]any `json:"evidence"`
	Fix      struct {
		OBS     string `json:"obs"`
		Browser string `json:"browser"`
		FFmpeg  string `json:"ffmpeg"`
	} `json:"fix"`
	Source string `json:"source"`
	Count  int    `json:"count"`
}

type health struct {
	Status   string    `json:"status"`
	Score    *int      `json:"score"`
	Summary  string    `json:"summary"`
	Stale    bool      `json:"stale"`
	Findings []finding `json:"findings"`
	Sources  []struct {
		Link struct {
			RTT *float64 `json:"rtt_seconds"`
		} `json:"link"`
		Tracks []struct {
			Kind             string   `json:"kind"`
			FrameRate        *float64 `json:"frame_rate"`
			KeyframeInterval *float64 `json:"keyframe_interval"`
			AudioLevel       *float64 `json:"audio_level_dbfs"`
			Brightness       *float64 `json:"picture_brightness"`
		} `json:"tracks"`
	} `json:"sources"`
	History []map[string]any `json:"history"`
}

func (h health) finding(code string) (finding, bool) {
	for _, f := range h.Findings {
		if f.Code == code {
			return f, true
		}
	}
	return finding{}, false
}

func (h health) codes() []string {
	var codes []string
	for _, f := range h.Findings {
		codes = append(codes, f.Code)
	}
	return codes
}

// health reads how a stream is, as the API tells it.
func (s *server) health(st stream) health {
	s.t.Helper()
	var h health
	if status := s.call("GET", "/v1/live-streams/"+st.ID+"/health", nil, &h); status != 200 {
		s.t.Fatalf("reading the health: status %d", status)
	}
	return h
}

// ill is an encoder with something wrong, and what must be found: for each code, names
// of evidence that must be there, separated by blanks.
type ill struct {
	name   string
	args   string // of ffmpeg, without the output
	format string // "flv", or "mpegts" over a bad network
	want   map[string]string
	not    []string // what must not be found
}

// TestDoctor lets real encoders do what people's do, all at the same time, and reads
// what the doctor says. It takes more than a minute because silence does.
func TestDoctor(t *testing.T) {
	const (
		picture = "-re -f lavfi -i testsrc2=size=320x180:rate=25 "
		sound   = "-re -f lavfi -i sine=frequency=440:sample_rate=48000,volume=4 "
		x264    = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p "
		plain   = x264 + "-bf 0 -g 50 -keyint_min 50 -sc_threshold 0 "
		aac     = "-c:a aac -ac 2 "
	)
	cases := []ill{
		{
			name: "healthy", args: picture + sound + plain + "-b:v 300k " + aac, want: map[string]string{},
			not: []string{"keyframe_interval_long", "bframes_in_realtime", "open_gop", "interlaced", "fps_low", "audio_silent", "audio_clipping", "audio_mono_one_side",
				"av_desync", "timestamp_jump", "video_black", "video_frozen", "aspect_odd", "ingest_starved", "audio_missing", "profile_unsupported", "frames_missing"},
		},
		{
			name: "open groups, B-frames, half a sound", args: picture + "-re -f lavfi -i sine=frequency=440:sample_rate=22050,volume=4,pan=stereo|c0=c0|c1=0*c0 " +
				"-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 50 -x264-params open-gop=1:b-pyramid=0:scenecut=0 -c:a aac -ar 22050",
			want: map[string]string{
				"open_gop": "codec", "bframes_in_realtime": "codec",
				"audio_mono_one_side": "silent_channel left_dbfs right_dbfs", "audio_sample_rate_odd": "sample_rate",
			},
		},
		{
			name: "black and silent, with long groups", args: "-re -f lavfi -i color=black:size=320x100:rate=25 -re -f lavfi -i anullsrc=r=48000:cl=stereo " +
				x264 + "-bf 0 -g 250 -keyint_min 250 -sc_threshold 0 " + aac,
			want: map[string]string{
				"keyframe_interval_long": "longest_seconds threshold_seconds",
				"video_black":            "black_seconds brightness", "audio_silent": "silent_seconds level_dbfs", "bitrate_low": "bitrate expected_at_least",
				"aspect_odd": "aspect width height",
			},
			not: []string{"video_frozen"},
		},
		{
			name: "frozen, interlaced, rich, too loud", args: "-re -f lavfi -i testsrc2=size=320x180:rate=25,loop=loop=-1:size=1:start=0 -re -f lavfi -i sine=frequency=440:sample_rate=48000,volume=34dB:precision=fixed,pan=stereo|c0=c0|c1=c0 " +
				"-c:v libx264 -preset ultrafast -pix_fmt yuv444p -flags +ildct+ilme -x264-params interlaced=1 -bf 0 -g 50 -c:a aac -b:a 192k",
			want: map[string]string{
				"video_frozen": "unchanged_seconds", "interlaced": "codec", "profile_unsupported": "profile", "audio_clipping": "clipped_share peak_dbfs",
			},
			not: []string{"video_black"},
		},
		{
			name: "frames come and go", args: picture + "-itsoffset 0.6 " + sound +
				"-vf select='if(lt(mod(t,6),3),1,not(mod(n,3)))',noise=alls=60:allf=t:enable='lt(mod(t,16),8)' -vsync vfr -force_key_frames expr:gte(t,n_forced*1.5+0.8*mod(n_forced,2)) " +
				x264 + "-bf 0 -g 250 -sc_threshold 0 -crf 20 " + aac,
			want: map[string]string{
				"fps_low": "frame_rate declared_frame_rate", "fps_unstable": "variation", "frames_missing": "missing share",
				"keyframe_interval_irregular": "deviation shortest_seconds longest_seconds", "bitrate_unstable": "variation", "av_desync": "start_ms",
			},
		},
		{
			name: "the clock leaps, MP3", args: picture + "-re -f lavfi -i sine=frequency=440:sample_rate=44100,volume=4 " +
				"-vf setpts='PTS+gte(T,8)*3600/TB' -af asetpts='PTS+gte(T,8)*3600/TB' -vsync passthrough " + plain + "-c:a libmp3lame",
			want: map[string]string{"timestamp_jump": "latest_seconds jumps", "codec_unsupported_for_mode": "not_in"},
		},
		{
			name: "too slow, without sound", args: "-readrate 0.65 -f lavfi -i testsrc2=size=320x180:rate=25 " + plain,
			want: map[string]string{"ingest_starved": "drift_seconds window_seconds", "audio_missing": "seconds tracks"},
		},
		{
			name: "too fast, with short groups", args: "-readrate 1.5 -f lavfi -i testsrc2=size=320x180:rate=25 -readrate 1.5 -f lavfi -i sine=frequency=440:sample_rate=48000 " +
				x264 + "-bf 0 -g 8 -keyint_min 8 " + aac,
			want: map[string]string{"ingest_faster_than_realtime": "ahead_seconds", "keyframe_interval_short": "interval_seconds"},
		},
		{
			name: "key frames only, and many bits", args: picture + sound + "-vf noise=alls=100:allf=t -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 1 -crf 6 " + aac,
			want: map[string]string{"only_keyframes": "frames", "bitrate_high": "bitrate expected_at_most"},
			not:  []string{"keyframe_interval_short"},
		},
		{
			name: "a bad network", format: "mpegts", args: picture + sound + plain + "-b:v 300k " + aac,
			want: map[string]string{"uplink_loss": "loss window_seconds", "uplink_rtt_high": "rtt_ms"},
		},
	}
	s := start(t, "--doctor-sample-interval", "4s")
	// Some findings are over after a minute: all that are ever raised are collected.
	told := &diary{of: map[string]map[string]finding{}}
	defer told.keep(s)()
	network := badNetwork(t, s.ports["srt"], 0.05, 350*time.Millisecond)
	streams := make([]stream, len(cases))
	for i, c := range cases {
		streams[i] = s.create("standard")
		told.watch(streams[i])
		url, format := s.publishURL(streams[i]), "flv"
		if c.format == "mpegts" {
			format = c.format
			url = "srt://" + network + "?latency=2000000&streamid=publish:" + streams[i].StreamKey
		}
		args := strings.Fields("-hide_banner -v error -nostdin " + c.args + " -f " + format)
		encode(t, "ffmpeg", append(args, url)...)
	}
	hevc, fresh, refused, fought, flapping := s.create("standard"), s.create("standard"), s.create("standard"), s.create("standard"), s.create("standard")
	encode(t, program(t), "publish", s.publishURL(hevc), "--video-codec", "hevc", "--size", "320x180", "--bitrate", "300")

	t.Run("refusals", func(t *testing.T) { s.in(t).refusals(t, fresh, refused) })
	t.Run("encoders that fight, and one that comes and goes", func(t *testing.T) { s.in(t).flapping(t, fought, flapping) })
	t.Run("HEVC", func(t *testing.T) { s.in(t).waitFinding(hevc, "hevc_no_browser", 20*time.Second) })
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { s.in(t).diagnose(t, streams[i], c, told) })
	}
	t.Run("readings", func(t *testing.T) {
		h := s.in(t).health(streams[0])
		if len(h.Sources) != 1 || len(h.Sources[0].Tracks) != 2 {
			t.Fatalf("%+v", h)
		}
		v, a := h.Sources[0].Tracks[0], h.Sources[0].Tracks[1]
		if v.FrameRate == nil || *v.FrameRate < 24 || *v.FrameRate > 26 || v.KeyframeInterval == nil || *v.KeyframeInterval < 1.9 || *v.KeyframeInterval > 2.1 {
			t.Errorf("picture %+v", v)
		}
		if a.AudioLevel == nil || *a.AudioLevel < -12 || *a.AudioLevel > -6 || v.Brightness == nil || *v.Brightness < 0.1 {
			t.Errorf("samples %v %v", a.AudioLevel, v.Brightness)
		}
	})
}

// diary holds every finding that was ever told, by stream and code.
type diary struct {
	mu      sync.Mutex
	streams []stream
	of      map[string]map[string]finding
}

// keep reads the health of the streams every second until the function it returns is called.
func (d *diary) keep(s *server) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			d.mu.Lock()
			streams := d.streams
			d.mu.Unlock()
			for _, st := range streams {
				for _, f := range s.health(st).Findings {
					d.mu.Lock()
					if d.of[st.ID] == nil {
						d.of[st.ID] = map[string]finding{}
					}
					d.of[st.ID][f.Code] = f
					d.mu.Unlock()
				}
			}
			pause(ctx, time.Second)
		}
	})
	return func() { cancel(); running.Wait() }
}

func (d *diary) watch(st stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams = append(d.streams[:len(d.streams):len(d.streams)], st)
}

// told returns a finding that was told once.
func (d *diary) told(st stream, code string) (finding, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.of[st.ID][code]
	return f, ok
}

// diagnose waits for everything that must be found.
func (s *server) diagnose(t *testing.T, st stream, c ill, d *diary) {
	for code, evidence := range c.want {
		f, ok := d.told(st, code)
		if !ok {
			f = s.waitFinding(st, code, 100*time.Second)
		}
		f.whole(t)
		for _, name := range strings.Fields(evidence) {
			if f.Evidence[name] == nil {
				t.Errorf("%s has no evidence %s: %v", code, name, f.Evidence)
			}
		}
		t.Logf("%s (%s): %s", code, f.Severity, f.Title)
	}
	for _, code := range c.not {
		if f, ok := d.told(st, code); ok {
			t.Errorf("%s is found: %s %v", code, f.Title, f.Evidence)
		}
	}
	if h := s.health(st); len(h.History) == 0 {
		t.Errorf("status %s, without a history", h.Status)
	}
}

// refusals sends what must not be let in.
func (s *server) refusals(t *testing.T, fresh, refused stream) {
	tiny := strings.Fields("-hide_banner -v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=10 -t 5")
	wrong := append(append([]string(nil), tiny...), "-c:v", "libx264", "-preset", "ultrafast", "-f", "flv", "rtmp://"+s.rtmp+"/live/no-such-key")
	run(t, 20*time.Second, "ffmpeg", wrong...)
	f := s.waitFinding(fresh, "key_wrong", 5*time.Second)
	if f.Evidence["peer"] != "127.0.0.0/24" || !strings.Contains(f.Title, "stream key") {
		t.Errorf("%+v", f)
	}
	if h := s.health(fresh); h.Status != "no_data" || h.Score != nil || !strings.Contains(h.Summary, "stream key") {
		t.Errorf("%+v", h)
	}
	old := append(append([]string(nil), tiny...), "-c:v", "flv1", "-f", "flv", s.publishURL(refused))
	run(t, 20*time.Second, "ffmpeg", old...)
	if f := s.waitFinding(refused, "tracks_refused", 10*time.Second); f.Evidence["reason"] == "" || f.Severity != "critical" {
		t.Errorf("%+v", f)
	}
}

// flapping lets encoders take a stream from each other, and one come and go.
func (s *server) flapping(t *testing.T, fought, flapping stream) {
	light := []string{"--size", "320x180", "--bitrate", "300"}
	s.testcard(fought, light...)
	for range 3 {
		encode(t, program(t), append([]string{"publish", s.publishURL(fought)}, light...)...)
		pause(t.Context(), 3*time.Second)
	}
	s.waitFinding(fought, "publisher_conflict", 10*time.Second)
	for range 3 {
		p := s.testcard(flapping, light...)
		pause(t.Context(), time.Second)
		p.kill()
		s.waitStatus(flapping, "reconnecting", 15*time.Second)
	}
	s.testcard(flapping, light...)
	s.waitFinding(flapping, "reconnects_often", 10*time.Second)
}

// whole checks that a finding is told with all that people need.
func (f finding) whole(t *testing.T) {
	t.Helper()
	if f.Title == "" || f.Fix.OBS == "" || f.Fix.Browser == "" || f.Fix.FFmpeg == "" || f.Count < 1 || f.Source != "main" {
		t.Errorf("told as %+v", f)
	}
}

// waitFinding waits until the doctor found something, and checks that it is told whole.
func (s *server) waitFinding(st stream, code string, limit time.Duration) finding {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		h := s.health(st)
		if f, ok := h.finding(code); ok {
			f.whole(s.t)
			return f
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not found after %v, but %s", code, limit, fmt.Sprint(h.codes()))
		}
		pause(s.t.Context(), 500*time.Millisecond)
	}
}
