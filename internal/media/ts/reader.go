package ts

import (
	"context"
	"io"

	"onair/internal/media"
)

// Reader is a media.Source over a transport stream that arrives on an io.Reader.
type Reader struct {
	r io.Reader
}

// Stats counts what a Reader met and did not turn into packets.
type Stats struct {
	// Skipped names the elementary streams that are passed over, such as
	// "MPEG-2 video", in the order of the programme map.
	Skipped []string
	// Programs is the number of programmes; the first usable one is read.
	Programs int
	// Lost counts gaps in the continuity counters, Damaged the PES packets (or parts of
	// them) that were dropped for that or another defect, Resyncs how often the sync byte
	// was lost, Changes the programme maps that differed from the one before.
	Lost, Damaged, Resyncs, Changes uint64
}

// NewReader returns a Reader over r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Tracks returns the newest version of every track whose parameters are known.
func (r *Reader) Tracks() []*media.Track { return nil }

// Stats returns the counts so far.
func (r *Reader) Stats() Stats { return Stats{} }

// ReadPacket returns the next packet.
func (r *Reader) ReadPacket(ctx context.Context) (*media.Packet, error) {
	return nil, broken("not there yet")
}
