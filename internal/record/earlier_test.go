package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

// early publishes, and records as the node does: from before the broadcast has begun.
func (r *rig) early(d *fakeDisk) (done chan error, kill func(), s *pack.Stream) {
	r.t.Helper()
	l, _ := library(r.t, d)
	ctx, kill := context.WithCancel(context.Background())
	s, done = r.stream(), make(chan error, 1)
	go func() {
		l.KeepEarly(ctx, streamID, s)
		done <- l.Record(ctx, assetID, streamID, s)
	}()
	return done, kill, s
}

// settled starts anew on a disk, as the node does where no broadcast goes on.
func settled(t *testing.T, d *fakeDisk, p Repacker) (*Library, error) {
	t.Helper()
	l, _ := library(t, d)
	err := l.Load(t.Context())
	for _, name := range l.Early() {
		e, err2 := l.OpenEarly(t.Context(), name, p)
		if err = errors.Join(err, err2); e != nil && err2 == nil {
			err = errors.Join(err, l.RecordEarly(t.Context(), assetID, e))
		}
	}
	for _, id := range l.Unfinished() {
		err = errors.Join(err, l.Finish(t.Context(), id))
	}
	return l, err
}

// frameOf is a frame of a segment.
type frameOf struct {
	dts, pts int64
	data     string
}

func frames(t *testing.T, init []byte, segments ...[]byte) (out []frameOf) {
	t.Helper()
	readers := []io.Reader{strings.NewReader(string(init))}
	for _, s := range segments {
		readers = append(readers, strings.NewReader(string(s)))
	}
	src := fmp4.NewReader(io.MultiReader(readers...))
	for {
		p, err := src.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Error(err)
			return out
		}
		out = append(out, frameOf{p.DTS, p.PTS, string(p.Data)})
	}
}

// keeps fails unless there is one asset with the beginning of a stream, each frame once, and no
// early journal, and returns how long it is; 0 if there is no asset.
func keeps(t *testing.T, what string, l *Library, d *fakeDisk, s *pack.Stream) time.Duration {
	t.Helper()
	for name, n := range d.now {
		if strings.Contains(name, "/"+earlyPrefix) && !n.dir {
			t.Errorf("%s: %s is left", what, name)
		}
	}
	ids := l.Assets()
	if len(ids) == 0 {
		return 0
	}
	a, ok := l.Asset(ids[0])
	if !ok || len(ids) != 1 || ids[0] != assetID {
		t.Fatalf("%s: assets %v", what, ids)
	}
	now := a.Snapshot()
	check(t, l, now)
	if now.State != Ready || len(now.Gaps) != 0 {
		t.Errorf("%s: %s, gaps %v", what, now.State, now.Gaps)
	}
	longest := time.Duration(0)
	for _, sent := range s.Renditions() {
		have, ok := now.Rendition(sent.Name())
		if !ok {
			continue
		}
		var was, is [][]byte
		for _, seg := range sent.Snapshot().Segments {
			was = append(was, slices.Concat(seg.Blob.Chunks...))
		}
		for i := range have.Segments.Len() {
			is = append(is, content(t, l, assetID, have.Name, have.Segments.Name(i)))
		}
		want, got := frames(t, sent.Snapshot().Segments[0].Init.Blob.Chunks[0], was...), frames(t, have.Inits[0].Data, is...)
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%s: %s: the %d frames are not the first of the %d that were sent", what, have.Name, len(got), len(want))
		}
		last := have.Segments.Last()
		longest = max(longest, last.Start.Add(last.Duration).Sub(now.Began))
	}
	return longest
}

// A server is killed, or its power cut, at any moment of a broadcast, also before pack knows how
// far apart key frames are: at most a second is lost.
func TestKilledBeforeTheFirstPart(t *testing.T) {
	for _, mode := range []media.LatencyMode{media.LatencyLow, media.LatencyUltra, media.LatencyStandard} {
		for _, sound := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, sound), func(t *testing.T) {
				random := rand.New(rand.NewPCG(31, 32))
				worst := time.Duration(0)
				for at := 90 * time.Millisecond; at < 7*time.Second; at += 170 * time.Millisecond {
					for _, power := range []bool{false, true} {
						synctest.Test(t, func(t *testing.T) {
							r := newRig(t, pack.DefaultConfig())
							r.mode = mode
							defer r.close()
							r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60, NoVideo: sound})
							d := newFakeDisk()
							done, kill, s := r.early(d)
							r.write(at)
							if power {
								d.cutPower()
							}
							kill()
							if err := <-done; err == nil {
								t.Error("it did not end with ctx")
							}
							r.end()
							d.cutPower()
							d = d.reboot(random)
							l, err := settled(t, d, r.packer)
							if err != nil {
								t.Fatalf("after %v: %v", at, err)
							}
							worst = max(worst, at-keeps(t, at.String(), l, d, s))
						})
					}
				}
				t.Logf("at most %v was lost", worst)
				if worst > time.Second {
					t.Errorf("%v was lost", worst)
				}
			})
		}
	}
}

// The power is cut at every operation of the disk while a broadcast begins, and once more while
// the server starts again: at most a second is lost, nothing is there twice.
func TestPowerCutWhileABroadcastBegins(t *testing.T) {
	random := rand.New(rand.NewPCG(33, 34))
	worst, found := time.Duration(0), 0
	cuts := 1
	for cut := 1; cut == cuts; cut++ {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pack.DefaultConfig())
			defer r.close()
			r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
			d := newFakeDisk()
			began, at := time.Now(), time.Duration(-1)
			d.cutAfter = cut
			d.fail = func(string, string) error {
				if d.ops >= cut {
					at = time.Since(began)
				}
				return nil
			}
			done, kill, s := r.early(d)
			r.write(5 * time.Second)
			kill()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
			r.end()
			if at < 0 {
				return // it was never cut
			}
			cuts++
			d.fail = nil
			for again := range 6 {
				once := d.reboot(random)
				once.cutAfter = 1 + random.IntN(60)
				_, err := settled(t, once, r.packer)
				once.cutPower()
				twice := once.reboot(random)
				l, err2 := settled(t, twice, r.packer)
				if err2 != nil {
					t.Fatalf("cut %d, again at %d: %v, before %v", cut, again, err2, err)
				}
				long := keeps(t, fmt.Sprintf("cut %d at %v, again at %d", cut, at, again), l, twice, s)
				if lost := at - long; lost > worst {
					worst = lost
				}
				if long > 0 {
					found++
				}
			}
		})
	}
	t.Logf("%d operations, %d assets; at most %v was lost", cuts, found, worst)
	if worst > time.Second || found < 5*cuts || cuts < 60 {
		t.Errorf("%v was lost; %d assets of %d cuts", worst, found, cuts)
	}
}

// What was kept before a broadcast began goes when the asset has it all, or is complete, or
// when there is no asset.
func TestTheEarlyJournalGoes(t *testing.T) {
	for _, c := range []struct {
		name           string
		write          time.Duration
		recorded, ends bool
	}{
		{"outgrown", 9 * time.Second, true, false},
		{"complete", time.Second, true, true},
		{"not recorded", 3 * time.Second, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				d := newFakeDisk()
				l, f := library(t, d)
				ctx, kill := context.WithCancel(context.Background())
				s, done := r.stream(), make(chan error, 1)
				go func() {
					l.KeepEarly(ctx, streamID, s)
					if !c.recorded {
						l.DropEarly(s)
						done <- nil
						return
					}
					done <- l.Record(ctx, assetID, streamID, s)
				}()
				r.write(900 * time.Millisecond)
				there := func() int {
					names, err := f.Names()
					if err != nil {
						t.Error(err)
					}
					return len(slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, "/"+earlyPrefix) }))
				}
				if there() != 1 {
					t.Error("nothing is kept")
				}
				r.write(c.write)
				if c.ends {
					r.end()
				}
				synctest.Wait()
				if n := there(); n != 0 {
					t.Errorf("%d are there", n)
				}
				if d.now["r/"+streamID] != nil {
					t.Error("its folder is left")
				}
				kill()
				if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		})
	}
}

// A disk that fails for a while keeps nobody waiting, and what it did not take is written when
// it takes it.
func TestTheEarlyJournalOutlivesTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		failing := false
		d.fail = func(op, name string) error {
			if failing && op == "sync" {
				return errors.New("no")
			}
			return nil
		}
		done, kill, s := r.early(d)
		r.write(600 * time.Millisecond)
		d.mu.Lock()
		failing = true
		d.mu.Unlock()
		r.write(600 * time.Millisecond)
		d.mu.Lock()
		failing = false
		d.mu.Unlock()
		r.write(600 * time.Millisecond)
		d.cutPower()
		kill()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		r.end()
		d = d.reboot(rand.New(rand.NewPCG(1, 1)))
		l, err := settled(t, d, r.packer)
		if err != nil {
			t.Fatal(err)
		}
		if long := keeps(t, "in the end", l, d, s); long < 1300*time.Millisecond {
			t.Errorf("%v are there", long)
		}
	})
}

// A broadcast that goes on after the restart, with all it had, is not recorded twice.
func TestEarlyOfABroadcastThatGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		done, kill, s := r.early(d)
		r.write(1500 * time.Millisecond)
		kill()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		l, _ := library(t, d)
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		names := l.Early()
		if len(names) != 1 {
			t.Fatalf("%v", names)
		}
		e, err := l.OpenEarly(t.Context(), names[0], r.packer)
		if err != nil || e == nil || e.StreamID != streamID || e.AssetID != "" {
			t.Fatalf("%+v, %v", e, err)
		}
		if e.GoesOnIn(s) {
			t.Error("it goes on in one that has not begun")
		}
		r.write(5 * time.Second)
		if !e.GoesOnIn(s) || len(l.Early()) != 0 {
			t.Errorf("it does not go on; %v are left", l.Early())
		}
		done = r.record(l)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		keeps(t, "in the end", l, d, s)
	})
}

// What is of no use is removed, and one that cannot be recorded stays.
func TestEarlyOfNoUse(t *testing.T) {
	d := newFakeDisk()
	l, f := library(t, d)
	j, err := f.Append("ls_x/early.1.log")
	if err == nil {
		_, err = j.Write([]byte("what is this"))
	}
	if err == nil {
		err = errors.Join(j.Sync(), j.Close(), l.Load(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	r := pack.New(pack.DefaultConfig(), nil, quiet, nil)
	if e, err := l.OpenEarly(t.Context(), l.Early()[0], r); e != nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
	if names, err := f.Names(); len(names) != 0 || err != nil || len(l.Early()) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	if _, err := l.OpenEarly(t.Context(), "ls_x/early.1.log", r); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}
