// Package record keeps broadcasts: each becomes an asset, whose objects are the segments
// that pack made, as they are, and whose index is a journal of what was stored.
//
// A segment is made durable first and written to the journal after that, so that whatever
// the journal lists is there. What a crash left between the two is recognised at the next
// start, and finished or dropped (Library.Load). Nothing here is in the way of live media: a
// recorder reads pack's snapshots as any viewer does, and what it is too slow for is a gap
// in the index and not a wait.
//
// Objects are called {asset}/{rendition}/{name of the segment or initialization section};
// pack's names never repeat.
package record

import (
	"time"

	"onair/internal/media"
)

// State tells how far an asset is.
type State string

// The states of an asset. What an errored one has can be played like a ready one.
const (
	Recording State = "recording"
	Ready     State = "ready"
	Errored   State = "errored"
)

// Snapshot is an asset at a moment. It never changes; the slices of a newer one may share
// memory with it.
type Snapshot struct {
	ID       string
	StreamID string
	State    State
	// Error is why an Errored asset ends before its broadcast did, and why to one that is
	// Recording nothing is added just now.
	Error string
	// Began is the wall clock of the first media, and Ended of the end of the last; of what
	// there is so far while it is Recording.
	Began, Ended time.Time
	// Origin is the wall clock of media time 0, as pack.Stream.AvailabilityStart.
	Origin time.Time
	// TargetDuration is the value of EXT-X-TARGETDURATION in seconds: no segment is longer.
	TargetDuration int
	// Renditions are in the order in which they began.
	Renditions []*Rendition
	// Bytes is what the asset's objects hold.
	Bytes int64
	// Duration is that of the longest rendition, gaps included.
	Duration time.Duration
	// Gaps are where media is missing in the first rendition.
	Gaps []Gap
	// Changed is closed when there is a newer snapshot; never, once the asset is not Recording.
	Changed <-chan struct{}
}

// Rendition is one track of an asset.
type Rendition struct {
	// Name is that of pack's rendition: v0, a0, 720p…
	Name string
	Kind media.Kind
	// Inits are the initialization sections; Segment.Init counts in them.
	Inits []*Init
	// Segments are without holes in their sequence numbers: what is missing is a Gap.
	Segments Segments
}

// Init is an initialization section.
type Init struct {
	Name  string
	Track *media.Track
	Data  []byte
}

// Segment is a media segment of an asset; the fields are as in pack.Segment.
type Segment struct {
	Sequence int64
	Name     string
	// Asset is the other asset that the object lies in; empty for this one's own.
	Asset string
	// Init is the index of its initialization section in Rendition.Inits.
	Init int32
	// Discontinuity is set if it does not continue the one before it.
	Discontinuity bool
	// Gap is set if there is no media: Size is 0, and there is no object.
	Gap bool
	// Independent is set if decoding can start at its first sample.
	Independent bool
	// Start is the wall clock of the first sample's presentation.
	Start    time.Time
	Duration time.Duration
	// BaseTime is the decoding time of the first sample, Ticks the duration, and Offset what
	// the first sample is presented after it is decoded; in ticks of its track's timescale.
	BaseTime, Ticks, Offset int64
	// Size is in bytes. KeySize is how many of them hold the first frame.
	Size, KeySize int64
}

// Gap is a time for which there is no media.
type Gap struct {
	Start    time.Time
	Duration time.Duration
}

// Rendition returns the rendition of that name.
func (s *Snapshot) Rendition(name string) (*Rendition, bool) {
	for _, r := range s.Renditions {
		if r.Name == name {
			return r, true
		}
	}
	return nil, false
}

// Init returns the initialization section of that name.
func (r *Rendition) Init(name string) (*Init, bool) {
	for _, i := range r.Inits {
		if i.Name == name {
			return i, true
		}
	}
	return nil, false
}
