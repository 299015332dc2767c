package hls

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// rendered are the packets of a smaller picture in a feed of its own, moved in time.
func rendered(t *testing.T, name string, o mediatest.Options, length, by time.Duration) []*media.Packet {
	o.NoAudio = true
	list := newSource(t, o).take(length)
	tracks := map[*media.Track]*media.Track{}
	for _, p := range list {
		if tracks[p.Track] == nil {
			other := *p.Track
			other.Rendition, other.ID = name, 7
			tracks[p.Track] = &other
		}
		p.Track = tracks[p.Track]
	}
	return moved(list, by)
}

func merged(lists ...[]*media.Packet) []*media.Packet {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b *media.Packet) int { return cmp.Compare(a.Arrival.UnixNano(), b.Arrival.UnixNano()) })
	return all
}

func later(list []*media.Packet, by time.Duration) []*media.Packet {
	for _, p := range list {
		p.Arrival = p.Arrival.Add(by)
	}
	return list
}

// TestFeedsAreVariants: each feed of a stream is a variant with the source's boundaries;
// one that is late, begins late, stops, or has key frames of its own breaks no other.
func TestFeedsAreVariants(t *testing.T) {
	small := mediatest.Options{Width: 640, Height: 360}
	for _, tt := range []struct {
		name  string
		other func(t *testing.T, begin time.Time) []*media.Packet
		// apart: its boundaries are its own key frames.
		apart bool
		// gone: it is no longer offered in the end.
		gone bool
	}{
		{name: "aligned", other: func(t *testing.T, _ time.Time) []*media.Packet {
			return rendered(t, "360p", small, 40*time.Second, 0)
		}},
		{name: "as late as an encoder", other: func(t *testing.T, _ time.Time) []*media.Packet {
			return later(rendered(t, "360p", small, 40*time.Second, 0), 1500*time.Millisecond)
		}},
		{name: "begins late", other: func(t *testing.T, begin time.Time) []*media.Packet {
			o := small
			o.Start = begin.Add(10 * time.Second)
			return rendered(t, "360p", o, 30*time.Second, 10*time.Second)
		}},
		{name: "stops", gone: true, other: func(t *testing.T, _ time.Time) []*media.Packet {
			return rendered(t, "360p", small, 15*time.Second, 0)
		}},
		{name: "keys of its own", apart: true, other: func(t *testing.T, begin time.Time) []*media.Packet {
			o := small
			o.Start = begin.Add(700 * time.Millisecond)
			return rendered(t, "360p", o, 39*time.Second, 700*time.Millisecond)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, DefaultConfig())
				defer r.close()
				r.publish(media.LatencyLow)
				all := linters{}
				begin := time.Now()
				other := tt.other(t, begin)
				source := newSource(t, mediatest.Options{Start: begin}).take(40 * time.Second)
				r.write(merged(source, other), func() {
					all.check(t, r)
					if l := all["v1"]; l != nil {
						l.longParts = tt.gone // its last picture stays
					}
				})
				text := r.get("/hls/" + playbackID + "/index.m3u8").Body.String()
				if offered := strings.Contains(text, "RESOLUTION=640x360"); offered == tt.gone {
					t.Errorf("the small picture is offered: %v\n%s", offered, text)
				}
				if !strings.Contains(text, "RESOLUTION=1280x720") || strings.Count(text, "#EXT-X-MEDIA:TYPE=AUDIO") != 1 {
					t.Errorf("multivariant playlist\n%s", text)
				}
				r.end()
				v, w, a := all["v0"], all["v1"], all["a0"]
				if v == nil || w == nil || a == nil {
					t.Fatalf("renditions: %d", len(all))
				}
				aligned(t, publisher{}, v, a)
				for msn, s := range w.all {
					source, ok := v.all[msn]
					if !ok || s.gap {
						continue
					}
					if d := s.pdt.Sub(source.pdt); d.Abs() > 5*time.Millisecond && !tt.apart || d < 0 && d < -150*time.Millisecond || d > 1500*time.Millisecond {
						t.Errorf("segment %d begins %v off the source's", msn, d)
					}
				}
				if tt.apart && strings.Count(w.last.text, "#EXT-X-INDEPENDENT-SEGMENTS") != 1 {
					t.Errorf("segments do not begin with key frames:\n%s", w.last.text)
				}
				for _, l := range all {
					if n := l.count(); n != 0 {
						t.Errorf("%s has %d discontinuities", l.r.Name(), n)
					}
				}
			})
		})
	}
}
