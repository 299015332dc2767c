package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// learn reads until it is clear which tracks the publisher has, and returns what it
// read. What nothing can be decoded from, video before a key packet, it leaves out.
// After Config.MediaTimeout without anything else it ends ctx, whose cause says why.
func (s *session) learn(ctx context.Context, cancel context.CancelCauseFunc) ([]*media.Packet, error) {
	var l lesson
	useless := 0 // pictures before a key frame
	timer := time.AfterFunc(s.cfg.MediaTimeout, func() {
		cancel(fault.New(fault.Timeout, "publish", "",
			"no sound and no key frame came within "+s.cfg.MediaTimeout.String(),
			"Check that the encoder has a video or audio source and sends a key frame at least every few seconds"))
	})
	defer timer.Stop()
	for {
		p, err := tapped{s.request, s.tap}.ReadPacket(ctx)
		switch {
		case errors.Is(err, io.EOF) && len(l.packets) > 0:
			// A short broadcast. The end comes again after what was read.
			s.metrics.learned.WithLabelValues("end").Inc()
			return l.packets, nil
		case errors.Is(err, io.EOF):
			return nil, endedEarly(useless)
		case err != nil:
			return nil, err
		}
		if !l.add(p) {
			useless++
			continue
		}
		timer.Stop()
		if reason := l.enough(s.request.Tracks(), s.cfg); reason != "" {
			s.metrics.learned.WithLabelValues(reason).Inc()
			return l.packets, nil
		}
	}
}

// endedEarly is why a broadcast that ended was never on the air; pictures is how many came.
func endedEarly(pictures int) error {
	if pictures == 0 {
		return fault.New(fault.Invalid, "publish", "", "the encoder stopped before it sent sound or pictures",
			"Read what the encoder itself said: some connect first and find out afterwards that they cannot send")
	}
	return fault.New(fault.Invalid, "publish", "", fmt.Sprintf("the encoder stopped after %d pictures, and none of them was a key frame", pictures),
		"Set the encoder's keyframe interval to 1 or 2 seconds")
}

// lesson is what is known of a publisher so far.
type lesson struct {
	packets      []*media.Packet
	seen         []*media.Track
	bytes        int
	begin        time.Time
	first, last  int64 // the lowest and highest time stamp, in nanoseconds
	video, audio bool
}

// add takes in a packet; false if it is of no use.
func (l *lesson) add(p *media.Packet) bool {
	known := false
	for _, t := range l.seen {
		known = known || t.ID == p.Track.ID
	}
	video := p.Track.Kind() == media.Video
	if video && !known && !p.Key {
		return false
	}
	if !known {
		l.seen = append(l.seen, p.Track)
	}
	l.video, l.audio = l.video || video, l.audio || !video
	in := inTime(p)
	if len(l.packets) == 0 {
		l.begin, l.first, l.last = time.Now(), in, in
	}
	l.first, l.last = min(l.first, in), max(l.last, in)
	l.packets = append(l.packets, p)
	l.bytes += len(p.Data) + packetOverhead
	return true
}

// packetOverhead is what a packet costs beside its payload.
const packetOverhead = 192

// enough tells why there is nothing more to wait for; empty if there is. Time is the
// publisher's or the wall clock's, whichever has gone further.
func (l *lesson) enough(announced []*media.Track, cfg Config) string {
	span := max(time.Duration(l.last-l.first), time.Since(l.begin))
	all := true
	for _, a := range announced {
		seen := false
		for _, t := range l.seen {
			seen = seen || t.ID == a.ID
		}
		all = all && seen
	}
	switch {
	case all && l.video && l.audio:
		return "complete"
	case all && span >= cfg.LearnSettle:
		return "settled"
	case span >= cfg.LearnMissing:
		return "missing"
	case l.bytes >= cfg.LearnMaxBytes:
		return "bytes"
	default:
		return ""
	}
}
