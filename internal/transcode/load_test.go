package transcode

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
)

func TestSlowMachineShedsTheTopRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		s.want("360p")
		s.live(3 * time.Second)
		tool.lag = 1900 * time.Millisecond
		s.live(5 * time.Second)
		s.wantState("480p", Running)
		tool.lag = 2500 * time.Millisecond
		s.live(3 * time.Second)
		tool.lag = 0
		s.live(time.Second)
		s.wantState("480p", Shed)
		s.wantState("360p", Running)
		if tool.now() != 1 {
			t.Errorf("%d encoders", tool.now())
		}
		if err := s.tr.Want("s", "480p"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "too slow") {
			t.Errorf("%v", err)
		}
		if got := s.offered(); slices.Contains(got, "480p") || !slices.Contains(got, "360p") {
			t.Errorf("offered %v", got)
		}
		told := s.told("480p")
		if last := told[len(told)-1]; last.State != "shed" || last.Reason == "" {
			t.Errorf("told %+v", told)
		}
		// After a pause it is there again.
		for range 4 {
			s.want("360p")
			s.live(15 * time.Second)
		}
		s.wantState("480p", Idle)
		s.want("480p")
		s.wantState("480p", Running)
		// The second time the pause is longer.
		s.want("360p")
		s.live(2 * time.Second)
		tool.lag = 5 * time.Second
		s.live(3 * time.Second)
		tool.lag = 0
		for range 5 {
			s.want("360p")
			s.live(15 * time.Second)
		}
		s.wantState("480p", Shed)
	})
}

// TestBurstAtTheStartIsNoLag: an encoder begins with a group that is seconds old, and may
// take a while to be abreast.
func TestBurstAtTheStartIsNoLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		tool.lag = 6 * time.Second
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		s.live(8 * time.Second)
		s.wantState("480p", Running)
		s.live(6 * time.Second)
		s.wantState("480p", Shed)
	})
}

// TestStandingStillIsNotSlow: an encoder that makes nothing is for its job to end, and to be
// started again.
func TestStandingStillIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		var once sync.Once
		tool.packet = func(ctx context.Context, _ ffmpeg.Job, p *media.Packet) (err error) {
			if p.Track.Duration(p.PTS) > 104*time.Second {
				once.Do(func() {
					select {
					case <-time.After(5 * time.Second):
						err = fault.Wrap(fault.Timeout, "encode", "s", ffmpeg.ErrStalled, "")
					case <-ctx.Done():
						err = ctx.Err()
					}
				})
			}
			return err
		}
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(time.Second)
		s.want("480p")
		s.live(8 * time.Second)
		s.wantState("480p", Running) // until the job is ended
		s.live(3 * time.Second)
		s.wantState("480p", Running)
		if n := len(tool.names()); n != 2 {
			t.Errorf("%d encoders", n)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, func(c *Config) { c.Cores = 0.3 }, tool, nil)
		s.publish()
		s.live(time.Second)
		s.want("480p")
		err := s.tr.Want("s", "360p")
		if !fault.Is(err, fault.TooMany) || !strings.Contains(err.Error(), "cores") {
			t.Errorf("%v", err)
		}
		if s.tr.Want("s", "360p") == nil {
			t.Error("asked twice, and it fits")
		}
		s.wantState("360p", Refused)
		if told := s.told("360p"); len(told) != 1 || told[0].State != "refused" {
			t.Errorf("told %+v", told)
		}
		if got := s.offered(); !slices.Contains(got, "360p") {
			t.Errorf("what does not fit now is not offered: %v", got)
		}
		// Sound is always made, but counts.
		total, used := s.tr.Budget()
		s.want("opus")
		if _, now := s.tr.Budget(); total != 0.3 || now <= used {
			t.Errorf("%v of %v, %v before", now, total, used)
		}
		// When the one has gone there is room for the other.
		s.live(15 * time.Second)
		s.wantState("360p", Idle)
		s.live(20 * time.Second)
		s.want("360p")
		s.wantState("360p", Running)
	})
}

func TestMeasuredCostCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		tool.cores = 0.9
		s := newStage(t, func(c *Config) { c.Cores = 1 }, tool, nil)
		s.publish()
		s.live(time.Second)
		s.want("480p")
		_, before := s.tr.Budget()
		s.live(15 * time.Second)
		_, used := s.tr.Budget()
		if before > 0.5 || used < 0.85 || used > 0.95 {
			t.Errorf("%v cores are reckoned, %v before it was measured", used, before)
		}
		for _, r := range s.tr.Renditions("s") {
			if r.Offer.Track.Rendition == "480p" && (r.CPU < 13*time.Second || r.CPU > 14*time.Second || r.Lag != 0) {
				t.Errorf("%+v", r)
			}
		}
		if err := s.tr.Want("s", "360p"); !fault.Is(err, fault.TooMany) {
			t.Errorf("%v", err)
		}
	})
}

func TestAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, func(c *Config) { c.Mode = Always }, tool, nil)
		s.audio = &media.Track{ID: 2, Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Channels: 2}
		s.publish()
		s.live(3 * time.Second)
		got := tool.names()
		slices.SortFunc(got, func(a, b []string) int { return len(a) - len(b) })
		if len(got) != 2 || !slices.Equal(got[0], []string{"aac"}) || !slices.Equal(got[1], []string{"480p", "360p"}) {
			t.Fatalf("jobs %v", got)
		}
		s.live(2 * time.Minute)
		if tool.now() != 2 {
			t.Errorf("%d encoders", tool.now())
		}
		s.want("480p")
		// Too slow: it goes on without the top rung.
		tool.lag = 3 * time.Second
		s.live(3 * time.Second)
		tool.lag = 0
		s.live(3 * time.Second)
		s.wantState("480p", Shed)
		s.wantState("360p", Running)
		got = tool.names()
		if last := got[len(got)-1]; !slices.Equal(last, []string{"360p"}) || tool.now() != 2 {
			t.Errorf("jobs %v", got)
		}
		// And with it again.
		s.live(time.Minute)
		s.live(3 * time.Second)
		s.wantState("480p", Running)
		s.wantState("360p", Running)
		got = tool.names()
		if last := got[len(got)-1]; !slices.Equal(last, []string{"480p", "360p"}) || tool.now() != 2 {
			t.Errorf("jobs %v, %d run", got, tool.now())
		}
		s.pub.End(nil)
		synctest.Wait()
		if tool.now() != 0 {
			t.Error("they run on after the end")
		}
	})
}

func TestAlwaysWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, func(c *Config) { c.Mode, c.Cores = Always, 0.3 }, tool, nil)
		s.publish()
		s.live(3 * time.Second)
		s.wantState("360p", Running)
		s.wantState("480p", Refused)
		s.live(time.Minute)
		var refused int
		for _, e := range s.told("480p") {
			if e.State == "refused" {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("told %d times in a minute that it does not fit", refused)
		}
	})
}

// choices are settings of streams.
type choices struct {
	mu   sync.Mutex
	of   map[string]Choice
	err  error
	asks int
}

func (c *choices) Ladder(_ context.Context, id string) (Choice, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks++
	return c.of[id], c.err
}

func (c *choices) set(id string, o Choice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[id] = o
}

func TestStreamsOwnLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &choices{of: map[string]Choice{"s": {Rungs: []string{"240p@300k", "360p/hevc"}}}}
		tool := newFakeTool()
		s := newStage(t, nil, tool, own)
		s.publish()
		s.live(time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"360p-hevc", "240p", "opus"}) {
			t.Errorf("offered %v", got)
		}
		s.want("360p-hevc")
		if j := tool.jobs[0].Outputs[0].Video; j.Encoder.Name != "libx265" || j.Height != 360 {
			t.Errorf("made by %+v", j)
		}
		// Changed through the API: what is no more ends, what is always made begins.
		own.set("s", Choice{Profile: "default", Mode: Always})
		s.bus.Publish(event.StreamRecord{StreamID: "s", Change: "updated"})
		s.live(3 * time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"480p", "360p", "opus"}) {
			t.Errorf("offered %v", got)
		}
		s.wantState("480p", Running)
		own.set("s", Choice{Mode: Off})
		s.bus.Publish(event.StreamRecord{StreamID: "s", Change: "updated"})
		s.live(time.Minute)
		if got := s.offered(); !slices.Equal(got, []string{"opus"}) || tool.now() != 0 {
			t.Errorf("offered %v, %d run", got, tool.now())
		}
		if own.asks != 3 {
			t.Errorf("asked %d times", own.asks)
		}
	})
}

func TestSettingsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil, newFakeTool(), &choices{err: fault.New(fault.Unavailable, "read", "", "the database is away", "")})
		s.publish()
		s.live(time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"480p", "360p", "opus"}) {
			t.Errorf("offered %v", got)
		}
	})
}

func TestOffForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.Mode = Off }, newFakeTool(), nil)
		s.publish()
		s.live(time.Second)
		if got := s.offered(); got != nil || s.tr.Reorders("s") {
			t.Errorf("offered %v", got)
		}
	})
}

func TestPublisherWhoComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(3 * time.Second)
		s.want("480p")
		r := s.feed("480p").NewReader(hub.ReaderOptions{})
		defer r.Close()
		s.live(time.Second)
		s.read(r)
		// Another encoder with other settings takes over.
		s.video = videoTrack(1920, 1080, media.H264)
		s.frame = 0
		s.publish()
		s.live(2 * time.Second)
		if got := s.read(r); len(got) < 49 || !got[0].Key {
			t.Errorf("%d packets of the new publisher", len(got))
		}
		s.wantState("480p", Running)
		if got := s.offered(); !slices.Contains(got, "720p") {
			t.Errorf("offered %v", got)
		}
		// It has its own rendition of that name now: nothing is made of that name.
		small := videoTrack(854, 480, media.H264)
		small.ID, small.Rendition = 7, "480p"
		p := &media.Packet{Track: small, DTS: small.Ticks(s.clock), PTS: small.Ticks(s.clock), Key: true, Arrival: time.Now(), Data: []byte{1}}
		if err := s.pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.live(3 * time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"opus"}) || tool.now() != 0 {
			t.Errorf("offered %v, %d run", got, tool.now())
		}
		// The next publisher sends one again. The name of that feed stays the publisher's.
		s.frame = 0
		s.publish()
		s.live(time.Second)
		if got := s.offered(); !slices.Equal(got, []string{"720p", "360p", "opus"}) {
			t.Errorf("offered %v", got)
		}
	})
}

func TestReorders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(time.Second)
		if s.tr.Reorders("s") || s.tr.Reorders("other") {
			t.Error("nothing said that it reorders")
		}
		// It says nothing, and does it.
		p := &media.Packet{Track: s.video, DTS: s.video.Ticks(s.clock), PTS: s.video.Ticks(s.clock) - 9000, Arrival: time.Now(), Data: []byte{1}}
		if err := s.pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if !s.tr.Reorders("s") || !slices.Contains(s.offered(), "realtime") {
			t.Errorf("it reorders; offered %v", s.offered())
		}
		s.want("realtime")
		s.live(time.Second)
		s.wantState("realtime", Running)
		if how := tool.jobs[0].Outputs[0].Video; how.Profile != "baseline" || how.Height != 720 {
			t.Errorf("made by %+v", how)
		}
		// It says that it does, and does not.
		s.video = videoTrack(640, 360, media.HEVC)
		s.video.Config = mediatestHEVC(640, 360)
		s.frame = 0
		s.live(2 * time.Second)
		if !s.tr.Reorders("s") {
			t.Error("its word is not believed")
		}
		s.live(12 * time.Second)
		if s.tr.Reorders("s") {
			t.Error("its deeds are not believed")
		}
	})
}

// TestFewPicturesAreNoLag: a shared screen of a picture every other second is not behind
// because its last pictures are still on their way.
func TestFewPicturesAreNoLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, nil, tool, nil)
		s.audio = nil
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		tool.lag = 6 * time.Second
		for range 25 {
			s.write()
			s.clock += 2*time.Second - frameTime
			time.Sleep(2 * time.Second)
			s.want("480p")
		}
		s.wantState("480p", Running)
	})
}

// TestCatchingUpIsNotSlow: an encoder that was held up may take its time as long as it comes
// nearer.
func TestCatchingUpIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		s := newStage(t, nil, tool, nil)
		s.publish()
		s.live(500 * time.Millisecond)
		s.want("480p")
		s.live(2 * time.Second)
		for lag := 8 * time.Second; lag > 0; lag -= 800 * time.Millisecond {
			tool.lag = lag
			s.live(500 * time.Millisecond)
		}
		s.live(2 * time.Second)
		s.wantState("480p", Running)
	})
}
