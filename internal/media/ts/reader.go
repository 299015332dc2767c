package ts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// Reader is a media.Source over a transport stream that arrives on an io.Reader, in packets
// of 188, 192 or 204 bytes.
//
// The n-th stream of pictures of the programme (from 0) is the track 2n+1, the n-th stream
// of sound the track 2n+2. A track is there as soon as its parameters are known; what comes
// earlier is dropped. When the programme's map changes, streams that are in both go on and
// the others take the place of those that left, as new versions of their tracks.
//
// Loss costs what it touches: a picture is dropped, of sound the frames that are whole
// are kept. A Reader is not safe for concurrent use.
type Reader struct {
	in       *packetReader
	pids     map[uint16]*pid
	programs []program
	// current is the number of the programme that is read; 0 before there is one.
	current uint16
	streams []*stream
	// newest is the newest version of each track by ID.
	newest map[int]*media.Track
	clock  clock
	queue  []*media.Packet
	stats  Stats
	// held is how many bytes all streams hold, silence how many packets came without a map.
	held, silence int
	// yielded is set once there was a packet.
	yielded bool
	// early holds the packets that came before the map, which may be about them.
	early []byte
	now   time.Time
	err   error
}

// pid is what is known of one packet identifier.
type pid struct {
	counter  int8 // of the last packet; -1 before the first
	repeated bool
	table    *sections
	stream   *stream
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
func NewReader(r io.Reader) *Reader {
	t := &Reader{in: newPacketReader(r), pids: map[uint16]*pid{}, newest: map[int]*media.Track{}}
	t.pids[0] = &pid{counter: -1, table: &sections{}}
	return t
}

// Tracks returns the newest version of every track of the programme whose parameters are
// known, in order of ID.
func (r *Reader) Tracks() []*media.Track {
	var tracks []*media.Track
	for _, s := range r.streams {
		if s.track != nil {
			tracks = append(tracks, s.track)
		}
	}
	slices.SortFunc(tracks, func(a, b *media.Track) int { return a.ID - b.ID })
	return tracks
}

// Stats returns the counts so far.
func (r *Reader) Stats() Stats {
	s := r.stats
	s.Programs, s.Resyncs = len(r.programs), r.in.resyncs
	for _, e := range r.streams {
		if e.coding == skipped || e.coding == data {
			s.Skipped = append(s.Skipped, e.name)
		}
	}
	return s
}

// ReadPacket returns the next packet, and io.EOF when the stream ends. Bytes that are no
// transport stream, and a stream that ends before there was a packet, yield a fault.Invalid, a programme with nothing that the program has a
// place for fault.Unsupported with the names of what it carries; a failure of the underlying
// reader is returned as it is. Every error is final.
//
// ctx is looked at between packets only, for a read cannot be interrupted from here: who
// must not wait closes the underlying reader.
func (r *Reader) ReadPacket(ctx context.Context) (*media.Packet, error) {
	for n := 0; len(r.queue) == 0; n++ {
		if r.err != nil {
			return nil, r.err
		}
		if n%64 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		b, err := r.in.next()
		if err == nil {
			err = r.packet(b)
		} else if errors.Is(err, io.EOF) {
			err = r.end()
		}
		r.err = err
	}
	p := r.queue[0]
	r.yielded = true
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return p, nil
}

// end gives out what the streams still hold.
func (r *Reader) end() error {
	for _, s := range r.streams {
		s.finish(r, nil, true)
	}
	if err := r.usable(); err != nil {
		return err
	}
	switch {
	case r.current == 0:
		return r.unmapped()
	case !r.yielded && len(r.queue) == 0:
		return broken("it ended before anything of it could be decoded; it carries " + r.carries())
	default:
		return io.EOF
	}
}

// carries lists what the programme has.
func (r *Reader) carries() string {
	var names []string
	for _, s := range r.streams {
		if !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	if names == nil {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// unmapped says what was missing of a stream that ended before anything could be read.
func (r *Reader) unmapped() error {
	switch {
	case r.silence == 0:
		return fault.New(fault.Invalid, "read MPEG-TS", "", "nothing came before it ended",
			"Read what the encoder itself said: some connect first and find out afterwards that they cannot send.")
	case r.programs == nil:
		return broken(fmt.Sprintf("it ended after %d packets, before its programme list (PAT)", r.silence))
	default:
		return broken(fmt.Sprintf("it ended after %d packets, before its programme map (PMT)", r.silence))
	}
}

func (r *Reader) packet(b []byte) error {
	h, ok := parseHeader(b)
	if !ok || h.damaged || h.pid == nullPID {
		return nil
	}
	p := r.pids[h.pid]
	if r.current == 0 {
		if r.silence++; r.silence > maxSilence {
			return broken(fmt.Sprintf("no programme map in %d packets", maxSilence))
		}
		if (p == nil || p.table == nil) && len(r.early) < maxEarly {
			r.early = append(r.early, b...)
		}
	}
	if p == nil || h.payload == nil {
		return nil
	}
	lost, repeated := p.count(h)
	if repeated {
		return nil
	}
	if lost {
		r.stats.Lost++
	}
	switch {
	case p.table != nil:
		return r.table(p, h, lost)
	case p.stream != nil:
		if h.scrambled {
			p.stream.scrambled(r)
			return r.usable()
		}
		refused := p.stream.coding
		p.stream.add(r, h, lost)
		if p.stream.coding != refused {
			return r.usable()
		}
	}
	return nil
}

// count follows the continuity counter (ISO/IEC 13818-1, section 2.4.3.3): a packet may
// be sent twice.
func (p *pid) count(h header) (lost, repeated bool) {
	last := p.counter
	p.counter = int8(h.counter)
	if last < 0 || h.jump {
		p.repeated = false
		return false, false
	}
	if last == int8(h.counter) && !p.repeated {
		p.repeated = true
		return false, true
	}
	p.repeated = false
	return h.counter != uint8(last+1)&0x0f, false
}

func (r *Reader) table(p *pid, h header, lost bool) error {
	if h.scrambled {
		return nil
	}
	if lost {
		p.table.drop()
	}
	var err error
	p.table.add(h.payload, h.start, func(section []byte) {
		if h.pid == 0 {
			r.association(section)
		} else if e := r.mapped(h.pid, section); err == nil {
			err = e
		}
	})
	if err != nil || r.current == 0 {
		return err
	}
	early := r.early
	r.early = nil
	for ; len(early) > 0; early = early[packetSize:] {
		if e, ok := parseHeader(early); !ok || r.pids[e.pid] == nil || r.pids[e.pid].stream == nil {
			continue
		}
		if err := r.packet(early[:packetSize]); err != nil {
			return err
		}
	}
	return nil
}

// association takes a programme association section.
func (r *Reader) association(section []byte) {
	programs, ok := parsePAT(section)
	if !ok || len(programs) == 0 {
		return
	}
	same := slices.EqualFunc(programs, r.programs, func(a, b program) bool { return a.number == b.number && a.pid == b.pid })
	if same {
		return
	}
	for i := range programs {
		for _, old := range r.programs {
			if old.number == programs[i].number && old.pid == programs[i].pid {
				programs[i] = old
			}
		}
	}
	for id, p := range r.pids {
		if p.table != nil && id != 0 {
			delete(r.pids, id)
		}
	}
	r.programs = programs
	for _, p := range programs {
		if r.pids[p.pid] == nil {
			r.pids[p.pid] = &pid{counter: -1, table: &sections{}}
		}
	}
}

// mapped takes a programme map section that came on the PID.
func (r *Reader) mapped(on uint16, section []byte) error {
	m, ok := parsePMT(section)
	if !ok {
		return nil
	}
	for i := range r.programs {
		if p := &r.programs[i]; p.number == m.number && p.pid == on {
			p.pmt, p.seen = bytes.Clone(section), p.seen+1
		}
	}
	chosen := r.choose()
	if chosen == nil || chosen.number != m.number {
		return nil
	}
	return r.use(chosen)
}

// choose returns the programme to read: the first with something usable. It waits for the
// maps of those before it until the map of a later one came for the third time, and for
// anything usable until that of an unusable one came for the fiftieth.
func (r *Reader) choose() *program {
	var first *program
	waiting := false
	for i := range r.programs {
		if p := &r.programs[i]; p.number == r.current {
			return p
		}
	}
	for i := range r.programs {
		p := &r.programs[i]
		switch {
		case p.pmt == nil:
			waiting = true
		case hasUse(p) && waiting && p.seen < 3:
			return nil
		case hasUse(p):
			return p
		case first == nil:
			first = p
		}
	}
	if waiting && first != nil && first.seen < 50 {
		return nil
	}
	return first
}

func hasUse(p *program) bool {
	m, _ := parsePMT(p.pmt)
	return slices.ContainsFunc(m.elements, func(e element) bool {
		c, _ := e.classify()
		return c.kind() != 0
	})
}

// use makes the streams of the programme's map those that are read.
func (r *Reader) use(p *program) error {
	m, ok := parsePMT(p.pmt)
	if !ok {
		return nil
	}
	if r.current == p.number && slices.EqualFunc(m.elements, r.streams, func(e element, s *stream) bool { return e.equal(s.element) }) {
		return nil
	}
	if r.current != 0 {
		r.stats.Changes++
	}
	r.current = p.number
	old := r.streams
	r.streams = nil
	counts := map[media.Kind]int{}
	for _, e := range m.elements {
		var s *stream
		if i := slices.IndexFunc(old, func(s *stream) bool { return s.element.equal(e) }); i >= 0 {
			s = old[i]
			old = slices.Delete(old, i, i+1)
		} else {
			s = newStream(e)
		}
		if k := s.declared; k != 0 {
			id := 2*counts[k] + int(k)
			counts[k]++
			if s.id != id {
				s.id, s.track = id, nil
			}
		}
		if len(r.streams) < maxTracks {
			r.streams = append(r.streams, s)
		}
	}
	for _, s := range old {
		s.finish(r, nil, true)
		s.release(r)
		delete(r.pids, s.element.pid)
	}
	for _, s := range r.streams {
		if at := r.pids[s.element.pid]; at == nil || at.stream != s && at.table == nil {
			r.pids[s.element.pid] = &pid{counter: -1, stream: s}
		}
	}
	return r.usable()
}

// usable fails when there is nothing left to read.
func (r *Reader) usable() error {
	for _, s := range r.streams {
		if s.coding.kind() != 0 {
			return nil
		}
	}
	if r.current == 0 {
		return nil
	}
	for _, s := range r.streams {
		if s.cause != nil {
			return s.cause
		}
	}
	return refused("it carries " + r.carries())
}

// clock unwraps the 33-bit counter over all streams.
type clock struct {
	last    int64
	started bool
}

// unwrap returns the time that is nearest to the one before.
func (c *clock) unwrap(v int64) int64 {
	if c.started {
		d := (v - c.last) & (clockWrap - 1)
		if d >= clockWrap/2 {
			d -= clockWrap
		}
		v = c.last + d
	}
	c.last, c.started = v, true
	return v
}
