package ffmpeg

import (
	"fmt"
	"math"

	"onair/internal/media"
)

// assumedRate stands for a frame rate that is not known where a level is chosen.
const assumedRate = 60

// Plan returns what encoding a source so will give: codec string, size and frame rate. The
// track has the source's timescale and no Config, ID or Rendition.
func (t *Tool) Plan(v Video, source *media.Track) *media.Track {
	e := v.Encoder
	if known, ok := t.encoder(e.Name); ok {
		e = known
	}
	rate := source.FrameRate
	if v.thins(source) {
		rate = v.thinned(source)
	}
	return &media.Track{
		Codec: e.Codec, Timescale: source.Timescale, Width: v.Width, Height: v.Height, FrameRate: rate,
		KeyInterval: source.KeyInterval, CodecString: v.codecString(e, rate),
	}
}

// PlanAudio returns what encoding a source so will give. The track's timescale is its
// sample rate; it has no Config, ID or Rendition.
func (t *Tool) PlanAudio(a Audio, source *media.Track) *media.Track {
	a = a.complete(source)
	p := &media.Track{
		Codec: a.Codec, Timescale: a.SampleRate, SampleRate: a.SampleRate, Channels: a.Channels,
		Language: source.Language, CodecString: "Opus",
	}
	if a.Codec == media.AAC {
		p.CodecString = "mp4a.40.2"
	}
	return p
}

// rateTolerance is by how much a source may be faster than asked for without frames being
// left out.
const rateTolerance = 1.1

// thins tells whether frames of that source are left out.
func (v Video) thins(source *media.Track) bool {
	return v.FrameRate > 0 && (source.FrameRate == 0 || source.FrameRate > rateTolerance*v.FrameRate)
}

// gap is the least time between two frames that are kept, in seconds: enough less than the
// frame interval asked for that a frame which is early is not left out.
func (v Video) gap() float64 { return 0.8 / v.FrameRate }

// thinned is the frame rate that remains: every nth frame.
func (v Video) thinned(source *media.Track) float64 {
	if source.FrameRate == 0 {
		return 0
	}
	return source.FrameRate / math.Ceil(v.gap()*source.FrameRate)
}

// level is a row of a codec's table of levels.
type level struct {
	number  int     // as the codec string has it
	name    string  // as encoders take it
	picture int64   // most samples (H.264: macroblocks) of a picture
	rate    int64   // most of them a second
	bitrate float64 // most bits a second in the profile that is used, in thousands
}

// The levels of ITU-T H.264, table A-1 (high profile: 1.25 times the bit rate of the
// table); of ITU-T H.265, tables A.8 and A.9 (main tier); and of the AV1 bitstream
// specification, annex A.3 (main tier).
func levels(c media.Codec) []level {
	switch c {
	case media.HEVC:
		return []level{
			{63, "2.1", 245760, 7372800, 3000}, {90, "3", 552960, 16588800, 6000}, {93, "3.1", 983040, 33177600, 10000},
			{120, "4", 2228224, 66846720, 12000}, {123, "4.1", 2228224, 133693440, 20000}, {150, "5", 8912896, 267386880, 25000},
			{153, "5.1", 8912896, 534773760, 40000}, {156, "5.2", 8912896, 1069547520, 60000}, {180, "6", 35651584, 1069547520, 60000},
			{183, "6.1", 35651584, 2139095040, 120000}, {186, "6.2", 35651584, 4278190080, 240000},
		}
	case media.AV1:
		return []level{
			{0, "2.0", 147456, 4423680, 1500}, {1, "2.1", 278784, 8363520, 3000}, {4, "3.0", 665856, 19975680, 6000},
			{5, "3.1", 1065024, 31950720, 10000}, {8, "4.0", 2359296, 70778880, 12000}, {9, "4.1", 2359296, 141557760, 20000},
			{12, "5.0", 8912896, 267386880, 30000}, {13, "5.1", 8912896, 534773760, 40000}, {14, "5.2", 8912896, 1069547520, 60000},
			{16, "6.0", 35651584, 1069547520, 60000}, {17, "6.1", 35651584, 2139095040, 100000}, {18, "6.2", 35651584, 4278190080, 160000},
		}
	default:
		return []level{
			{30, "3", 1620, 40500, 10000}, {31, "3.1", 3600, 108000, 14000}, {32, "3.2", 5120, 216000, 20000},
			{40, "4", 8192, 245760, 20000}, {41, "4.1", 8192, 245760, 50000}, {42, "4.2", 8704, 522240, 50000},
			{50, "5", 22080, 589824, 135000}, {51, "5.1", 36864, 983040, 240000}, {52, "5.2", 36864, 2073600, 240000},
			{60, "6", 139264, 4177920, 240000}, {61, "6.1", 139264, 8355840, 480000}, {62, "6.2", 139264, 16711680, 800000},
		}
	}
}

// level is the least that v fits in.
func (v Video) level(c media.Codec, rate float64) level {
	if rate == 0 {
		rate = assumedRate
		if v.FrameRate > 0 {
			rate = v.FrameRate
		}
	}
	picture := int64(v.Width) * int64(v.Height)
	if c == media.H264 {
		picture = int64((v.Width+15)/16) * int64((v.Height+15)/16)
	}
	bitrate := float64(v.MaxBitrate) / 1000
	if c == media.H264 && v.Profile != "" && v.Profile != "high" {
		bitrate *= 1.25
	}
	all := levels(c)
	for _, l := range all {
		if picture <= l.picture && float64(picture)*rate <= float64(l.rate)*1.001 && bitrate <= l.bitrate {
			return l
		}
	}
	return all[len(all)-1]
}

// codecString is the RFC 6381 name of what e makes of v.
func (v Video) codecString(e Encoder, rate float64) string {
	l := v.level(e.Codec, rate)
	switch e.Codec {
	case media.HEVC:
		constraints := e.constraints
		if constraints == "" {
			constraints = "90"
		}
		return fmt.Sprintf("hvc1.1.6.L%d.%s", l.number, constraints)
	case media.AV1:
		return fmt.Sprintf("av01.0.%02dM.08", l.number)
	}
	switch v.Profile {
	case "baseline":
		return fmt.Sprintf("avc1.42c0%02x", l.number)
	case "main":
		return fmt.Sprintf("avc1.4d40%02x", l.number)
	}
	constraints := e.constraints
	if constraints == "" {
		constraints = "00"
	}
	return fmt.Sprintf("avc1.64%s%02x", constraints, l.number)
}
