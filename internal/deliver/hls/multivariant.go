package hls

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// choice is a rendition in the playlist of playlists: one that the publisher sends, or one
// that is made when somebody asks for it.
type choice struct {
	name          string
	track         *media.Track
	peak, average int64
	rate          float64        // frames a second
	frames        *pack.Snapshot // nil: no playlist of key frames is listed
}

// startRate is the highest bit rate at which players begin that know nothing of the network
// yet: AVPlayer begins with the variant that is listed first, and hls.js takes its rate, up
// to this one, for the network's.
const startRate = 5_000_000

// appendMultivariant renders the playlist of playlists for one viewer, whose session is a
// segment of the children's paths.
func appendMultivariant(b []byte, s *pack.Stream, offers []media.Offer, session string) []byte {
	m := multivariant{printer: printer{b: b}, session: session}
	independent := true
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		if r.Derived() && !(s.Ended() && whole(snap)) || stopped(s, snap) {
			continue // who plays it goes on; nobody is sent there
		}
		independent = independent && snap.Independent
		m.add(measured(r, snap))
	}
	for _, o := range offers {
		c := offered(s, o)
		m.limit(&c)
		m.add(c)
	}
	m.text("#EXTM3U\n#EXT-X-VERSION:6\n")
	if independent {
		m.text("#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
	groups := m.groups()
	switch {
	case len(m.video) == 0:
		for i := range m.audio {
			m.variant(&m.audio[i], nil)
		}
	case len(groups) == 0:
		for _, v := range m.inOrder(0) {
			m.variant(v, nil)
		}
	default:
		for _, v := range m.inOrder(groups[0].peak) {
			for i := range groups {
				m.variant(v, &groups[i])
			}
		}
		m.soundOnly(&groups[0])
	}
	m.frameVariants()
	return m.b
}

// measured is what the publisher sends. What was measured is not the most that will come: a
// tenth more.
func measured(r *pack.Rendition, snap *pack.Snapshot) choice {
	c := choice{
		name: r.Name(), track: snap.Track, peak: snap.Peak + snap.Peak/10, average: snap.Average, rate: snap.FrameRate,
	}
	if r.Kind() == media.Video && snap.Independent && !r.Derived() {
		c.frames = snap
	}
	return c
}

// offered is what can be made: as it is expected, and once it has been made for a while as
// it is, which is less where there is little to code.
func offered(s *pack.Stream, o media.Offer) choice {
	const enough = 3 // complete segments
	c := choice{name: o.Track.Rendition, track: o.Track, peak: o.Peak, average: o.Average, rate: o.Track.FrameRate}
	r, ok := s.Rendition(c.name)
	if !ok {
		return c
	}
	snap, made := r.Snapshot(), 0
	for _, seg := range snap.Segments {
		if !seg.Gap {
			made++
		}
	}
	if made >= enough {
		c.average = snap.Average
		c.peak = max(c.average, min(cmp.Or(c.peak, math.MaxInt64), snap.Peak+snap.Peak/4))
	}
	return c
}

// whole tells whether a rendition has all that its playlist lists.
func whole(snap *pack.Snapshot) bool {
	return !slices.ContainsFunc(snap.Segments, func(seg *pack.Segment) bool { return seg.Gap })
}

// stopped tells whether a rendition has fallen silent while others go on.
func stopped(s *pack.Stream, snap *pack.Snapshot) bool {
	if snap.Ended || snap.Flows() || len(snap.Segments) == 0 {
		return false
	}
	for _, r := range s.Renditions() {
		other := r.Snapshot()
		if m := len(other.Segments); !r.Derived() && other.Track.Kind() == snap.Track.Kind() && m > 0 && !other.Segments[m-1].Gap {
			return true
		}
	}
	return false
}

// group is an audio group: the renditions of one codec.
type group struct {
	id            string
	codec         string
	main          *choice
	peak, average int64 // of the largest rendition
}

type multivariant struct {
	printer
	session      string
	video, audio []choice
}

func (m *multivariant) add(c choice) {
	if c.track.Kind() == media.Video {
		m.video = append(m.video, c)
	} else {
		m.audio = append(m.audio, c)
	}
}

// limit sees to it that a smaller picture has a lower bit rate, by which players tell what is
// better. What is expected of an encoder is the most that it may send, and a source that shows
// little may send less than that.
func (m *multivariant) limit(c *choice) {
	size := c.track.Width * c.track.Height
	for _, v := range m.video {
		if v.track.Width*v.track.Height > size {
			c.peak = min(c.peak, v.peak*9/10)
		}
	}
	c.average = min(c.average, c.peak)
}

// inOrder is the video in the order in which it is listed: the source first, and before it
// the best of what anybody can begin with, where the source is more than that. sound is the
// bit rate that belongs to each.
func (m *multivariant) inOrder(sound int64) []*choice {
	list := make([]*choice, len(m.video))
	begin := -1
	for i := range m.video {
		list[i] = &m.video[i]
		if rate := m.video[i].peak + sound; rate <= startRate && (begin < 0 || m.video[i].peak > m.video[begin].peak) {
			begin = i
		}
	}
	if m.video[0].peak+sound > startRate && begin > 0 {
		v := list[begin]
		list = slices.Insert(slices.Delete(list, begin, begin+1), 0, v)
	}
	return list
}

// groups prints the EXT-X-MEDIA tags of the audio renditions, if there is video that they
// go with. AAC is first, which every player plays.
func (m *multivariant) groups() []group {
	var groups []group
	if len(m.video) == 0 {
		return nil
	}
	slices.SortStableFunc(m.audio, func(a, b choice) int { return cmp.Compare(unlike(a), unlike(b)) })
	for i := range m.audio {
		a := &m.audio[i]
		at := slices.IndexFunc(groups, func(g group) bool { return g.codec == a.track.CodecString })
		first := at < 0
		if first {
			at = len(groups)
			groups = append(groups, group{id: "audio" + strconv.Itoa(at), codec: a.track.CodecString, main: a})
		}
		g := &groups[at]
		g.peak, g.average = max(g.peak, a.peak), max(g.average, a.average)
		m.text(`#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="`).text(g.id).text(`",NAME="Audio `).int(int64(i + 1)).text(`"`)
		if lang := a.track.Language; plain(lang) {
			m.text(`,LANGUAGE="`).text(lang).text(`"`)
		}
		if first {
			m.text(",DEFAULT=YES")
		}
		m.text(",AUTOSELECT=YES")
		if a.track.Channels > 0 {
			m.text(`,CHANNELS="`).int(int64(a.track.Channels)).text(`"`)
		}
		m.text(`,URI="`).child(a.name, playlistName).text("\"\n")
	}
	return groups
}

func unlike(c choice) int {
	if c.track.Codec == media.AAC {
		return 0
	}
	return 1
}

// plain reports whether a language tag can stand in a playlist.
func plain(tag string) bool {
	if tag == "" || len(tag) > 35 {
		return false
	}
	for i := range len(tag) {
		c := tag[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func (m *multivariant) text(s string) *multivariant {
	m.printer.text(s)
	return m
}

func (m *multivariant) int(v int64) *multivariant {
	m.printer.int(v)
	return m
}

func (m *multivariant) child(rendition, file string) *multivariant {
	return m.text(m.session).text("/").text(rendition).text("/").text(file)
}

// variant prints one EXT-X-STREAM-INF.
func (m *multivariant) variant(v *choice, g *group) {
	peak, average, codecs := v.peak, v.average, v.track.CodecString
	if g != nil {
		peak, average, codecs = peak+g.peak, average+g.average, codecs+","+g.codec
	}
	m.text("#EXT-X-STREAM-INF:")
	m.rates(peak, average, codecs)
	m.size(v.track)
	if rate := v.rate; rate > 0 && !math.IsInf(rate, 0) {
		m.b = strconv.AppendFloat(append(m.b, ",FRAME-RATE="...), rate, 'f', 3, 64)
	}
	if g != nil {
		m.text(`,AUDIO="`).text(g.id).text(`"`)
	}
	if v.track.Kind() == media.Video {
		m.text(",CLOSED-CAPTIONS=NONE")
	}
	m.text("\n").child(v.name, playlistName).text("\n")
}

// soundOnly prints the variant of a stream with pictures that has none.
func (m *multivariant) soundOnly(g *group) {
	m.text("#EXT-X-STREAM-INF:")
	m.rates(g.peak, g.average, g.codec)
	m.text(`,AUDIO="`).text(g.id).text("\"\n").child(g.main.name, playlistName).text("\n")
}

// frameVariants prints the EXT-X-I-FRAME-STREAM-INF tags. What is made when somebody asks
// for it has none: nothing is encoded for a preview.
func (m *multivariant) frameVariants() {
	for i := range m.video {
		v := &m.video[i]
		if v.frames == nil {
			continue
		}
		peak, average := frameRates(v.frames)
		if peak == 0 {
			continue
		}
		m.text("#EXT-X-I-FRAME-STREAM-INF:")
		m.rates(peak+peak/10, average, v.track.CodecString)
		m.size(v.track)
		m.text(`,URI="`).child(v.name, framesName).text("\"\n")
	}
}

// rates prints the attributes that all variants have.
func (m *multivariant) rates(peak, average int64, codecs string) {
	m.text("BANDWIDTH=").int(roundRate(max(peak, average)))
	m.text(",AVERAGE-BANDWIDTH=").int(roundRate(average))
	m.text(`,CODECS="`).text(codecs).text(`"`)
}

func (m *multivariant) size(t *media.Track) {
	if t.Width > 0 && t.Height > 0 {
		m.text(",RESOLUTION=").int(int64(t.Width)).text("x").int(int64(t.Height))
	}
}

// roundRate rounds up to whole kbit/s.
func roundRate(v int64) int64 { return max(1000, (v+999)/1000*1000) }
