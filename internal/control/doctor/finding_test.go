package doctor

import (
	"math"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestFindings provokes what packets alone can tell. Each case names all that is found,
// so that it also shows what is not.
func TestFindings(t *testing.T) {
	one := func(p *media.Packet) []*media.Packet { return []*media.Packet{p} }
	for _, tt := range []struct {
		name     string
		session  Session
		o        mediatest.Options
		d        time.Duration
		change   func(o *patient) func(p *media.Packet) []*media.Packet
		want     []string
		evidence map[string]any // of the first
		severity Severity
	}{
		{name: "healthy", d: 90 * time.Second},
		{name: "healthy, HEVC is not for browsers", o: mediatest.Options{Video: media.HEVC}, d: 15 * time.Second, want: []string{"hevc_no_browser"}},
		{name: "healthy AV1 and Opus", o: mediatest.Options{Video: media.AV1, Audio: media.Opus}, d: 40 * time.Second},
		{name: "healthy over RTMP", o: mediatest.Options{Timescale: 1000, RateNum: 30000, RateDen: 1001, SampleRate: 44100}, d: 90 * time.Second},
		{name: "healthy with a variable frame rate", o: mediatest.Options{VariableRate: true}, d: 60 * time.Second},
		{name: "sound only", o: mediatest.Options{NoVideo: true}, d: 60 * time.Second},
		{
			name: "starved", d: 20 * time.Second, want: []string{"ingest_starved"}, severity: Critical,
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet { // 0.7 of real time
					return []*media.Packet{delayed(p, time.Duration(0.43*float64(p.Arrival.Sub(c.begin))))}
				}
			},
			evidence: map[string]any{"window_seconds": 10},
		},
		{
			name: "nothing arrives any more", d: 20 * time.Second, want: []string{"ingest_starved"},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if p.Arrival.Sub(c.begin) > 14*time.Second {
						return nil
					}
					return one(p)
				}
			},
		},
		{
			name: "faster than real time", d: 20 * time.Second, want: []string{"ingest_faster_than_realtime"},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					return []*media.Packet{delayed(p, -time.Duration(0.4*float64(p.Arrival.Sub(c.begin))))}
				}
			},
		},
		{name: "low bitrate", o: mediatest.Options{FrameSize: 100}, d: 45 * time.Second, want: []string{"bitrate_low"}, severity: Info,
			evidence: map[string]any{"width": 640, "height": 360, "track": mediatest.VideoID}},
		{name: "high bitrate", o: mediatest.Options{FrameSize: 30000}, d: 45 * time.Second, want: []string{"bitrate_high"}},
		{
			name: "unstable bitrate", d: 80 * time.Second, want: []string{"bitrate_unstable"},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if isVideo(p) && int(p.Arrival.Sub(c.begin).Seconds())/12%2 == 1 {
						q := *p
						q.Data = append(append([]byte(nil), p.Data...), make([]byte, 5*len(p.Data))...)
						return one(&q)
					}
					return one(p)
				}
			},
		},
		{name: "long key-frame interval", o: mediatest.Options{GOP: 300}, d: 25 * time.Second, want: []string{"keyframe_interval_long"},
			evidence: map[string]any{"interval_seconds": 10.0, "track": mediatest.VideoID}},
		{name: "no key frame but the first", o: mediatest.Options{GOP: 1e6}, d: 10 * time.Second, want: []string{"keyframe_interval_long"},
			evidence: map[string]any{"interval_seconds": nil}},
		{name: "short key-frame interval", o: mediatest.Options{GOP: 9}, d: 15 * time.Second, want: []string{"keyframe_interval_short"},
			evidence: map[string]any{"interval_seconds": 0.3}},
		{
			name: "irregular key-frame interval", o: mediatest.Options{GOP: 30}, d: 40 * time.Second, want: []string{"keyframe_interval_irregular"},
			change: func(*patient) func(*media.Packet) []*media.Packet {
				n := 0
				return func(p *media.Packet) []*media.Packet {
					if !isVideo(p) || !p.Key {
						return one(p)
					}
					if n++; n%3 != 2 {
						return one(p)
					}
					q := *p
					q.Key = false
					return one(&q)
				}
			},
		},
		{
			name: "only key frames", d: 20 * time.Second, o: mediatest.Options{GOP: 30}, want: []string{"fps_low", "only_keyframes"},
			change: func(*patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if isVideo(p) && !p.Key {
						return nil
					}
					return one(p)
				}
			},
		},
		{name: "B-frames", o: mediatest.Options{BFrames: 2}, d: 12 * time.Second, want: []string{"bframes_in_realtime"}, severity: Info},
		{name: "B-frames of HEVC", o: mediatest.Options{Video: media.HEVC, BFrames: 2}, d: 12 * time.Second, want: []string{"bframes_in_realtime", "hevc_no_browser"}},
		{
			name: "open groups", d: 12 * time.Second, want: []string{"open_gop"},
			change: func(*patient) func(*media.Packet) []*media.Packet {
				n := 0
				return func(p *media.Packet) []*media.Packet {
					if n++; isVideo(p) && !p.Key && n%40 == 0 {
						q := *p
						q.Data = append([]byte{0, 0, 0, 5, 0x06, 0x06, 0x01, 0xc4, 0x80}, p.Data...)
						return one(&q)
					}
					return one(p)
				}
			},
		},
		{
			name: "fewer frames than declared", d: 25 * time.Second, want: []string{"fps_low"},
			change: func(*patient) func(*media.Packet) []*media.Packet {
				n := 0
				return func(p *media.Packet) []*media.Packet {
					if isVideo(p) && !p.Key {
						if n++; n%2 == 0 {
							return nil
						}
					}
					return one(p)
				}
			},
			evidence: map[string]any{"declared_frame_rate": 30.0},
		},
		{
			name: "missing frames", d: 30 * time.Second, want: []string{"frames_missing"},
			change: func(*patient) func(*media.Packet) []*media.Packet {
				n := 0
				return func(p *media.Packet) []*media.Packet {
					if isVideo(p) && !p.Key {
						if n++; n%30 < 2 {
							return nil
						}
					}
					return one(p)
				}
			},
		},
		{
			name: "unstable frame rate", o: mediatest.Options{UndeclaredRate: true}, d: 40 * time.Second, want: []string{"fps_unstable", "frames_missing"},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				n := 0
				return func(p *media.Packet) []*media.Packet {
					if n++; isVideo(p) && !p.Key && p.Arrival.Sub(c.begin).Seconds() > 10 && int(p.Arrival.Sub(c.begin).Seconds())%4 < 2 && n%3 != 0 {
						return nil
					}
					return one(p)
				}
			},
		},
		{name: "odd shape", o: mediatest.Options{Width: 640, Height: 200}, d: 12 * time.Second, want: []string{"aspect_odd"}, severity: Info},
		{name: "upright", o: mediatest.Options{Width: 360, Height: 640}, d: 12 * time.Second},
		{name: "odd sample rate", o: mediatest.Options{SampleRate: 22050}, d: 12 * time.Second, want: []string{"audio_sample_rate_odd"},
			evidence: map[string]any{"sample_rate": 22050, "track": mediatest.AudioID}},
		{name: "no sound", o: mediatest.Options{NoAudio: true}, d: 15 * time.Second, want: []string{"audio_missing"}, evidence: map[string]any{"tracks": 0}},
		{
			name: "the sound stops", d: 30 * time.Second, want: []string{"audio_missing"}, evidence: map[string]any{"tracks": 1},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if !isVideo(p) && p.Arrival.Sub(c.begin) > 15*time.Second {
						return nil
					}
					return one(p)
				}
			},
		},
		{name: "sound begins late", o: mediatest.Options{AudioDelay: 500 * time.Millisecond}, d: 15 * time.Second, want: []string{"av_desync"},
			severity: Info, evidence: map[string]any{"start_ms": 500.0}},
		{
			name: "sound moves away", d: 60 * time.Second, want: []string{"av_desync"}, severity: Warning,
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if isVideo(p) {
						return one(p)
					}
					return one(moved(p, p.Arrival.Sub(c.begin)/200))
				}
			},
		},
		{
			name: "clock leaps ahead", d: 20 * time.Second, want: []string{"timestamp_jump"}, evidence: map[string]any{"jumps": uint64(1)},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if p.Arrival.Sub(c.begin) > 12*time.Second {
						return one(moved(p, time.Hour))
					}
					return one(p)
				}
			},
		},
		{
			name: "clock leaps back", o: mediatest.Options{Offset: 2 * time.Hour, Start: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-2 * time.Hour)}, d: 20 * time.Second, want: []string{"timestamp_jump"},
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if p.Arrival.Sub(c.begin) > 12*time.Second {
						return one(moved(p, -time.Hour))
					}
					return one(p)
				}
			},
		},
		{
			name: "stamps repeat", d: 15 * time.Second, want: []string{"timestamp_non_monotonic"},
			change: func(*patient) func(*media.Packet) []*media.Packet {
				n := 0
				return func(p *media.Packet) []*media.Packet {
					if n++; isVideo(p) && !p.Key && n%50 == 0 {
						return one(moved(p, -40*time.Millisecond))
					}
					return one(p)
				}
			},
		},
		{
			name: "clock is slow", d: 170 * time.Second, want: []string{"clock_skew_encoder"}, severity: Info,
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet { return one(moved(p, -p.Arrival.Sub(c.begin)/1000)) }
			},
		},
		{
			name: "way becomes longer, and no clock is wrong", d: 170 * time.Second,
			change: func(c *patient) func(*media.Packet) []*media.Packet {
				return func(p *media.Packet) []*media.Packet {
					if p.Arrival.Sub(c.begin) > 80*time.Second {
						return one(delayed(p, 300*time.Millisecond))
					}
					return one(p)
				}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			admit(t, tt.session, tt.o, func(p *patient) {
				if tt.change != nil {
					p.change = tt.change(p)
				}
				p.send(tt.d)
				p.has(tt.want...)
				r := p.report()
				if r.Stale || r.Score == nil || r.MeasuredAt == nil || len(r.Sources) != 1 {
					t.Errorf("report %+v", r)
				}
				if len(tt.want) == 0 {
					if r.Status != Good || *r.Score != 100 {
						t.Errorf("status %s, score %d", r.Status, *r.Score)
					}
					return
				}
				f := p.finding(tt.want[0])
				if f.Title == "" || f.Fix.OBS == "" || f.Since.IsZero() || f.Count < 1 || f.Source != "main" {
					t.Errorf("finding %+v", f)
				}
				if tt.severity != "" && f.Severity != tt.severity {
					t.Errorf("severity %s, want %s", f.Severity, tt.severity)
				}
				for k, want := range tt.evidence {
					if got, ok := f.Evidence[k]; !ok || got != want {
						t.Errorf("evidence %s is %v (%T), want %v (%T)", k, got, got, want, want)
					}
				}
			})
		})
	}
}

// TestReadings checks the numbers of a healthy publisher.
func TestReadings(t *testing.T) {
	admit(t, Session{Protocol: "rtmp", Encoder: "obs"}, mediatest.Options{}, func(p *patient) {
		p.send(70 * time.Second)
		s := p.report().Sources[0]
		v, a := s.Tracks[0], s.Tracks[1]
		near := func(name string, got *float64, want, tolerance float64) {
			t.Helper()
			if got == nil {
				t.Errorf("%s is unknown, want %g", name, want)
			} else if math.Abs(*got-want) > tolerance {
				t.Errorf("%s is %g, want %g", name, *got, want)
			}
		}
		near("frame rate", v.FrameRate, 30, 0.1)
		near("declared frame rate", v.DeclaredFrameRate, 30, 0)
		near("key-frame interval", v.KeyframeInterval, 2, 0.01)
		near("deviation", v.KeyframeDeviation, 0, 0.001)
		near("bitrate", v.Bitrate, 8*(2000*29.5+10000*0.5), 16000)
		near("variation", v.BitrateVariation, 0, 0.05)
		near("offset", s.AVOffset, 0, 0.03)
		near("clock drift", s.ClockDrift, 0, 0.05)
		if v.BFrames == nil || *v.BFrames || v.Interlaced == nil || *v.Interlaced || v.OpenGOP == nil || *v.OpenGOP || *v.FramesMissing != 0 {
			t.Errorf("video %+v", v)
		}
		if *v.Width != 640 || *v.Height != 360 || *a.SampleRate != 48000 || *a.Channels != 2 {
			t.Errorf("tracks %+v %+v", v, a)
		}
		// What nobody measured is unknown.
		if s.Link.RTT != nil || s.Link.Loss != nil || s.Link.Dropped != nil || a.AudioLevel != nil || a.AudioSilent != nil || a.FrameRate != nil || v.PictureBrightness != nil || a.Width != nil {
			t.Errorf("readings out of nothing: %+v", s)
		}
		if h := p.report().History; len(h) < 30 || len(h) > 36 || h[10].Bitrate == nil || h[10].RTT != nil || h[10].Offline {
			t.Errorf("history of %d points", len(h))
		}
	})
}
