package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// visit is one connection of a publisher.
type visit struct {
	Wait    time.Duration
	Backup  bool
	Seconds int
	GOP     int
	Offset  time.Duration
	Small   bool // another size and sample rate
	Silent  time.Duration
	Lost    bool // what it would have sent meanwhile
	Clean   bool
}

func drawVisit(t *rapid.T) visit {
	return visit{
		Wait:    time.Duration(rapid.IntRange(0, 8000).Draw(t, "wait")) * time.Millisecond,
		Backup:  rapid.Bool().Draw(t, "backup"),
		Seconds: rapid.IntRange(1, 15).Draw(t, "seconds"),
		GOP:     rapid.SampledFrom([]int{15, 30, 60, 120}).Draw(t, "gop"),
		Offset:  time.Duration(rapid.IntRange(0, 1<<30).Draw(t, "offset")) * time.Millisecond,
		Small:   rapid.IntRange(0, 3).Draw(t, "small") == 0,
		Silent:  time.Duration(rapid.SampledFrom([]int{0, 0, 300, 900, 4000}).Draw(t, "silent")) * time.Millisecond,
		Lost:    rapid.Bool().Draw(t, "lost"),
		Clean:   rapid.IntRange(0, 5).Draw(t, "clean") == 0,
	}
}

// TestTheTimelineNeverStops: whatever publishers come and go, the stream that they are on
// has each track grow without a hole, and at the pace of the clock.
func TestTheTimelineNeverStops(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		visits := rapid.SliceOfN(rapid.Custom(drawVisit), 1, 6).Draw(rt, "visits")
		visits[0].Backup, visits[0].Clean, visits[0].Silent = false, false, 0
		complaint := visited(t, visits)
		if complaint != "" {
			rt.Fatal(complaint)
		}
	})
}

// visited lets the publishers come and go, and returns what is wrong with what a viewer saw.
func visited(t *testing.T, visits []visit) (complaint string) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		var done []<-chan error
		for i, v := range visits {
			if i > 0 {
				time.Sleep(v.Wait)
			}
			o := mediatest.Options{Duration: time.Duration(v.Seconds) * time.Second, GOP: v.GOP, Offset: v.Offset, Seed: uint64(i)}
			if v.Small {
				o.Width, o.Height, o.SampleRate = 640, 360, 44100
			}
			steps := live(o)
			if v.Silent > 0 {
				steps = pause(steps, o.Duration/2, v.Silent, v.Lost)
			}
			end := errReset
			if v.Clean {
				end = io.EOF
			}
			done = append(done, r.serve(context.Background(), &request{key: "good", backup: v.Backup, steps: append(steps, step{err: end})}))
			if i == 0 {
				r.view()
			}
		}
		for _, c := range done {
			if err := <-c; errors.Is(err, context.Canceled) {
				complaint = "a publisher was told that it was cancelled"
			}
		}
		time.Sleep(3 * time.Second)
		lasted := time.Duration(0)
		if st, ok := r.hub.Stream("ls_1"); ok && st == r.seen {
			lasted = time.Since(st.Snapshot().Since)
		}
		for id, packets := range r.end() {
			if complaint != "" {
				break
			}
			complaint = gaps(id, packets)
			if complaint != "" {
				break
			}
			last := packets[len(packets)-1]
			at := last.Track.Duration(last.DTS)
			// Ahead of the clock by no more than what a backup had held; never behind.
			if ahead := at - lasted; lasted > 0 && (ahead > 5*time.Second || ahead < -1100*time.Millisecond) {
				complaint = fmt.Sprintf("track %d ends at %v after %v", id, at, lasted)
			}
		}
	})
	return complaint
}

// gaps looks for holes and steps back in a track.
func gaps(id int, packets []*media.Packet) string {
	for i, p := range packets[1:] {
		was := packets[i]
		at := was.Track.Duration(was.DTS)
		step := p.Track.Duration(p.DTS) - at
		most := 1050 * time.Millisecond
		if p.Track.Kind() == media.Audio {
			most = 65 * time.Millisecond
		}
		if step <= 0 || step > most {
			return fmt.Sprintf("track %d goes on %v after %v", id, step, at)
		}
		if p.Track != was.Track && p.Track.Version <= was.Track.Version {
			return fmt.Sprintf("track %d goes from version %d to %d", id, was.Track.Version, p.Track.Version)
		}
	}
	return ""
}
