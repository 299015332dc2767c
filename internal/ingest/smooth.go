package ingest

import (
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

const (
	// quickPackets packets in a row far ahead of the count show that sound was lost.
	quickPackets = 3
	// driftFrames and driftMillis are how far the count may be off: the larger counts.
	driftFrames = 2
	driftMillis = 60
	// slewPart is the part of a packet that the count is moved by at most with each.
	slewPart = 200
)

// smoother gives sound exact time stamps by counting samples, and follows the
// publisher's when the two drift apart. Publishers' stamps are rounded (RTMP has
// milliseconds), jitter, or come in bursts with one stamp; so only what all stamps of a
// while agree on is drift.
type smoother struct {
	track *media.Track
	// constant is the number of samples in each packet; 0 if packets differ.
	constant int64
	// stamp is that of the last packet, mapped to the stream.
	stamp int64
	// due is the DTS of the next packet.
	due int64
	// leapt is set when the track's offset changed: the stamps are followed at once.
	leapt bool
	// skip is the number of packets to leave out.
	skip int64
	// slew is what the count is still to be moved by, a little with each packet.
	slew int64

	// Within the present windows, in ticks: how many packets were ahead in a row and by
	// how much at least; since when all were late; the extremes of the long window.
	quick                int64
	quickLow             int64
	late                 bool
	lateSince            int64
	lateHigh             int64
	low, high, longSince int64
	long                 bool
}

func newSmoother(t *media.Track) smoother {
	s := smoother{track: t, leapt: true}
	if t.Codec == media.AAC {
		s.constant = int64(bitstream.SamplesPerPacket(t))
	}
	return s
}

// next returns DTS and duration of the packet whose stamp, mapped to the stream, is
// exact. keep is false if the packet is to be left out.
func (s *smoother) next(exact int64, data []byte, started bool, last int64, fixed *repairs) (dts, duration int64, keep bool) {
	duration = s.constant
	if duration == 0 {
		duration = bitstream.Duration(s.track, data)
	}
	if duration <= 0 {
		s.leapt = true
		return exact, 0, true
	}
	if s.leapt {
		s.leapt = false
		s.settle(exact)
		if started {
			// Never back, and not for the sake of rounding either.
			s.due = max(exact, last+1, min(last+duration, exact+duration))
		}
	} else if e := exact - s.due; s.track.Codec == media.Opus && e > duration && exact-s.stamp-duration >= e-e/5 {
		// Discontinuous transmission: nothing was said, and the stamps tell for how long.
		s.settle(exact)
	} else if s.slew != 0 {
		most := max(1, duration/slewPart)
		by := min(max(s.slew, -most), most)
		s.slew -= by
		s.due += by
	} else if by := s.drift(exact-s.due, duration); away(by, 0) <= max(2*duration, int64(s.track.Timescale)*driftMillis/1000) && by != 0 {
		fixed.count(repairCount)
		s.settle(s.due)
		s.slew = by
	} else if by > 0 {
		fixed.count(repairResync)
		s.settle(s.due + by)
	} else if by < 0 {
		s.settle(s.due)
		s.skip = (-by + duration/2) / duration
	}
	if s.skip > 0 {
		s.skip--
		fixed.count(repairSurplus)
		return 0, 0, false
	}
	s.stamp = exact
	dts = s.due
	s.due += duration
	return dts, duration, true
}

// settle takes due as the truth and begins to measure anew.
func (s *smoother) settle(due int64) {
	s.due, s.skip, s.slew, s.quick, s.late, s.long = due, 0, 0, 0, false, false
}

// drift takes in that a packet's stamp is e ticks ahead of the count, and returns by
// how much the count must move; 0 if all is well.
func (s *smoother) drift(e, duration int64) int64 {
	rate := int64(s.track.Timescale)
	limit := max(driftFrames*duration, rate*driftMillis/1000)

	if e <= limit {
		s.quick = 0
	} else {
		if s.quick == 0 || e < s.quickLow {
			s.quickLow = e
		}
		if s.quick++; s.quick == quickPackets {
			return s.quickLow
		}
	}

	// Late stamps are often a burst of packets with one stamp: it takes a second of
	// nothing else to believe them.
	switch {
	case e >= -limit:
		s.late = false
	case !s.late:
		s.late, s.lateSince, s.lateHigh = true, s.due, e
	default:
		s.lateHigh = max(s.lateHigh, e)
		if s.due-s.lateSince >= rate {
			return s.lateHigh
		}
	}

	// A lost packet or two leave a small, steady error.
	if !s.long {
		s.long, s.longSince, s.low, s.high = true, s.due, e, e
	}
	s.low, s.high = min(s.low, e), max(s.high, e)
	if s.due-s.longSince >= 3*rate {
		s.long = false
		switch {
		case s.low > duration/2:
			return s.low
		case s.high < -duration/2:
			return s.high
		}
	}
	return 0
}
