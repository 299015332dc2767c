package hls

import (
	"math"
	"strconv"

	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// appendMultivariant renders the playlist of playlists for one viewer, whose session is a
// segment of the children's paths.
func appendMultivariant(b []byte, s *pack.Stream, session string) []byte {
	m := multivariant{printer: printer{b: b}, session: session}
	independent := true
	for _, r := range s.Renditions() {
		v := variant{r: r, snap: r.Snapshot()}
		if stopped(s, v.snap) {
			continue // who plays it goes on; nobody is sent there
		}
		independent = independent && v.snap.Independent
		if r.Kind() == media.Video {
			m.video = append(m.video, v)
		} else {
			m.audio = append(m.audio, v)
		}
	}
	m.text("#EXTM3U\n#EXT-X-VERSION:6\n")
	if independent {
		m.text("#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
	groups := m.groups()
	switch {
	case len(m.video) == 0:
		for _, a := range m.audio {
			m.variant(a, nil)
		}
	case len(groups) == 0:
		for _, v := range m.video {
			m.variant(v, nil)
		}
	default:
		for _, v := range m.video {
			for i := range groups {
				m.variant(v, &groups[i])
			}
		}
	}
	return m.b
}

// stopped tells whether a rendition has fallen silent while others go on.
func stopped(s *pack.Stream, snap *pack.Snapshot) bool {
	n := len(snap.Segments)
	if snap.Ended || snap.Open != nil || n == 0 || !snap.Segments[n-1].Gap {
		return false
	}
	for _, r := range s.Renditions() {
		other := r.Snapshot()
		if m := len(other.Segments); other.Track.Kind() == snap.Track.Kind() && m > 0 && !other.Segments[m-1].Gap {
			return true
		}
	}
	return false
}

type variant struct {
	r    *pack.Rendition
	snap *pack.Snapshot
}

// group is an audio group: the renditions of one codec.
type group struct {
	id            string
	codec         string
	peak, average int64 // of the largest rendition
}

type multivariant struct {
	printer
	session      string
	video, audio []variant
}

// groups prints the EXT-X-MEDIA tags of the audio renditions, if there is video that they
// go with.
func (m *multivariant) groups() []group {
	var groups []group
	if len(m.video) == 0 {
		return nil
	}
	for i, a := range m.audio {
		t := a.snap.Track
		at := -1
		for j := range groups {
			if groups[j].codec == t.CodecString {
				at = j
			}
		}
		first := at < 0
		if first {
			at = len(groups)
			groups = append(groups, group{id: "audio" + strconv.Itoa(at), codec: t.CodecString})
		}
		g := &groups[at]
		g.peak, g.average = max(g.peak, a.snap.Peak), max(g.average, a.snap.Average)
		m.text(`#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="`).text(g.id).text(`",NAME="Audio `).int(int64(i + 1)).text(`"`)
		if lang := t.Language; plain(lang) {
			m.text(`,LANGUAGE="`).text(lang).text(`"`)
		}
		if first {
			m.text(",DEFAULT=YES")
		}
		m.text(",AUTOSELECT=YES")
		if t.Channels > 0 {
			m.text(`,CHANNELS="`).int(int64(t.Channels)).text(`"`)
		}
		m.text(`,URI="`).child(a.r).text("\"\n")
	}
	return groups
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

func (m *multivariant) child(r *pack.Rendition) *multivariant {
	return m.text(m.session).text("/").text(r.Name()).text("/index.m3u8")
}

// variant prints one EXT-X-STREAM-INF.
func (m *multivariant) variant(v variant, g *group) {
	t := v.snap.Track
	peak, average, codecs := v.snap.Peak, v.snap.Average, t.CodecString
	if g != nil {
		peak, average, codecs = peak+g.peak, average+g.average, codecs+","+g.codec
	}
	// What was measured is not the most that will come: a tenth more, in whole kbit/s.
	peak = roundRate(max(peak+peak/10, average))
	m.text("#EXT-X-STREAM-INF:BANDWIDTH=").int(peak)
	m.text(",AVERAGE-BANDWIDTH=").int(roundRate(average))
	m.text(`,CODECS="`).text(codecs).text(`"`)
	if t.Width > 0 && t.Height > 0 {
		m.text(",RESOLUTION=").int(int64(t.Width)).text("x").int(int64(t.Height))
	}
	if rate := v.snap.FrameRate; rate > 0 && !math.IsInf(rate, 0) {
		m.b = strconv.AppendFloat(append(m.b, ",FRAME-RATE="...), rate, 'f', 3, 64)
	}
	if g != nil {
		m.text(`,AUDIO="`).text(g.id).text(`"`)
	}
	if t.Kind() == media.Video {
		m.text(",CLOSED-CAPTIONS=NONE")
	}
	m.text("\n").child(v.r).text("\n")
}

func roundRate(v int64) int64 { return max(1000, (v+999)/1000*1000) }
