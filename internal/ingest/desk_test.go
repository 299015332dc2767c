package ingest

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// running is a station whose filler runs, and a viewer of all that its stream carries.
type running struct {
	*station
	ctx    context.Context
	cancel func()
	ran    chan error
	got    []*media.Packet
	when   []time.Time // each came
	read   chan struct{}
	seen   *hub.Stream
}

func run(t *testing.T) *running {
	r := &running{station: newStation(t, time.Minute), ran: make(chan error, 1)}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	go func() { r.ran <- r.Run(r.ctx) }()
	return r
}

// view reads the stream from now on until it ends.
func (r *running) view() {
	r.read = make(chan struct{})
	st, err := r.hub.Watch().Next(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.seen = st
	reader := st.Feed().NewReader(hub.ReaderOptions{From: hub.OldestKept})
	go func() {
		defer close(r.read)
		defer reader.Close()
		for {
			p, err := reader.ReadPacket(context.Background())
			if err != nil {
				return
			}
			r.got, r.when = append(r.got, p), append(r.when, time.Now())
		}
	}()
}

// end ends the stream and everything, and returns what was seen, by track.
func (r *running) end() map[int][]*media.Packet {
	r.hub.Close(errReset)
	<-r.read
	r.cancel()
	if err := <-r.ran; err != nil {
		r.t.Error(err)
	}
	out := map[int][]*media.Packet{}
	for _, p := range r.got {
		out[p.Track.ID] = append(out[p.Track.ID], p)
	}
	return out
}

// unbroken checks that a viewer of these packets never runs dry: pictures at least each
// 0.55 s, sound without a hole or overlap of more than two packets.
func unbroken(t *testing.T, tracks map[int][]*media.Packet) {
	t.Helper()
	for id, packets := range tracks {
		for i, p := range packets[1:] {
			was := packets[i]
			at := was.Track.Duration(was.DTS)
			step := p.Track.Duration(p.DTS) - at
			most := 560 * time.Millisecond
			if p.Track.Kind() == media.Audio {
				most = 45 * time.Millisecond
			}
			if step <= 0 || step > most {
				t.Errorf("track %d goes on %v after %v", id, step, at)
			}
			if p.PTS < p.DTS-9000 {
				t.Errorf("track %d: PTS %d of DTS %d", id, p.PTS, p.DTS)
			}
		}
	}
}

// ends checks where the tracks end.
func ends(t *testing.T, tracks map[int][]*media.Packet, want time.Duration) {
	t.Helper()
	for id, packets := range tracks {
		last := packets[len(packets)-1]
		if end := last.Track.Duration(last.DTS); !near(end, want, 600*time.Millisecond) {
			t.Errorf("track %d ends at %v, want about %v", id, end, want)
		}
	}
}

func versions(packets []*media.Packet) (out []int) {
	for _, p := range packets {
		if n := len(out); n == 0 || out[n-1] != p.Track.Version {
			out = append(out, p.Track.Version)
		}
	}
	return out
}

func TestFillerWhileThePublisherIsAway(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second} {
		for name, back := range map[string]mediatest.Options{
			"equal":       {Duration: 5 * time.Second, Offset: time.Hour},
			"with B":      {Duration: 5 * time.Second, BFrames: 2},
			"other size":  {Duration: 5 * time.Second, Width: 640, Height: 360, SampleRate: 44100, Channels: 1},
			"sound later": {Duration: 5 * time.Second, AudioDelay: 200 * time.Millisecond},
		} {
			t.Run(name+" after "+away.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := run(t)
					done := r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: errReset})})
					r.view()
					if err := <-done; err != errReset {
						t.Error(err)
					}
					time.Sleep(away - 100*time.Millisecond)
					st, _ := r.hub.Stream("ls_1")
					if st.State() != hub.Lingering {
						t.Errorf("the stream is %v", st.State())
					}
					time.Sleep(100 * time.Millisecond)
					if err := <-r.serve(t.Context(), &request{key: "good", steps: append(live(back), step{err: errReset})}); err != errReset {
						t.Error(err)
					}
					got := r.end()
					unbroken(t, got)
					ends(t, got, 10*time.Second+away)
					want := []int{0}
					if name == "other size" {
						want = []int{0, 1}
					}
					for id, packets := range got {
						if v := versions(packets); !slices.Equal(v, want) {
							t.Errorf("track %d has versions %v, want %v", id, v, want)
						}
						if !packets[0].Key {
							t.Error("begins without a key")
						}
					}
				})
			})
		}
	}
}

// pause makes a publisher send nothing for a while from a time on; what it would have sent
// is lost, or comes afterwards.
func pause(steps []step, from, length time.Duration, lost bool) (out []step) {
	var at, skipped time.Duration
	for _, s := range steps {
		at += s.after
		if at < from || at >= from+length {
			s.after += skipped
			skipped = 0
			out = append(out, s)
			continue
		}
		if skipped += s.after; lost {
			continue
		}
		// All that was held up comes at the end of the pause.
		rest := s
		rest.after = 0
		if len(out) > 0 && at-s.after < from {
			rest.after = length
		}
		out = append(out, rest)
	}
	return out
}

func TestFillerForASilentConnection(t *testing.T) {
	for name, lost := range map[string]bool{"lost": true, "held up": false} {
		for _, silent := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second} {
			t.Run(name+" "+silent.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := run(t)
					total, begin := 20*time.Second+silent, time.Now()
					steps := pause(live(mediatest.Options{Duration: total, GOP: 30}), 10*time.Second, silent, lost)
					done := r.serve(t.Context(), &request{key: "good", steps: append(steps, step{err: errReset})})
					r.view()
					if err := <-done; err != errReset {
						t.Error(err)
					}
					got := r.end()
					unbroken(t, got)
					ends(t, got, time.Since(begin))
					for id, packets := range got {
						if v := versions(packets); !slices.Equal(v, []int{0}) {
							t.Errorf("track %d has versions %v", id, v)
						}
						// All but what was awaited for a key frame is the publisher's.
						n := 0
						for _, p := range packets {
							if p.Track.Duration(p.DTS) > 10*time.Second+silent+1300*time.Millisecond && len(p.Data) > 3 {
								n++
							}
						}
						if n < 200 {
							t.Errorf("track %d: %d packets of the publisher after the pause", id, n)
						}
					}
				})
			})
		}
	}
}

func TestOneTrackFallsSilent(t *testing.T) {
	for _, id := range []int{mediatest.VideoID, mediatest.AudioID} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t)
			var steps []step
			var at, skipped time.Duration
			for _, s := range live(mediatest.Options{Duration: 20 * time.Second, GOP: 30}) {
				at += s.after
				if s.packet != nil && s.packet.Track.ID == id && at > 5*time.Second && at < 12*time.Second {
					skipped += s.after
					continue
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
			if id == mediatest.AudioID { // the hole up to the notice is filled, too
				unbroken(t, got)
			}
			ends(t, got, 20*time.Second)
			sent := 0
			for _, p := range got[id] {
				if p.Track.Duration(p.DTS) > 13*time.Second && len(p.Data) > 0 {
					sent++
				}
			}
			if sent < 200 {
				t.Errorf("track %d: %d packets after it came back", id, sent)
			}
			other := 3 - id
			for i, p := range got[other][1:] {
				if d := p.Track.Duration(p.DTS - got[other][i].DTS); d > 50*time.Millisecond {
					t.Errorf("the other track has a hole of %v", d)
				}
			}
		})
	}
}

func TestBackup(t *testing.T) {
	equal := mediatest.Options{Duration: time.Minute, GOP: 60}
	silent := func(o mediatest.Options, from time.Duration) []step {
		o.Duration = from
		return live(o)
	}
	for name, tt := range map[string]struct {
		main []step
		ends bool
	}{
		"main is lost":    {append(silent(equal, 10*time.Second), step{err: errReset}), true},
		"main stops":      {append(silent(equal, 10*time.Second), step{err: io.EOF}), true},
		"main is silent":  {silent(equal, 10*time.Second), false},
		"main comes back": {pause(live(equal), 10*time.Second, 5*time.Second, true), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t)
				ctx, stop := context.WithCancel(t.Context())
				main := r.serve(ctx, &request{key: "good", steps: tt.main})
				r.view()
				time.Sleep(3300 * time.Millisecond)
				o := equal
				o.Seed, o.Offset = 7, 5*time.Minute
				backup := r.serve(ctx, &request{key: "good", backup: true, steps: live(o)})
				time.Sleep(3 * time.Second)
				st, _ := r.hub.Stream("ls_1")
				snap := st.Snapshot()
				if snap.Publisher == nil || snap.Publisher.Backup || snap.Standby == nil || !snap.Standby.Backup {
					t.Errorf("while main is on the air: %+v, %+v", snap.Publisher, snap.Standby)
				}
				time.Sleep(5 * time.Second)
				if snap := st.Snapshot(); snap.Publisher == nil || !snap.Publisher.Backup || snap.State != hub.Live {
					t.Errorf("after main's end: %+v", snap)
				}
				if tt.ends {
					if err := <-main; errors.Is(err, hub.ErrTakenOver) {
						t.Error(err)
					}
				}
				if name == "main comes back" {
					time.Sleep(12 * time.Second)
					if snap := st.Snapshot(); snap.Publisher == nil || snap.Publisher.Backup || snap.Standby == nil {
						t.Errorf("after main's return: %+v", snap.Publisher)
					}
				}
				stop()
				if err := <-backup; err == nil || errors.Is(err, hub.ErrTakenOver) {
					t.Errorf("the backup ended with %v", err)
				}
				if !tt.ends {
					if err := <-main; err == nil || errors.Is(err, hub.ErrTakenOver) {
						t.Errorf("main ended with %v", err)
					}
				}
				got := r.end()
				unbroken(t, got)
				for id, packets := range got {
					if v := versions(packets); !slices.Equal(v, []int{0}) {
						t.Errorf("track %d has versions %v", id, v)
					}
				}
				ready := 0
				for _, e := range r.events() {
					if e, ok := e.(event.StreamStandby); ok && e.Ready {
						ready++
					}
				}
				if ready == 0 {
					t.Error("nobody was told that a backup is ready")
				}
			})
		})
	}
}

func TestBackupAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		ctx, stop := context.WithCancel(t.Context())
		backup := r.serve(ctx, &request{key: "good", backup: true, steps: live(mediatest.Options{Duration: time.Minute})})
		r.view()
		time.Sleep(5 * time.Second)
		st, _ := r.hub.Stream("ls_1")
		if snap := st.Snapshot(); snap.State != hub.Live || !snap.Publisher.Backup {
			t.Errorf("%+v", snap)
		}
		stop()
		if err := <-backup; err == nil {
			t.Error("the backup ended by itself")
		}
		unbroken(t, r.end())
	})
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000})
		tracks := []*media.Track{inStreamScale(g.Tracks()[0]), inStreamScale(g.Tracks()[1])}
		key := &media.Packet{Track: tracks[0], DTS: 99 * 90000, PTS: 99*90000 + 3000, Key: true, Data: []byte{0, 0, 0, 1, 0x65}}
		err := r.Restore(t.Context(), Restored{
			StreamID: "ls_1", Position: hub.Position{Media: 100 * time.Second, At: time.Now().Add(-3 * time.Second)},
			Linger: time.Minute, LatencyMode: media.LatencyLow, Keys: []*media.Packet{key}, Tracks: tracks,
		})
		if err != nil {
			t.Fatal(err)
		}
		r.view()
		time.Sleep(2 * time.Second)
		st, _ := r.hub.Stream("ls_1")
		if st.State() != hub.Lingering {
			t.Errorf("the stream is %v", st.State())
		}
		if err := <-r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: errReset})}); err != errReset {
			t.Error(err)
		}
		got := r.end()
		unbroken(t, got)
		ends(t, got, 110*time.Second)
		for id, packets := range got {
			if v := versions(packets); !slices.Equal(v, []int{0}) || !near(packets[0].Track.Duration(packets[0].DTS), 100*time.Second, 50*time.Millisecond) {
				t.Errorf("track %d has versions %v and begins at %d", id, v, packets[0].DTS)
			}
		}
	})
}
