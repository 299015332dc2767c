package srt

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"onair/internal/fault"
)

// feed drives a receiver by a clock of its own.
type feed struct {
	*receiver
	now time.Time
	seq uint32
}

func newFeed(isn uint32, latency time.Duration) *feed {
	now := time.Unix(0, 0)
	return &feed{receiver: newReceiver(isn, latency, &payloads{}, now), now: now, seq: isn}
}

func (f *feed) drain() (n int) {
	for f.pop() != nil {
		n++
	}
	return n
}

// TestClockThatIsWrong simulates a day of an encoder whose clock is wrong by 0.1 %: the
// wait for a lost packet stays the latency all the time.
func TestClockThatIsWrong(t *testing.T) {
	for _, rate := range []float64{0.999, 1.001} {
		f := newFeed(7, 400*time.Millisecond)
		const step = 200 * time.Millisecond
		for i := range 24 * 3600 * 5 {
			stamp := uint32(uint64(float64(time.Duration(i)*step/time.Microsecond) * rate))
			f.now = f.now.Add(step)
			if i%10_000 == 9_999 {
				// One is lost, and 60 follow in good time.
				f.seq = seqAdd(f.seq, 1)
				f.push(f.seq, stamp, false, []byte{1}, f.now)
				f.seq = seqAdd(f.seq, 1)
				began := f.now
				for f.missing > 0 && f.now.Sub(began) < time.Second {
					f.now = f.now.Add(tick)
					f.giveUp(f.now, 0)
				}
				if waited := f.now.Sub(began); waited < 350*time.Millisecond || waited > 450*time.Millisecond {
					t.Fatalf("rate %v: after %v a lost packet is waited for %v", rate, time.Duration(i)*step, waited)
				}
				f.now = began
			} else {
				f.push(f.seq, stamp, false, []byte{1}, f.now)
				f.seq = seqAdd(f.seq, 1)
			}
			f.drain()
		}
		if f.dropped != 43 {
			t.Errorf("%d packets are dropped", f.dropped)
		}
	}
}

// TestOrder holds the receiver to a model: whatever order packets come in, twice or not,
// over the wrap of numbers and stamps, they leave in order and none that came is missing.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isn := rapid.SampledFrom([]uint32{0, 1, seqMask - 3, seqMask - 300, 1<<30 - 2}).Draw(t, "isn")
		count := rapid.IntRange(1, 600).Draw(t, "count")
		f := newFeed(isn, time.Second)
		var want []byte
		var late []int
		push := func(i int, again bool) {
			f.push(seqAdd(isn, i), uint32(0xFFFFF000+i*1000), again, []byte{byte(i)}, f.now)
		}
		for i := range count {
			want = append(want, byte(i))
			switch rapid.IntRange(0, 9).Draw(t, "fate") {
			case 0:
				late = append(late, i)
			case 1:
				push(i, false)
				push(i, false)
			default:
				push(i, false)
			}
			f.now = f.now.Add(time.Millisecond)
		}
		for _, i := range late {
			push(i, true)
		}
		var got []byte
		for b := f.pop(); b != nil; b = f.pop() {
			got = append(got, b...)
		}
		if string(got) != string(want) {
			t.Fatalf("%d of %d leave", len(got), len(want))
		}
		if f.missing != 0 || f.free() != maxWindow {
			t.Fatalf("%d are missing, %d are free", f.missing, f.free())
		}
	})
}

// TestWindow: a sender that runs ahead of a reader is held, and one that comes back a
// window later is taken up again.
func TestWindow(t *testing.T) {
	f := newFeed(0, time.Second)
	for i := range uint32(maxWindow + 100) {
		f.push(i, i, false, []byte{1}, f.now)
	}
	if f.overflow != 100 || f.free() != 0 || len(f.ring) != maxWindow {
		t.Errorf("%d overflow, %d free, ring of %d", f.overflow, f.free(), len(f.ring))
	}
	if n := f.drain(); n != maxWindow {
		t.Errorf("%d leave", n)
	}
	f.push(1<<29, 0, false, []byte{1}, f.now)
	if f.drain() != 1 || f.missing != 0 {
		t.Error("a packet far ahead is not taken")
	}
	f.push(5, 0, false, []byte{1}, f.now)
	if f.drain() != 0 || f.belated != 1 {
		t.Error("a packet from long ago is taken")
	}
}

// TestTimeouts: a peer that falls silent, one that sends no media, and one that says
// goodbye end differently.
func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(e *established)
		want fault.Kind
		took time.Duration
	}{
		{"silence", func(e *established) { e.net.loss = 1 }, fault.Timeout, DefaultConfig().PeerTimeout},
		{"no media", func(*established) {}, fault.Timeout, DefaultConfig().IdleTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := establish(t, "")
				e.write(t, 0, 10)
				synctest.Wait()
				e.net.mu.Lock()
				tt.do(e)
				e.net.mu.Unlock()
				began := time.Now()
				if got := <-e.got; len(got) != 10 {
					t.Errorf("%d payloads arrive", len(got))
				}
				err := <-e.ended
				if took := time.Since(began); !fault.Is(err, tt.want) || took < tt.took-time.Second || took > tt.took+time.Second {
					t.Errorf("%v after %v", err, took)
				}
				e.call.close()
				e.stop()
			})
		})
	}
}

// TestSlowPeer: a peer that takes nothing makes a writer wait, and then fail.
func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := establish(t, "")
		c := e.call.conn
		c.mu.Lock()
		c.out.window = 0
		c.mu.Unlock()
		var err error
		began, i := time.Now(), 0
		for ; err == nil && i < 10_000; i++ {
			c.mu.Lock()
			c.heard = time.Now() // it lives
			c.mu.Unlock()
			err = c.write(t.Context(), payload(i), 3*time.Second)
		}
		if !fault.Is(err, fault.Timeout) || i < maxUnsent || time.Since(began) < 3*time.Second {
			t.Errorf("%v after %d payloads and %v", err, i, time.Since(began))
		}
		c.close()
		e.call.close()
		<-e.got
		if err := <-e.ended; err == nil {
			t.Error("it ended without an error")
		}
		e.stop()
	})
}

// A peer may name any sequence numbers. Half of their circle ahead, the order of two of
// them says nothing of a third: what is walked over is bounded by the window all the same.
func TestSequenceNumbersHalfACircleAhead(t *testing.T) {
	now := time.Unix(0, 0)
	r := newReceiver(1, time.Second, &payloads{}, now)
	push := func(seq uint32) { r.push(seq, 0, false, []byte("x"), now) }
	push(1)
	push(4) // 2 and 3 are missing
	r.forget(seqAdd(r.next, 1<<30-1), seqAdd(r.next, 1<<31-2))
	if r.dropped != 0 || r.missing != 2 {
		t.Errorf("after a range behind and ahead: %d dropped, %d missing", r.dropped, r.missing)
	}
	// Ahead of the first missing packet, and behind the first that is not read.
	push(seqAdd(r.next, 1<<30-1))
	if r.overflow != 1 || r.missing != 2 || r.end != 5 {
		t.Errorf("after a packet half a circle ahead: %d over, %d missing, end %d", r.overflow, r.missing, r.end)
	}
}

// TestReportsOfLoss: what a report names is marked once, and a report that names the whole
// window again and again costs no more than one that names it once.
func TestReportsOfLoss(t *testing.T) {
	const count = 4000
	now := time.Unix(0, 0)
	sent := func() *sender {
		s := newSender(seqMask-10, time.Second, maxWindow)
		for range count {
			s.push(make([]byte, headerSize+1), keyNone, 1)
		}
		s.credit = count
		if n := len(s.pump(now, 0, nil)); n != count {
			t.Fatalf("%d of %d packets were sent", n, count)
		}
		return s
	}
	words := func(list ...uint32) (b []byte) {
		for _, w := range list {
			b = binary.BigEndian.AppendUint32(b, w)
		}
		return b
	}
	s := sent()
	first := s.una
	some := words(appendLoss(appendLoss(nil, first, first), seqAdd(first, 20), seqAdd(first, 29))...)
	if looked := s.report(some, now.Add(time.Second), time.Millisecond); looked != 11 || s.lost != 11 {
		t.Errorf("of 11 reported packets %d were looked at and %d are to be repeated", looked, s.lost)
	}
	s = sent()
	var list []uint32
	for range maxLossWords / 2 {
		list = appendLoss(list, first, seqAdd(first, count-1))
	}
	if looked := s.report(words(list...), now.Add(time.Second), time.Millisecond); looked >= maxWindow+count || s.lost != count {
		t.Errorf("%d packets were looked at for %d in the window, %d are to be repeated", looked, count, s.lost)
	}
	if looked := s.report(words(1<<31|first), now, 0); looked != 0 {
		t.Errorf("a range that is cut short names %d packets", looked)
	}
}
