// Package mp4file makes one progressive MP4 file of the CMAF segments of a recording,
// while it is read: Scan makes a compact sample table of each segment when it is recorded,
// and New computes the file's header and layout from the tables alone. The size is known at
// once, and any range of bytes is copied straight from the segments.
//
// The header (moov) comes first, then the payload of the segments, one chunk a segment,
// the tracks interleaved by time (ISO/IEC 14496-12). Sample entries are those of fmp4.Init.
//
// Every sample is decoded and presented when its segment says, seen from the start of
// the earliest track. Where a track has a gap between two segments, the sample before it
// lasts until the next one: players that ignore all but the first edit of an edit list
// (Chromium) keep picture and sound together so, too. Segments that overlap lose the time
// at the start of the later one.
//
// New reads several tracks at the same time, in goroutines that it waits for. The package has
// no others, and knows no clock.
package mp4file

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"onair/internal/fault"
	"onair/internal/media"
)

// Bounds on a file.
const (
	// maxTracks is the number of tracks of a file.
	maxTracks = 32
	// maxSegments is the number of segments of a file over all tracks.
	maxSegments = 1 << 20
	// maxSamples is the number of samples of a file over all tracks: more than 24 h of
	// pictures at 60 and sound at 50 frames a second. The header has up to 20 bytes for each.
	maxSamples = 12 << 20
	// maxTime bounds decode times in ticks, so that sums of them do not overflow.
	maxTime = 1 << 60
)

// Segment is one segment of a Track.
type Segment struct {
	// Table is what Scan made of the segment. An empty one stands for a segment without
	// media, which is passed over.
	Table Table
	// BaseTime is the decode time of the first sample in ticks of the track's timescale.
	BaseTime int64
	// Size of the segment in bytes, for which Open is asked.
	Size int64
	// Track, if it is set, is what the segment was made with: another one than that of its
	// track where the encoder changed its parameters.
	Track *media.Track
}

// Track is one rendition of the recording.
type Track struct {
	// Track says what the samples are, as for fmp4.Init.
	Track *media.Track
	// Name is shown by players that let viewers choose a track; it may be empty.
	Name string
	// Segments are in the order of time.
	Segments []Segment
}

// Open returns length bytes from offset of a segment, which is named by its place in what
// New was given. The reader is closed before the next one is opened.
type Open func(ctx context.Context, track, segment int, offset, length int64) (io.ReadCloser, error)

// File is a progressive MP4 file that exists in parts only. It is immutable, keeps the
// tables it was made of, and may be used by several goroutines at once.
type File struct {
	open   Open
	tracks []Track
	head   []byte  // everything before the payload
	chunks []chunk // in the order of the file
	size   int64
}

// chunk is the payload of one segment.
type chunk struct {
	at             int64 // in the file's payload, and later in the file
	track, segment int32
	prefix         []byte // of its sync samples
}

// New computes the file of some tracks. A track without media is left out. The first track
// of pictures and the first of sound are the ones that players begin with.
//
// It fails with fault.Invalid where a table is damaged, a segment begins more than a second
// before the one in front of it ends, or a track changes its codec or sample rate, which
// players do not follow within one file; with fault.NotFound where there is no media at all;
// with fault.TooLarge over a bound; and as fmp4.Init does.
func New(tracks []Track, open Open) (*File, error) {
	f := &File{open: open, tracks: tracks}
	if len(tracks) > maxTracks {
		return nil, fault.New(fault.TooLarge, "make an MP4 file", "", fmt.Sprintf("%d tracks are over %d", len(tracks), maxTracks), "")
	}
	segments := 0
	for i := range tracks {
		if segments += len(tracks[i].Segments); segments > maxSegments {
			return nil, fault.New(fault.TooLarge, "make an MP4 file", "", fmt.Sprintf("more than %d segments", maxSegments), "")
		}
	}
	traks := make([]*trak, len(tracks))
	err := each(len(tracks), func(i int) (err error) {
		traks[i], err = newTrak(&tracks[i], i)
		return err
	})
	if err != nil {
		return nil, err
	}
	samples := 0
	for _, t := range traks {
		if samples += t.room; samples > maxSamples {
			return nil, fault.New(fault.TooLarge, "make an MP4 file", "", fmt.Sprintf("more than %d samples", maxSamples), "Download a part of it.")
		}
	}
	traks = slices.DeleteFunc(traks, func(t *trak) bool { return t.room == 0 })
	if err := each(len(traks), func(i int) error { return traks[i].fill() }); err != nil {
		return nil, err
	}
	if len(traks) == 0 {
		return nil, fault.New(fault.NotFound, "make an MP4 file", "", "there is no media", "")
	}
	payload := f.interleave(traks)
	f.writeHead(traks, payload)
	for i := range f.chunks {
		f.chunks[i].at += int64(len(f.head))
	}
	f.size = int64(len(f.head)) + payload
	return f, nil
}

// each does something for each of n, as many at the same time as there are processors, and
// returns the error of the first that had one.
func each(n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = do(i)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// interleave puts the chunks of all tracks in order and returns the size of all payload.
func (f *File) interleave(traks []*trak) (payload int64) {
	type placed struct {
		seconds float64
		t       *trak
		n       int
	}
	n := 0
	for _, t := range traks {
		n += len(t.chunks)
	}
	order := make([]placed, 0, n)
	for _, t := range traks {
		for n := range t.chunks {
			order = append(order, placed{seconds: float64(t.chunks[n].start) / float64(t.timescale), t: t, n: n})
		}
	}
	// Stable: what begins together stays in the order of the tracks, and each track's
	// segments in theirs.
	slices.SortStableFunc(order, func(a, b placed) int { return cmp.Compare(a.seconds, b.seconds) })
	f.chunks = make([]chunk, len(order))
	for i, p := range order {
		c := &p.t.chunks[p.n]
		c.at = payload
		f.chunks[i] = chunk{at: payload, track: int32(p.t.index), segment: int32(c.segment), prefix: p.t.entries[c.entry].prefix}
		payload += c.size
	}
	return payload
}

// Size is the size of the file in bytes.
func (f *File) Size() int64 { return f.size }

// CopyRange writes length bytes of the file from offset on. It opens each segment once, for
// what is needed of it, and holds no more of it than a copy buffer. A range that is not
// within the file is a fault.Invalid; a segment that ends too early a fault.Internal with
// io.ErrUnexpectedEOF in its chain; errors of w and of Open are returned as they are.
func (f *File) CopyRange(ctx context.Context, w io.Writer, offset, length int64) error {
	if offset < 0 || length < 0 || offset > f.size || length > f.size-offset {
		return fault.New(fault.Invalid, "read an MP4 file", "", fmt.Sprintf("%d bytes from %d are not within its %d", length, offset, f.size), "")
	}
	end := offset + length
	if head := int64(len(f.head)); offset < min(head, end) {
		if _, err := w.Write(f.head[offset:min(head, end)]); err != nil {
			return err
		}
		offset = min(head, end)
	}
	first := sort.Search(len(f.chunks), func(i int) bool { return f.chunks[i].at > offset }) - 1
	for i := max(first, 0); i < len(f.chunks) && offset < end; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		last := f.size
		if i+1 < len(f.chunks) {
			last = f.chunks[i+1].at
		}
		c := f.chunks[i]
		if err := f.copyChunk(ctx, w, c, offset-c.at, min(end, last)-c.at); err != nil {
			return err
		}
		offset = min(end, last)
	}
	return nil
}

func (f *File) damaged(c chunk, err error) error {
	return fault.Wrap(fault.Internal, "read an MP4 file",
		fmt.Sprintf("segment %d of track %q", c.segment, f.tracks[c.track].Name), err, "")
}

// wide tells whether positions may need 64 bits, with an upper bound of the header's size.
func wide(payload, header int64) bool { return payload > math.MaxUint32-header }
