package replay

import (
	"sort"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/m3u8"
	"onair/internal/record"
)

// Active tells which asset the broadcast of a live stream is recorded as that is on the air,
// or was last; and for how long back its playlists are to list it: the whole of it if window
// is negative. ok is false if it is not recorded, or if its playlists are to be short. It is
// called for each state of a playlist and must be quick.
type Active func(streamID string) (asset string, window time.Duration, ok bool)

// Past knows what live streams had before what is still in memory: what is recorded of them.
// It is the Past of package hls.
//
// What is listed is rendered in blocks of blockLength segments, which are compressed once and
// then shared by all states of a playlist; only the block at either end is made anew, once for
// each segment. So neither the work for a new segment nor what is sent to those who follow a
// playlist grows with the length of the recording, and 1,000 segments take about 8 KB of
// memory.
type Past struct {
	lib    Library
	active Active
	cache  *cache
}

// blockLength is how many segments are in a block: numbers of which the quotient is the same.
const blockLength = 256

// NewPast returns a Past. Its metrics are registered with reg (nil for none).
func NewPast(cfg Config, lib Library, active Active, reg prometheus.Registerer) *Past {
	held := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "onair_past_cache_bytes", Help: "Text of the past of live playlists that is kept in memory (replay.cache_bytes).",
	})
	evicted := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "onair_past_cache_evicted_total", Help: "Text of the past of live playlists that was forgotten to make room (replay.cache_bytes).",
	})
	if reg != nil {
		reg.MustRegister(held, evicted)
	}
	return &Past{lib: lib, active: active, cache: newCache(cfg.CacheBytes, held, evicted)}
}

// Has tells whether a stream's playlists list the past.
func (p *Past) Has(streamID string) bool {
	_, _, ok := p.active(streamID)
	return ok
}

// Before returns what the playlist of a rendition lists before an edge; nil if there is
// nothing.
func (p *Past) Before(streamID, rendition string, edge m3u8.Edge) *m3u8.Past {
	asset, window, ok := p.active(streamID)
	if !ok {
		return nil
	}
	s, ok := p.lib.Snapshot(asset)
	if !ok || !s.Origin.Equal(edge.Origin) {
		return nil // it is of another broadcast
	}
	own, ok := s.Rendition(rendition)
	if !ok { // it has just begun
		own = &record.Rendition{Name: rendition, Kind: edge.Track.Kind(), Inits: []*record.Init{{Track: edge.Track}}}
	}
	r := retrospect{asset: s.ID, lineup: lineupOf(s, own), edge: edge}
	if r.lineup.len() == 0 {
		return nil
	}
	r.from, r.until = r.lineup.first, min(r.lineup.last+1, edge.Sequence)
	if window >= 0 {
		r.from = r.since(edge.End.Add(-window))
	}
	if r.from >= edge.Sequence || r.until <= r.lineup.first {
		return nil
	}
	r.recent = edge.Sequence
	if edge.Keep > 0 {
		r.recent = max(r.from, r.since(edge.Start.Add(-edge.Keep)))
	}
	v, _ := p.cache.get(key{s.ID, rendition, "past"}, r.state(), func() (any, int64, error) {
		past, cost := r.render(p.cache)
		return past, cost, nil
	})
	return v.(*m3u8.Past)
}

// retrospect is what the playlist of a rendition lists before an edge: the segments from one
// number up to the edge. They are recorded until another number; those after it are gaps,
// because the recording is behind, or because it has stopped.
type retrospect struct {
	asset       string
	lineup      lineup
	edge        m3u8.Edge
	from, until int64
	recent      int64 // from here on they are listed apart: m3u8.Past.Recent
}

// view is what of a retrospect decides on its text.
type view struct{ from, until, recent, edge int64 }

func (r *retrospect) state() view { return view{r.from, r.until, r.recent, r.edge.Sequence} }

// at returns the item of a number.
func (r *retrospect) at(sequence int64) item {
	if sequence < r.until {
		return r.lineup.at(sequence)
	}
	last := r.lineup.at(r.until - 1)
	each := r.edge.Start.Sub(endOf(&last.Segment)) / time.Duration(r.edge.Sequence-r.until)
	gap := item{record.Segment{Sequence: sequence, Gap: true, Init: -1, Start: endOf(&last.Segment).Add(each * time.Duration(sequence-r.until))}, r.lineup.own, -1}
	gap.Duration = min(max(each, 0), max(last.Duration, time.Second))
	return gap
}

// since returns the number of the first segment that ends after a time.
func (r *retrospect) since(at time.Time) int64 {
	n := max(0, r.edge.Sequence-r.lineup.first)
	return r.lineup.first + int64(sort.Search(int(n), func(i int) bool {
		item := r.at(r.lineup.first + int64(i))
		return endOf(&item.Segment).After(at)
	}))
}

// stretch is a block, and what is to be known of what it lists.
type stretch struct {
	m3u8.Block
	discontinuities int
	independent     bool
}

// render makes the text, of blocks that are there already if they can be.
func (r *retrospect) render(c *cache) (past *m3u8.Past, cost int64) {
	past = &m3u8.Past{First: r.from, Count: int(r.recent - r.from), Independent: true}
	var blocks []m3u8.Block
	for from := r.from; from < r.recent; {
		to := min((from/blockLength+1)*blockLength, r.recent)
		s := r.block(c, from, to)
		blocks = append(blocks, s.Block)
		past.Discontinuities += s.discontinuities
		past.Independent = past.Independent && s.independent
		const each = 48 // bytes of a block, beside what it shares
		cost += each
		from = to
	}
	past.Text = m3u8.Join(blocks)
	if r.recent < r.edge.Sequence {
		text, s := r.list(r.recent, r.edge.Sequence)
		past.Recent = text
		past.Discontinuities += s.discontinuities
		past.Independent = past.Independent && s.independent
	}
	return past, cost + blockLength*8 // the ends
}

// block returns the block of segments from one number up to another. It is kept if it will be
// the same in later states.
func (r *retrospect) block(c *cache, from, to int64) stretch {
	build := func() (any, int64, error) {
		text, s := r.list(from, to)
		s.Block = m3u8.NewBlock(text)
		return s, s.Cost(), nil
	}
	whole := from%blockLength == 0 || from == r.lineup.first
	if !whole || to%blockLength != 0 {
		v, _, _ := build()
		return v.(stretch)
	}
	state := int64(0)
	if to > r.until {
		state = r.until // what is a gap now may still be recorded
	}
	v, _ := c.get(key{r.asset, r.lineup.own.Name, "past." + strconv.FormatInt(from, 10)}, state, build)
	return v.(stretch)
}

// list renders the segments from one number up to another.
func (r *retrospect) list(from, to int64) ([]byte, stretch) {
	const each = 64 // bytes of a segment
	p := printer{Printer: m3u8.Printer{B: make([]byte, 0, 256+each*(to-from))}, own: r.lineup.own}
	s := stretch{independent: true}
	for n := from; n < to; n++ {
		i := r.at(n)
		if init := i.init(); init != nil && init.Name == "" {
			i.Init = -1 // a gap of a rendition of which nothing is recorded
		}
		p.begin(&i)
		p.Text("#EXTINF:").Seconds(i.Duration).Text(",\n")
		if i.Gap {
			p.Text("#EXT-X-GAP\n")
		}
		p.segment(&i)
		if i.Discontinuity {
			s.discontinuities++
		}
		s.independent = s.independent && (i.Independent || i.Gap)
	}
	return p.B, s
}
