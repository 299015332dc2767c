package ts

import (
	"context"
	"io"

	"onair/internal/media"
)

// Writer is a media.Sink that writes a transport stream.
type Writer struct {
	w io.Writer
}

// NewWriter returns a Writer of the tracks.
func NewWriter(w io.Writer, tracks []*media.Track) (*Writer, error) { return &Writer{w: w}, nil }

// WritePacket writes the packet.
func (w *Writer) WritePacket(ctx context.Context, p *media.Packet) error { return ctx.Err() }
