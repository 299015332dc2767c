package ingest

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// held makes an encoder send nothing of its first media until it has that much, and then all
// of it at once.
func held(steps []step, d time.Duration) (out []step) {
	var at time.Duration
	for _, s := range steps {
		if at += s.after; at < d {
			s.after = 0
		} else if at-s.after < d {
			s.after = at - d
		}
		out = append(out, s)
	}
	return out
}

// TestReturnOfAnEncoderThatHeldBack: encoders send what they held back while they started in
// one burst. Were its first key frame put where it arrived, all that follows would stand in
// the future, and viewers would be behind by as much.
func TestReturnOfAnEncoderThatHeldBack(t *testing.T) {
	for name, tt := range map[string]struct {
		back mediatest.Options
		hold time.Duration
		wait time.Duration // until its first picture
		off  time.Duration
	}{
		"nothing":            {mediatest.Options{GOP: 60}, 0, 300 * time.Millisecond, 0},
		"half a second":      {mediatest.Options{GOP: 60}, 500 * time.Millisecond, 1700 * time.Millisecond, 0},
		"a whole group":      {mediatest.Options{GOP: 60}, 2100 * time.Millisecond, 300 * time.Millisecond, 0},
		"with B":             {mediatest.Options{GOP: 60, BFrames: 2}, time.Second, 1200 * time.Millisecond, 0},
		"no key frame comes": {mediatest.Options{GOP: 240}, time.Second, 2100 * time.Millisecond, 2900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t)
				begin := time.Now()
				if err := <-r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second, GOP: 60, Seed: 1}), step{err: errReset})}); err != errReset {
					t.Error(err)
				}
				r.view()
				time.Sleep(time.Second)
				back := time.Now()
				tt.back.Duration, tt.back.Seed = 10*time.Second, 2
				if err := <-r.serve(t.Context(), &request{key: "good", steps: append(held(live(tt.back), tt.hold), step{err: errReset})}); err != errReset {
					t.Error(err)
				}
				r.end()
				first := time.Time{}
				for i, p := range r.got {
					late := r.when[i].Sub(begin) - p.Track.Duration(p.DTS)
					if r.when[i].Before(back) {
						continue
					}
					if p.Track.Kind() == media.Video && !p.Key && first.IsZero() {
						first = r.when[i]
					}
					if first.IsZero() {
						continue
					}
					if p.Track.Kind() == media.Video && !near(-late, tt.off, 100*time.Millisecond) && r.when[i].Sub(first) > 500*time.Millisecond {
						t.Fatalf("a picture that came %v after the return stands %v ahead of the clock", r.when[i].Sub(back), -late)
					}
				}
				if wait := first.Sub(back); first.IsZero() || wait > tt.wait+150*time.Millisecond {
					t.Errorf("its first picture came %v after it, want %v", wait, tt.wait)
				}
			})
		})
	}
}

// TestFillerIsOnTime: players near the edge have nothing but what is written when it is due.
func TestFillerIsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		begin := time.Now()
		done := r.serve(t.Context(), &request{key: "good", steps: append(live(mediatest.Options{Duration: 5 * time.Second}), step{err: errReset})})
		r.view()
		if err := <-done; err != errReset {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		r.end()
		for i, p := range r.got {
			late := r.when[i].Sub(begin) - p.Track.Duration(p.DTS)
			most := 2*tickEvery + 10*time.Millisecond
			if p.Track.Kind() == media.Audio {
				most += 200 * time.Millisecond // as long as the picture is held
			}
			if late > most {
				t.Errorf("track %d: what is due at %v came %v late", p.Track.ID, p.Track.Duration(p.DTS), late)
			}
		}
	})
}

// TestReasonOfWhoWaits: a publisher that came back and is not on the air yet is told why the
// stream ended, and not why the one before it was lost.
func TestReasonOfWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		steps := live(mediatest.Options{Duration: 3 * time.Second})
		if err := r.Serve(t.Context(), &request{key: "good", steps: append(steps, step{err: errReset})}); err != errReset {
			t.Error(err)
		}
		back := r.serve(t.Context(), &request{key: "good", steps: live(mediatest.Options{Duration: time.Minute})})
		time.Sleep(100 * time.Millisecond)
		disabled := fault.New(fault.Disabled, "publish", "", "the stream was disabled", "")
		if s, _ := r.hub.Stream("ls_1"); s.State() != hub.Lingering || !r.hub.Kick("ls_1", disabled) {
			t.Error("it is on the air already")
		}
		if err := <-back; err != disabled {
			t.Errorf("told: %v", err)
		}
		r.cancel()
		if err := <-r.ran; err != nil {
			t.Error(err)
		}
		r.hub.Close(errReset)
	})
}

// TestGateThatCannotTell: the gate is asked again when the tracks are known. That its
// database is away then is no end: the publisher is to come again, and the viewers wait.
func TestGateThatCannotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		first := &request{key: "shaky", steps: live(mediatest.Options{Duration: 3 * time.Second})}
		err := r.Serve(t.Context(), first)
		if !fault.Is(err, fault.Unavailable) || !fault.Is(first.reason, fault.Unavailable) || strings.Contains(err.Error(), "db.internal") {
			t.Errorf("Serve returned %v, the encoder was told %v", err, first.reason)
		}
		st, ok := r.hub.Stream("ls_1")
		if !ok || st.State() != hub.Lingering {
			t.Fatal("the stream does not wait for its publisher")
		}
		again := r.serve(t.Context(), &request{key: "shaky", steps: append(live(mediatest.Options{Duration: 3 * time.Second}), step{err: io.EOF})})
		time.Sleep(2 * time.Second)
		if now, _ := r.hub.Stream("ls_1"); now != st || st.State() != hub.Live {
			t.Errorf("the stream is %v when the publisher came again", st.State())
		}
		if err := <-again; err != nil {
			t.Error(err)
		}
		r.cancel()
		if err := <-r.ran; err != nil {
			t.Error(err)
		}
	})
}
