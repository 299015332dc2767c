package fmp4

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// run is one sample as a moof announces it.
type run struct {
	track    *readerTrack
	dts      int64 // before the edit list
	offset   int64 // in the file
	cts      int32
	duration uint32
	size     uint32
}

// moofParser reads one moof.
type moofParser struct {
	tracks map[uint32]*readerTrack
	start  int64 // of the moof in the file
	pos    int64 // of the next sample's data
	runs   []run
	count  uint64 // of samples, also of those that are left out
}

// parseMoof reads the samples of a moof that began at that position of the file. Samples
// of tracks that are left out count for positions only.
func parseMoof(moof []byte, start int64, tracks map[uint32]*readerTrack) ([]run, error) {
	m := moofParser{tracks: tracks, start: start, pos: start, runs: []run{}}
	for x, err := range boxes(moof) {
		if err == nil && string(x.kind) == "traf" {
			err = m.traf(x.body)
		}
		if err != nil {
			return nil, broken(err)
		}
	}
	return m.runs, nil
}

func (m *moofParser) traf(traf []byte) error {
	tfhd := cursor{b: find(traf, "tfhd")}
	flags := tfhd.u32()
	t := m.tracks[tfhd.u32()]
	base := m.pos
	if flags&tfhdBaseIsMoof != 0 {
		base = m.start
	}
	if flags&1 != 0 { // base-data-offset
		base = int64(min(tfhd.u64(), maxTime))
	}
	if flags&2 != 0 { // sample-description-index
		tfhd.u32()
	}
	var defaults run
	if t != nil {
		defaults = run{track: t, duration: t.duration, size: t.size}
	}
	if flags&tfhdDefaultDuration != 0 {
		defaults.duration = tfhd.u32()
	}
	if flags&tfhdDefaultSize != 0 {
		defaults.size = tfhd.u32()
	}
	if tfhd.bad {
		return fmt.Errorf("tfhd is cut short")
	}
	if tfdt := (&cursor{b: find(traf, "tfdt")}); len(tfdt.b) > 0 && t != nil {
		v := tfdt.versioned(byte(tfdt.u32() >> 24))
		if tfdt.bad || v > maxTime {
			return fmt.Errorf("tfdt is cut short or out of range")
		}
		t.next = int64(v)
	}
	m.pos = base
	for x, err := range boxes(traf) {
		if err == nil && string(x.kind) == "trun" {
			err = m.trun(x.body, base, defaults)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *moofParser) trun(trun []byte, base int64, defaults run) error {
	c := cursor{b: trun}
	flags, n := c.u32(), c.u32()
	if flags&trunDataOffset != 0 {
		m.pos = base + int64(int32(c.u32()))
	}
	if flags&trunFirstFlags != 0 {
		c.u32()
	}
	// The count is checked against what all of them may be, not against what the box
	// holds: a run without columns holds nothing.
	if m.count += uint64(n); m.count > maxSamples {
		return fmt.Errorf("more than %d samples in a fragment", maxSamples)
	}
	for range n {
		r := defaults
		r.offset = m.pos
		if flags&trunDuration != 0 {
			r.duration = c.u32()
		}
		if flags&trunSize != 0 {
			r.size = c.u32()
		}
		if flags&trunFlags != 0 {
			c.u32()
		}
		if flags&trunCTS != 0 {
			// Version 0 says unsigned; what does not fit in 31 bits is a negative one.
			r.cts = int32(c.u32())
		}
		if c.bad {
			return fmt.Errorf("trun is cut short")
		}
		m.pos += int64(r.size)
		if r.track == nil {
			continue
		}
		r.dts = r.track.next
		if r.track.next += int64(r.duration); r.track.next > 2*maxTime {
			return fmt.Errorf("the decode time is out of range")
		}
		m.runs = append(m.runs, r)
	}
	return nil
}

// packets cuts the samples from an mdat whose payload began at that position of the file,
// in decoding order over all tracks.
func (r *Reader) packets(runs []run, mdat []byte, start int64, now time.Time) ([]*media.Packet, error) {
	slices.SortStableFunc(runs, func(a, b run) int {
		// Decode times of two tracks compare as time.
		return cmp.Compare(a.track.time(a.dts), b.track.time(b.dts))
	})
	out := make([]*media.Packet, 0, len(runs))
	for _, s := range runs {
		from := s.offset - start
		if from < 0 || from > int64(len(mdat)) || int64(s.size) > int64(len(mdat))-from {
			return nil, broken(fmt.Errorf("a sample lies outside the mdat that follows"))
		}
		if s.size == 0 {
			continue
		}
		end := from + int64(s.size)
		p, err := r.packet(s, mdat[from:end:end], now)
		if err != nil {
			return nil, err
		}
		if p != nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func (t *readerTrack) time(dts int64) time.Duration { return t.track.Duration(dts + t.shift) }

// packet makes a packet of a sample; nil if nothing of it belongs into one.
func (r *Reader) packet(s run, data []byte, now time.Time) (*media.Packet, error) {
	t := s.track.track
	data, params, err := bitstream.Normalize(t, data)
	if err != nil {
		return nil, err
	}
	if params != nil && !bytes.Equal(params, t.Config) {
		changed := *t
		changed.Config = params
		described, err := bitstream.Describe(&changed)
		if err != nil {
			return nil, err
		}
		described.Version++
		r.replace(t, described)
		s.track.track, t = described, described
	}
	if len(data) == 0 {
		return nil, nil
	}
	dts := s.dts + s.track.shift
	return &media.Packet{
		Track: t, DTS: dts, PTS: dts + int64(s.cts), Duration: int64(s.duration),
		Key: bitstream.IsKey(t.Codec, data), Arrival: now, Data: data,
	}, nil
}
