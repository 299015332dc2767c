package images

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"onair/internal/media"
	"onair/internal/record"
)

// A storyboard of a recording has one cell for each stretch of step segments: the first key
// frame in it. step is a power of two, as small as the greatest number of cells allows. Which
// cells stand on a sheet follows from the segments' numbers, so that a sheet that is full stays
// what it is while the recording grows.

// board is the storyboard of a recording, or of its end.
type board struct {
	r     *record.Rendition
	step  int64 // in segments
	cells []cell
}

// cell is a picture on a sheet.
type cell struct {
	seg   *record.Segment
	begin time.Duration // of its stretch, from the beginning of the recording as players count
}

// boardOf lays out the storyboard of what is not before a time; of everything, if that is zero.
func boardOf(s *record.Snapshot, since time.Time) (board, bool) {
	r := smallest(s)
	if r == nil {
		return board{}, false
	}
	list := &r.Segments
	first := list.Sequence(0)
	if at := at(list, since); at > 0 {
		first = list.Sequence(at)
	}
	b := board{r: r, step: 1}
	for last := list.Sequence(list.Len() - 1); last/b.step-first/b.step >= maxCells; b.step *= 2 {
	}
	// The sheet on which the first one stands is whole.
	b.lay(sheetStart(first, b.step))
	return b, len(b.cells) > 0
}

// lay finds the cells from a segment's number on.
func (b *board) lay(from int64) {
	var begin time.Duration
	stretch := int64(-1)
	var pending bool // the stretch has no cell yet
	var start time.Duration
	for i := range b.r.Segments.Len() {
		seg := b.r.Segments.Unnamed(i)
		if seg.Sequence >= from {
			if n := seg.Sequence / b.step; n != stretch {
				stretch, pending, start = n, true, begin
			}
			if pending && !seg.Gap && seg.KeySize > 0 {
				shown := b.r.Segments.At(i)
				b.cells = append(b.cells, cell{&shown, start})
				pending = false
			}
		}
		begin += seg.Duration
	}
}

// sheetStart is the number with which the sheet begins on which a segment's cell stands.
func sheetStart(sequence, step int64) int64 { return sequence / (step * maxTiles) * step * maxTiles }

// sheets divides cells into sheets: at numbers, and where the track has other parameters.
func (b *board) sheets() (out [][]cell) {
	begin := 0
	for i := range b.cells {
		here, last := b.cells[i].seg, b.cells[begin].seg
		if sheetStart(here.Sequence, b.step) != sheetStart(last.Sequence, b.step) || here.Init != last.Init {
			out = append(out, b.cells[begin:i])
			begin = i
		}
	}
	return append(out, b.cells[begin:])
}

// steady returns how many cells of a sheet are shown while it grows: whole rows, so that it is
// not made anew for each one.
func steady(cells int, grows bool) int {
	if grows && cells > columns && cells < maxTiles {
		return cells / columns * columns
	}
	return cells
}

// sheetName names a sheet by all that it shows.
func sheetName(step int64, cells []cell) string {
	return fmt.Sprintf("storyboard-%d-%d-%d", step, cells[0].seg.Sequence, len(cells))
}

// sheetOf finds the sheet of a name, of a recording as it is now.
func sheetOf(s *record.Snapshot, name string) (b board, cells []cell, ok bool) {
	parts := strings.Split(strings.TrimPrefix(name, "storyboard-"), "-")
	if len(parts) != 3 {
		return b, nil, false
	}
	var n [3]int64
	for i, text := range parts {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v < 1 || strconv.FormatInt(v, 10) != text {
			return b, nil, false
		}
		n[i] = v
	}
	step, first, count := n[0], n[1], n[2]
	// Only what an index may have named, so that there are few.
	if r := smallest(s); r != nil && step <= int64(r.Segments.Len()) && step&(step-1) == 0 && count <= maxTiles {
		b = board{r: r, step: step}
		b.lay(sheetStart(first, step))
		for _, sheet := range b.sheetsUntil(first) {
			if sheet[0].seg.Sequence == first && count <= int64(len(sheet)) && (int(count) == len(sheet) || steady(int(count), true) == int(count)) {
				return b, sheet[:count], true
			}
		}
	}
	return b, nil, false
}

// sheetsUntil are the sheets that begin at a number or before it.
func (b *board) sheetsUntil(first int64) [][]cell {
	if len(b.cells) == 0 {
		return nil
	}
	all := b.sheets()
	for i, sheet := range all {
		if sheet[0].seg.Sequence > first {
			return all[:i]
		}
	}
	return all
}

// at returns the index of the segment that a moment is in; the first or last one for those
// outside.
func at(list *record.Segments, when time.Time) int {
	return max(0, sort.Search(list.Len(), func(i int) bool { return list.Unnamed(i).Start.After(when) })-1)
}

// keyNear returns the segment whose first picture is the nearest key frame to a moment.
func keyNear(r *record.Rendition, when time.Time) (*record.Segment, bool) {
	list := &r.Segments
	if list.Len() == 0 {
		return nil, false
	}
	here := at(list, when)
	var best *record.Segment
	try := func(i int) bool {
		seg := list.At(i)
		if seg.Gap || seg.KeySize == 0 {
			return false
		}
		if best == nil || seg.Start.Sub(when).Abs() < best.Start.Sub(when).Abs() {
			best = &seg
		}
		return true
	}
	for i := here; i >= 0 && i > here-maxWalk && !try(i); i-- {
	}
	for i := here + 1; i < list.Len() && i < here+maxWalk && !try(i); i++ {
	}
	return best, best != nil
}

// moment finds the key frame nearest to a moment, of the smallest picture that is not smaller
// than a width, if it is not much farther than that of the others.
func moment(s *record.Snapshot, when time.Time, width int) (r *record.Rendition, seg *record.Segment) {
	far := time.Duration(s.TargetDuration) * time.Second
	for _, rend := range s.Renditions {
		if rend.Kind != media.Video {
			continue
		}
		k, ok := keyNear(rend, when)
		if !ok {
			continue
		}
		away := k.Start.Sub(when).Abs()
		if seg != nil {
			has := seg.Start.Sub(when).Abs()
			if away > has+far || away >= has-far && !suits(trackOf(rend, k), trackOf(r, seg), width) {
				continue
			}
		}
		r, seg = rend, k
	}
	return r, seg
}

// smallest returns the rendition whose key frames are the quickest to decode: the smallest
// picture of which there is as much as of the first.
func smallest(s *record.Snapshot) (best *record.Rendition) {
	var main *record.Rendition
	const late = 2 // segments by which a rendition that is being made may be behind
	for _, r := range s.Renditions {
		n := r.Segments.Len()
		if r.Kind != media.Video || n == 0 {
			continue
		}
		if main == nil {
			main, best = r, r
			continue
		}
		whole := r.Segments.Sequence(0) <= main.Segments.Sequence(0) && r.Segments.Sequence(n-1)+late >= main.Segments.Sequence(main.Segments.Len()-1)
		last, before := r.Segments.Last(), best.Segments.Last()
		w, had := trackOf(r, &last).Width, trackOf(best, &before).Width
		if whole && w >= tileWidth && w < had && gaps(r) <= gaps(main) {
			best = r
		}
	}
	return best
}

func gaps(r *record.Rendition) (n int) {
	for i := range r.Segments.Len() {
		if r.Segments.Unnamed(i).Gap {
			n++
		}
	}
	return n
}

func trackOf(r *record.Rendition, seg *record.Segment) *media.Track { return r.Inits[seg.Init].Track }
