package ffmpeg

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
)

// Tool is an ffmpeg that was found to work. Its methods may be called from several goroutines.
type Tool struct{ cfg Config }

// Find looks for ffmpeg, and tries its encoders with one frame each. It takes about a
// second. The error is fault.Unavailable when there is no ffmpeg that works.
func Find(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Tool, error) {
	return nil, fault.New(fault.Unavailable, "find", cfg.Path, "it is not there", "")
}

// Version is ffmpeg's version, such as "5.1.9".
func (t *Tool) Version() string { return "" }

// Encoders returns the encoders of a codec that work, the preferred first.
func (t *Tool) Encoders(c media.Codec) []Encoder { return nil }

// Decodes tells whether a source of that codec can be read.
func (t *Tool) Decodes(c media.Codec) bool { return false }

// Formats returns the picture formats that can be made.
func (t *Tool) Formats() []PictureFormat { return nil }

// Plan returns what encoding a source so will give: codec string, size and frame rate. The
// track has the source's timescale and no Config, ID or Rendition.
func (t *Tool) Plan(v Video, source *media.Track) *media.Track { return nil }

// PlanAudio returns what encoding a source so will give.
func (t *Tool) PlanAudio(a Audio, source *media.Track) *media.Track { return nil }

// Run feeds src, which begins with a key packet, to one ffmpeg until src ends, and writes
// what comes back to the sinks. PTS stay on the source's timeline.
//
// It returns nil when src ended with io.EOF and everything came out, ctx's error when ctx
// ended, src's error when src failed, and else one of the errors above. The child is gone
// when Run returns. progress may be nil; it is called about every half second, and must
// not wait.
func (t *Tool) Run(ctx context.Context, job Job, src media.Source, progress func(Progress)) error {
	return fault.New(fault.Unavailable, "run", job.Stream, "it is not there", "")
}

// Picture decodes key frames of one track and returns one picture of them: side by side
// where there are several.
func (t *Tool) Picture(ctx context.Context, track *media.Track, units []*media.Packet, o PictureOptions) ([]byte, error) {
	return nil, fault.New(fault.Unavailable, "make", "a picture", "it is not there", "")
}
