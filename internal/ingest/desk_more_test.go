package ingest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
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

// slate is a Slate that counts how often it is asked.
type slate struct {
	mu    sync.Mutex
	asked int
	err   error
}

func (s *slate) Key(_ context.Context, t *media.Track) (config, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return nil, nil, s.err
	}
	g := mediatest.NewGenerator(mediatest.Options{Width: t.Width, Height: t.Height, RateNum: 7})
	return g.Tracks()[0].Config, []byte{0, 0, 0, 4, 0x65, 's', 'l', 'a'}, nil
}

func TestSlate(t *testing.T) {
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &running{station: newStation(t, time.Minute), ran: make(chan error, 1)}
			pictures := &slate{}
			if broken {
				pictures.err = errors.New("no such file")
			}
			r.SetSlate(pictures)
			r.ctx, r.cancel = context.WithCancel(t.Context())
			go func() { r.ran <- r.Run(r.ctx) }()
			done := r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: errReset})})
			r.view()
			if err := <-done; err != errReset {
				t.Error(err)
			}
			time.Sleep(20 * time.Second)
			if err := <-r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: errReset})}); err != errReset {
				t.Error(err)
			}
			got := r.end()
			unbroken(t, got)
			want := []int{0, 1, 2}
			if broken {
				want = []int{0}
			}
			if v := versions(got[mediatest.VideoID]); !slices.Equal(v, want) {
				t.Errorf("the picture's versions are %v, want %v", v, want)
			}
			if v := versions(got[mediatest.AudioID]); !slices.Equal(v, []int{0}) {
				t.Errorf("the sound's versions are %v", v)
			}
			for _, p := range got[mediatest.VideoID] {
				if shown := p.Track.Version == 1; shown != (string(p.Data) == "\x00\x00\x00\x04\x65sla") {
					t.Fatalf("version %d has % x", p.Track.Version, p.Data)
				}
			}
			if pictures.asked != 1 {
				t.Errorf("asked %d times", pictures.asked)
			}
		})
	}
}

// TestDiscontinuousTransmission: a browser that sends a packet each 400 ms while nobody
// speaks, or none at all.
func TestDiscontinuousTransmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		var steps []step
		var at, skipped time.Duration
		n, begin := 0, time.Now()
		for _, s := range live(mediatest.Options{Duration: 30 * time.Second, GOP: 30, Audio: media.Opus}) {
			at += s.after
			if s.packet != nil && s.packet.Track.ID == mediatest.AudioID && at > 5*time.Second && at < 25*time.Second {
				if n++; n%20 != 0 || at > 15*time.Second {
					skipped += s.after
					continue
				}
			}
			s.after += skipped
			skipped = 0
			steps = append(steps, s)
		}
		done := r.serve(t.Context(), &request{key: "good", steps: append(steps, step{err: errReset})})
		r.view()
		if err := <-done; err != errReset {
			t.Error(err)
		}
		got := r.end()
		unbroken(t, got)
		ends(t, got, 30*time.Second)
		for _, p := range got[mediatest.AudioID] {
			// A millisecond for RTMP's stamps, and nothing else.
			if off := p.Arrival.Sub(begin) - p.Track.Duration(p.DTS); len(p.Data) > 3 && off.Abs() > 30*time.Millisecond {
				t.Fatalf("the sound of %v stands at %v", p.Arrival.Sub(begin), p.Track.Duration(p.DTS))
			}
		}
		if pictures := got[mediatest.VideoID]; len(pictures) != 900 {
			t.Errorf("%d pictures came out of 900", len(pictures))
		}
	})
}

// TestSlowPictures: a screen of one picture a second is not silent.
func TestSlowPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		done := r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: time.Minute, RateNum: 1, GOP: 10}), step{err: errReset})})
		r.view()
		if err := <-done; err != errReset {
			t.Error(err)
		}
		got := r.end()
		sent := 0
		for _, p := range got[mediatest.VideoID] {
			if !p.Key {
				sent++
			}
		}
		if sent < 50 {
			t.Errorf("%d pictures between keys came through of 54", sent)
		}
	})
}

// TestBursts: an encoder that sends 0.75 s at once, as ffmpeg does with a file that has its
// pictures and its sound in turns, is not silent.
func TestBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		steps := live(mediatest.Options{Duration: 10 * time.Second, GOP: 300})
		var wait, gone time.Duration
		for i := range steps {
			gone += steps[i].after
			wait += steps[i].after
			steps[i].after = 0
			if gone >= 750*time.Millisecond {
				steps[i].after, wait, gone = wait, 0, 0
			}
		}
		done := r.serve(t.Context(), &request{key: "good", steps: append(steps, step{after: wait, err: errReset})})
		r.view()
		if err := <-done; err != errReset {
			t.Error(err)
		}
		got := r.end()
		for id, want := range map[int]int{mediatest.VideoID: 295, mediatest.AudioID: 460} {
			n := 0
			for _, p := range got[id] {
				if len(p.Data) > 4 {
					n++
				}
			}
			if n < want {
				t.Errorf("track %d: %d packets of the publisher", id, n)
			}
		}
		for _, p := range got[mediatest.VideoID][1:] {
			if p.Key {
				t.Errorf("filler at %v", p.Track.Duration(p.DTS))
			}
		}
	})
}

func TestRenditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		g := func(id, w, h int) *media.Track {
			tr := *mediatest.VideoTrack(mediatest.Options{Width: w, Height: h, Timescale: 1000})
			tr.ID, tr.Width, tr.Height = id, w, h
			return &tr
		}
		_, audio := rtmpTracks()
		second := *audio
		second.ID = 4
		tracks := []*media.Track{g(1, 640, 360), g(3, 1920, 1080), g(5, 1280, 720), g(7, 960, 720), audio, &second}
		var steps []step
		steps = append(steps, step{announce: tracks})
		for i := range int64(100) {
			steps = append(steps, step{after: 40 * time.Millisecond})
			for _, tr := range tracks {
				steps = append(steps, step{packet: &media.Packet{Track: tr, DTS: i * 40, PTS: i * 40, Key: i%25 == 0 || tr.Kind() == media.Audio, Data: []byte{1, 2, 3, 4}}})
			}
		}
		done := r.serve(t.Context(), &request{key: "good", steps: append(steps, step{err: errReset})})
		r.view()
		if err := <-done; err != errReset {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		st, _ := r.hub.Stream("ls_1")
		got := map[string][]int{}
		for _, f := range st.Feeds() {
			for _, tr := range f.Tracks() {
				got[f.Name()] = append(got[f.Name()], tr.ID)
			}
			for id, packets := range r.readAll(f) {
				if packets[0].Track.Kind() == media.Video {
					unbroken(t, map[int][]*media.Packet{id: packets})
					ends(t, map[int][]*media.Packet{id: packets}, 9*time.Second)
				}
			}
		}
		want := map[string][]int{"source": {3, 2, 4}, "720p": {5}, "720p-2": {7}, "360p": {1}}
		for name := range maps.Keys(got) {
			slices.Sort(got[name])
			slices.Sort(want[name])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("feeds (-want +got):\n%s", diff)
		}
		r.end()
	})
}

// tap notes what it is told.
type tap struct {
	session  Session
	received int
	ended    []error
}

func (m *tap) Watch(s Session) Tap      { m.session = s; return m }
func (m *tap) Received(p *media.Packet) { m.received++ }
func (m *tap) Ended(err error)          { m.ended = append(m.ended, err) }
func (l *linked) Link() media.Link      { return media.Link{} }

// linked is a publisher whose protocol knows its way.
type linked struct{ *request }

func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 0)
		m := &tap{}
		s.SetMonitor(m)
		r := &linked{&request{key: "good", backup: true, steps: append(live(mediatest.Options{Duration: 2 * time.Second}), step{err: errReset})}}
		if err := s.Serve(t.Context(), r); err != errReset {
			t.Error(err)
		}
		if m.session.StreamID != "ls_1" || m.session.Link == nil || !m.session.Backup || m.session.Repaired() == nil {
			t.Errorf("%+v", m.session)
		}
		if m.received != 60+94 || len(m.ended) != 1 || m.ended[0] != errReset {
			t.Errorf("%d packets, ended %v", m.received, m.ended)
		}
	})
}

// TestKickReachesTheBackup: a stream that is ended takes its standby with it.
func TestKickReachesTheBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		main := r.serve(t.Context(), &request{key: "good", steps: live(mediatest.Options{Duration: time.Minute})})
		r.view()
		backup := r.serve(t.Context(), &request{key: "good", backup: true, steps: live(mediatest.Options{Duration: time.Minute})})
		time.Sleep(5 * time.Second)
		bye := fault.New(fault.Forbidden, "publish", "", "the stream was disabled", "")
		r.hub.Kick("ls_1", bye)
		if a, b := <-main, <-backup; !errors.Is(a, bye) || !errors.Is(b, bye) {
			t.Errorf("ended with %v and %v", a, b)
		}
		r.end()
	})
}

// TestSecondBackup: the newest backup wins, as the newest main encoder does, and the other
// one is not touched.
func TestSecondBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		ctx, stop := context.WithCancel(t.Context())
		main := r.serve(ctx, &request{key: "good", steps: live(mediatest.Options{Duration: time.Minute})})
		r.view()
		first := r.serve(ctx, &request{key: "good", backup: true, steps: live(mediatest.Options{Duration: time.Minute})})
		time.Sleep(5 * time.Second)
		second := r.serve(ctx, &request{key: "good", backup: true, steps: live(mediatest.Options{Duration: time.Minute})})
		if err := <-first; !errors.Is(err, hub.ErrTakenOver) {
			t.Errorf("the first backup ended with %v", err)
		}
		time.Sleep(5 * time.Second)
		st, _ := r.hub.Stream("ls_1")
		if snap := st.Snapshot(); snap.Publisher.Backup || snap.Standby == nil {
			t.Errorf("%+v", snap)
		}
		active := 0
		for _, e := range r.events() {
			if _, ok := e.(event.StreamActive); ok {
				active++
			}
		}
		if active != 1 {
			t.Errorf("%d times active", active)
		}
		stop()
		for _, c := range []<-chan error{main, second} {
			if err := <-c; errors.Is(err, hub.ErrTakenOver) {
				t.Error(err)
			}
		}
		r.end()
	})
}

// asked is a request whose encoder can be asked for key frames.
type asked struct {
	*request
	times int
}

func (a *asked) RequestKey() { a.times++ }

// TestKeyIsAskedForAfterAPause: an encoder that can be asked for a key frame is, when it
// comes back in the middle of a group.
func TestKeyIsAskedForAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		steps := pause(live(mediatest.Options{Duration: 8 * time.Second, GOP: 120}), 5*time.Second, time.Second, true)
		a := &asked{request: &request{key: "good", steps: append(steps, step{err: errReset})}}
		if err := r.Serve(t.Context(), a); err != errReset {
			t.Error(err)
		}
		if a.times == 0 {
			t.Error("no key frame was asked for")
		}
		r.view()
		r.end()
	})
}

// TestViewersAskForKeyFrames: the question goes to who is on the air, and to nobody else.
func TestViewersAskForKeyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		r.RequestKey("ls_1") // nobody is there
		ctx, stop := context.WithCancel(t.Context())
		main := &asked{request: &request{key: "good", steps: live(mediatest.Options{Duration: 10 * time.Second})}}
		backup := &asked{request: &request{key: "good", backup: true, steps: live(mediatest.Options{Duration: 10 * time.Second})}}
		deaf := &request{key: "good", steps: live(mediatest.Options{Duration: 10 * time.Second})}
		ends := []<-chan error{r.serve(ctx, main)}
		time.Sleep(2 * time.Second)
		ends = append(ends, r.serve(ctx, backup))
		time.Sleep(2 * time.Second)
		was := backup.times // it may be asked while it stands by
		r.RequestKey("ls_1")
		r.RequestKey("ls_2")
		if main.times != 1 || backup.times != was {
			t.Errorf("the main encoder was asked %d times, the backup %d", main.times, backup.times-was)
		}
		ends = append(ends, r.serve(ctx, deaf)) // its protocol has no way to be asked
		time.Sleep(2 * time.Second)
		r.RequestKey("ls_1")
		if main.times != 1 {
			t.Errorf("who left was asked")
		}
		stop()
		for _, end := range ends {
			t.Log(<-end)
		}
		r.view()
		r.end()
	})
}
