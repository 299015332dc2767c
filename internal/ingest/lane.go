package ingest

import (
	"bytes"
	"context"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

const (
	// maxLanes is the most tracks that a stream has seen.
	maxLanes = 32
	// changesAtOnce and changeTime bound how often a stream's parameters may change.
	changesAtOnce = 5
	changeTime    = 5 * time.Second
	// overlap is how far a picture may come to stand before the end of filler and is moved
	// there; sound is left out.
	overlap = 500 * time.Millisecond
	// lateFor is how long one track may be behind its filler before it is moved by itself.
	lateFor = time.Second
	// longestBurst is how much media that came at once is waited for.
	longestBurst = 2 * time.Second
	// longestHole is the longest hole in the sound that is filled at once.
	longestHole = 15 * time.Second
)

// lane is a track of the stream, whoever sends it.
type lane struct {
	track *media.Track
	// last is the DTS of the last packet and next where one is due, in ticks.
	last, next int64
	started    bool
	arrived    time.Time // when a publisher's last packet came
	// sample is the publisher's last packet of sound or last key packet of pictures, moved
	// is the distance of PTS and DTS of the latter in ticks.
	sample []byte
	moved  int64
	usual  int64 // ticks of a packet
	// A burst is what came since burstAt, its first packet stands at burstFrom, and ahead is
	// by how much more media it has than time has passed.
	burstAt   time.Time
	burstFrom time.Duration
	ahead     time.Duration
	// filled is set when filler came after the publisher's last packet.
	filled  bool
	needKey bool
	late    time.Time // since when its packets came too late
	quiet   silence
	mute    bool // no silence can be made
	slated  bool // a slate was asked for
}

// patience is how long the lane may be silent before it is filled: pictures that come
// slowly are no silence, and neither is what follows media that came all at once, as from
// an encoder that sends a second of pictures and then a second of sound.
func (l *lane) patience() time.Duration {
	return max(starved, 3*min(l.track.Duration(l.usual), time.Second)) + min(l.ahead, longestBurst)
}

// heard takes in when a publisher's packet came.
func (l *lane) heard(at time.Duration, now time.Time) {
	l.arrived = now
	if now.Sub(l.burstAt) >= burst || at < l.burstFrom {
		l.burstAt, l.burstFrom = now, at
	}
	l.ahead = max(0, at-l.burstFrom-now.Sub(l.burstAt))
}

// allowance is a count that refills with time.
type allowance struct {
	used int
	at   time.Time
}

func (a *allowance) take(now time.Time) bool {
	if n := int(now.Sub(a.at) / changeTime); n > 0 {
		a.used, a.at = max(0, a.used-n), now
	}
	if a.used >= changesAtOnce {
		return false
	}
	a.used++
	return true
}

// adopt finds the lane for a publisher's track, and gives it the track's parameters.
func (s *session) adopt(in *media.Track) (*media.Track, *lane) {
	d := s.desk
	out := inStreamScale(in)
	out.Rendition = s.names.name(in)
	l := s.laneOf(in, out.Rendition)
	if l == nil {
		l = &lane{}
		out.ID, out.Version = d.freeID(in.ID), 0
		d.lanes = append(d.lanes, l)
		s.lanes = append(s.lanes, seatLane{in.ID, l})
	} else {
		if equal(l.track, out) {
			return l.track, l
		}
		out.ID, out.Version = l.track.ID, l.track.Version+1
		from, to := int64(l.track.Timescale), int64(out.Timescale)
		l.last, l.next = media.Rescale(l.last, from, to), media.Rescale(l.next, from, to)
		l.needKey, l.quiet, l.mute = true, silence{}, false
	}
	l.track = out
	return l.track, l
}

// seatLane says on which lane a publisher's track goes.
type seatLane struct {
	id int
	*lane
}

func (s *session) laneOf(in *media.Track, rendition string) *lane {
	for _, l := range s.lanes {
		if l.id == in.ID {
			return l.lane
		}
	}
	for _, l := range s.desk.lanes {
		taken := l.track.Kind() != in.Kind() || l.track.Rendition != rendition
		for _, mine := range s.lanes {
			taken = taken || mine.lane == l
		}
		if !taken {
			s.lanes = append(s.lanes, seatLane{in.ID, l})
			return l
		}
	}
	return nil
}

// tooMany tells whether the stream would have seen too many tracks with those of packets.
func (d *desk) tooMany(s *session, packets []*media.Packet) bool {
	list, lanes := seen(packets), len(d.lanes)
	s.names.learn(list)
	for _, t := range list {
		if s.laneOf(t, s.names.name(t)) == nil {
			lanes++
		}
	}
	return lanes > maxLanes
}

func errTooMany(stream string) error {
	return fault.New(fault.TooMany, "publish", stream, "more than 32 tracks have been sent since the stream began",
		"Send fewer audio and video tracks, or end the stream and begin anew")
}

func (d *desk) freeID(want int) int {
	for {
		free := true
		for _, l := range d.lanes {
			free = free && (l.track == nil || l.track.ID != want)
		}
		if free {
			return want
		}
		want++
	}
}

// equal tells whether a decoder can go from one to the other without being told.
func equal(a, b *media.Track) bool {
	return a.Codec == b.Codec && a.Timescale == b.Timescale && a.Width == b.Width && a.Height == b.Height &&
		a.SampleRate == b.SampleRate && a.Channels == b.Channels && a.CodecString == b.CodecString &&
		a.Language == b.Language && a.Rendition == b.Rendition && bytes.Equal(a.Config, b.Config)
}

// end is where the media of all lanes ends.
func (d *desk) end() (end time.Duration) {
	for _, l := range d.lanes {
		if l.started {
			end = max(end, l.track.Duration(l.earliest()+1))
		}
	}
	return end
}

// earliest is the lowest DTS that the lane's next packet may have.
func (l *lane) earliest() int64 {
	if l.track.Kind() == media.Audio {
		return l.next
	}
	return l.last + least(l.track)
}

// put moves a packet of the publisher on the air to the stream's timeline, and writes it.
func (d *desk) put(s *session, p *media.Packet) error {
	if changed, known := s.timeline.knows(p.Track); !known && len(d.lanes) >= maxLanes {
		return errTooMany(d.id)
	} else if changed && !d.changes.take(s.arrived) {
		s.repairs.count(repairParameters)
		return nil
	}
	q, n := s.timeline.move(p)
	if q == nil {
		return nil
	}
	l := n.lane
	if l.usual = q.Duration; l.usual <= 0 {
		// As the publisher's stamps have it, whatever of it is written.
		l.usual = min(l.track.Ticks(time.Duration(n.step)), int64(l.track.Timescale))
	}
	if !d.fits(s, n, q) {
		return nil
	}
	if q.Track.Kind() == media.Audio {
		if err := d.bridge(l, q); err != nil {
			return err
		}
	}
	l.wrote(q)
	l.heard(q.Track.Duration(q.DTS), s.arrived)
	l.filled, l.late = false, time.Time{}
	if q.Track.Kind() == media.Audio {
		l.sample = q.Data
	} else if q.Key {
		l.sample, l.moved, l.needKey, l.slated = q.Data, q.PTS-q.DTS, false, false
	}
	s.follow(n, q)
	s.note(q.Track)
	s.tell()
	return d.pub.WritePacket(context.Background(), q)
}

// wrote takes in that q was written.
func (l *lane) wrote(q *media.Packet) {
	length := q.Duration
	if length <= 0 {
		if length = l.usual; length <= 0 {
			length = l.track.Ticks(time.Duration(defaultStep))
		}
	}
	l.started, l.last, l.next = true, q.DTS, q.DTS+length
}

// fits tells whether a packet can follow what was written on its lane; a picture that is a
// little too early is moved.
func (d *desk) fits(s *session, n *line, q *media.Packet) bool {
	l := n.lane
	video := q.Track.Kind() == media.Video
	if l.started && video && l.needKey && !q.Key {
		return false
	}
	if !l.started || q.DTS >= l.earliest() {
		return true
	}
	if !l.filled && !video {
		return q.DTS > l.last
	}
	behind := l.earliest() - q.DTS
	if video && (!l.filled || q.Track.Duration(behind) <= overlap) {
		q.DTS = l.earliest()
		q.PTS = max(q.PTS, q.DTS)
		return true
	}
	s.repairs.count(repairLate)
	if l.late.IsZero() {
		l.late = s.arrived
	}
	if s.arrived.Sub(l.late) >= lateFor {
		n.extra += int64(q.Track.Duration(behind))
		l.late = time.Time{}
	}
	return false
}

// bridge fills a hole in the sound before q.
func (d *desk) bridge(l *lane, q *media.Packet) error {
	hole := q.DTS - l.next
	if !l.started || hole <= 0 || l.track.Duration(hole) > longestHole || !l.hush() || hole < 2*l.quiet.samples && !l.filled {
		return nil
	}
	for l.next+l.quiet.samples <= q.DTS {
		if err := d.pub.Fill(l.silent(q.Arrival)); err != nil {
			return err
		}
	}
	return nil
}

// hush prepares the lane's silence; false if it can have none.
func (l *lane) hush() bool {
	if l.quiet.samples == 0 && !l.mute {
		var ok bool
		l.quiet, ok = silenceOf(l.track, l.sample)
		l.mute = !ok
	}
	return !l.mute
}

// silent returns the lane's next packet of silence.
func (l *lane) silent(at time.Time) *media.Packet {
	q := &media.Packet{Track: l.track, DTS: l.next, PTS: l.next, Duration: l.quiet.samples, Key: true, Arrival: at, Data: l.quiet.data}
	l.wrote(q)
	return q
}
