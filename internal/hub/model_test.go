package hub

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onair/internal/media"
)

// model is a feed as a plain slice: every packet ever written, and where what is kept
// begins. Its rules are those of the package comment, written the slow way.
type model struct {
	all      []*media.Packet
	clock    []time.Duration // the highest DTS up to each packet
	groups   []int           // indices of the kept group beginnings
	tail     int
	maxBytes int
	maxTime  time.Duration
}

func (m *model) kept() (bytes int) {
	for _, p := range m.all[m.tail:] {
		bytes += len(p.Data) + packetOverhead
	}
	return bytes
}

func (m *model) write(p *media.Packet, opens bool) {
	now := p.Track.Duration(p.DTS)
	if n := len(m.clock); n > 0 {
		now = max(now, m.clock[n-1])
	}
	m.all, m.clock = append(m.all, p), append(m.clock, now)
	if opens {
		m.groups = append(m.groups, len(m.all)-1)
	}
	firstGroup := func() int {
		if len(m.groups) == 0 {
			return len(m.all)
		}
		return m.groups[0]
	}
	for m.tail < firstGroup() && now-m.clock[m.tail] > m.maxTime {
		m.tail++
	}
	for len(m.groups) > 2 && now-m.clock[m.groups[0]] > m.maxTime {
		m.groups = m.groups[1:]
		m.tail = m.groups[0]
	}
	for m.kept() > m.maxBytes {
		switch {
		case m.tail < firstGroup():
			m.tail++
		case len(m.groups) > 1:
			m.groups = m.groups[1:]
			m.tail = m.groups[0]
		default:
			m.groups = nil
		}
	}
}

// modelReader is a cursor into the model's slice.
type modelReader struct {
	next    int
	joining bool
	from    Start
	maxLag  time.Duration
	started []int
}

// read returns the index of the packet that must come, or the number of packets that
// must be reported lost; neither if the reader must wait.
func (r *modelReader) read(m *model) (index, lost int) {
	newest := -1
	if len(m.groups) > 0 {
		newest = m.groups[len(m.groups)-1]
	}
	switch {
	case r.joining && newest < 0:
		return -1, 0
	case r.joining && r.from == OldestKept:
		r.next, r.joining = m.groups[0], false
	case r.joining:
		r.next, r.joining = newest, false
	default:
		behind := r.maxLag > 0 && r.next < len(m.all) && m.clock[len(m.all)-1]-m.clock[r.next] > r.maxLag && newest > r.next
		if r.next < m.tail || behind {
			from := r.next
			r.next, r.joining, r.started = newest, newest < 0, nil
			if newest < 0 {
				r.next = len(m.all)
			}
			return -1, r.next - from
		}
	}
	for ; r.next < len(m.all); r.next++ {
		p := m.all[r.next]
		if p.Track.Kind() == media.Video && !slices.Contains(r.started, p.Track.ID) {
			if !p.Key {
				continue
			}
			r.started = append(r.started, p.Track.ID)
		}
		r.next++
		return r.next - 1, 0
	}
	return -1, 0
}

func TestReaderAgainstAPlainSlice(t *testing.T) {
	v, a := videoTrack(1), audioTrack(2)
	rapid.Check(t, func(t *rapid.T) {
		m := &model{maxBytes: 16 << 10, maxTime: 2 * second}
		h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes, c.MaxFeedDuration = m.maxBytes, m.maxTime })
		p, err := h.Publish("s", PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		f := p.stream.Feed()
		type pair struct {
			real *Reader
			want *modelReader
		}
		var readers []pair
		now, hadKey := int64(0), false
		ended := false
		check := func(t *rapid.T, r pair) bool {
			ctx, cancel := context.WithCancel(context.Background())
			index, lost := r.want.read(m)
			if index < 0 && lost == 0 && !ended {
				cancel() // it would wait
				f.stream.mu.Lock()
				got, err := r.real.read()
				f.stream.mu.Unlock()
				if got != nil || err != nil {
					t.Fatalf("read %v, %v; want to wait", got, err)
				}
				return false
			}
			defer cancel()
			got, err := r.real.ReadPacket(ctx)
			var gap *Gap
			switch {
			case lost > 0:
				if !errors.As(err, &gap) || gap.Lost != uint64(lost) {
					t.Fatalf("read %v, %v; want a gap of %d", got, err, lost)
				}
			case index >= 0:
				if err != nil || got != m.all[index] {
					t.Fatalf("read %v, %v; want packet %d", got, err, index)
				}
			default:
				if !errors.Is(err, io.EOF) {
					t.Fatalf("read %v, %v; want the end", got, err)
				}
				return false
			}
			return true
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				if ended {
					t.Skip("ended")
				}
				for range rapid.IntRange(1, 30).Draw(t, "packets") {
					now += rapid.Int64Range(0, 60).Draw(t, "ms")
					size := rapid.SampledFrom([]int{10, 300, 300, 2000, 20 << 10}).Draw(t, "size")
					video := rapid.IntRange(0, 3).Draw(t, "video") > 0
					key := video && rapid.IntRange(0, 9).Draw(t, "key") == 0
					pk := pkt(v, now, key, size)
					if !video {
						pk = pkt(a, now, true, size)
					}
					if err := p.WritePacket(context.Background(), pk); err != nil {
						t.Fatal(err)
					}
					// Audio before the first key would open groups; the model leaves them to
					// the tests of grouping, and begins with a key.
					if !hadKey && !key {
						if pk.Track == a {
							hadKey = true
							m.write(pk, true)
						}
						continue
					}
					if pk.Track == a && !f.hasLead {
						n := f.groups.len()
						m.write(pk, n > 0 && f.groups.at(n-1).seq == f.head()-1)
						continue
					}
					if pk.Track == v && !key && !f.hasLead {
						continue // left out: nothing could be decoded
					}
					hadKey = true
					m.write(pk, key)
				}
				if f.bytes != m.kept() || int(f.tail) != m.tail || f.groups.len() != len(m.groups) {
					t.Fatalf("keeps %d bytes from %d in %d groups, want %d from %d in %d",
						f.bytes, f.tail, f.groups.len(), m.kept(), m.tail, len(m.groups))
				}
			},
			"join": func(t *rapid.T) {
				from := rapid.SampledFrom([]Start{NewestKey, OldestKept}).Draw(t, "from")
				lag := rapid.SampledFrom([]time.Duration{0, 0, second / 2}).Draw(t, "lag")
				w := &modelReader{from: from, maxLag: lag, joining: true, next: len(m.all)}
				if n := len(m.groups); n > 0 {
					w.joining, w.next = false, m.groups[n-1]
					if from == OldestKept {
						w.next = m.groups[0]
					}
				}
				readers = append(readers, pair{f.NewReader(ReaderOptions{From: from, MaxLag: lag}), w})
			},
			"read": func(t *rapid.T) {
				if len(readers) == 0 {
					t.Skip("no reader")
				}
				r := readers[rapid.IntRange(0, len(readers)-1).Draw(t, "reader")]
				for range rapid.IntRange(1, 40).Draw(t, "packets") {
					if !check(t, r) {
						return
					}
				}
			},
			"end": func(t *rapid.T) {
				if rapid.IntRange(0, 19).Draw(t, "really") == 0 {
					p.End(nil)
					ended = true
				}
			},
		})
	})
}
