package rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"onair/internal/media"
	"onair/internal/wire/rtc/egress"
)

// playAnswer is what is told to a viewer.
type playAnswer struct {
	ufrag, pwd   string
	fingerprint  string // the value of a=fingerprint
	candidates   []string
	cname        string
	video, audio egress.Media
	// prefer are the codecs to be named first.
	prefer []media.Codec
}

func (a *playAnswer) of(kind media.Kind) egress.Media {
	if kind == media.Video {
		return a.video
	}
	return a.audio
}

// taken returns the sections that are answered with media.
func (a *playAnswer) takes(s *playSection) bool { return s.usable && a.of(s.kind).SSRC != 0 }

// ordered returns the formats of a section, those of preferred codecs first.
func (a *playAnswer) ordered(s *playSection) []format {
	out := slices.Clone(s.formats)
	rank := func(f format) int {
		if f.apt != noAPT {
			return 2
		}
		if slices.Contains(a.prefer, f.codec) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(x, y format) int { return rank(x) - rank(y) })
	return out
}

// text writes the answer. All codecs that were offered and can be sent are in it, so that
// a stream may go on with another one.
func (a *playAnswer) text(o *playOffer) string {
	var b strings.Builder
	line := func(f string, v ...any) { fmt.Fprintf(&b, f+"\r\n", v...) }
	line("v=0")
	line("o=- %d 1 IN IP4 127.0.0.1", uint64(a.video.SSRC)<<16|uint64(a.audio.SSRC)>>16)
	line("s=-")
	line("t=0 0")
	line("a=ice-lite")
	var mids []string
	for i := range o.sections {
		if s := &o.sections[i]; a.takes(s) {
			mids = append(mids, s.mid)
		}
	}
	line("a=group:BUNDLE %s", strings.Join(mids, " "))
	line("a=msid-semantic: WMS %s", a.cname)
	for i := range o.sections {
		s := &o.sections[i]
		if !a.takes(s) {
			formats := strings.Join(s.offered[:min(len(s.offered), 1)], " ")
			line("m=%s 0 %s %s", s.media, s.proto, formats)
			line("c=IN IP4 0.0.0.0")
			if s.mid != "" {
				line("a=mid:%s", s.mid)
			}
			line("a=inactive")
			continue
		}
		a.section(line, s)
	}
	return b.String()
}

func (a *playAnswer) section(line func(string, ...any), s *playSection) {
	formats := a.ordered(s)
	m := a.of(s.kind)
	var pts []string
	for _, f := range formats {
		pts = append(pts, strconv.Itoa(int(f.pt)))
	}
	line("m=%s 9 %s %s", s.kind, s.proto, strings.Join(pts, " "))
	line("c=IN IP4 0.0.0.0")
	line("a=rtcp:9 IN IP4 0.0.0.0")
	line("a=ice-ufrag:%s", a.ufrag)
	line("a=ice-pwd:%s", a.pwd)
	for _, c := range a.candidates {
		line("a=candidate:%s", c)
	}
	line("a=end-of-candidates")
	line("a=fingerprint:%s", a.fingerprint)
	line("a=setup:passive")
	line("a=mid:%s", s.mid)
	line("a=sendonly")
	line("a=msid:%s %s", a.cname, s.kind)
	line("a=rtcp-mux")
	line("a=rtcp-rsize")
	for _, e := range s.exts {
		if e.uri == extTWCC && e.id == int(m.Transport) {
			line("a=extmap:%d %s", e.id, e.uri)
		}
	}
	for _, f := range formats {
		line("a=rtpmap:%d %s", f.pt, f.rtpmap)
		if p := f.answered(0); p != "" {
			line("a=fmtp:%d %s", f.pt, p)
		}
		if f.apt != noAPT {
			continue
		}
		for _, fb := range f.feedback {
			switch fb {
			case "transport-cc":
				if m.Transport != 0 {
					line("a=rtcp-fb:%d %s", f.pt, fb)
				}
			case "nack", "nack pli", "ccm fir", "goog-remb":
				if s.kind == media.Video {
					line("a=rtcp-fb:%d %s", f.pt, fb)
				}
			}
		}
	}
	if m.RTX != 0 {
		line("a=ssrc-group:FID %d %d", m.SSRC, m.RTX)
	}
	for _, ssrc := range []uint32{m.SSRC, m.RTX} {
		if ssrc != 0 {
			line("a=ssrc:%d cname:%s", ssrc, a.cname)
			line("a=ssrc:%d msid:%s %s", ssrc, a.cname, s.kind)
		}
	}
}

// media makes the identifiers of a kind. All formats must have repetitions for them to be
// used, since the codec may change.
func (o *playOffer) media(kind media.Kind, ssrc, rtx uint32) egress.Media {
	s := o.of(kind)
	if s == nil {
		return egress.Media{}
	}
	m := egress.Media{SSRC: ssrc}
	repeated := func(f format) bool {
		return f.apt != noAPT || slices.ContainsFunc(s.formats, func(g format) bool { return g.apt == f.pt })
	}
	if kind == media.Video && !slices.ContainsFunc(s.formats, func(f format) bool { return !repeated(f) }) {
		m.RTX = rtx
	}
	for _, e := range s.exts {
		// Ids above 14 need another form of header (RFC 8285, section 4.3).
		if e.uri == extTWCC && e.id <= 14 && slices.ContainsFunc(s.formats, func(f format) bool { return slices.Contains(f.feedback, "transport-cc") }) {
			m.Transport = uint8(e.id)
		}
	}
	return m
}
