package transcode

import (
	"fmt"
	"slices"
	"strings"

	"onair/internal/ffmpeg"
	"onair/internal/media"
)

// source is what the renditions of a stream are made of.
type source struct {
	// video and audio are the tracks of the source feed; nil where it has none.
	video, audio *media.Track
	// rate is the frames a second of video, as declared or else measured; 0 if not known.
	rate float64
	// reorders is set if its pictures are decoded in another order than shown.
	reorders bool
	// several is set if the publisher sends other renditions of the picture itself.
	several bool
	// taken are the names of feeds that publishers have sent, each with a blank behind it.
	taken string
}

// spec is a rendition that can be made: what it is and how.
type spec struct {
	// name is that of its feed. alias, if not empty, is that of another feed that gets the
	// same packets.
	name, alias string
	listed      bool
	// video or audio says how; the encoder is chosen when it starts.
	video *ffmpeg.Video
	audio *ffmpeg.Audio
	track *media.Track // as in media.Offer
	// cost is what it is likely to take, in cores of the processor.
	cost          cost
	peak, average int64
	// flaw says why it cannot be made; empty if it can.
	flaw string
}

// codec is that of what it makes.
func (s *spec) codec() media.Codec {
	if s.video != nil {
		return s.track.Codec
	}
	return s.audio.Codec
}

// kind is that of what it is made of.
func (s *spec) kind() media.Kind {
	if s.video != nil {
		return media.Video
	}
	return media.Audio
}

// offers returns what it is for those who ask.
func (s *spec) offers() []media.Offer {
	o := media.Offer{Track: s.track, Peak: s.peak, Average: s.average, Listed: s.listed,
		Realtime: s.video != nil || s.audio.Codec == media.Opus}
	if s.alias == "" {
		return []media.Offer{o}
	}
	other := o
	track := *s.track
	track.Rendition = s.alias
	other.Track, other.Listed = &track, false
	return []media.Offer{o, other}
}

// averageShare is what capped constant quality takes of its bound on usual content.
const averageShare = 0.6

// realtimeHeight is the most height of the picture for WebRTC, and of one that is made
// because the source's codec is not played everywhere.
const realtimeHeight = 1080

// plan works out what can be made of a source, best picture first, then what WebRTC needs,
// then sound. No picture is larger or faster than the source's.
func plan(src source, l ladder, tool Tool) []*spec {
	if l.nothing {
		return nil
	}
	var out []*spec
	if v := src.video; v != nil && v.Width > 0 && v.Height > 0 {
		out = planPictures(src, l, tool)
	}
	if a := src.audio; a != nil {
		if a.Codec != media.AAC {
			out = append(out, planSound(media.RenditionAAC, media.AAC, a, tool))
		}
		if a.Codec != media.Opus {
			out = append(out, planSound(media.RenditionOpus, media.Opus, a, tool))
		}
	}
	free := out[:0]
	for _, s := range out {
		if !slices.Contains(strings.Fields(src.taken), s.name) {
			free = append(free, s)
		}
	}
	return within(free)
}

// maxDerived is how many feeds the hub lets a stream have beside its publisher's.
const maxDerived = 8

// within leaves out the least rungs until there is a feed for everything.
func within(all []*spec) []*spec {
	for {
		feeds, least := 0, -1
		for i, s := range all {
			feeds++
			if s.alias != "" {
				feeds++
			}
			if s.listed && s.video != nil {
				least = i
			}
		}
		if feeds <= maxDerived || least < 0 {
			return all
		}
		all = append(all[:least:least], all[least+1:]...)
	}
}

func planPictures(src source, l ladder, tool Tool) []*spec {
	v := src.video
	short := min(v.Width, v.Height)
	own := Rung{Height: min(short, realtimeHeight) &^ 1, Codec: media.H264}
	if src.rate > slowRate*rateSlack {
		own.Rate = 60
	}
	var out []*spec
	plays := v.Codec == media.H264 // everywhere
	ladderMade := len(l.rungs) > 0 && (!src.several || l.chosen)
	if !plays && ladderMade {
		if own.Height < fastHeight {
			own.Rate = 0
		}
		best := planRung(own.Name(), own, src, tool)
		best.alias = media.RenditionRealtime
		out = append(out, best)
	}
	for i, r := range l.rungs {
		if !ladderMade || !fits(r, i, l.rungs, short, src.rate) || len(out) > 0 && out[0].name == r.Name() {
			continue
		}
		out = append(out, planRung(r.Name(), r, src, tool))
	}
	if (!plays && !ladderMade) || (plays && src.reorders) {
		s := planRung(media.RenditionRealtime, own, src, tool)
		s.listed = false
		s.video.Profile = "baseline" // the one that every browser takes
		describe(s, tool, v)
		out = append(out, s)
	}
	return out
}

// rateSlack is how far a rate may be over a bound and still count as within it: 30.3 is 30.
const rateSlack = 1.1

// near is from which share of the source's height on a rung is the source once more.
const near = 0.95

// fits reports whether a rung is of use for a source of that height and rate.
func fits(r Rung, i int, rungs []Rung, short int, rate float64) bool {
	if float64(r.Height) > near*float64(short) {
		return false
	}
	if r.rate() <= slowRate || rate > slowRate*rateSlack {
		return true
	}
	// It is for faster sources, and so of use only if the ladder has no slower one like it.
	for j, other := range rungs {
		if j != i && other.Height == r.Height && other.Codec == r.Codec && other.rate() <= slowRate {
			return false
		}
	}
	return true
}

// planRung says how a rung is made of a source.
func planRung(name string, r Rung, src source, tool Tool) *spec {
	v := src.video
	width, height := scaled(v.Width, v.Height, r.Height)
	rate := src.rate
	how := &ffmpeg.Video{Width: width, Height: height, MaxBitrate: r.Bitrate}
	if limit := float64(r.rate()); rate > limit*rateSlack {
		how.FrameRate, rate = limit, limit
	}
	if rate == 0 {
		rate = float64(slowRate)
	}
	if how.MaxBitrate == 0 {
		how.MaxBitrate = bitrateFor(r.Codec, width, height, rate)
	}
	s := &spec{name: name, listed: true, video: how, peak: how.MaxBitrate, average: int64(averageShare * float64(how.MaxBitrate))}
	s.track = &media.Track{Codec: r.Codec, Timescale: v.Timescale, Width: width, Height: height, FrameRate: rate}
	describe(s, tool, v)
	s.cost = videoCost(v, src.rate, s.track, how.Encoder.Hardware)
	return s
}

// describe completes a spec with what the encoder that is preferred would make, or with why
// nothing would.
func describe(s *spec, tool Tool, v *media.Track) {
	codec := s.track.Codec
	encoders := encodersOf(tool, codec)
	switch {
	case tool == nil:
		s.flaw = "there is no ffmpeg that works, so nothing is encoded"
	case !tool.Decodes(v.Codec):
		s.flaw = fmt.Sprintf("this ffmpeg cannot decode %v", v.Codec)
	case len(encoders) == 0:
		s.flaw = fmt.Sprintf("this ffmpeg has no encoder for %v that works", codec)
	default:
		s.video.Encoder = encoders[0]
		if t := tool.Plan(*s.video, v); t != nil {
			rate := s.track.FrameRate // which may have been measured
			s.track = t
			if t.FrameRate == 0 {
				own := *t
				own.FrameRate = rate
				s.track = &own
			}
		}
	}
	track := *s.track
	track.Rendition = s.name
	s.track = &track
}

// planSound says how a rendition of the sound is made.
func planSound(name string, codec media.Codec, a *media.Track, tool Tool) *spec {
	how := &ffmpeg.Audio{Codec: codec, Channels: min(2, max(1, a.Channels))}
	how.Bitrate = 64_000 * int64(how.Channels)
	s := &spec{name: name, listed: codec == media.AAC, audio: how, peak: how.Bitrate * 11 / 10, average: how.Bitrate, cost: soundCost}
	track := &media.Track{Codec: codec, Timescale: 48_000, SampleRate: 48_000, Channels: how.Channels, Language: a.Language}
	switch {
	case tool == nil:
		s.flaw = "there is no ffmpeg that works, so nothing is encoded"
	case !tool.Decodes(a.Codec):
		s.flaw = fmt.Sprintf("this ffmpeg cannot decode %v", a.Codec)
	case len(tool.Encoders(codec)) == 0:
		s.flaw = fmt.Sprintf("this ffmpeg has no encoder for %v that works", codec)
	default:
		if t := tool.PlanAudio(*how, a); t != nil {
			own := *t
			track = &own
		}
	}
	track.Rendition = name
	s.track = track
	return s
}

// scaled is the size of a picture whose shorter side becomes short, in even numbers.
func scaled(width, height, short int) (w, h int) {
	if width >= height {
		return even(width, short, height), short
	}
	return short, even(height, short, width)
}

// even is n·num/den as the nearest even number.
func even(n, num, den int) int { return max(2, (n*num+den)/(2*den)*2) }

// encodersOf returns the encoders of a codec that work, the preferred first.
func encodersOf(tool Tool, c media.Codec) []ffmpeg.Encoder {
	if tool == nil {
		return nil
	}
	return tool.Encoders(c)
}
