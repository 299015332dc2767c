package bitstream

import (
	"bytes"
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
// The Config of the copy is the record itself: an OpusHead becomes a dOps, "fLaC" or a
// box's version and flags in front of the record are taken off.
//
// It fails with fault.Unsupported for a codec or profile the program has no place for,
// with fault.TooLarge for pictures over MaxWidth×MaxHeight, and with fault.Invalid for a
// Config that is not well formed.
func Describe(t *media.Track) (*media.Track, error) {
	d := *t
	if len(t.Config) > maxConfig {
		return nil, invalid(t.Codec, fmt.Errorf("the configuration has %d bytes, more than %d", len(t.Config), maxConfig))
	}
	config, err := unwrap(t)
	if err != nil {
		return nil, err
	}
	d.Config = config
	switch t.Codec.Kind() {
	case media.Video:
		v, err := describeVideo(&d)
		if err != nil {
			return nil, invalid(t.Codec, err)
		}
		d.CodecString, d.FrameRate = v.codec, v.rate
		if v.width > 0 {
			d.Width, d.Height = v.width, v.height
		}
		d.SampleRate, d.Channels = 0, 0
	case media.Audio:
		a, err := describeAudio(&d)
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
	case media.HEVC:
		return describeHEVC(t.Config)
	case media.AV1:
		return describeAV1(t.Config)
	case media.VP9:
		return describeVP9(t.Config)
	default:
		return videoInfo{codec: "vp8"}, nil
	}
}

// unwrap brings the configurations that senders wrap in several ways into the shape that
// media.Track documents.
func unwrap(t *media.Track) ([]byte, error) {
	switch t.Codec {
	case media.VP9:
		return unwrapVPCC(t.Config), nil
	case media.FLAC:
		return unwrapFLAC(t.Config), nil
	case media.Opus:
		if bytes.HasPrefix(t.Config, []byte("OpusHead")) {
			return OpusConfigFromHead(t.Config)
		}
	}
	return t.Config, nil
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
