package m3u8

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"onair/internal/media"
)

// Rendition is one that a playlist of playlists lists.
type Rendition struct {
	Name  string
	Track *media.Track
	// Peak and Average are in bits a second.
	Peak, Average int64
	// Rate is in frames a second; 0 if it is not known, and for sound.
	Rate float64
	// FramesPeak and FramesAverage are the bit rates of the playlist of its key frames; 0
	// where none is listed.
	FramesPeak, FramesAverage int64
}

// startRate is the highest bit rate at which players begin that know nothing of the network
// yet: AVPlayer begins with the variant that is listed first, and hls.js takes its rate, up
// to this one, for the network's.
const startRate = 5_000_000

// AppendMultivariant renders the playlist of playlists for one viewer, whose session is a
// segment of the children's paths, and query what they end with. independent says that every
// segment of all renditions begins with a key frame.
func AppendMultivariant(b []byte, list []Rendition, independent bool, session, query string) []byte {
	m := multivariant{Printer: Printer{B: b}, session: session, query: query}
	for _, r := range list {
		if r.Track.Kind() == media.Video {
			m.video = append(m.video, r)
		} else {
			m.audio = append(m.audio, r)
		}
	}
	m.Text("#EXTM3U\n#EXT-X-VERSION:6\n")
	if independent {
		m.Text("#EXT-X-INDEPENDENT-SEGMENTS\n")
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
	return m.B
}

// group is an audio group: the renditions of one codec.
type group struct {
	id            string
	codec         string
	main          *Rendition
	peak, average int64 // of the largest rendition
}

type multivariant struct {
	Printer
	session      string
	query        string
	video, audio []Rendition
}

// inOrder is the video in the order in which it is listed: the source first, and before it
// the best of what anybody can begin with, where the source is more than that. sound is the
// bit rate that belongs to each.
func (m *multivariant) inOrder(sound int64) []*Rendition {
	list := make([]*Rendition, len(m.video))
	begin := -1
	for i := range m.video {
		list[i] = &m.video[i]
		if rate := m.video[i].Peak + sound; rate <= startRate && (begin < 0 || m.video[i].Peak > m.video[begin].Peak) {
			begin = i
		}
	}
	if m.video[0].Peak+sound > startRate && begin > 0 {
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
	slices.SortStableFunc(m.audio, func(a, b Rendition) int { return cmp.Compare(unlike(a), unlike(b)) })
	for i := range m.audio {
		a := &m.audio[i]
		at := slices.IndexFunc(groups, func(g group) bool { return g.codec == a.Track.CodecString })
		first := at < 0
		if first {
			at = len(groups)
			groups = append(groups, group{id: "audio" + strconv.Itoa(at), codec: a.Track.CodecString, main: a})
		}
		g := &groups[at]
		g.peak, g.average = max(g.peak, a.Peak), max(g.average, a.Average)
		m.Text(`#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="`).Text(g.id).Text(`",NAME="Audio `).Int(int64(i + 1)).Text(`"`)
		if lang := a.Track.Language; plain(lang) {
			m.Text(`,LANGUAGE="`).Text(lang).Text(`"`)
		}
		if first {
			m.Text(",DEFAULT=YES")
		}
		m.Text(",AUTOSELECT=YES")
		if a.Track.Channels > 0 {
			m.Text(`,CHANNELS="`).Int(int64(a.Track.Channels)).Text(`"`)
		}
		m.Text(`,URI="`)
		m.child(a.Name, IndexName).Text("\"\n")
	}
	return groups
}

func unlike(c Rendition) int {
	if c.Track.Codec == media.AAC {
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

func (m *multivariant) child(rendition, file string) *Printer {
	return m.Text(m.session).Text("/").Text(rendition).Text("/").Text(file).Text(m.query)
}

// variant prints one EXT-X-STREAM-INF.
func (m *multivariant) variant(v *Rendition, g *group) {
	peak, average, codecs := v.Peak, v.Average, v.Track.CodecString
	if g != nil {
		peak, average, codecs = peak+g.peak, average+g.average, codecs+","+g.codec
	}
	m.Text("#EXT-X-STREAM-INF:")
	m.rates(peak, average, codecs)
	m.size(v.Track)
	if rate := v.Rate; rate > 0 && !math.IsInf(rate, 0) {
		m.B = strconv.AppendFloat(append(m.B, ",FRAME-RATE="...), rate, 'f', 3, 64)
	}
	if g != nil {
		m.Text(`,AUDIO="`).Text(g.id).Text(`"`)
	}
	if v.Track.Kind() == media.Video {
		m.Text(",CLOSED-CAPTIONS=NONE")
	}
	m.Text("\n")
	m.child(v.Name, IndexName).Text("\n")
}

// soundOnly prints the variant of a stream with pictures that has none.
func (m *multivariant) soundOnly(g *group) {
	m.Text("#EXT-X-STREAM-INF:")
	m.rates(g.peak, g.average, g.codec)
	m.Text(`,AUDIO="`).Text(g.id).Text("\"\n")
	m.child(g.main.Name, IndexName).Text("\n")
}

// frameVariants prints the EXT-X-I-FRAME-STREAM-INF tags.
func (m *multivariant) frameVariants() {
	for i := range m.video {
		v := &m.video[i]
		if v.FramesPeak == 0 {
			continue
		}
		m.Text("#EXT-X-I-FRAME-STREAM-INF:")
		m.rates(v.FramesPeak, v.FramesAverage, v.Track.CodecString)
		m.size(v.Track)
		m.Text(`,URI="`)
		m.child(v.Name, FramesName).Text("\"\n")
	}
}

// rates prints the attributes that all variants have.
func (m *multivariant) rates(peak, average int64, codecs string) {
	m.Text("BANDWIDTH=").Int(RoundRate(max(peak, average)))
	m.Text(",AVERAGE-BANDWIDTH=").Int(RoundRate(average))
	m.Text(`,CODECS="`).Text(codecs).Text(`"`)
}

func (m *multivariant) size(t *media.Track) {
	if t.Width > 0 && t.Height > 0 {
		m.Text(",RESOLUTION=").Int(int64(t.Width)).Text("x").Int(int64(t.Height))
	}
}

// RoundRate rounds a bit rate up to whole kbit/s, as playlists have it: at least 1.
func RoundRate(v int64) int64 { return max(1000, (v+999)/1000*1000) }

// Rate is the bit rate of something that lasts d; 0 where d is not positive.
func Rate(bits int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(bits) / d.Seconds())
}
