package pack

import (
	"encoding/binary"
	"math"
	"time"

	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// frame is a packet on the output timeline.
type frame struct {
	*media.Packet
	dts, pts int64 // ticks of Packet.Track.Timescale
}

func (f *frame) decode() time.Duration  { return f.Track.Duration(f.dts) }
func (f *frame) present() time.Duration { return f.Track.Duration(f.pts) }

// builder makes the parts and segments of one track. It is told where segments begin;
// where parts begin it knows by itself. All methods belong to the stream's goroutine.
type builder struct {
	s    *segmenter
	id   int    // of the track
	feed string // of the stream's feeds, which the track belongs to; "" is the source's
	r    *Rendition
	grid bool // parts follow a grid within the segment

	track *media.Track
	init  *Init
	inits int64

	queue   []frame       // secondary tracks: packets whose segment is not known yet
	heard   time.Duration // segmenter.frontier when the last of them came
	ahead   int           // index in segmenter.cuts of the next one that this track comes to
	pending *frame        // waits for its duration
	needKey bool          // nothing to decode from yet
	usual   int64         // duration of a frame, in ticks, as last seen
	reorder time.Duration // by how much what began a segment is presented after it is decoded
	end     int64         // where the last sample ended, in ticks; valid while track is set
	endTime time.Duration

	samples    []fmp4.Sample
	partStart  int64
	partTicks  int64
	partBytes  int
	fragments  uint32
	open       *Segment // collects parts; nil while the track is between domains
	openStart  int64    // ticks
	openBytes  int
	openChunks [][]byte

	kept      []*Segment
	keptBytes int
	listed    int // kept[listed:] is in the playlist
	nextPart  int64
	hinted    int64 // part id of the hint in the last snapshot; -1 if it had none
	longest   time.Duration
	peak      int64
	frames    int64 // for the frame rate: frames and their ticks
	ticks     int64
	dirty     bool
	heldUntil time.Duration // media time before which the state is not made visible; see holdTail
	ended     bool

	notes      []note // for the journal
	noted      *Init  // the last one in the journal's file
	file       int    // the journal's file that has introduced the rendition
	shown      uint64 // snapshots
	promised   string // name of the part promisedID, hinted at before a restart
	promisedID int64
	resumed    bool // pending is the first frame after a restart
}

// adopt makes t the track of what follows.
func (b *builder) adopt(t *media.Track) error {
	if b.track == t {
		return nil
	}
	data, err := fmp4.Init(t)
	if err != nil {
		return err
	}
	if b.init == nil || string(data) != string(b.init.Blob.Chunks[0]) {
		b.init = &Init{Name: initName(b.s.epoch, b.inits), Track: t, Blob: newBlob(data), n: b.inits}
		b.inits++
		b.frames, b.ticks = 0, 0
	}
	if b.track != nil && b.track.Timescale != t.Timescale {
		b.usual = media.Rescale(b.usual, int64(b.track.Timescale), int64(t.Timescale))
		b.end = t.Ticks(b.endTime)
	}
	b.track = t
	return nil
}

// differs reports whether t cannot be decoded with the initialization section in force.
func (b *builder) differs(t *media.Track) bool {
	if b.track == t || b.init == nil {
		return false
	}
	data, err := fmp4.Init(t)
	if err == nil && string(data) == string(b.init.Blob.Chunks[0]) {
		b.track = t // so that the next packet is quick to compare
		return false
	}
	return true
}

// begin opens a segment at a frame.
func (b *builder) begin(f *frame, sequence int64, disc bool, at time.Duration) {
	b.open = &Segment{
		Sequence: sequence, Name: segmentName(b.s.epoch, sequence), Init: b.init,
		Start: b.s.wall(at), Discontinuity: disc, Independent: f.Key || f.Track.Kind() == media.Audio,
		BaseTime: f.dts, Offset: f.pts - f.dts, firstPart: b.nextPart, discs: b.s.discs,
	}
	b.reorder = f.present() - f.decode()
	b.openStart, b.openBytes, b.openChunks = f.dts, 0, nil
	b.partStart, b.end = f.dts, f.dts
}

// gap adds a segment without media.
func (b *builder) gap(sequence int64, disc bool, at, d time.Duration) {
	b.kill() // what was hinted at did not come
	base := b.track.Ticks(at)
	b.close(&Segment{
		Sequence: sequence, Name: segmentName(b.s.epoch, sequence), Init: b.init,
		Start: b.s.wall(at), Duration: d, Discontinuity: disc, Gap: true,
		BaseTime: base, Ticks: b.track.Ticks(at+d) - base,
		firstPart: b.nextPart, discs: b.s.discs, end: at + d - b.reorder,
	})
}

// commit gives the pending frame its duration and puts it into the part.
func (b *builder) commit(duration int64) {
	f := b.pending
	if f == nil {
		return
	}
	b.pending = nil
	duration = min(max(duration, 1), math.MaxUint32)
	target := f.Track.Ticks(b.r.partTarget)
	if len(b.samples) > 0 && (target > 0 && b.partTicks+duration > target || b.partBytes+len(f.Data) > maxPartBytes) {
		b.flush()
	}
	if len(b.samples) == 0 {
		b.partStart = f.dts
	}
	b.samples = append(b.samples, fmp4.Sample{
		Duration: uint32(duration), CTSOffset: clamp32(f.pts - f.dts), Key: f.Key, Data: f.Data,
	})
	b.partTicks += duration
	b.partBytes += len(f.Data)
	if duration <= 4*b.usual { // a frame that is held says nothing about the rate
		b.frames++
		b.ticks += duration
	}
	b.end = f.dts + duration
	b.endTime = f.Track.Duration(b.end)
	if target > 0 && duration > target {
		b.s.m.longSamples.Inc()
	}
	// One long frame says little about the next.
	b.usual = min(duration, max(2*b.usual, 1))
	if target > 0 && b.full(f.Track, target) || target == 0 && b.partTicks >= f.Track.Ticks(unlistedTarget) {
		b.flush()
	}
}

// last commits the pending frame, after which there is none for now: it lasts as long as
// asked, if the segment's limit allows.
func (b *builder) last(duration int64) {
	if b.pending == nil {
		return
	}
	if b.open != nil {
		limit := b.openStart + b.pending.Track.Ticks(b.s.plan.limit())
		duration = min(duration, limit-b.pending.dts)
	}
	b.commit(duration)
}

// full reports whether the part is to end here, without waiting for the next frame's
// duration.
func (b *builder) full(t *media.Track, target int64) bool {
	if b.grid {
		goal := t.Ticks(b.s.plan.part)
		k := (b.partStart - b.openStart + b.usual/2) / goal
		if b.end-b.openStart+b.usual/2 >= (k+1)*goal {
			return true
		}
	}
	return b.partTicks+b.usual > target && float64(b.partTicks) >= minPart*float64(target)
}

func clamp32(v int64) int32 { return int32(min(max(v, math.MinInt32), math.MaxInt32)) }

// flush ends the part.
func (b *builder) flush() {
	if len(b.samples) == 0 || b.open == nil {
		return
	}
	b.fragments++
	f := fmp4.Fragment{Sequence: b.fragments, Track: b.track, BaseDTS: b.partStart, Samples: b.samples}
	data := f.AppendTo(nil)
	part := Part{
		Duration:    b.track.Duration(b.end) - b.track.Duration(b.partStart),
		Independent: b.samples[0].Key || b.track.Kind() == media.Audio,
		Blob:        newBlob(data),
	}
	if b.r.partTarget > 0 {
		part.Name = b.partName()
	}
	if len(b.open.Parts) == 0 && b.samples[0].Key && b.video() {
		b.open.KeySize = keySize(data, len(b.samples[0].Data))
	}
	b.notePart(&part, b.nextPart, data)
	b.nextPart++
	b.open.Parts = append(b.open.Parts, part)
	b.openChunks = append(b.openChunks, data)
	b.openBytes += len(data)
	clear(b.samples)
	b.samples, b.partTicks, b.partBytes = b.samples[:0], 0, 0
	b.dirty = true
	b.s.m.parts.Inc()
}

// keySize is where the first sample ends in a fragment: its moof says its own size, and
// the header of the mdat follows.
func keySize(fragment []byte, sample int) int64 {
	return int64(binary.BigEndian.Uint32(fragment)) + 8 + int64(sample)
}

// finish ends the open segment, of which everything was committed.
func (b *builder) finish() {
	b.flush()
	seg := b.open
	b.open = nil
	if seg == nil || len(seg.Parts) == 0 {
		return
	}
	seg.end = b.track.Duration(b.end)
	seg.Duration = seg.end - b.track.Duration(b.openStart)
	seg.Ticks = b.end - b.openStart
	seg.Blob = newBlob(b.openChunks...)
	b.holdTail(seg)
	b.close(seg)
}

// shortTail is the least time between the last two parts of a segment being made visible,
// where parts are not shorter themselves.
const shortTail = 250 * time.Millisecond

// holdTail delays a segment's end when its last part is short. hls.js (1.7.4) takes a
// complete segment for loaded once its buffer reaches within 0.2 s of the segment's end;
// if it sees the end before it has the last part but one, it neither loads the last part
// nor goes on, and playback stops for good.
func (b *builder) holdTail(seg *Segment) {
	n := len(seg.Parts)
	if b.r.partTarget == 0 || n < 2 || len(b.kept) == 0 {
		return // nobody plays yet, and ffmpeg 5.1 crashes on a playlist without a segment
	}
	tail := seg.Parts[n-1].Duration
	if wait := min(shortTail, time.Duration(minPart*float64(b.r.partTarget))); tail < wait {
		b.heldUntil = seg.end - tail + wait
	}
}

// close appends a segment to the playlist and lets go of what is no longer needed.
func (b *builder) close(seg *Segment) {
	if seg.Blob != nil {
		b.keptBytes += int(seg.Blob.Size)
		b.s.m.bytes.Add(float64(seg.Blob.Size))
	}
	b.noteClose(seg)
	b.kept = append(b.kept, seg)
	b.endTime = max(b.endTime, seg.end)
	b.dirty = true
	b.s.m.segments.Inc()
	b.measure()
	b.trim()
}

// trim applies the window and its bound in bytes.
func (b *builder) trim() {
	seg := b.kept[len(b.kept)-1]
	length := seg.end - b.kept[b.listed].end + b.kept[b.listed].Duration
	b.longest = max(b.longest, length)
	window := max(b.s.cfg.Window, 4*time.Duration(b.s.plan.target)*time.Second)
	for len(b.kept)-b.listed > minSegments && length-b.kept[b.listed].Duration >= window && b.mayUnlist() {
		length -= b.kept[b.listed].Duration
		b.unlist()
	}
	drop := 0
	for drop < b.listed && b.kept[drop].keepUntil <= seg.end {
		drop++
	}
	for n := b.keptBytes - b.sizeOf(drop); n > b.s.cfg.MaxWindowBytes && len(b.kept)-drop > leastSegments; n = b.keptBytes - b.sizeOf(drop) {
		if drop == b.listed {
			b.unlist()
		}
		drop++
		b.s.m.shortened.Inc()
	}
	size := b.sizeOf(drop)
	b.keptBytes -= size
	b.s.m.bytes.Sub(float64(size))
	// A new array: the old one belongs to the snapshots that were made of it.
	if drop > 0 {
		b.kept = append(make([]*Segment, 0, len(b.kept)+8), b.kept[drop:]...)
		b.listed -= drop
	}
}

// mayUnlist reports whether the playlist can be joined without its oldest segment: it
// must list one that begins with a key frame, and as much of the other tracks.
func (b *builder) mayUnlist() bool {
	if lead := b.s.lead; lead != nil && lead != b && lead.listed < len(lead.kept) {
		return b.kept[b.listed].Sequence < lead.kept[lead.listed].Sequence
	}
	for _, seg := range b.kept[b.listed+1:] {
		if seg.Independent {
			return true
		}
	}
	return false
}

// unlist takes the oldest segment out of the playlist. It stays available for its own
// duration and that of the longest playlist that had it (RFC 8216bis, section 6.2.2).
func (b *builder) unlist() {
	b.kept[b.listed].keepUntil = b.kept[len(b.kept)-1].end + b.kept[b.listed].Duration + b.longest
	b.listed++
}

func (b *builder) sizeOf(n int) (size int) {
	for _, s := range b.kept[:n] {
		if s.Blob != nil {
			size += int(s.Blob.Size)
		}
	}
	return size
}

// measure raises the peak bit rate: the highest over any run of segments that lasts 0.5
// to 1.5 target durations and ends with the newest.
func (b *builder) measure() {
	target := time.Duration(b.s.plan.target) * time.Second
	var bits int64
	var length time.Duration
	for i := len(b.kept) - 1; i >= b.listed; i-- {
		s := b.kept[i]
		if s.Blob == nil {
			break
		}
		bits += 8 * s.Blob.Size
		length += s.Duration
		if length > target*3/2 {
			break
		}
		if length >= target/2 {
			b.peak = max(b.peak, rate(bits, length))
		}
	}
}

func rate(bits int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return media.Rescale(bits, int64(d), int64(time.Second))
}

// publish makes the state visible, if it changed.
func (b *builder) publish() {
	if !b.dirty || b.endTime < b.heldUntil && !b.ended {
		return
	}
	b.dirty = false
	s := &Snapshot{
		Track: b.track, Segments: b.kept[b.listed:len(b.kept):len(b.kept)], kept: b.kept[:len(b.kept):len(b.kept)],
		Ended: b.ended, Independent: true, Peak: b.peak,
		nextPart: b.nextPart, listed: b.r.partTarget > 0,
	}
	var bits int64
	var length time.Duration
	for _, seg := range s.Segments {
		s.Independent = s.Independent && (seg.Independent || seg.Gap)
		if seg.Blob != nil {
			bits += 8 * seg.Blob.Size
			length += seg.Duration
		}
	}
	if b.open != nil && len(b.open.Parts) > 0 {
		o := *b.open
		o.Parts = o.Parts[:len(o.Parts):len(o.Parts)]
		o.Duration = b.track.Duration(b.partEnd()) - b.track.Duration(b.openStart)
		o.Ticks = b.partEnd() - b.openStart
		if s.listed {
			s.Open = &o
			s.Independent = s.Independent && o.Independent
		} else {
			s.Unlisted = &o
		}
	}
	if length == 0 { // nothing complete: what there is so far
		bits, length = 8*int64(b.openBytes), b.track.Duration(b.partEnd()-b.openStart)
	}
	s.Average = rate(bits, length)
	s.Peak = max(s.Peak, s.Average)
	if n := len(s.Segments); n > 0 {
		first := s.Segments[0]
		s.DiscontinuitySequence = first.discs
		if first.Discontinuity {
			s.DiscontinuitySequence--
		}
	} else if s.Open != nil {
		s.DiscontinuitySequence = s.Open.discs
		if s.Open.Discontinuity {
			s.DiscontinuitySequence--
		}
	}
	if b.track.Kind() == media.Video {
		s.FrameRate = b.frameRate()
	}
	b.hinted = -1
	if s.listed && (b.open != nil || b.keepsPromise()) && !b.ended {
		s.Hint = b.partName()
		b.hinted = b.nextPart
	}
	b.show(s)
}

func (b *builder) keepsPromise() bool { return b.promised != "" && b.promisedID == b.nextPart }

// partName is the name of the next part. The first one after a restart is the one that
// viewers were told of before.
func (b *builder) partName() string {
	if b.keepsPromise() {
		return b.promised
	}
	return partName(b.s.epoch, b.nextPart)
}

// partEnd is where the last flushed part ended.
func (b *builder) partEnd() int64 {
	if len(b.samples) > 0 {
		return b.partStart
	}
	return b.end
}

// frameRate is the declared rate, unless what arrives contradicts it.
func (b *builder) frameRate() float64 {
	declared := b.track.FrameRate
	if b.ticks <= 0 || b.frames < 10 {
		return declared
	}
	measured := float64(b.frames) * float64(b.track.Timescale) / float64(b.ticks)
	if declared > 0 && measured > declared*0.9 && measured < declared*1.1 {
		return declared
	}
	return math.Round(measured*1000) / 1000
}

// kill makes sure that a name that was hinted at and will not come to be is never used.
func (b *builder) kill() {
	if b.hinted == b.nextPart {
		b.nextPart++
	}
	b.hinted = -1
}
