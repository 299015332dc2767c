package play

import (
	"slices"
	"sync/atomic"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
)

// sceneAge is how long what is known of a stream's layers holds.
const sceneAge = 400 * time.Millisecond

// room is a stream's viewers, and what they watch. Realtime.mu guards viewers, taking and pumps.
type room struct {
	r       *Realtime
	id      string
	viewers []*viewing // in the order in which they came
	taking  int        // those of them who are interactive
	pumps   map[pumpKey]*pump

	asked   atomic.Int64 // when a key frame was asked for, in Unix nanoseconds
	current atomic.Pointer[scene]
}

func (v *viewing) enter() {
	r := v.r
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.rooms[v.id]
	if m == nil {
		m = &room{r: r, id: v.id, pumps: make(map[pumpKey]*pump)}
		r.rooms[v.id] = m
	}
	m.viewers = append(m.viewers, v)
	if v.interactive {
		m.taking++
	}
	v.room = m
}

// leave takes the viewer out of its room, when it has given back its pumps.
func (v *viewing) leave() {
	r := v.r
	r.mu.Lock()
	defer r.mu.Unlock()
	m := v.room
	m.viewers = slices.DeleteFunc(m.viewers, func(o *viewing) bool { return o == v })
	if v.interactive {
		m.taking--
	}
	if len(m.viewers) == 0 {
		delete(r.rooms, v.id)
	}
}

// among tells whether the viewer is among the n newest who are not interactive.
func (v *viewing) among(n int) bool {
	if n <= 0 || v.interactive {
		return false
	}
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	all := v.room.viewers
	for i := len(all) - 1; i >= 0 && n > 0; i-- {
		if all[i] == v {
			return true
		}
		if !all[i].interactive {
			n--
		}
	}
	return false
}

// requestKey asks the publisher for a key frame, unless that was done a moment ago.
func (m *room) requestKey() {
	now := time.Now().UnixNano()
	last := m.asked.Load()
	if m.r.keys == nil || now-last < int64(keyEvery) || !m.asked.CompareAndSwap(last, now) {
		return
	}
	m.r.keys.RequestKey(m.id)
}

// layer is a rendition of the picture or the sound.
type layer struct {
	// name is what a viewer calls it, feed that of its feed.
	name, feed string
	track      *media.Track
	// rate is what to expect, in bits a second; 0 if it is not known.
	rate int64
	// made is set if the server makes it when asked to.
	made bool
}

// scene is what a stream has to offer at a moment, best first.
type scene struct {
	at           time.Time
	stream       *hub.Stream
	video, audio []layer
	// reorders is set if what the publisher sends cannot be shown as it comes.
	reorders bool
	since    time.Time // when the broadcast began
}

// scene returns what the stream has to offer now.
func (m *room) scene(stream *hub.Stream, now time.Time) *scene {
	if s := m.current.Load(); s != nil && s.stream == stream && now.Sub(s.at) < sceneAge {
		return s
	}
	s := &scene{at: now, stream: stream, reorders: m.r.ladder.Reorders(m.id)}
	snapshot := stream.Snapshot()
	s.since = snapshot.Since
	for _, f := range stream.Feeds() {
		if f.Derived() {
			continue
		}
		for _, t := range f.Tracks() {
			l := layer{name: f.Name(), feed: f.Name(), track: t}
			for _, known := range snapshot.Tracks {
				if known.ID == t.ID && known.Kind == t.Kind() && known.Rendition == t.Rendition {
					l.rate = int64(known.Bitrate)
				}
			}
			s.add(l)
		}
	}
	for _, o := range m.r.ladder.Offers(m.id) {
		if o.Realtime || o.Track.Kind() == media.Audio {
			s.add(layer{name: o.Track.Rendition, feed: o.Track.Rendition, track: o.Track, rate: m.measured(stream, o), made: true})
		}
	}
	slices.SortStableFunc(s.video, func(a, b layer) int { return weight(b) - weight(a) })
	m.current.Store(s)
	return s
}

// add takes in the first track of each kind of a feed.
func (s *scene) add(l layer) {
	list := &s.video
	if l.track.Kind() == media.Audio {
		list = &s.audio
	}
	for _, have := range *list {
		if have.feed == l.feed {
			return
		}
	}
	*list = append(*list, l)
}

// weight orders pictures: those with more pixels first, then those with more frames.
func weight(l layer) int {
	return l.track.Width*l.track.Height*2 + min(1, int(l.track.FrameRate)/40)
}

// measured is the rate of an offer: what it was measured to have, else what is expected.
func (m *room) measured(stream *hub.Stream, o media.Offer) int64 {
	m.r.mu.Lock()
	p := m.pumps[pumpKey{stream, o.Track.Rendition, o.Track.Codec}]
	m.r.mu.Unlock()
	if p != nil {
		if rate := p.rate.Load(); rate > 0 {
			return rate
		}
	}
	if o.Average > 0 {
		return o.Average
	}
	return o.Peak
}
