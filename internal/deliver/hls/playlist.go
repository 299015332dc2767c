package hls

import (
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// appendPlaylist renders a rendition's playlist (RFC 8216bis, section 4) without the text of
// its past, nil if it has none, which belongs at an index of what it returns. delta asks for
// a delta update, which leaves the past out too; there must be something to skip.
func appendPlaylist(b []byte, s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, past *m3u8.Past, delta bool) (text []byte, at int) {
	p := newPrinter(b, s, r, past)
	p.header(s, r, snap)
	skipped := 0
	if delta {
		skipped = p.skippable(snap)
		p.Text("#EXT-X-SKIP:SKIPPED-SEGMENTS=").Int(int64(skipped + p.before())).Text("\n")
	}
	at = len(p.B)
	if past != nil {
		p.B = append(p.B, past.Recent...)
	}
	end := endOf(snap)
	var init *pack.Init
	for i, seg := range snap.Segments {
		if i < skipped {
			// The section in force is said again after the skipped part, which the
			// standard does not ask for: Shaka 5.2 loses it otherwise, and appends
			// media without it.
			continue
		}
		init = p.begin(seg, init)
		if p.parts && end.Sub(seg.Start.Add(seg.Duration)) <= 3*p.target {
			p.listParts(seg)
		}
		p.Text("#EXTINF:").Seconds(seg.Duration).Text(",\n")
		if seg.Gap {
			p.Text("#EXT-X-GAP\n")
		}
		p.Text(seg.Name).Text("\n")
	}
	if open := snap.Open; open != nil {
		p.begin(open, init)
		p.listParts(open)
	}
	p.footer(s, r, snap)
	return p.B, at
}

// printer appends text.
type printer struct {
	m3u8.Printer
	target time.Duration
	parts  bool
	// picture: parts are listed as a little longer than they are, see listParts.
	picture bool
	past    *m3u8.Past // nil: none
}

func newPrinter(b []byte, s *pack.Stream, r *pack.Rendition, past *m3u8.Past) printer {
	return printer{
		Printer: m3u8.Printer{B: b}, target: time.Duration(s.TargetDuration()) * time.Second,
		parts: r.PartTarget() > 0, picture: r.Kind() == media.Video, past: past,
	}
}

// skips tells whether there is something that a delta update leaves out.
func skips(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, past *m3u8.Past) bool {
	p := newPrinter(nil, s, r, past)
	return p.deltas() && !snap.Ended && p.skippable(snap)+p.before() > 0
}

// deltas tells whether there are delta updates. Playlists without parts need none: they are
// short, but for those with a past.
func (p *printer) deltas() bool { return p.parts || p.past != nil }

// before is how many segments of the past a delta update leaves out.
func (p *printer) before() int {
	if p.past == nil {
		return 0
	}
	return p.past.Count
}

// unit is the last decimal of a duration that is printed.
const unit = m3u8.Unit

func (p *printer) header(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot) {
	version := "9" // EXT-X-SKIP
	if !p.deltas() {
		version = "6"
	}
	p.Text("#EXTM3U\n#EXT-X-VERSION:").Text(version).Text("\n#EXT-X-TARGETDURATION:").Int(int64(s.TargetDuration()))
	p.Text("\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES")
	longest := r.PartTarget()
	if p.picture {
		longest += unit // as listParts lists them
	}
	if p.deltas() {
		p.Text(",CAN-SKIP-UNTIL=").Seconds(p.skipUntil())
	}
	if p.parts {
		p.Text(",PART-HOLD-BACK=").Seconds(max(s.PartHoldBack(), 3*longest))
	}
	p.Text(",HOLD-BACK=").Seconds(3 * p.target)
	if p.parts {
		p.Text("\n#EXT-X-PART-INF:PART-TARGET=").Seconds(longest)
	}
	first := snap.LastSequence() + 1
	if len(snap.Segments) > 0 {
		first = snap.Segments[0].Sequence
	}
	discontinuities, independent := snap.DiscontinuitySequence, snap.Independent
	if p.past != nil {
		first = p.past.First
		discontinuities -= p.past.Discontinuities
		independent = independent && p.past.Independent
	}
	p.Text("\n#EXT-X-MEDIA-SEQUENCE:").Int(max(first, 0))
	p.Text("\n#EXT-X-DISCONTINUITY-SEQUENCE:").Int(int64(max(discontinuities, 0))).Text("\n")
	if independent {
		p.Text("#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
	p.start(s, snap)
}

// start tells players where they can begin, if key frames are so far apart that the usual
// place may have none near it. Without it hls.js and Shaka wait at the live edge.
func (p *printer) start(s *pack.Stream, snap *pack.Snapshot) {
	if snap.Ended {
		return
	}
	back := 3 * p.target
	if p.parts {
		back = s.PartHoldBack()
	}
	end := endOf(snap)
	seg := snap.JoinAt(end.Add(-back))
	if fresh := afterGap(snap); fresh != nil && fresh.Start.After(end.Add(-back)) {
		seg = fresh
	}
	switch {
	case seg != nil:
		p.Text("#EXT-X-START:TIME-OFFSET=-").Seconds(end.Sub(seg.Start)).Text("\n")
	case p.past != nil:
		p.Text("#EXT-X-START:TIME-OFFSET=-").Seconds(back).Text("\n")
	}
}

// afterGap returns the segment that follows the newest gap; nil if there is no gap.
func afterGap(snap *pack.Snapshot) *pack.Segment {
	next := snap.Open
	for i := len(snap.Segments) - 1; i >= 0; i-- {
		if snap.Segments[i].Gap {
			return next
		}
		next = snap.Segments[i]
	}
	return nil
}

// skipUntil is CAN-SKIP-UNTIL: six target durations, the least allowed.
func (p *printer) skipUntil() time.Duration { return 6 * p.target }

// skippable counts the segments that a delta update leaves out: those whose end is
// further than CAN-SKIP-UNTIL from the end of the last segment (section 6.2.5.1).
func (p *printer) skippable(snap *pack.Snapshot) int {
	if !p.deltas() || snap.Ended {
		return 0
	}
	end := endOf(snap)
	n := 0
	for n < len(snap.Segments)-1 && end.Sub(snap.Segments[n].Start.Add(snap.Segments[n].Duration)) > p.skipUntil() {
		n++
	}
	return n
}

// endOf is where the playlist ends on the wall clock.
func endOf(snap *pack.Snapshot) time.Time {
	seg := snap.Open
	if n := len(snap.Segments); seg == nil && n > 0 {
		seg = snap.Segments[n-1]
	}
	if seg == nil {
		return time.Time{}
	}
	return seg.Start.Add(seg.Duration)
}

// begin prints what stands before a segment, and returns the initialization section in
// force.
func (p *printer) begin(seg *pack.Segment, init *pack.Init) *pack.Init {
	if seg.Discontinuity {
		p.Text("#EXT-X-DISCONTINUITY\n")
	}
	if seg.Init != init || seg.Discontinuity {
		p.Text(`#EXT-X-MAP:URI="`).Text(seg.Init.Name).Text("\"\n")
	}
	p.Text("#EXT-X-PROGRAM-DATE-TIME:")
	p.B = seg.Start.UTC().Round(time.Millisecond).AppendFormat(p.B, "2006-01-02T15:04:05.000Z")
	p.Text("\n")
	return seg.Init
}

// listParts prints the parts of a segment. Those of a picture are listed so that all but the
// first begin a unit later than they do: Shaka 5.2 compares where a part is listed with its
// timestamps, finds its own correction of 1 ms between them, and at 1 ms or more resets its
// buffer, which then drops all until the next key frame. Exact times are exactly there, so
// that rounding decided what was shown.
func (p *printer) listParts(seg *pack.Segment) {
	var end, listed time.Duration // within the segment
	for i := range seg.Parts {
		part := &seg.Parts[i]
		length := part.Duration
		if p.picture {
			end += part.Duration
			next := end.Round(unit) + unit
			length, listed = next-listed, next
		}
		p.Text("#EXT-X-PART:DURATION=").Seconds(length).Text(`,URI="`).Text(part.Name).Text(`"`)
		if part.Independent {
			p.Text(",INDEPENDENT=YES")
		}
		p.Text("\n")
	}
}

func (p *printer) footer(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot) {
	if snap.Ended {
		p.Text("#EXT-X-ENDLIST\n")
		return
	}
	if snap.Hint != "" {
		p.Text(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="`).Text(snap.Hint).Text("\"\n")
	}
	for _, other := range s.Renditions() {
		now := other.Snapshot()
		if other == r || other.Derived() && !now.Flows() {
			continue // what nobody makes has nothing to be asked for
		}
		sequence, part := now.Position()
		p.Text(`#EXT-X-RENDITION-REPORT:URI="../`).Text(other.Name()).Text(`/index.m3u8",LAST-MSN=`).Int(sequence)
		if part >= 0 {
			p.Text(",LAST-PART=").Int(int64(part))
		}
		p.Text("\n")
	}
}
