// Package fmp4 writes and reads fragmented MP4: CMAF headers and fragments for
// delivery, and the pipes to and from ffmpeg.
package fmp4

import (
	"context"
	"errors"
	"io"

	"onair/internal/media"
)

var errNotYet = errors.New("not implemented yet")

// Init returns the CMAF header (ftyp and moov) of one track.
func Init(t *media.Track) ([]byte, error) { return nil, errNotYet }

// Fragment is one moof and mdat of one track.
type Fragment struct {
	// Sequence is the mfhd sequence number, counted from 1.
	Sequence uint32
	// Track is the track the samples belong to.
	Track *media.Track
	// BaseDTS is the decode time of the first sample in ticks of Track.Timescale; not negative.
	BaseDTS int64
	// Samples are in decoding order.
	Samples []Sample
}

// Sample is one access unit in a Fragment.
type Sample struct {
	// Duration is in ticks of the track's timescale.
	Duration uint32
	// CTSOffset is PTS minus DTS in ticks.
	CTSOffset int32
	// Key is set where decoding can start.
	Key bool
	// Data is the payload; it is copied.
	Data []byte
}

// AppendTo appends the fragment's moof and mdat to b.
func (f *Fragment) AppendTo(b []byte) []byte { return b }

// Reader is a media.Source over a fragmented MP4.
type Reader struct{}

// NewReader returns a Reader over r.
func NewReader(r io.Reader) *Reader { return &Reader{} }

// Tracks returns the tracks that the moov announced; empty before the first ReadPacket.
func (r *Reader) Tracks() []*media.Track { return nil }

// ReadPacket returns the next packet.
func (r *Reader) ReadPacket(ctx context.Context) (*media.Packet, error) { return nil, errNotYet }
