package transcode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
)

func TestJustInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil, newFakeTool(), nil)
		s.publish()
		s.live(7 * time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"480p", "360p", "opus"}) {
			t.Fatalf("offered %v", got)
		}
		if len(s.tool.jobs) != 0 || s.feed("480p") != nil {
			t.Fatalf("encoded for nobody: %v", s.tool.names())
		}
		if err := s.tr.Want("s", "720p"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a rung of the source's size: %v", err)
		}
		if err := s.tr.Want("other", "480p"); !fault.Is(err, fault.NotFound) {
			t.Errorf("of a stream that is not there: %v", err)
		}
		s.want("480p")
		s.wantState("480p", Running)
		f := s.feed("480p")
		if f == nil || !f.Derived() || f.Private() {
			t.Fatal("no feed for the rung")
		}
		// It begins with the group that was shown three seconds ago, where players of other
		// renditions are, and has all that came since.
		r := f.NewReader(hub.ReaderOptions{From: hub.OldestKept})
		got := s.read(r)
		if len(got) == 0 || !got[0].Key || got[0].PTS != s.video.Ticks(102*time.Second) || got[0].Track.ID == s.video.ID {
			t.Fatalf("%d packets", len(got))
		}
		if last := got[len(got)-1]; last.PTS != s.video.Ticks(s.clock-frameTime) {
			t.Errorf("the last packet is at %v", last.Track.Duration(last.PTS))
		}
		// As long as somebody asks there is one encoder.
		for range 10 {
			s.live(20 * time.Second)
			s.want("480p")
		}
		if n := s.tool.names(); len(n) != 1 || s.tool.now() != 1 {
			t.Errorf("jobs %v", n)
		}
		s.live(29 * time.Second)
		if s.tool.now() != 1 {
			t.Error("it ended too early")
		}
		s.live(3 * time.Second)
		if s.tool.now() != 0 {
			t.Error("it runs for nobody")
		}
		s.wantState("480p", Idle)
		var states []string
		for _, e := range s.told("480p") {
			states = append(states, e.State)
			if e.StreamID != "s" || (e.State == "running") != (e.Encoder == "libx264" && e.State == "running") {
				t.Errorf("told %+v", e)
			}
		}
		if !slices.Equal(states, []string{"starting", "running", "idle"}) {
			t.Errorf("told %v", states)
		}
		// Once more: it goes on after what it has.
		s.read(r)
		s.want("480p")
		s.live(3 * time.Second)
		got = s.read(r)
		if len(got) == 0 || !got[0].Key {
			t.Fatalf("nothing, or no key, of the second time: %d", len(got))
		}
		r.Close()
		s.pub.End(nil)
		synctest.Wait()
		if s.tool.now() != 0 || s.tr.Offers("s") != nil {
			t.Error("something is left of a stream that ended")
		}
	})
}

// TestTimelineNeverGoesBack: whatever ends and begins, a feed has each picture once, in
// order, and begins again with a key.
func TestTimelineNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.Idle = time.Second }, newFakeTool(), nil)
		n := 0
		s.tool.packet = func(context.Context, ffmpeg.Job, *media.Packet) error {
			if n++; n%37 == 0 {
				return ffmpeg.ErrDied
			}
			return nil
		}
		s.publish()
		s.live(time.Second)
		s.want("480p")
		r := s.feed("480p").NewReader(hub.ReaderOptions{From: hub.OldestKept})
		defer r.Close()
		last := int64(-1)
		for i := range 60 {
			if i%3 == 0 {
				_ = s.tr.Want("s", "480p")
			}
			s.live(700 * time.Millisecond)
			for _, p := range s.read(r) {
				if p.PTS <= last {
					t.Fatalf("a picture of %v after one of %v", p.Track.Duration(p.PTS), p.Track.Duration(last))
				}
				if last >= 0 && p.Track.Duration(p.PTS-last) > 50*time.Millisecond && !p.Key {
					t.Fatalf("no key after a hole at %v", p.Track.Duration(p.PTS))
				}
				last = p.PTS
			}
		}
		if last < 0 || len(s.tool.names()) < 3 {
			t.Errorf("only %d encoders", len(s.tool.names()))
		}
	})
}

func TestSourceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil, newFakeTool(), nil)
		s.publish()
		s.live(3 * time.Second)
		for _, name := range []string{"480p", "360p"} {
			s.want(name)
		}
		r := s.feed("360p").NewReader(hub.ReaderOptions{})
		defer r.Close()
		s.live(time.Second)
		// The same parameters at another address are no change.
		again := *s.video
		s.video = &again
		s.live(3 * time.Second)
		if n := len(s.tool.names()); n != 2 {
			t.Fatalf("%d jobs after a track that is the same", n)
		}
		s.read(r)
		// A smaller picture: one rung has no place any more, the other goes on from that key.
		s.video = videoTrack(854, 480, media.H264)
		s.frame = 0
		at := s.clock
		s.live(2 * time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"360p", "opus"}) {
			t.Errorf("offered %v", got)
		}
		got := s.read(r)
		key := slices.IndexFunc(got, func(p *media.Packet) bool { return p.PTS == p.Track.Ticks(at) })
		if key < 0 || !got[key].Key || got[key].Track == got[0].Track && key > 0 {
			t.Errorf("the rung has %d packets and no new beginning", len(got))
		}
		if n := s.tool.names(); len(n) != 3 || !slices.Equal(n[2], []string{"360p"}) || s.tool.now() != 1 {
			t.Errorf("jobs %v, %d run", n, s.tool.now())
		}
		if err := s.tr.Want("s", "480p"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a rung that is no more: %v", err)
		}
		// Another codec: now the picture itself has to be made for those who cannot play it,
		// once, for playlists and for WebRTC.
		s.video = videoTrack(1280, 720, media.HEVC)
		s.frame = 0
		s.live(2 * time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"720p", "480p", "360p", "opus", "realtime"}) {
			t.Errorf("offered %v", got)
		}
		s.want("realtime")
		s.want("720p")
		s.live(time.Second)
		jobs := s.tool.names()
		if last := jobs[len(jobs)-1]; !slices.Equal(last, []string{"720p"}) || s.tool.now() != 2 {
			t.Errorf("jobs %v, %d run", jobs, s.tool.now())
		}
		if f := s.feed("realtime"); f == nil || !f.Private() {
			t.Error("no feed for WebRTC, or one in playlists")
		} else {
			r := f.NewReader(hub.ReaderOptions{})
			defer r.Close()
			if got := s.read(r); len(got) == 0 || got[0].Track.Rendition != "realtime" {
				t.Errorf("%d packets for WebRTC", len(got))
			}
		}
	})
}

func TestEncoderBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, nil, tool, nil)
		died := fault.Wrap(fault.Unavailable, "encode", "s", fmt.Errorf("%w: signal killed", ffmpeg.ErrDied), "")
		broken := true
		tool.packet = func(_ context.Context, job ffmpeg.Job, p *media.Packet) error {
			if job.Outputs[0].Rendition == "480p" && broken && p.PTS%(90000*2) == 90000 { // in the middle of a group
				return died
			}
			return nil
		}
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		s.want("360p")
		r, other := s.feed("480p").NewReader(hub.ReaderOptions{}), s.feed("360p").NewReader(hub.ReaderOptions{})
		defer r.Close()
		defer other.Close()
		s.live(time.Second)
		s.wantState("480p", Starting)
		if _, reason := s.state("480p"); !strings.Contains(reason, "signal killed") {
			t.Errorf("why: %q", reason)
		}
		s.live(800 * time.Millisecond)
		s.wantState("480p", Running)
		got := s.read(r)
		if want := s.video.Ticks(102 * time.Second); len(got) != 26+7 && !slices.ContainsFunc(got, func(p *media.Packet) bool { return p.Key && p.PTS == want }) {
			t.Errorf("it was not started at the next key: %d packets", len(got))
		}
		if s.tr.Want("s", "480p") != nil {
			t.Error("refused while it is started again")
		}
		s.live(10 * time.Second)
		// Five times in a row are too many.
		s.wantState("480p", Failed)
		if err := s.tr.Want("s", "480p"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "signal killed") {
			t.Errorf("of a rung that failed: %v", err)
		}
		if got := s.offered(); slices.Contains(got, "480p") {
			t.Errorf("a rung that failed is offered: %v", got)
		}
		// Nobody else noticed.
		if got := len(s.read(other)); got < 300 {
			t.Errorf("the other rung has %d packets", got)
		}
		if n := s.tool.now(); n != 1 {
			t.Errorf("%d encoders", n)
		}
		broken = false
		s.want("360p")
		s.live(29 * time.Second)
		s.want("360p")
		s.live(29 * time.Second)
		s.want("360p")
		s.live(10 * time.Second)
		s.wantState("480p", Idle)
		s.want("480p")
		s.wantState("480p", Running)
		for _, r := range s.tr.Renditions("s") {
			if r.Offer.Track.Rendition == "480p" && r.Restarts != 4 {
				t.Errorf("%d restarts", r.Restarts)
			}
		}
	})
}

func TestHardwareFallsBack(t *testing.T) {
	for _, cause := range []error{ffmpeg.ErrEncoder, ffmpeg.ErrGarbage} {
		synctest.Test(t, func(t *testing.T) {
			tool := newFakeTool()
			tool.encoders[media.H264] = []ffmpeg.Encoder{
				{Name: "h264_nvenc", Codec: media.H264, Hardware: true}, {Name: "libx264", Codec: media.H264},
			}
			tool.job = func(j ffmpeg.Job) error {
				if j.Outputs[0].Video.Encoder.Hardware {
					return fault.Wrap(fault.Unavailable, "encode", "s", cause, "")
				}
				return nil
			}
			s := newStage(t, nil, tool, nil)
			s.publish()
			s.live(500 * time.Millisecond)
			s.want("480p")
			s.live(4 * time.Second)
			state, reason := s.state("480p")
			if state != Running || !strings.Contains(reason, "h264_nvenc") || !strings.Contains(reason, "libx264") {
				t.Errorf("%s: %s", state, reason)
			}
			told := s.told("480p")
			if last := told[len(told)-1]; last.Encoder != "libx264" || last.State != "running" {
				t.Errorf("told %+v", told)
			}
			// Whoever comes next does not try it again.
			before := len(tool.names())
			s.want("360p")
			if state, reason := s.state("360p"); state != Running || reason != "" || len(tool.names()) != before+1 {
				t.Errorf("the next rung: %s, %q, %v", state, reason, tool.names())
			}
		})
	}
}

func TestNoEncoderLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		tool.job = func(ffmpeg.Job) error { return ffmpeg.ErrEncoder }
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		s.live(time.Second)
		s.wantState("480p", Failed)
	})
}

func TestWithoutFFmpeg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil, nil, nil)
		s.publish()
		s.live(time.Second)
		if got := s.offered(); got != nil {
			t.Errorf("offered %v", got)
		}
		if err := s.tr.Want("s", "480p"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no ffmpeg") {
			t.Errorf("%v", err)
		}
		if told := s.told("480p"); len(told) != 1 || told[0].State != "failed" || told[0].Encoder != "" {
			t.Errorf("told %+v", told)
		}
	})
}

func TestSourceThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		tool.job = func(ffmpeg.Job) error {
			return fault.Wrap(fault.TooLarge, "encode", "s", errors.Join(ffmpeg.ErrSource), "")
		}
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		s.live(time.Second)
		s.wantState("480p", Failed)
		if n := len(tool.names()); n != 1 {
			t.Errorf("tried %d times", n)
		}
	})
}
