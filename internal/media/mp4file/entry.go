package mp4file

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
)

// maxEntries is how many sets of parameters a track may have in one file.
const maxEntries = 256

// entry is one set of parameters of a track: a sample entry of its stsd box.
type entry struct {
	init   []byte // the initialization section
	sample []byte // the sample entry
	// prefix is put before each sync sample: the parameter sets, where a track has several
	// entries.
	prefix []byte
}

// describe makes the sample entries of a track.
//
// Where the parameters of H.264 and HEVC change, they stand twice: in an entry of their
// own, without which VLC loses at each change what it has not yet shown, and before each
// sync sample, without which Chromium, which knows the first entry only, cannot decode.
// Other codecs repeat them in their samples anyway. The entries stay avc1 and hvc1, for
// Apple's players refuse avc3 and hev1, and the samples never say anything else than they.
func (t *trak) describe(in *Track) error {
	t.of = map[*media.Track]int{}
	if err := t.addEntry(in.Track); err != nil {
		return err
	}
	last := in.Track
	for i := range in.Segments {
		seg := &in.Segments[i]
		if seg.Track == nil || len(seg.Table) == 0 {
			continue
		}
		if seg.Track == last {
			continue
		}
		last = seg.Track
		if _, ok := t.of[seg.Track]; ok {
			continue
		}
		if why := refusal(in.Track, seg.Track); why != "" {
			// Both are times of the recording.
			at := seg.Track.Duration(seg.BaseTime) - in.Track.Duration(in.Segments[0].BaseTime)
			return t.invalid(i, fmt.Sprintf("the encoder changed from %s to %s after %v, and %s", describe(in.Track), describe(seg.Track), at.Round(time.Second), why),
				"Play it over HLS or DASH, or make clips of what is before and after the change and download those.")
		}
		if err := t.addEntry(seg.Track); err != nil {
			return err
		}
	}
	if len(t.entries) == 1 {
		t.entries[0].prefix = nil
	}
	return nil
}

// refusal says why one track of a file cannot have the parameters of both; empty if it can.
func refusal(a, b *media.Track) string {
	switch {
	case a.Codec != b.Codec:
		return "a track of an MP4 file has one codec from its start to its end"
	case a.SampleRate != b.SampleRate || a.Codec == media.AAC && !sameCore(a.Config, b.Config):
		return "browsers go on at the first sample rate, and play the rest at the wrong pitch"
	case a.Timescale != b.Timescale:
		return fmt.Sprintf("its clock from %d to %d ticks a second", a.Timescale, b.Timescale)
	}
	return ""
}

// sameCore reports whether two AudioSpecificConfigs (ISO/IEC 14496-3, section 1.6.2.1) have
// the same object type and rate, of HE-AAC without what it adds. A decoder that was set up
// with one then plays what belongs to the other; it sees the number of channels itself.
func sameCore(a, b []byte) bool {
	const escape = 31 // an object type of more bits
	if len(a) < 2 || len(b) < 2 || a[0]>>3 == escape {
		return bytes.Equal(a, b)
	}
	return a[0] == b[0] && (a[1]^b[1])>>7 == 0
}

// addEntry makes the entry of a track, unless there is one that says the same.
func (t *trak) addEntry(track *media.Track) error {
	init, err := fmp4.Init(track)
	if err != nil {
		return err
	}
	for i := range t.entries {
		if bytes.Equal(t.entries[i].init, init) {
			t.of[track] = i
			return nil
		}
	}
	if len(t.entries) >= maxEntries {
		return fault.New(fault.TooLarge, "make an MP4 file", fmt.Sprintf("of track %q", t.name),
			fmt.Sprintf("its parameters change more than %d times", maxEntries), "Make a clip of a part of it, and download that.")
	}
	const head = 8 // version, flags, count
	stsd := find(init, "moov", "trak", "mdia", "minf", "stbl", "stsd").body
	e := entry{init: init, sample: stsd[head:]}
	for _, set := range bitstream.ParameterSets(track) {
		e.prefix = binary.BigEndian.AppendUint32(e.prefix, uint32(len(set)))
		e.prefix = append(e.prefix, set...)
	}
	t.of[track] = len(t.entries)
	t.entries = append(t.entries, e)
	return nil
}

func describe(t *media.Track) string {
	if t.Kind() == media.Audio {
		return fmt.Sprintf("%s of %d Hz with %d channels", t.Codec, t.SampleRate, t.Channels)
	}
	return fmt.Sprintf("%s of %dx%d", t.Codec, t.Width, t.Height)
}
