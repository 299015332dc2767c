package ffmpeg

import (
	"context"

	"onair/internal/fault"
	"onair/internal/media"
)

// Picture decodes key frames of one track and returns one picture of them: side by side
// where there are several.
func (t *Tool) Picture(ctx context.Context, track *media.Track, units []*media.Packet, o PictureOptions) ([]byte, error) {
	return nil, fault.New(fault.Unavailable, "make", "a picture", "it is not there", "")
}
