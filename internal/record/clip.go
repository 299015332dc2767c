package record

import (
	"context"

	"onair/internal/fault"
	"onair/internal/media"
)

// Clip is an asset that is cut from another one: segments of that, and a few of its own at
// the edges. All its renditions have the numbers From to To.
type Clip struct {
	// Source is the asset that it is cut from, and From and To the media sequence numbers of
	// its first and last segment.
	Source   string
	From, To int64
	// Breaks are numbers at which something begins that does not continue what is before it.
	Breaks []int64
	// Renditions are those of the source that the clip has.
	Renditions []ClipRendition
}

// ClipRendition is one track of a clip. What is neither in Own nor a gap is the source's.
type ClipRendition struct {
	Name string
	// Own are the segments that are in the place of the source's, by number.
	Own []OwnSegment
}

// OwnSegment is a segment that a clip has instead of the source's of that number.
type OwnSegment struct {
	// Segment is as in the index; Name, Asset, Init and Size are filled in.
	Segment
	// Track and Init are the parameters that it was made with and their initialization
	// section, if they are not those of the source's segment.
	Track *media.Track
	Init  []byte
	// Data is the segment.
	Data []byte
}

// own is how much of a segment's size is the asset's own.
func (s *Segment) own() int64 {
	if s.Asset != "" {
		return 0
	}
	return s.Size
}

// CreateClip makes an asset of segments of another one, which is ready when it returns
// without an error: its own segments are durable, and what it has of the other asset stays in
// the storage for as long as a clip needs it, even if that asset is deleted.
//
// fault.NotFound if there is no such source, fault.Conflict if there is an asset of that id,
// fault.Invalid for numbers that the source does not have, and what the storage says.
func (l *Library) CreateClip(ctx context.Context, id string, c Clip) error {
	return fault.New(fault.Unsupported, "clip", c.Source, "there are no clips yet", "")
}
