package flv

import (
	"bytes"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// dataRateBits is how many of the first bits of a dec3 box tell the data rate
// (ETSI TS 102 366, F.6), which differs from frame to frame where the rate is variable.
const dataRateBits = 13

// learn takes from a frame what no sequence header tells: everything of MP3, AC-3 and
// E-AC-3, and the size of VP8 and VP9 from their key frames. A frame that does not tell
// leaves the track as it is; one over the bounds is a fault.
func (d *Demuxer) learn(t *track, codec media.Codec, flagged bool, b []byte) error {
	probe := &media.Track{ID: t.id, Codec: codec, Timescale: Timescale}
	switch codec {
	case media.MP3, media.AC3, media.EAC3:
	case media.VP8, media.VP9:
		if !flagged || !bitstream.IsKey(codec, b) {
			return nil
		}
		if t.codec == codec {
			probe.Config = t.header
		}
	default:
		return nil
	}
	found, err := bitstream.Probe(probe, b)
	if err != nil {
		if t.wire == nil && codec.Kind() == media.Video {
			return err
		}
		return nil
	}
	if t.wire != nil && t.codec == codec && sameParameters(t.wire, found) {
		return nil
	}
	return d.setConfig(t, found)
}

// sameParameters reports whether a decoder would not notice the change from a to b.
func sameParameters(a, b *media.Track) bool {
	if a.Codec != b.Codec || a.SampleRate != b.SampleRate || a.Channels != b.Channels ||
		a.Width != b.Width || a.Height != b.Height {
		return false
	}
	if a.Codec == media.EAC3 && len(a.Config) > 2 && len(a.Config) == len(b.Config) {
		const mask = 1<<(16-dataRateBits) - 1
		return a.Config[1]&mask == b.Config[1]&mask && bytes.Equal(a.Config[2:], b.Config[2:])
	}
	return bytes.Equal(a.Config, b.Config)
}
