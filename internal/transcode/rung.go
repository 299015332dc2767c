package transcode

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"onair/internal/fault"
	"onair/internal/media"
)

// The rungs of a ladder that need no encoder. They may be named, and stand for what is
// offered in any case: what the publisher sends, and its sound alone.
const (
	sourceRung = "source"
	audioRung  = "audio"
)

const (
	// minHeight and maxHeight bound the height of a rung in pixels.
	minHeight, maxHeight = 120, 2160
	// minBitrate and maxBitrate bound what a rung may be told to keep to, in bits a second.
	minBitrate, maxBitrate = 50_000, 50_000_000
	// maxRungs is the most rungs with a picture in one ladder. What is made for other
	// purposes has the other places among the derived feeds of a stream.
	maxRungs = 5
	// slowRate is the most frames a second of a rung that names no rate. A source of 60 is
	// halved in it.
	slowRate = 30
	// fastHeight is the least height of a rung of more frames a second than slowRate.
	fastHeight = 720
)

// Rung is one step of a ladder: how its picture is made of the source's.
type Rung struct {
	// Height is that of the picture in pixels; the width where the picture is upright.
	Height int
	// Rate is the most frames a second; 0 if the rung names none.
	Rate int
	// Bitrate is the most bits a second; 0 if the rung names none.
	Bitrate int64
	Codec   media.Codec
}

// rungShape is the grammar of a rung.
var rungShape = regexp.MustCompile(`^(\d{3,4})p(\d{2})?(?:@(\d{1,5}(?:\.\d)?)([kM]))?(?:/([a-z0-9]+))?$`)

// rungCodecs are the names of codecs in rungs.
var rungCodecs = map[string]media.Codec{"h264": media.H264, "hevc": media.HEVC, "av1": media.AV1}

// ParseRung reads a rung such as "720p", "1080p60", "480p@900k", "720p/hevc" or
// "540p30@1.2M/av1": height, most frames a second, most bits a second, codec.
func ParseRung(s string) (Rung, error) {
	bad := func(cause string) (Rung, error) {
		return Rung{}, fault.New(fault.Invalid, "read rung", s, cause, "Write rungs such as 720p, 1080p60, 480p@900k or 720p/hevc")
	}
	m := rungShape.FindStringSubmatch(s)
	if m == nil {
		return bad("it has not the form of a rung")
	}
	r := Rung{Codec: media.H264}
	r.Height, _ = strconv.Atoi(m[1])
	r.Rate, _ = strconv.Atoi(m[2])
	if m[3] != "" {
		n, _ := strconv.ParseFloat(m[3], 64)
		if m[4] == "M" {
			n *= 1000
		}
		r.Bitrate = int64(n * 1000)
	}
	if m[5] != "" {
		codec, ok := rungCodecs[m[5]]
		if !ok {
			return bad("its codec is none of h264, hevc and av1")
		}
		r.Codec = codec
	}
	switch {
	case r.Height < minHeight || r.Height > maxHeight || r.Height%2 != 0:
		return bad(fmt.Sprintf("its height is no even number from %d to %d", minHeight, maxHeight))
	case m[2] != "" && (r.Rate < 10 || r.Rate > 60):
		return bad("its frame rate is not from 10 to 60")
	case r.Rate > slowRate && r.Height < fastHeight:
		return bad(fmt.Sprintf("more than %d frames a second are for %dp and more", slowRate, fastHeight))
	case m[3] != "" && (r.Bitrate < minBitrate || r.Bitrate > maxBitrate):
		return bad("its bit rate is not from 50k to 50M")
	}
	return r, nil
}

// Name is what its rendition is called, such as "1080p60" or "480p-hevc".
func (r Rung) Name() string {
	name := strconv.Itoa(r.Height) + "p"
	if r.Rate > 0 {
		name += strconv.Itoa(r.Rate)
	}
	for word, codec := range rungCodecs {
		if codec == r.Codec && codec != media.H264 {
			name += "-" + word
		}
	}
	return name
}

// parseLadder reads the rungs of a ladder, those with a picture first the largest.
func parseLadder(words []string) ([]Rung, error) {
	var out []Rung
	for _, w := range words {
		w = strings.TrimSpace(w)
		if w == sourceRung || w == audioRung {
			continue
		}
		r, err := ParseRung(w)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o Rung) bool { return o.Name() == r.Name() }) {
			return nil, fault.New(fault.Invalid, "read ladder", w, "two of its rungs have that name", "Leave one of them out")
		}
		out = append(out, r)
	}
	if len(out) > maxRungs {
		return nil, fault.New(fault.Invalid, "read ladder", strings.Join(words, ","),
			fmt.Sprintf("more than %d rungs have a picture", maxRungs), "Leave out those that are close to others")
	}
	slices.SortStableFunc(out, func(a, b Rung) int {
		if a.Height != b.Height {
			return b.Height - a.Height
		}
		return b.rate() - a.rate()
	})
	return out, nil
}

// rate is the most frames a second.
func (r Rung) rate() int {
	if r.Rate == 0 {
		return slowRate
	}
	return r.Rate
}

// efficiency is what a codec needs to look as H.264 does.
var efficiency = map[media.Codec]float64{media.H264: 1, media.HEVC: 0.65, media.AV1: 0.55}

// bitrates are the most bits a second of H.264 at up to 30 frames a second, by the area of
// the picture in pixels.
var bitrates = []struct {
	area int
	bits int64
}{
	{426 * 240, 400_000}, {640 * 360, 800_000}, {854 * 480, 1_200_000}, {960 * 540, 1_800_000},
	{1280 * 720, 2_800_000}, {1920 * 1080, 5_000_000}, {2560 * 1440, 9_000_000}, {3840 * 2160, 16_000_000},
}

// bitrateFor is the most bits a second for a picture of that size and rate.
func bitrateFor(c media.Codec, width, height int, rate float64) int64 {
	area := width * height
	bits := float64(bitrates[len(bitrates)-1].bits)
	for i, b := range bitrates {
		if area > b.area {
			continue
		}
		bits = float64(b.bits)
		if i > 0 { // between two steps, in proportion
			low := bitrates[i-1]
			if area > low.area {
				share := float64(area-low.area) / float64(b.area-low.area)
				bits = float64(low.bits) + share*float64(b.bits-low.bits)
			}
		}
		break
	}
	if rate > slowRate {
		bits *= 1.5
	}
	return int64(bits*efficiency[c]/1000) * 1000
}
