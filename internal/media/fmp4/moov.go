package fmp4

import (
	"bytes"
	"fmt"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// readerTrack is a track of the file as the Reader follows it.
type readerTrack struct {
	track *media.Track
	// shift is added to time stamps: what the edit list says, in ticks.
	shift int64
	// Defaults of trex.
	duration, size uint32
	// next is the decode time after the last fragment.
	next int64
}

// parseMoov reads the header. Tracks that are neither video nor sound are left out.
func parseMoov(moov []byte) (map[uint32]*readerTrack, []*media.Track, error) {
	tracks := map[uint32]*readerTrack{}
	var order []*media.Track
	movieScale := uint32(0)
	if c := (&cursor{b: find(moov, "mvhd")}); len(c.b) > 0 {
		if c.u32()>>24 == 1 {
			c.take(16)
		} else {
			c.take(8)
		}
		movieScale = c.u32()
	}
	for x, err := range boxes(moov) {
		if err != nil {
			return nil, nil, broken(err)
		}
		if string(x.kind) != "trak" {
			continue
		}
		id, t, err := parseTrak(x.body, movieScale)
		if err != nil {
			return nil, nil, err
		}
		if t == nil {
			continue
		}
		if tracks[id] != nil || len(tracks) >= maxTracks {
			return nil, nil, broken(fmt.Errorf("more than %d tracks, or two with the ID %d", maxTracks, id))
		}
		tracks[id] = t
		order = append(order, t.track)
	}
	if len(order) == 0 {
		return nil, nil, broken(fmt.Errorf("no track of video or sound"))
	}
	for x, err := range boxes(find(moov, "mvex")) {
		if err != nil {
			return nil, nil, broken(err)
		}
		if string(x.kind) != "trex" {
			continue
		}
		c := cursor{b: x.body}
		c.u32()
		t := tracks[c.u32()]
		c.u32()
		duration, size := c.u32(), c.u32()
		if t != nil && !c.bad {
			t.duration, t.size = duration, size
		}
	}
	return tracks, order, nil
}

// parseTrak returns nil for a track that is neither video nor sound.
func parseTrak(trak []byte, movieScale uint32) (uint32, *readerTrack, error) {
	tkhd := cursor{b: find(trak, "tkhd")}
	if tkhd.u32()>>24 == 1 {
		tkhd.take(16)
	} else {
		tkhd.take(8)
	}
	id := tkhd.u32()
	mdhd := cursor{b: find(trak, "mdia", "mdhd")}
	version := byte(mdhd.u32() >> 24)
	mdhd.versioned(version)
	mdhd.versioned(version)
	timescale := mdhd.u32()
	mdhd.versioned(version)
	language := mdhd.u16()
	if tkhd.bad || mdhd.bad || timescale == 0 || id == 0 {
		return 0, nil, broken(fmt.Errorf("a track has no ID or no timescale"))
	}
	hdlr := cursor{b: find(trak, "mdia", "hdlr")}
	hdlr.take(8)
	kind := string(hdlr.take(4))
	if kind != "vide" && kind != "soun" {
		return 0, nil, nil
	}
	t := &media.Track{ID: int(id), Timescale: int(timescale), Language: unpackLanguage(language)}
	if tag := find(trak, "mdia", "elng"); len(tag) > 4 && len(tag) < 40 {
		t.Language = string(bytes.TrimRight(tag[4:], "\x00"))
	}
	if err := parseEntry(t, find(trak, "mdia", "minf", "stbl", "stsd"), kind); err != nil {
		return 0, nil, err
	}
	described, err := bitstream.Describe(t)
	if err != nil {
		return 0, nil, err
	}
	return id, &readerTrack{track: described, shift: editShift(find(trak, "edts", "elst"), movieScale, timescale)}, nil
}

// unpackLanguage returns the three letters of mdhd; empty for "und" and nonsense.
func unpackLanguage(v uint16) string {
	b := []byte{byte(v>>10&31) + 0x60, byte(v>>5&31) + 0x60, byte(v&31) + 0x60}
	for _, c := range b {
		if c < 'a' || c > 'z' {
			return ""
		}
	}
	if s := string(b); s != "und" {
		return s
	}
	return ""
}

// editShift reads what live files have in an edit list: a delay (empty edits), then
// where in the media to begin.
func editShift(elst []byte, movieScale, timescale uint32) int64 {
	c := cursor{b: elst}
	version := byte(c.u32() >> 24)
	shift := int64(0)
	for range min(c.u32(), 8) {
		duration := int64(c.versioned(version) & (1<<62 - 1))
		start := int64(int32(c.u32()))
		if version == 1 {
			start = start<<32 | int64(c.u32())
		}
		c.u32()
		switch {
		case c.bad:
			return shift
		case start == -1:
			shift += media.Rescale(duration, int64(movieScale), int64(timescale))
		default:
			return clamp(shift) - clamp(start)
		}
	}
	return clamp(shift)
}

// maxTime bounds decode times and shifts, in ticks: sums of them do not overflow.
const maxTime = 1 << 60

func clamp(v int64) int64 { return max(-maxTime, min(maxTime, v)) }

// parseEntry reads the first sample entry into t's Codec, Config and what else only the
// entry tells.
func parseEntry(t *media.Track, stsd []byte, kind string) error {
	if len(stsd) < 8 {
		return broken(fmt.Errorf("a track has no sample description"))
	}
	var entry box
	for x, err := range boxes(stsd[8:]) {
		if err != nil {
			return broken(err)
		}
		entry = x
		break
	}
	c := cursor{b: entry.body}
	if kind == "vide" {
		c.take(24)
		t.Width, t.Height = int(c.u16()), int(c.u16())
		c.take(50)
	} else {
		c.take(8)
		version := c.u16()
		c.take(6)
		t.Channels = int(c.u16())
		c.take(6)
		t.SampleRate = int(c.u32() >> 16)
		if version == 1 { // QuickTime
			c.take(16)
		}
	}
	if c.bad {
		return broken(fmt.Errorf("a sample description is cut short"))
	}
	fullBox := 0
	var config string
	switch string(entry.kind) {
	case "avc1", "avc3":
		t.Codec, config = media.H264, "avcC"
	case "hvc1", "hev1":
		t.Codec, config = media.HEVC, "hvcC"
	case "av01":
		t.Codec, config = media.AV1, "av1C"
	case "vp09":
		t.Codec, config, fullBox = media.VP9, "vpcC", 4
	case "vp08":
		t.Codec = media.VP8
		return nil
	case "mp4a":
		return parseESDS(t, find(c.b, "esds"))
	case ".mp3":
		t.Codec = media.MP3
		return nil
	case "Opus":
		t.Codec, config = media.Opus, "dOps"
	case "ac-3":
		t.Codec, config = media.AC3, "dac3"
	case "ec-3":
		t.Codec, config = media.EAC3, "dec3"
	case "fLaC":
		t.Codec, config, fullBox = media.FLAC, "dfLa", 4
	default:
		return fault.New(fault.Unsupported, "read MP4", fmt.Sprintf("%q", entry.kind), "the codec is not known", "")
	}
	body := find(c.b, config)
	if len(body) <= fullBox {
		return broken(fmt.Errorf("%q has no %s box", entry.kind, config))
	}
	t.Config = bytes.Clone(body[fullBox:])
	return nil
}

// parseESDS reads the descriptors of ISO/IEC 14496-1, section 7.2.6: ES, DecoderConfig,
// DecoderSpecificInfo.
func parseESDS(t *media.Track, esds []byte) error {
	c := cursor{b: esds}
	c.u32()
	c.descriptor(3)
	c.u16()
	flags := c.u8()
	if flags&0x80 != 0 {
		c.u16()
	}
	if flags&0x40 != 0 {
		c.take(int(c.u8()))
	}
	if flags&0x20 != 0 {
		c.u16()
	}
	c.descriptor(4)
	object := c.u8()
	c.take(12)
	switch {
	case c.bad:
		return broken(fmt.Errorf("the esds box is malformed"))
	case object == 0x69 || object == 0x6b:
		t.Codec = media.MP3
		return nil
	case object != 0x40 && (object < 0x66 || object > 0x68):
		return fault.New(fault.Unsupported, "read MP4", fmt.Sprintf("object type %#x", object), "the codec is not known", "")
	}
	config := c.take(c.descriptor(5))
	if c.bad {
		return broken(fmt.Errorf("the esds box has no decoder configuration"))
	}
	t.Codec, t.Config = media.AAC, bytes.Clone(config)
	return nil
}

// descriptor reads the head of a descriptor with that tag and returns its size.
func (c *cursor) descriptor(tag byte) int {
	if c.u8() != tag {
		c.bad = true
	}
	size := 0
	for range 4 {
		b := c.u8()
		size = size<<7 | int(b&0x7f)
		if b&0x80 == 0 {
			break
		}
	}
	return size
}

func broken(err error) error {
	return fault.Wrap(fault.Invalid, "read MP4", "", err, "")
}
