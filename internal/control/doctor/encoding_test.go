package doctor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/media/mediatest"
)

// becomes tells the doctor of a rendition of the stream that is watched.
func (p *patient) becomes(name, state, encoder, reason string) {
	p.t.Helper()
	p.bus.Publish(event.RenditionChanged{StreamID: "ls_1", Rendition: name, State: state, Encoder: encoder, Reason: reason})
	synctest.Wait()
}

// TestEncoding provokes what the server's own encoding has to tell.
func TestEncoding(t *testing.T) {
	type step struct {
		name, state, encoder, reason string
	}
	for _, tt := range []struct {
		name     string
		steps    []step
		want     string // nothing if it is empty
		severity Severity
		title    string
		evidence map[string]any
		recovery []step
		after    time.Duration // until it is cleared; 0: at once
	}{
		{name: "all is well", steps: []step{{"720p", "starting", "libx264", ""}, {"720p", "running", "libx264", ""}, {"720p", "idle", "libx264", ""}}},
		{
			name:  "too slow",
			steps: []step{{"720p", "running", "libx264", ""}, {"720p", "shed", "libx264", "it was 2.4 s behind."}, {"480p", "running", "libx264", ""}},
			want:  "transcode_shed", severity: Warning, title: "2 s ago the server gave up encoding 720p: it was 2.4 s behind",
			evidence: map[string]any{"renditions": "720p", "count": 1, "seconds": 2.0, "reason": "it was 2.4 s behind", "encoder": "libx264"},
			recovery: []step{{"720p", "idle", "", ""}}, after: 10 * time.Second,
		},
		{
			name:  "two of them",
			steps: []step{{"480p", "shed", "libx264", "b"}, {"720p", "shed", "libx264", "a"}},
			want:  "transcode_shed", severity: Warning, title: "480p, 720p", evidence: map[string]any{"renditions": "480p, 720p", "count": 2},
			recovery: []step{{"480p", "running", "libx264", ""}, {"720p", "starting", "libx264", ""}}, after: 10 * time.Second,
		},
		{
			name:  "keeps failing",
			steps: []step{{"720p", "starting", "libx264", ""}, {"720p", "failed", "libx264", "ffmpeg was killed (signal 9) 5 times"}},
			want:  "transcode_failed", severity: Warning, title: "720p failed again and again, 2 s ago: ffmpeg was killed (signal 9) 5 times",
			evidence: map[string]any{"renditions": "720p", "reason": "ffmpeg was killed (signal 9) 5 times", "encoder": "libx264"},
			recovery: []step{{"720p", "starting", "libx264", ""}, {"720p", "running", "libx264", ""}}, after: 30 * time.Second,
		},
		{
			name:  "no encoder",
			steps: []step{{"720p-av1", "failed", "", "no AV1 encoder was found"}},
			want:  "transcode_no_encoder", severity: Info, title: "cannot make 720p-av1: no AV1 encoder was found",
			evidence: map[string]any{"renditions": "720p-av1", "encoder": nil},
			recovery: []step{{"720p-av1", "idle", "", ""}}, after: 30 * time.Second,
		},
		{
			name:  "budget is full",
			steps: []step{{"720p", "refused", "", "0.6 more cores were needed, 0.3 of 3.0 are left"}},
			want:  "transcode_budget", severity: Warning, title: "no room to encode 720p, which was refused 2 s ago: 0.6 more cores",
			evidence: map[string]any{"count": 1, "reason": "0.6 more cores were needed, 0.3 of 3.0 are left"},
			recovery: []step{{"720p", "starting", "libx264", ""}}, after: 30 * time.Second,
		},
		{
			name:  "no ffmpeg",
			steps: []step{{"720p", "failed", "", "there is none"}, {"opus", "failed", "", "there is none"}},
			want:  "transcode_no_encoder", severity: Warning, title: "cannot make 720p, opus: there is none",
			evidence: map[string]any{"renditions": "720p, opus", "count": 2},
			recovery: []step{{"720p", "idle", "", ""}, {"opus", "idle", "", ""}}, after: 30 * time.Second,
		},
		{
			name:  "hardware gives up",
			steps: []step{{"720p", "starting", "", ""}, {"720p", "starting", "h264_nvenc", "it died"}, {"720p", "running", "libx264", "libx264 takes its place"}},
			want:  "hardware_fallback", severity: Info, title: "h264_nvenc gave up on 720p, and libx264 encodes it",
			evidence: map[string]any{"gave_up": "h264_nvenc", "encoder": "libx264", "renditions": "720p", "reason": "libx264 takes its place"},
			recovery: []step{{"720p", "running", "h264_nvenc", ""}}, after: 10 * time.Second,
		},
		{
			name:  "hardware gave up, and nobody watches",
			steps: []step{{"720p", "running", "h264_vaapi", ""}, {"720p", "starting", "libx264", ""}, {"720p", "idle", "", ""}},
		},
		{
			name:  "killed once",
			steps: []step{{"720p", "running", "libx264", ""}, {"720p", "starting", "libx264", "ffmpeg was killed (signal 9)"}, {"720p", "running", "libx264", ""}},
			want:  "transcode_restarted", severity: Info, title: "720p broke off once in 5 minutes and was started again: ffmpeg was killed (signal 9)",
			evidence: map[string]any{"restarts": 1, "renditions": "720p", "window_seconds": 300}, after: restartWindow,
		},
		{
			name: "killed three times",
			steps: []step{
				{"720p", "running", "libx264", ""}, {"720p", "starting", "libx264", "a"}, {"720p", "running", "libx264", ""}, {"720p", "starting", "libx264", "b"},
				{"480p", "running", "libx264", ""}, {"480p", "starting", "libx264", "c"}, {"480p", "running", "libx264", ""}, {"720p", "running", "libx264", ""},
			},
			want: "transcode_restarted", severity: Warning, title: "720p, 480p broke off 3 times", evidence: map[string]any{"restarts": 3}, after: restartWindow,
		},
		{
			name:  "started anew for another size of the source", // no reason: nothing broke
			steps: []step{{"720p", "running", "libx264", ""}, {"720p", "starting", "libx264", ""}, {"720p", "running", "libx264", ""}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			admit(t, Session{}, mediatest.Options{}, func(p *patient) {
				p.send(3 * time.Second)
				p.told()
				for _, s := range tt.steps {
					p.becomes(s.name, s.state, s.encoder, s.reason)
				}
				p.send(2 * time.Second)
				if tt.want == "" {
					p.has()
					return
				}
				p.has(tt.want)
				f := p.finding(tt.want)
				if f.Severity != tt.severity || !strings.Contains(f.Title, tt.title) || f.Source != "main" || f.Count != 1 {
					t.Errorf("found %+v, want %q", f, tt.title)
				}
				for k, v := range tt.evidence {
					if f.Evidence[k] != v {
						t.Errorf("%s is %v, want %v", k, f.Evidence[k], v)
					}
				}
				told := p.told()
				if len(told) != 1 || len(told[0].Raised) != 1 || told[0].Raised[0] != tt.want {
					t.Errorf("told %+v", told)
				}
				for _, s := range tt.recovery {
					p.becomes(s.name, s.state, s.encoder, s.reason)
				}
				p.send(tt.after - 3*time.Second)
				p.has(tt.want)
				p.send(5 * time.Second)
				p.has()
				if told = p.told(); len(told) != 1 || len(told[0].Cleared) != 1 || told[0].Cleared[0] != tt.want {
					t.Errorf("told %+v", told)
				}
			})
		})
	}
}

// TestRenditionsAreBounded keeps a few, and none of streams that nobody publishes.
func TestRenditionsAreBounded(t *testing.T) {
	admit(t, Session{}, mediatest.Options{}, func(p *patient) {
		p.send(time.Second)
		for i := range 2 * maxOutputs {
			p.becomes(fmt.Sprintf("%dp", i), "failed", "libx264", strings.Repeat("ü", maxReason))
		}
		p.bus.Publish(event.RenditionChanged{StreamID: "ls_2", Rendition: "720p", State: "failed"})
		synctest.Wait()
		p.send(2 * time.Second)
		f := p.finding("transcode_failed")
		if f.Evidence["count"] != maxOutputs || len(f.Evidence["reason"].(string)) > maxReason+len("…") {
			t.Errorf("found %+v", f)
		}
		if _, ok := p.d.Health("ls_2"); ok {
			t.Error("a stream without a publisher is watched")
		}
	})
}

// TestRenditionsEndWithTheBroadcast begins the next one with nothing found.
func TestRenditionsEndWithTheBroadcast(t *testing.T) {
	admit(t, Session{}, mediatest.Options{}, func(p *patient) {
		p.send(2 * time.Second)
		p.becomes("720p", "shed", "libx264", "slow")
		p.send(2 * time.Second)
		p.has("transcode_shed")
		p.tap.Ended(nil)
		p.bus.Publish(event.StreamIdle{StreamID: "ls_1"})
		synctest.Wait()
		time.Sleep(time.Second)
		p.tap = p.d.Watch(Session{StreamID: "ls_1", Session: "in_2", Since: time.Now()})
		p.gen = mediatest.NewGenerator(mediatest.Options{Start: time.Now(), Width: 640, Height: 360})
		p.send(3 * time.Second)
		p.has()
	})
}

// TestMissedEventsFree holds nothing against a stream of which an event was missed.
func TestMissedEventsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.SampleInterval = 0
		bus := event.NewBus()
		d := New(cfg, bus, nil, nil)
		d.Watch(Session{StreamID: "ls_1", Session: "in_1", Since: time.Now()})
		d.rendition(event.RenditionChanged{StreamID: "ls_1", Rendition: "720p", State: "failed", Encoder: "libx264"})
		s := d.find("ls_1")
		if len(s.outputs) != 1 {
			t.Fatalf("%d renditions", len(s.outputs))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		l := bus.Listen()
		for range 5000 { // more than the bus keeps
			bus.Publish(event.StreamTracksChanged{StreamID: "ls_1"})
		}
		if _, missed, _ := l.Next(ctx); missed == 0 {
			t.Fatal("nothing was missed")
		}
		go func() { defer close(done); d.follow(ctx, bus.ListenAfter(1)) }()
		synctest.Wait()
		cancel()
		<-done
		if s.mu.Lock(); len(s.outputs) != 0 {
			t.Errorf("%d renditions are still held against the stream", len(s.outputs))
		}
		s.mu.Unlock()
	})
}
