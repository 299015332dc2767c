package replay

import (
	"strconv"
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/media"
	"onair/internal/record"
)

// maxDrift is how far the time that a player reckons from a playlist may be from the wall
// clock before the playlist tells it again.
const maxDrift = time.Millisecond

// printer appends a media playlist.
type printer struct {
	m3u8.Printer
	own  *record.Rendition
	init *record.Init
	// clock is what a player reckons that the time is at the next segment: the one told
	// last and the durations listed since.
	clock    time.Time
	afterGap bool
}

// appendPlaylist renders a rendition's playlist (RFC 8216bis, section 4.4).
func appendPlaylist(b []byte, s *record.Snapshot, l *lineup) []byte {
	p := printer{Printer: m3u8.Printer{B: b}, own: l.own}
	p.header(s, l)
	if l.independent() {
		p.Text("#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
	if !ended(s) {
		// Who asks for a recording wants its beginning; of what still grows, players would
		// take the end.
		p.Text("#EXT-X-START:TIME-OFFSET=0.00000\n")
	}
	for n := l.first; n <= l.last; n++ {
		i := l.at(n)
		p.begin(&i)
		p.Text("#EXTINF:").Seconds(i.Duration).Text(",\n")
		if i.Gap {
			p.Text("#EXT-X-GAP\n")
		}
		p.segment(&i)
	}
	return p.footer(s)
}

// appendFrames renders the playlist of a rendition's key frames (section 4.4.3.6): the first
// frame of each segment, as a range of its bytes.
func appendFrames(b []byte, s *record.Snapshot, l *lineup) []byte {
	p := printer{Printer: m3u8.Printer{B: b}, own: l.own}
	p.header(s, l)
	p.Text("#EXT-X-I-FRAMES-ONLY\n")
	for n := l.first; n <= l.last; n++ {
		i := l.at(n)
		p.begin(&i)
		p.Text("#EXTINF:").Seconds(i.Duration).Text(",\n")
		if i.KeySize > 0 {
			p.Text("#EXT-X-BYTERANGE:").Int(i.KeySize).Text("@0\n")
		} else {
			p.Text("#EXT-X-GAP\n")
		}
		p.segment(&i)
	}
	return p.footer(s)
}

func (p *printer) header(s *record.Snapshot, l *lineup) {
	kind := "EVENT"
	if ended(s) {
		kind = "VOD"
	}
	p.Text("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:").Int(int64(s.TargetDuration))
	p.Text("\n#EXT-X-PLAYLIST-TYPE:").Text(kind)
	p.Text("\n#EXT-X-MEDIA-SEQUENCE:").Int(l.first)
	p.Text("\n#EXT-X-DISCONTINUITY-SEQUENCE:").Int(discontinuitiesBefore(s, l.first)).Text("\n")
}

// begin prints what stands before a segment.
func (p *printer) begin(i *item) {
	if i.Discontinuity {
		p.Text("#EXT-X-DISCONTINUITY\n")
	}
	if init := i.init(); init != nil && (init != p.init || i.Discontinuity) {
		p.Text(`#EXT-X-MAP:URI="`)
		p.of(i).Text(init.Name).Text("\"\n")
		p.init = init
	}
	if i.Discontinuity || p.afterGap && !i.Gap || i.Start.Sub(p.clock).Abs() > maxDrift {
		p.Text("#EXT-X-PROGRAM-DATE-TIME:").Time(i.Start).Text("\n")
		p.clock = i.Start.Round(time.Millisecond)
	}
	p.clock = p.clock.Add((i.Duration + m3u8.Unit/2).Truncate(m3u8.Unit))
	p.afterGap = i.Gap
}

// of prints what leads to the rendition that an item is of.
func (p *printer) of(i *item) *m3u8.Printer {
	if i.of != p.own {
		p.Text("../").Text(i.of.Name).Text("/")
	}
	return &p.Printer
}

func (p *printer) segment(i *item) {
	if i.at >= 0 {
		p.of(i)
		before := len(p.B)
		if p.B = i.of.Segments.AppendName(p.B, i.at); len(p.B) > before {
			p.Text("\n")
			return
		}
	}
	p.Text("gap.").Int(i.Sequence).Text(".m4s\n") // a playlist has to name what is not there
}

func (p *printer) footer(s *record.Snapshot) []byte {
	if ended(s) {
		p.Text("#EXT-X-ENDLIST\n")
	}
	return p.B
}

// ended reports whether nothing is added to an asset any more.
func ended(s *record.Snapshot) bool { return s.State != record.Recording }

// discontinuitiesBefore counts those of an asset before a media sequence number, which all
// its renditions have in common: what EXT-X-DISCONTINUITY-SEQUENCE is of one that begins
// there.
func discontinuitiesBefore(s *record.Snapshot, sequence int64) (n int64) {
	var first *record.Rendition
	for _, r := range s.Renditions {
		if r.Segments.Len() > 0 && (first == nil || r.Segments.Sequence(0) < first.Segments.Sequence(0)) {
			first = r
		}
	}
	for i := range first.Segments.Len() {
		if seg := first.Segments.Unnamed(i); seg.Sequence >= sequence {
			break
		} else if seg.Discontinuity {
			n++
		}
	}
	return n
}

// find returns the segment of a name; false if there is none. Pack ends names with the sequence
// number, which leads to it at once; whatever is named in another way is looked for.
func find(r *record.Rendition, name string) (record.Segment, bool) {
	if name == "" {
		return record.Segment{}, false
	}
	if n, ok := number(name); ok {
		if i, ok := r.Segments.Index(n); ok && r.Segments.Name(i) == name {
			return r.Segments.At(i), true
		}
	}
	var now []byte
	for i := range r.Segments.Len() {
		if now = r.Segments.AppendName(now[:0], i); string(now) == name {
			return r.Segments.At(i), true
		}
	}
	return record.Segment{}, false
}

// number is what stands between the last two dots of a name.
func number(name string) (int64, bool) {
	end := len(name) - 1
	for end >= 0 && name[end] != '.' {
		end--
	}
	begin := end - 1
	for begin >= 0 && name[begin] != '.' {
		begin--
	}
	if begin < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(name[begin+1:end], 10, 64)
	return n, err == nil && n >= 0
}

// mainVideo is the rendition with pictures that has the most of the asset: what the publisher
// sent. It is nil if there are none.
func mainVideo(s *record.Snapshot) *record.Rendition {
	var best *record.Rendition
	var longest time.Duration
	for _, r := range s.Renditions {
		if r.Kind != media.Video || r.Segments.Len() == 0 {
			continue
		}
		if d := length(r); best == nil || d > longest {
			best, longest = r, d
		}
	}
	return best
}

// length is how much media a rendition has.
func length(r *record.Rendition) (d time.Duration) {
	for i := range r.Segments.Len() {
		if seg := r.Segments.Unnamed(i); !seg.Gap {
			d += seg.Duration
		}
	}
	return d
}
