package bitstream

import (
	"errors"
	"fmt"

	"onair/internal/fault"
	"onair/internal/media"
)

// Describe returns a copy of t with what its codec and Config say: Width, Height and
// FrameRate, or SampleRate and Channels, and CodecString.
//
// The size is the coded one minus the cropping, before any sample aspect ratio. A frame
// rate that is missing or absurd is 0. For AAC with SBR the sample rate is the output
// rate (twice the core's). What a Config does not carry stays as it is in t: the size
// of VP8 and VP9, rate and channels of MP3 (see Probe).
//
// It fails with fault.Unsupported for a codec or profile the program has no place for,
// with fault.TooLarge for pictures over MaxWidth×MaxHeight, and with fault.Invalid for a
// Config that is not well formed.
func Describe(t *media.Track) (*media.Track, error) {
	d := *t
	if len(t.Config) > maxConfig {
		return nil, invalid(t.Codec, fmt.Errorf("the configuration has %d bytes, more than %d", len(t.Config), maxConfig))
	}
	switch t.Codec.Kind() {
	case media.Video:
		v, err := describeVideo(t)
		if err != nil {
			return nil, invalid(t.Codec, err)
		}
		d.CodecString, d.FrameRate = v.codec, v.rate
		if v.width > 0 {
			d.Width, d.Height = v.width, v.height
		}
		d.SampleRate, d.Channels = 0, 0
	case media.Audio:
		a, err := describeAudio(t)
		if err != nil {
			return nil, invalid(t.Codec, err)
		}
		d.CodecString = a.codec
		if a.rate > 0 {
			d.SampleRate, d.Channels = a.rate, a.channels
		}
		d.Width, d.Height, d.FrameRate = 0, 0, 0
	default:
		return nil, fault.New(fault.Unsupported, "read the parameters of", t.Codec.String(),
			"the codec is not known", "Send H.264, HEVC, AV1 or VP9 and AAC, Opus, AC-3, FLAC or MP3.")
	}
	return &d, nil
}

func describeVideo(t *media.Track) (videoInfo, error) {
	switch t.Codec {
	case media.H264:
		return describeH264(t.Config)
	default:
		return videoInfo{}, errNotYet
	}
}

func describeAudio(t *media.Track) (audioInfo, error) {
	switch t.Codec {
	case media.AAC:
		return parseASC(t.Config)
	default:
		return audioInfo{}, errNotYet
	}
}

// invalid makes a fault of what a parser says.
func invalid(c media.Codec, err error) error {
	var size *sizeError
	if errors.As(err, &size) {
		return fault.Wrap(fault.TooLarge, "read the parameters of", c.String(), err,
			fmt.Sprintf("Send at most %dx%d.", MaxWidth, MaxHeight))
	}
	return fault.Wrap(fault.Invalid, "read the parameters of", c.String(), err,
		"Check the encoder's settings, or send H.264 and AAC.")
}
