package record

import (
	"context"
	"maps"
	"strconv"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// Before pack knows how far apart key frames are it makes no parts, and there is no asset that
// something could be kept in. Until then the packets that pack collects are written to a journal
// of the broadcast's own, {stream}/early.{number}.log. It stays until the asset has, durably,
// all that came by then. Of what a killed server left there the next one makes the asset; see
// earlier.go.

const (
	// earlyEvery is how long after a sync of the early journal of a broadcast the next one comes.
	earlyEvery = 400 * time.Millisecond
	// maxEarly bounds an early journal: a little more than what pack collects.
	maxEarly = 80 << 20
	// earlyBuffer is about how much is written at a time.
	earlyBuffer = 1 << 20
	// earlyMargin is by how much segments in the index must be later than what came last before
	// the broadcast had begun, so that it is surely in them.
	earlyMargin = time.Second

	earlyFormat = 1
	earlyPrefix = "early."
)

// earlyEntry begins an early journal; at its end it says which asset the broadcast has become.
type earlyEntry struct {
	Format    int               `json:"format,omitempty"`
	Stream    string            `json:"stream,omitempty"`
	Mode      media.LatencyMode `json:"mode,omitempty"`
	Announced bool              `json:"announced,omitempty"`
	Asset     string            `json:"asset,omitempty"`
}

// packetEntry is a packet, or, with More, some bytes of one; they are the record's data. Its
// track is the Track-th of the initEntries before it.
type packetEntry struct {
	Track    int       `json:"t"`
	DTS      int64     `json:"dts"`
	PTS      int64     `json:"pts"`
	Duration int64     `json:"long,omitempty"`
	Key      bool      `json:"key,omitempty"`
	Arrival  time.Time `json:"at"`
	More     bool      `json:"more,omitempty"`
}

// earlyLog is the early journal of one broadcast.
type earlyLog struct {
	l      *Library
	name   string
	stream string
	size   int64     // as far as it is whole
	until  time.Time // when the last packet in it came

	asset string // what the broadcast becomes; empty if that is not written down

	j      Journal
	tracks map[*media.Track]int // in it, with their numbers
	sent   int                  // packets in it
	told   bool
	gone   bool
}

// KeepEarly keeps what pack collects of a broadcast before it has begun, so that a power cut
// costs a second of that, too, and returns when it has begun or ctx ends. Record takes it over;
// where the broadcast is not recorded, DropEarly removes it. What a killed server has left of
// it is in Early.
func (l *Library) KeepEarly(ctx context.Context, streamID string, s *pack.Stream) {
	e := &earlyLog{
		l: l, name: streamID + "/" + earlyPrefix + strconv.FormatInt(time.Now().UnixNano(), 36) + journalExt,
		stream: streamID, tracks: map[*media.Track]int{},
	}
	defer e.close()
	for ctx.Err() == nil {
		select {
		case <-s.Begun():
			if e.size > 0 {
				l.setEarly(s, e)
			} else {
				e.drop() // it may have been made
			}
			return
		case <-ctx.Done():
		case <-time.After(earlyEvery):
			if err := e.pass(s.Early()); err != nil {
				l.m.earlyErrors.Inc()
				if !e.told {
					e.told = true
					l.log.Warn("the beginning of a broadcast is not kept on disk: a power cut would cost more than a second of it", "stream", streamID, "error", err)
				}
			}
		}
	}
}

// DropEarly removes what KeepEarly has kept of a broadcast that is not recorded.
func (l *Library) DropEarly(s *pack.Stream) { l.takeEarly(s).drop() }

func (l *Library) setEarly(s *pack.Stream, e *earlyLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.early[s] = e
}

// takeEarly returns the early journal of a broadcast; nil if there is none.
func (l *Library) takeEarly(s *pack.Stream) *earlyLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.early[s]
	delete(l.early, s)
	return e
}

// pass writes the packets that are not yet in the journal.
func (e *earlyLog) pass(all pack.Early) error {
	fresh := all.Packets[min(e.sent, len(all.Packets)):]
	if len(fresh) == 0 {
		return nil
	}
	if e.size > maxEarly {
		e.l.m.earlySkipped.Inc()
		return nil
	}
	known := len(e.tracks)
	if err := e.write(all, fresh); err != nil {
		e.close() // what was not synced is written again
		maps.DeleteFunc(e.tracks, func(_ *media.Track, n int) bool { return n >= known })
		return err
	}
	e.l.m.earlySyncs.Inc()
	e.sent += len(fresh)
	e.until = fresh[len(fresh)-1].Arrival
	return nil
}

// write makes packets durable.
func (e *earlyLog) write(all pack.Early, fresh []*media.Packet) error {
	if err := e.open(); err != nil {
		return err
	}
	var buf []byte
	if e.size == 0 {
		buf = appendEntry(buf, &entry{Early: &earlyEntry{
			Format: earlyFormat, Stream: e.stream, Mode: all.LatencyMode, Announced: all.Announced,
		}}, nil)
	}
	size := e.size
	for i, p := range fresh {
		buf = e.packet(buf, p)
		if len(buf) < earlyBuffer && i+1 < len(fresh) {
			continue
		}
		if _, err := e.j.Write(buf); err != nil {
			return err
		}
		size, buf = size+int64(len(buf)), buf[:0]
	}
	if err := e.j.Sync(); err != nil {
		return err
	}
	e.size = size
	return nil
}

// packet appends the records of a packet to b.
func (e *earlyLog) packet(b []byte, p *media.Packet) []byte {
	n, ok := e.tracks[p.Track]
	if !ok {
		n = len(e.tracks)
		e.tracks[p.Track] = n
		b = appendEntry(b, &entry{Init: &initEntry{Track: p.Track}}, nil)
	}
	head := packetEntry{Track: n, DTS: p.DTS, PTS: p.PTS, Duration: p.Duration, Key: p.Key, Arrival: p.Arrival}
	for data := p.Data; ; {
		piece := data[:min(len(data), maxData)]
		data = data[len(piece):]
		head.More = len(data) > 0
		b = appendEntry(b, &entry{Packet: &head}, piece)
		if !head.More {
			return b
		}
	}
}

// open opens the journal where its last sync left it.
func (e *earlyLog) open() error {
	if e.j != nil {
		return nil
	}
	j, err := e.l.journals.Append(e.name)
	if err != nil {
		return err
	}
	if err := j.Truncate(e.size); err != nil {
		_ = j.Close() // nothing was written
		return err
	}
	e.j = j
	return nil
}

func (e *earlyLog) close() {
	if e.j != nil {
		_ = e.j.Close() // its bytes are synced, or written again
		e.j = nil
	}
}

// become writes down which asset a broadcast becomes, before there is anything of it. Where
// that cannot be, the early journal is not kept: it would be taken for another broadcast's.
func (e *earlyLog) become(asset string) {
	if e == nil || e.asset == asset {
		return
	}
	if err := e.seal(asset); err != nil {
		e.l.log.Warn("the beginning of a broadcast is not kept on disk", "asset", asset, "error", err)
		e.drop()
	}
}

func (e *earlyLog) seal(asset string) error {
	if err := e.open(); err != nil {
		return err
	}
	defer e.close()
	b := appendEntry(nil, &entry{Early: &earlyEntry{Asset: asset}}, nil)
	if _, err := e.j.Write(b); err != nil {
		return err
	}
	if err := e.j.Sync(); err != nil {
		return err
	}
	e.asset, e.size = asset, e.size+int64(len(b))
	return nil
}

// drop removes the journal. What cannot be removed is seen to at the next start.
func (e *earlyLog) drop() {
	if e == nil || e.gone {
		return
	}
	e.gone = true
	if err := e.l.journals.Remove(e.name); err != nil {
		e.l.log.Warn("what was kept of the beginning of a broadcast is removed at the next start", "stream", e.stream, "error", err)
	}
}

// outgrown removes the early journal once the index has, of all renditions, segments that are
// surely later.
func (w *writer) outgrown() {
	if w.early == nil || w.early.gone || len(w.draft.renditions) == 0 {
		return
	}
	for _, r := range w.draft.renditions {
		if r.Segments.Len() == 0 || r.Segments.Last().Start.Before(w.early.until.Add(earlyMargin)) {
			return
		}
	}
	w.early.drop()
}
