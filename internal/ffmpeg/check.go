package ffmpeg

import (
	"fmt"
	"regexp"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// presetName is what a preset looks like.
var presetName = regexp.MustCompile(`^[a-z0-9]{0,16}$`)

// maxBitrate bounds what may be asked of an encoder, in bits a second.
const maxBitrate = 200_000_000

// check refuses a job that cannot be done, before anything is started.
func (t *Tool) check(job Job) error {
	if err := t.checkSource(job.Stream, job.Source); err != nil {
		return err
	}
	if n := len(job.Outputs); n < 1 || n > maxOutputs {
		return refuse(job.Stream, fault.Invalid, fmt.Errorf("there are %d outputs, not 1 to %d", n, maxOutputs))
	}
	for _, o := range job.Outputs {
		var err error
		switch {
		case o.Sink == nil || (o.Video == nil) == (o.Audio == nil):
			err = fmt.Errorf("it must have a sink, and either video or audio")
		case o.Video != nil:
			err = t.checkVideo(*o.Video, job.Source)
		default:
			err = t.checkAudio(*o.Audio, job.Source)
		}
		if err != nil {
			return refuse(job.Stream, fault.Invalid, fmt.Errorf("output %q: %w", o.Name, err))
		}
	}
	return nil
}

func refuse(subject string, kind fault.Kind, cause error) error {
	return fault.Wrap(kind, "transcode", subject, cause, "")
}

// checkSource refuses what no decoder shall see.
func (t *Tool) checkSource(subject string, s *media.Track) error {
	switch {
	case s == nil || s.Timescale <= 0:
		return refuse(subject, fault.Invalid, fmt.Errorf("%w: there is no track", ErrSource))
	case !t.Decodes(s.Codec):
		return refuse(subject, fault.Unsupported, fmt.Errorf("%w: this ffmpeg has no decoder for %s", ErrSource, s.Codec))
	case s.Width > bitstream.MaxWidth || s.Height > bitstream.MaxWidth || s.Width*s.Height > bitstream.MaxWidth*bitstream.MaxHeight:
		return refuse(subject, fault.TooLarge, fmt.Errorf("%w: its picture is %dx%d, more than %dx%d", ErrSource, s.Width, s.Height, bitstream.MaxWidth, bitstream.MaxHeight))
	}
	if len(s.Config) == 0 {
		return nil
	}
	// What the parameter sets say counts, whatever the track says.
	if _, err := bitstream.Describe(s); err != nil {
		return refuse(subject, fault.KindOf(err), fmt.Errorf("%w: %w", ErrSource, err))
	}
	return nil
}

func (t *Tool) checkVideo(v Video, source *media.Track) error {
	e, ok := t.encoder(v.Encoder.Name)
	switch {
	case source.Kind() != media.Video:
		return fmt.Errorf("the source has no picture")
	case !ok || e.Codec.Kind() != media.Video:
		return fmt.Errorf("%w: %q is not among those that work", ErrEncoder, v.Encoder.Name)
	case v.Width < 16 || v.Height < 16 || v.Width%2 != 0 || v.Height%2 != 0 || v.Width > bitstream.MaxWidth || v.Height > bitstream.MaxWidth ||
		v.Width*v.Height > bitstream.MaxWidth*bitstream.MaxHeight:
		return fmt.Errorf("the size %dx%d is no pair of even numbers from 16 to %d", v.Width, v.Height, bitstream.MaxWidth)
	case v.MaxBitrate < 1000 || v.MaxBitrate > maxBitrate:
		return fmt.Errorf("the bit rate %d is not from 1000 to %d", v.MaxBitrate, maxBitrate)
	case !(v.CRF >= 0 && v.CRF <= 63) || !(v.FrameRate >= 0 && v.FrameRate <= 300):
		return fmt.Errorf("quality %v or frame rate %v is out of range", v.CRF, v.FrameRate)
	case !presetName.MatchString(v.Preset):
		return fmt.Errorf("the preset %q is no name", v.Preset)
	}
	switch v.Profile {
	case "", "high", "main", "baseline":
		return nil
	}
	return fmt.Errorf("the profile %q is not known", v.Profile)
}

func (t *Tool) checkAudio(a Audio, source *media.Track) error {
	works := len(t.Encoders(a.Codec)) > 0
	switch {
	case source.Kind() != media.Audio:
		return fmt.Errorf("the source has no sound")
	case a.Codec != media.AAC && a.Codec != media.Opus || !works:
		return fmt.Errorf("%w: there is none for %s", ErrEncoder, a.Codec)
	case a.Bitrate < 0 || a.Bitrate > 1_000_000 || a.Channels < 0 || a.SampleRate < 0:
		return fmt.Errorf("bit rate %d, %d channels or %d Hz are out of range", a.Bitrate, a.Channels, a.SampleRate)
	}
	return nil
}
