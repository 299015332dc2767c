package ts

import (
	"fmt"

	"onair/internal/media"
)

// coding is how an elementary stream is coded, as far as the programme map tells.
type coding uint8

const (
	skipped coding = iota // not of use; the name says why
	data                  // neither picture nor sound
	h264
	hevc
	adts
	latm
	mpegAudio // layer III, or a layer that is refused: the frames tell
	dolby     // AC-3 or E-AC-3: the frames tell
	opus
)

func (c coding) kind() media.Kind {
	switch c {
	case h264, hevc:
		return media.Video
	case adts, latm, mpegAudio, dolby, opus:
		return media.Audio
	default:
		return 0
	}
}

// streamTypes are the stream_type values (ISO/IEC 13818-1, table 2-34, and what ATSC, DVB,
// SCTE and others assigned above 0x80).
var streamTypes = map[byte]struct {
	coding coding
	name   string
}{
	0x01: {skipped, "MPEG-1 video"},
	0x02: {skipped, "MPEG-2 video"},
	0x03: {mpegAudio, "MPEG-1 audio"},
	0x04: {mpegAudio, "MPEG-2 audio"},
	0x05: {data, "private sections"},
	0x0b: {data, "DSM-CC"},
	0x0c: {data, "DSM-CC"},
	0x0d: {data, "DSM-CC"},
	0x0f: {adts, "AAC"},
	0x10: {skipped, "MPEG-4 Visual"},
	0x11: {latm, "AAC (LATM)"},
	0x15: {data, "timed metadata"},
	0x1b: {h264, "H.264"},
	0x1c: {skipped, "raw MPEG-4 audio"},
	0x20: {skipped, "a further view of H.264 MVC"},
	0x21: {skipped, "JPEG 2000"},
	0x24: {hevc, "HEVC"},
	0x32: {skipped, "JPEG XS"},
	0x33: {skipped, "VVC"},
	0x42: {skipped, "AVS video"},
	0x80: {skipped, "LPCM"},
	0x81: {dolby, "AC-3"},
	0x82: {skipped, "DTS"},
	0x83: {skipped, "Dolby TrueHD"},
	0x84: {dolby, "E-AC-3"},
	0x85: {skipped, "DTS-HD"},
	0x86: {data, "SCTE-35"},
	0x87: {dolby, "E-AC-3"},
	0x8a: {skipped, "DTS"},
	0x90: {data, "subtitles (PGS)"},
	0xcf: {skipped, "AAC encrypted with SAMPLE-AES"},
	0xc1: {skipped, "AC-3 encrypted with SAMPLE-AES"},
	0xc2: {skipped, "E-AC-3 encrypted with SAMPLE-AES"},
	0xd1: {skipped, "Dirac"},
	0xd2: {skipped, "AVS2 video"},
	0xdb: {skipped, "H.264 encrypted with SAMPLE-AES"},
	0xea: {skipped, "VC-1"},
}

// privateData names a stream of which nothing is told.
const privateData = "private data"

// registrations are the format identifiers that say what a stream of private type is.
var registrations = map[string]struct {
	coding coding
	name   string
}{
	"Opus": {opus, "Opus"},
	"AC-3": {dolby, "AC-3"},
	"EAC3": {dolby, "E-AC-3"},
	"HEVC": {hevc, "HEVC"},
	"H264": {h264, "H.264"},
	"AV01": {skipped, "AV1"},
	"VP09": {skipped, "VP9"},
	"VVC ": {skipped, "VVC"},
	"AC-4": {skipped, "AC-4"},
	"DTS1": {skipped, "DTS"},
	"DTS2": {skipped, "DTS"},
	"DTS3": {skipped, "DTS"},
	"BSSD": {skipped, "SMPTE 302M audio"},
	"drac": {skipped, "Dirac"},
	"KLVA": {data, "KLV"},
	"ID3 ": {data, "ID3"},
	"CUEI": {data, "SCTE-35"},
}

// classify tells what an elementary stream is.
func (e element) classify() (coding, string) {
	if e.kind == 0x06 || e.kind >= 0x80 {
		if r, ok := registrations[e.registration()]; ok {
			return r.coding, r.name
		}
	}
	if e.kind == 0x06 {
		return e.classifyPrivate()
	}
	if t, ok := streamTypes[e.kind]; ok {
		return t.coding, t.name
	}
	return skipped, fmt.Sprintf("streams of type 0x%02x", e.kind)
}

// classifyPrivate goes by the descriptors of ETSI EN 300 468, table 12.
func (e element) classifyPrivate() (coding, string) {
	for _, d := range []struct {
		tag    byte
		coding coding
		name   string
	}{
		{0x6a, dolby, "AC-3"},
		{0x7a, dolby, "E-AC-3"},
		{0x7b, skipped, "DTS"},
		{0x7c, latm, "AAC (LATM)"},
		{0x56, data, "teletext"},
		{0x46, data, "VBI teletext"},
		{0x45, data, "VBI data"},
		{0x59, data, "DVB subtitles"},
	} {
		if e.descriptor(d.tag) != nil {
			return d.coding, d.name
		}
	}
	if ext := e.descriptor(0x7f); len(ext) > 1 && ext[0] == 0x80 {
		return opus, "Opus"
	}
	return data, privateData
}
