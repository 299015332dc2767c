package fmp4

import (
	"encoding/binary"
	"math"

	"onair/internal/media"
)

// Fragment is one moof and mdat of one track.
type Fragment struct {
	// Sequence is the mfhd sequence number, counted from 1.
	Sequence uint32
	// Track is the track the samples belong to; only its Kind and Timescale matter.
	Track *media.Track
	// BaseDTS is the decode time of the first sample in ticks of Track.Timescale. A
	// negative one is written as 0.
	BaseDTS int64
	// Samples are in decoding order. Each begins where the one before it ends.
	Samples []Sample
}

// Sample is one access unit in a Fragment.
type Sample struct {
	// Duration is in ticks of the track's timescale.
	Duration uint32
	// CTSOffset is PTS minus DTS in ticks; it may be negative.
	CTSOffset int32
	// Key is set where decoding can start. Every sample of sound counts as key.
	Key bool
	// Data is the payload. It is copied.
	Data []byte
}

// Box flags (ISO/IEC 14496-12, sections 8.8.7 and 8.8.8).
const (
	tfhdDefaultDuration = 0x000008
	tfhdDefaultSize     = 0x000010
	tfhdDefaultFlags    = 0x000020
	tfhdBaseIsMoof      = 0x020000

	trunDataOffset = 0x000001
	trunFirstFlags = 0x000004
	trunDuration   = 0x000100
	trunSize       = 0x000200
	trunFlags      = 0x000400
	trunCTS        = 0x000800

	flagsSync    = 0x02000000 // sample_depends_on 2: decodes by itself
	flagsNonSync = 0x01010000 // sample_depends_on 1, sample_is_non_sync_sample
	nonSyncBit   = 0x00010000
)

// layout says which fields of the samples stand in columns of the trun and which,
// being the same for all, stand once in the tfhd.
type layout struct {
	tfhd, trun         uint32
	columns, payload   int
	tfhdSize, trunSize int
	rest               uint32 // default flags: those of the last sample
}

func (f *Fragment) layout() layout {
	l := layout{tfhd: tfhdBaseIsMoof | tfhdDefaultFlags, trun: trunDataOffset, tfhdSize: 16 + 4, trunSize: 20}
	sameDuration, sameSize, sameFlags, firstOnly, cts := true, true, true, true, false
	n := len(f.Samples)
	for i := range f.Samples {
		s, first := &f.Samples[i], &f.Samples[0]
		l.payload += len(s.Data)
		sameDuration = sameDuration && s.Duration == first.Duration
		sameSize = sameSize && len(s.Data) == len(first.Data)
		cts = cts || s.CTSOffset != 0
		flags := f.flags(s)
		sameFlags = sameFlags && flags == f.flags(first)
		firstOnly = firstOnly && (i == 0 || flags == f.flags(&f.Samples[n-1]))
	}
	if n > 0 {
		l.rest = f.flags(&f.Samples[n-1])
	}
	column := func(same bool, inHeader, inRun uint32) {
		if same {
			l.tfhd |= inHeader
			l.tfhdSize += 4
		} else {
			l.trun |= inRun
			l.columns++
		}
	}
	column(sameDuration, tfhdDefaultDuration, trunDuration)
	column(sameSize, tfhdDefaultSize, trunSize)
	switch {
	case sameFlags:
	case firstOnly:
		l.trun |= trunFirstFlags
		l.trunSize += 4
	default:
		l.trun |= trunFlags
		l.columns++
	}
	if cts {
		l.trun |= trunCTS
		l.columns++
	}
	l.trunSize += 4 * l.columns * n
	return l
}

func (f *Fragment) flags(s *Sample) uint32 {
	if s.Key || f.Track.Kind() == media.Audio {
		return flagsSync
	}
	return flagsNonSync
}

// AppendTo appends the fragment's moof and mdat to b and returns the result, as append
// does: b grows once. One traf, positions relative to the moof (default-base-is-moof),
// a 64-bit decode time and signed composition offsets, as CMAF asks (ISO/IEC 23000-19,
// section 7.5). Concatenated fragments of one track are a CMAF segment.
//
// The samples must hold less than 4 GiB together.
func (f *Fragment) AppendTo(b []byte) []byte {
	l := f.layout()
	traf := 8 + l.tfhdSize + 20 + l.trunSize
	moof := 8 + 16 + traf
	b = grow(b, moof+8+l.payload)
	u32 := binary.BigEndian.AppendUint32

	b = append(u32(b, uint32(moof)), "moof"...)
	b = append(u32(b, 16), "mfhd"...)
	b = u32(u32(b, 0), f.Sequence)
	b = append(u32(b, uint32(traf)), "traf"...)

	b = append(u32(b, uint32(l.tfhdSize)), "tfhd"...)
	b = u32(u32(b, l.tfhd), trackID(f.Track))
	if l.tfhd&tfhdDefaultDuration != 0 {
		b = u32(b, f.firstDuration())
	}
	if l.tfhd&tfhdDefaultSize != 0 {
		b = u32(b, f.firstSize())
	}
	b = u32(b, l.rest)

	b = append(u32(b, 20), "tfdt"...)
	b = u32(b, 1<<24)
	b = binary.BigEndian.AppendUint64(b, uint64(max(0, f.BaseDTS)))

	b = append(u32(b, uint32(l.trunSize)), "trun"...)
	b = u32(b, 1<<24|l.trun)
	b = u32(b, uint32(len(f.Samples)))
	b = u32(b, uint32(moof+8))
	if l.trun&trunFirstFlags != 0 {
		b = u32(b, f.flags(&f.Samples[0]))
	}
	for i := range f.Samples {
		s := &f.Samples[i]
		if l.trun&trunDuration != 0 {
			b = u32(b, s.Duration)
		}
		if l.trun&trunSize != 0 {
			b = u32(b, uint32(len(s.Data)))
		}
		if l.trun&trunFlags != 0 {
			b = u32(b, f.flags(s))
		}
		if l.trun&trunCTS != 0 {
			b = u32(b, uint32(s.CTSOffset))
		}
	}

	b = append(u32(b, uint32(min(8+l.payload, math.MaxUint32))), "mdat"...)
	for i := range f.Samples {
		b = append(b, f.Samples[i].Data...)
	}
	return b
}

// grow makes room for exactly n more bytes: what is written is kept as it is for as long
// as viewers may ask for it.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}

func (f *Fragment) firstDuration() uint32 {
	if len(f.Samples) == 0 {
		return 0
	}
	return f.Samples[0].Duration
}

func (f *Fragment) firstSize() uint32 {
	if len(f.Samples) == 0 {
		return 0
	}
	return uint32(len(f.Samples[0].Data))
}
