package ingest

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

var errReset = errors.New("connection reset by peer")

func TestRefusal(t *testing.T) {
	s := newStation(t, 0)
	r := &request{key: "sk_secret"}
	err := s.Serve(t.Context(), r)
	if !fault.Is(err, fault.Unauthorized) || r.rejected != err || r.accepted || r.closed {
		t.Errorf("Serve returned %v, the encoder was told %v", err, r.rejected)
	}
	want := []event.Event{event.IngestRefused{
		Protocol: "rtmp", Peer: "192.0.2.1:4711", Code: "unauthorized",
		Reason: "publish: the stream key is not known. Copy the key from the stream's page",
	}}
	if diff := cmp.Diff(want, s.events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for _, e := range s.events() {
		if strings.Contains(e.(event.IngestRefused).Reason, "sk_secret") {
			t.Error("the key was told")
		}
	}
}

// TestRefusalWhileLearning: a key that is renewed, or a stream that is disabled, between
// the admission and the beginning of the broadcast.
func TestRefusalWhileLearning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		r := &request{key: "brief", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: io.EOF})}
		if err := s.Serve(t.Context(), r); !fault.Is(err, fault.Unauthorized) || !r.closed || !fault.Is(r.reason, fault.Unauthorized) {
			t.Errorf("Serve returned %v, the encoder was told %v", err, r.reason)
		}
		if st, ok := s.hub.Stream("ls_1"); ok && st.State() != hub.Ended {
			t.Errorf("the stream is %v", st.State())
		}
	})
}

func TestCleanBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		r := &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: io.EOF})}
		done := s.serve(t.Context(), r)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		st, _ := s.hub.Stream("ls_1")
		snap := st.Snapshot()
		if snap.Publisher.Encoder != "test" || snap.Publisher.Peer != "192.0.2.1:4711" || !strings.HasPrefix(snap.Publisher.Session, "in_") ||
			snap.LatencyMode != media.LatencyUltra || len(snap.Tracks) != 2 || len(snap.Repaired) != 0 {
			t.Errorf("snapshot %+v", snap)
		}
		if err := <-done; err != nil || !r.closed || r.reason != nil {
			t.Errorf("Serve returned %v, the encoder was told %v", err, r.reason)
		}
		if st.State() != hub.Ended {
			t.Errorf("the stream is %v after a clean end", st.State())
		}
		want := []string{"live_stream.connected", "live_stream.active", "live_stream.idle"}
		if diff := cmp.Diff(want, s.eventNames()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		got := s.readFrom(st)
		if len(got[mediatest.VideoID]) != 150 || got[mediatest.VideoID][0].DTS != 0 {
			t.Errorf("%d frames arrived, from %d on", len(got[mediatest.VideoID]), got[mediatest.VideoID][0].DTS)
		}
	})
}

func TestLearning(t *testing.T) {
	video, audio := rtmpTracks()
	v := func(ms int64, key bool) step {
		return step{packet: &media.Packet{Track: video, DTS: ms, PTS: ms, Key: key, Data: []byte{1}}}
	}
	audio2 := *audio
	audio2.ID = 4
	a2 := func(ms int64) step {
		return step{packet: &media.Packet{Track: &audio2, DTS: ms, PTS: ms, Key: true, Data: []byte{1}}}
	}
	a := func(ms int64) step {
		return step{packet: &media.Packet{Track: audio, DTS: ms, PTS: ms, Key: true, Data: []byte{1}}}
	}
	announce := func(ts ...*media.Track) step { return step{announce: ts} }
	wait := func(d time.Duration, s step) step { s.after = d; return s }
	sound := func(from, to int64) (steps []step) {
		for ms := from; ms < to; ms += 100 {
			steps = append(steps, wait(100*time.Millisecond, a(ms)))
		}
		return steps
	}
	script := func(parts ...any) (steps []step) {
		for _, p := range parts {
			switch p := p.(type) {
			case step:
				steps = append(steps, p)
			case []step:
				steps = append(steps, p...)
			}
		}
		return steps
	}
	for name, tt := range map[string]struct {
		steps  []step
		active time.Duration // when the stream begins
		tracks []int
	}{
		"both at once": {script(announce(video, audio), v(0, true), a(0)), 0, []int{1, 2}},
		"sound 2 s before the picture": {
			script(announce(video, audio), sound(0, 2000), v(2000, true)), 2 * time.Second, []int{2, 1}},
		"the picture announced after a second": {
			script(announce(audio), sound(0, 1000), announce(video), v(1000, true)), time.Second, []int{2, 1}},
		"a third track that was announced": {
			script(announce(video, audio, &audio2), v(0, true), a(0), wait(2*time.Second, a2(2000))), 2 * time.Second, []int{1, 2, 4}},
		"only sound": {script(announce(audio), sound(0, 5000)), 1600 * time.Millisecond, []int{2}},
		"the picture is announced and never comes": {
			script(announce(audio, video), sound(0, 9000)), 5100 * time.Millisecond, []int{2}},
		"the same, and the clock stands still": {
			script(announce(audio, video), a(0), wait(20*time.Second, a(1))), 20 * time.Second, []int{2}},
		"nothing announced": {script(v(0, true), wait(2*time.Second, v(2000, true))), 2 * time.Second, []int{1}},
		"the picture begins in mid-group": {
			script(announce(video, audio), v(0, false), a(0), v(40, false), wait(time.Second, v(1000, true))), time.Second, []int{2, 1}},
		"more media than can be held back": {
			script(announce(audio, video), func() (steps []step) {
				for range 20 {
					s := a(0)
					s.packet.Data = make([]byte, 1<<20)
					steps = append(steps, s)
				}
				return steps
			}()), 0, []int{2}},
		"a broadcast of one packet": {script(announce(audio, video), a(0), wait(time.Second, step{err: io.EOF})), time.Second, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t, time.Minute)
				begin := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				w := s.hub.Watch()
				done := s.serve(ctx, &request{key: "good", steps: tt.steps})
				st, err := w.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(begin); got != tt.active {
					t.Errorf("the stream began after %v, want %v", got, tt.active)
				}
				var ids []int
				for _, tr := range st.Feed().Tracks() {
					ids = append(ids, tr.ID)
				}
				if diff := cmp.Diff(tt.tracks, ids); diff != "" {
					t.Errorf("tracks at the beginning (-want +got):\n%s", diff)
				}
				cancel()
				if err := <-done; err == nil {
					t.Error("Serve returned nil though it was cancelled")
				}
				s.hub.Close(errReset)
			})
		})
	}
}

func TestNoMedia(t *testing.T) {
	video, _ := rtmpTracks()
	var noKeys []step
	for i := range int64(1000) {
		noKeys = append(noKeys, step{after: 40 * time.Millisecond, packet: &media.Packet{Track: video, DTS: i * 40, PTS: i * 40}})
	}
	for name, steps := range map[string][]step{"silence": nil, "no key frame": noKeys} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t, time.Minute)
				begin := time.Now()
				r := &request{key: "good", steps: steps}
				err := s.Serve(t.Context(), r)
				if !fault.Is(err, fault.Timeout) || r.reason != err || time.Since(begin) != 10*time.Second {
					t.Errorf("after %v Serve returned %v and the encoder was told %v", time.Since(begin), err, r.reason)
				}
				if !strings.Contains(err.Error(), "key frame") || !strings.Contains(err.Error(), "Check") {
					t.Errorf("the reason does not help: %v", err)
				}
				if diff := cmp.Diff([]string{"live_stream.connected", "ingest.refused"}, s.eventNames()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestEndBeforeMedia(t *testing.T) {
	video, _ := rtmpTracks()
	picture := step{packet: &media.Packet{Track: video}}
	unsupported := fault.New(fault.Unsupported, "publish", "", "the codec Speex cannot be carried", "Use AAC")
	for name, tt := range map[string]struct {
		steps []step
		want  string
	}{
		"stopped":       {[]step{{err: io.EOF}}, "stopped before it sent sound or pictures"},
		"no key frame":  {[]step{picture, picture, {err: io.EOF}}, "stopped after 2 pictures, and none of them was a key frame"},
		"lost":          {[]step{{err: errReset}}, errReset.Error()},
		"unknown codec": {[]step{{err: unsupported}}, unsupported.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation(t, time.Minute)
			r := &request{key: "good", steps: tt.steps}
			if err := s.Serve(t.Context(), r); err == nil || !strings.Contains(err.Error(), tt.want) || r.reason != err || !r.closed {
				t.Errorf("Serve returned %v, the encoder was told %v; want %v", err, r.reason, tt.want)
			}
			if diff := cmp.Diff([]string{"live_stream.connected", "ingest.refused"}, s.eventNames()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if _, ok := s.hub.Stream("ls_1"); ok {
				t.Error("there is a stream")
			}
		})
	}
}

// Whoever watches for streams gets to see one that ended as soon as its tracks were known.
func TestShortBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		done := r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 300 * time.Millisecond, NoAudio: true}), step{err: io.EOF}, step{err: io.EOF})})
		time.Sleep(500 * time.Millisecond)
		r.view()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := r.end(); len(got[mediatest.VideoID]) != 9 {
			t.Errorf("%d pictures came", len(got[mediatest.VideoID]))
		}
	})
}

func TestLossAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		lost := &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second, Offset: time.Hour}), step{err: errReset})}
		if err := <-s.serve(t.Context(), lost); err != errReset || lost.reason != errReset {
			t.Errorf("Serve returned %v, the encoder was told %v", err, lost.reason)
		}
		st, ok := s.hub.Stream("ls_1")
		if !ok || st.State() != hub.Lingering {
			t.Fatal("the stream does not wait for its publisher")
		}
		r := st.Feed().NewReader(hub.ReaderOptions{})
		defer r.Close()
		time.Sleep(7 * time.Second)
		back := &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second, BFrames: 2}), step{err: io.EOF})}
		if err := <-s.serve(t.Context(), back); err != nil {
			t.Errorf("Serve returned %v", err)
		}
		got := s.readFrom(st)
		for id, packets := range got {
			for i, p := range packets[1:] {
				if p.DTS <= packets[i].DTS {
					t.Fatalf("track %d goes back from %d to %d", id, packets[i].DTS, p.DTS)
				}
			}
			last := packets[len(packets)-1]
			// 5 s, 7 s away, 5 s.
			if end := last.Track.Duration(last.DTS); !near(end, 17*time.Second, 150*time.Millisecond) {
				t.Errorf("track %d ends at %v, want about 17s", id, end)
			}
		}
		want := []string{"live_stream.connected", "live_stream.active", "live_stream.reconnecting", "live_stream.connected", "live_stream.active", "live_stream.idle"}
		if diff := cmp.Diff(want, s.eventNames()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestTakeoverFromAHalfOpenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		old := &request{key: "good", steps: live(mediatest.Options{Duration: 5 * time.Second})}
		oldDone := s.serve(t.Context(), old)
		time.Sleep(20 * time.Second) // it is silent since 15 s
		niu := &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: io.EOF})}
		newDone := s.serve(t.Context(), niu)
		synctest.Wait()
		if err := <-oldDone; !errors.Is(err, hub.ErrTakenOver) || !errors.Is(old.reason, hub.ErrTakenOver) {
			t.Errorf("the old publisher ended with %v and was told %v", err, old.reason)
		}
		st, _ := s.hub.Stream("ls_1")
		if err := <-newDone; err != nil {
			t.Errorf("the new publisher ended with %v", err)
		}
		got := s.readFrom(st)[mediatest.VideoID]
		last := got[len(got)-1]
		if end := last.Track.Duration(last.DTS); !near(end, 25*time.Second, 150*time.Millisecond) {
			t.Errorf("the stream ends at %v, want about 25s", end)
		}
	})
}

func TestBackupTakesOverFromALivingPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		a := s.serve(t.Context(), &request{key: "good", steps: live(mediatest.Options{Duration: time.Minute})})
		time.Sleep(10 * time.Second)
		b := s.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: io.EOF})})
		if err := <-a; !errors.Is(err, hub.ErrTakenOver) {
			t.Errorf("the first publisher ended with %v", err)
		}
		st, _ := s.hub.Stream("ls_1")
		if err := <-b; err != nil {
			t.Errorf("the second publisher ended with %v", err)
		}
		for id, packets := range s.readFrom(st) {
			for i, p := range packets[1:] {
				if d := p.Track.Duration(p.DTS) - packets[i].Track.Duration(packets[i].DTS); d <= 0 || d > 100*time.Millisecond {
					t.Errorf("track %d goes from %d to %d", id, packets[i].DTS, p.DTS)
				}
			}
		}
	})
}

func TestABrokenNewcomerDoesNotTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		a := s.serve(ctx, &request{key: "good", steps: live(mediatest.Options{Duration: time.Minute})})
		time.Sleep(10 * time.Second)
		video, audio := rtmpTracks()
		err := <-s.serve(ctx, &request{key: "good", steps: []step{
			{announce: []*media.Track{video, audio}},
			{packet: &media.Packet{Track: video, Key: true}},
			{err: errReset},
		}})
		if err != errReset {
			t.Errorf("the newcomer ended with %v", err)
		}
		time.Sleep(time.Second)
		if st, ok := s.hub.Stream("ls_1"); !ok || st.State() != hub.Live {
			t.Error("the stream is not live any more")
		}
		cancel()
		if err := <-a; !fault.Is(err, fault.Unavailable) {
			t.Errorf("when the server stops Serve returns %v", err)
		}
		s.hub.Close(errReset)
	})
}

func TestKickReachesASilentPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		r := &request{key: "good", steps: live(mediatest.Options{Duration: 3 * time.Second})}
		done := s.serve(t.Context(), r)
		time.Sleep(time.Minute)
		disabled := fault.New(fault.Disabled, "publish", "ls_1", "the stream was disabled", "Enable it first")
		if !s.hub.Kick("ls_1", disabled) {
			t.Fatal("nobody was kicked")
		}
		if err := <-done; err != disabled || r.reason != disabled {
			t.Errorf("Serve returned %v, the encoder was told %v", err, r.reason)
		}
	})
}

func TestTheHubIsFull(t *testing.T) {
	bus := event.NewBus()
	cfg := hub.DefaultConfig()
	cfg.MaxStreams = 1
	h := hub.New(cfg, bus, nil, nil)
	if _, err := h.Publish("another", hub.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &station{New(DefaultConfig(), gate{}, h, bus, nil, nil), t, h, bus}
	r := &request{key: "good", steps: live(mediatest.Options{Duration: time.Second})}
	for i := range r.steps {
		r.steps[i].after = 0
	}
	if err := s.Serve(t.Context(), r); !fault.Is(err, fault.TooMany) || r.reason != err {
		t.Errorf("Serve returned %v, the encoder was told %v", err, r.reason)
	}
}

func TestTracksThatComeAndChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, time.Minute)
		video, audio := rtmpTracks()
		second := *video
		second.ID = 3
		var steps []step
		for i := range int64(10 * 25) {
			ms := i * 40
			if i == 50 {
				v := *video
				v.Version, v.Config = 1, append([]byte{9}, video.Config...)
				video = &v
			}
			if i >= 200 { // an encoder that changes with every frame
				v := *video
				v.Version, v.Config = v.Version+1, []byte{9, byte(i)}
				video = &v
			}
			steps = append(steps, step{after: 40 * time.Millisecond, packet: &media.Packet{Track: video, DTS: ms, PTS: ms, Key: i%25 == 0}},
				step{packet: &media.Packet{Track: audio, DTS: ms, PTS: ms, Key: true}})
			if i >= 100 {
				steps = append(steps, step{packet: &media.Packet{Track: &second, DTS: ms, PTS: ms, Key: i%25 == 0}})
			}
		}
		done := s.serve(t.Context(), &request{key: "good", steps: append(steps, step{err: io.EOF})})
		time.Sleep(9 * time.Second)
		got := map[int][]*media.Packet{3: s.readFeed("720p")}
		if len(got[3]) == 0 || got[3][0].Track.Timescale != 90000 || !near(got[3][0].Track.Duration(got[3][0].DTS), 4*time.Second, time.Millisecond) {
			t.Errorf("the late track has %d packets", len(got[3]))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		changes := 0
		for _, e := range s.events() {
			if c, ok := e.(event.StreamTracksChanged); ok {
				changes++
				if changes == 2 && c.Tracks != 3 {
					t.Errorf("told of %d tracks, want 3", c.Tracks)
				}
			}
		}
		if changes < 3 || changes > 5 {
			t.Errorf("%d events tell of changed tracks", changes)
		}
	})
}

func TestCyclesLeaveNothing(t *testing.T) {
	s := newStation(t, 0)
	steps := live(mediatest.Options{Duration: time.Second})
	for i := range steps {
		steps[i].after = 0
	}
	cycle := func() {
		r := &request{key: "good", steps: append(steps[:len(steps):len(steps)], step{err: errReset})}
		if err := s.Serve(context.Background(), r); err != errReset {
			t.Fatal(err)
		}
	}
	measure := func() (uint64, int) {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	for range 400 { // the bus keeps as many events as it may
		cycle()
	}
	heap, goroutines := measure()
	for range 300 {
		cycle()
	}
	heap2, goroutines2 := measure()
	if heap2 > heap+512<<10 || goroutines2 > goroutines {
		t.Errorf("after 300 cycles: heap %d (before %d), %d goroutines (before %d)", heap2, heap, goroutines2, goroutines)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	err := Config{LearnSettle: -1, LearnMissing: -2}.Validate()
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("a bad configuration: %v", err)
	}
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 5 {
		t.Errorf("%d problems reported, want 5: %v", n, err)
	}
}
