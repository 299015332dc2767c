package fmp4

import (
	"context"
	"errors"
	"io"

	"onair/internal/media"
)

// Reader is a media.Source over a fragmented MP4.
type Reader struct{}

// NewReader returns a Reader over r.
func NewReader(r io.Reader) *Reader { return &Reader{} }

// Tracks returns the tracks that the moov announced; empty before the first ReadPacket.
func (r *Reader) Tracks() []*media.Track { return nil }

// ReadPacket returns the next packet.
func (r *Reader) ReadPacket(ctx context.Context) (*media.Packet, error) {
	return nil, errors.New("not implemented yet")
}
