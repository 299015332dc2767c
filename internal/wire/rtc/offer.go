package rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"onair/internal/fault"
	"onair/internal/media"
)

// Header extensions that are taken.
const (
	extMID  = "urn:ietf:params:rtp-hdrext:sdes:mid"
	extRID  = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	extRRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	extTWCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// offer is an SDP offer that was understood and can be answered.
type offer struct {
	sections []section
	ufrag    string
	pwd      string
	setup    string
	prints   []string // the values of a=fingerprint
	name     string   // the session's name, such as the encoder's
	tool     string
}

// section is one m-line with what is taken of it.
type section struct {
	kind    media.Kind
	mid     string
	formats []format
	exts    []ext
	rids    []string
	// ssrc is the first stream that the section declares; 0 if it declares none.
	ssrc  uint32
	proto string
}

// format is one payload type of a section.
type format struct {
	pt    uint8
	codec media.Codec
	// apt is the payload type that this one repeats; 0xff if it repeats none.
	apt      uint8
	rtpmap   string
	fmtp     string
	feedback []string
}

type ext struct {
	id  int
	uri string
}

const noAPT = 0xff

func badOffer(kind fault.Kind, cause, hint string) error {
	return fault.New(kind, "read a WebRTC offer", "", cause, hint)
}

// parseOffer reads an offer (RFC 9429, RFC 9725 section 4.4) and keeps what a receiver of
// the given codecs, the preferred first, needs. Candidates are checked and left out: an
// ICE-lite agent has no use for them.
func parseOffer(body []byte, codecs []string) (*offer, error) {
	if len(body) > maxOffer {
		return nil, badOffer(fault.TooLarge, fmt.Sprintf("it has more than %d bytes", maxOffer), "Offer one video and one audio track")
	}
	text := string(body)
	if err := checkLines(text, maxSections); err != nil {
		return nil, err
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, badOffer(fault.Invalid, "it is no session description: "+printable(err.Error(), 120), "Send the SDP of an offer")
	}
	if n := len(d.MediaDescriptions); n == 0 || n > maxSections {
		return nil, badOffer(fault.Invalid, fmt.Sprintf("it has %d m-lines", n), "Offer one video and one audio track")
	}
	o := &offer{name: printable(string(d.SessionName), maxEncoder)}
	o.tool, _ = d.Attribute("tool")
	group, _ := d.Attribute("group")
	for _, m := range d.MediaDescriptions {
		if err := o.section(&d, m, strings.Fields(group), codecs); err != nil {
			return nil, err
		}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

// checkLines bounds an SDP before anything is made of it.
func checkLines(text string, most int) error {
	lines, candidates, sections := 0, 0, 0
	for line := range strings.Lines(text) {
		lines++
		line = strings.TrimRight(line, "\r\n")
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return badOffer(fault.Invalid, "it has control characters", "Send the SDP of an offer")
		}
		switch {
		case strings.HasPrefix(line, "a=candidate:"):
			candidates++
		case strings.HasPrefix(line, "m="):
			sections++
		}
	}
	if lines > maxLines || candidates > maxCandidates || sections > most {
		return badOffer(fault.TooLarge,
			fmt.Sprintf("it has %d lines, %d candidates and %d m-lines", lines, candidates, sections),
			fmt.Sprintf("At most %d, %d and %d are taken. Offer one video and one audio track", maxLines, maxCandidates, most))
	}
	return nil
}

// check looks at the offer as a whole.
func (o *offer) check() error {
	video, audio := 0, 0
	mids := map[string]bool{}
	for _, s := range o.sections {
		if s.kind == media.Video {
			video++
		} else {
			audio++
		}
		if mids[s.mid] {
			return badOffer(fault.Invalid, "two m-lines have the same a=mid", "Give each its own")
		}
		mids[s.mid] = true
	}
	if video > 1 || audio > 1 {
		return badOffer(fault.Unsupported, fmt.Sprintf("it has %d video and %d audio tracks", video, audio),
			"WHIP takes one of each (RFC 9725). Send several qualities as simulcast of one track")
	}
	return checkCredentials(o.ufrag, o.pwd, o.setup, len(o.prints))
}

// checkCredentials looks at what an offer has for ICE and DTLS.
func checkCredentials(ufrag, pwd, setup string, prints int) error {
	switch {
	case ufrag == "" || pwd == "" || len(ufrag) > 256 || len(pwd) > 256:
		return badOffer(fault.Invalid, "a=ice-ufrag or a=ice-pwd is missing", "Send a complete WebRTC offer")
	case len(ufrag) < 4 || len(pwd) < 22:
		return badOffer(fault.Invalid, "a=ice-ufrag or a=ice-pwd is too short (RFC 8839)", "Send a complete WebRTC offer")
	case prints == 0:
		return badOffer(fault.Invalid, "a=fingerprint is missing", "Send a complete WebRTC offer")
	case setup == "passive" || setup == "holdconn":
		return badOffer(fault.Unsupported, "a=setup:"+setup+" leaves nobody to begin", "Offer a=setup:actpass or a=setup:active")
	}
	return nil
}

// attribute is that of the m-line, or else of the session.
func attribute(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) string {
	if v, ok := m.Attribute(key); ok {
		return v
	}
	v, _ := d.Attribute(key)
	return v
}

func (o *offer) section(d *sdp.SessionDescription, m *sdp.MediaDescription, group []string, codecs []string) error {
	s := section{proto: strings.Join(m.MediaName.Protos, "/")}
	switch m.MediaName.Media {
	case "video":
		s.kind = media.Video
	case "audio":
		s.kind = media.Audio
	default:
		return badOffer(fault.Unsupported, "it has an m-line of "+printable(m.MediaName.Media, 20), "Offer video and audio only")
	}
	what := s.kind.String()
	for _, direction := range []string{"recvonly", "inactive"} {
		if _, ok := m.Attribute(direction); ok {
			return badOffer(fault.Unsupported, "its "+what+" is "+direction, "Offer a=sendonly: this address takes media")
		}
	}
	if _, only := m.Attribute("bundle-only"); m.MediaName.Port.Value == 0 && !only {
		return badOffer(fault.Unsupported, "its "+what+" is switched off (port 0)", "Leave the m-line out, or send media")
	}
	if !strings.HasSuffix(s.proto, "RTP/SAVPF") && !strings.HasSuffix(s.proto, "RTP/SAVP") {
		return badOffer(fault.Unsupported, "its "+what+" uses "+printable(s.proto, 30), "Offer UDP/TLS/RTP/SAVPF")
	}
	var ok bool
	if s.mid, ok = m.Attribute("mid"); !ok || s.mid == "" || len(s.mid) > 32 {
		return badOffer(fault.Invalid, "its "+what+" has no a=mid", "Send a complete WebRTC offer")
	}
	if len(d.MediaDescriptions) > 1 && (len(group) < 2 || group[0] != "BUNDLE" || !slices.Contains(group[1:], s.mid)) {
		return badOffer(fault.Unsupported, "its tracks are not bundled", "Offer a=group:BUNDLE with all tracks (max-bundle)")
	}
	if _, ok := m.Attribute("rtcp-mux"); !ok {
		return badOffer(fault.Unsupported, "its "+what+" does not multiplex RTCP", "Offer a=rtcp-mux")
	}
	if v, ok := m.Attribute("ssrc"); ok {
		id, _, _ := strings.Cut(v, " ")
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			s.ssrc = uint32(n)
		}
	}
	if o.ufrag == "" {
		o.ufrag, o.pwd, o.setup = attribute(d, m, "ice-ufrag"), attribute(d, m, "ice-pwd"), attribute(d, m, "setup")
		if v := attribute(d, m, "fingerprint"); v != "" {
			o.prints = append(o.prints, v)
		}
	}
	s.takeFormats(m, codecs)
	if len(s.formats) == 0 {
		if s.kind == media.Audio {
			return badOffer(fault.Unsupported, "it has no audio codec that can be taken", "Send Opus")
		}
		return badOffer(fault.Unsupported, "it has no video codec that can be taken", "Send one of "+strings.Join(codecs, ", "))
	}
	if err := s.takeLayers(m); err != nil {
		return err
	}
	s.takeExtensions(d, m)
	o.sections = append(o.sections, s)
	return nil
}

// takeLayers reads the rids that are sent (RFC 8853).
func (s *section) takeLayers(m *sdp.MediaDescription) error {
	for _, a := range m.Attributes {
		if a.Key != "rid" {
			continue
		}
		id, rest, _ := strings.Cut(a.Value, " ")
		if !strings.HasPrefix(rest, "send") || slices.Contains(s.rids, id) {
			continue
		}
		if id == "" || len(id) > 16 || strings.ContainsFunc(id, func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
		}) {
			return badOffer(fault.Invalid, "a rid is not well formed", "Use up to 16 letters and digits (RFC 8851)")
		}
		s.rids = append(s.rids, id)
	}
	if s.kind == media.Audio {
		s.rids = nil
	}
	if len(s.rids) > maxLayers {
		return badOffer(fault.TooLarge, fmt.Sprintf("it has %d layers of simulcast", len(s.rids)), fmt.Sprintf("Send at most %d", maxLayers))
	}
	return nil
}

func (s *section) takeExtensions(d *sdp.SessionDescription, m *sdp.MediaDescription) {
	for _, a := range slices.Concat(d.Attributes, m.Attributes) {
		if a.Key != "extmap" {
			continue
		}
		value, rest, _ := strings.Cut(a.Value, " ")
		value, _, _ = strings.Cut(value, "/")
		id, err := strconv.Atoi(value)
		uri, _, _ := strings.Cut(rest, " ")
		if err != nil || id < 1 || id > 255 || !slices.Contains([]string{extMID, extRID, extRRID, extTWCC}, uri) {
			continue
		}
		if !slices.ContainsFunc(s.exts, func(e ext) bool { return e.id == id || e.uri == uri }) {
			s.exts = append(s.exts, ext{id: id, uri: uri})
		}
	}
}

// takeFormats reads the payload types whose codecs are taken, in the order of codecs.
func (s *section) takeFormats(m *sdp.MediaDescription, codecs []string) {
	maps, fmtps := map[string]string{}, map[string]string{}
	feedback := map[string][]string{}
	for _, a := range m.Attributes {
		pt, rest, ok := strings.Cut(a.Value, " ")
		if !ok {
			continue
		}
		switch a.Key {
		case "rtpmap":
			maps[pt] = rest
		case "fmtp":
			fmtps[pt] = rest
		case "rtcp-fb":
			if len(feedback[pt]) < 16 {
				feedback[pt] = append(feedback[pt], rest)
			}
		}
	}
	var repeats []format
	for _, pt := range m.MediaName.Formats[:min(len(m.MediaName.Formats), maxFormats)] {
		n, err := strconv.ParseUint(pt, 10, 7)
		if err != nil {
			continue
		}
		f := format{pt: uint8(n), apt: noAPT, rtpmap: maps[pt], fmtp: fmtps[pt], feedback: slices.Concat(feedback["*"], feedback[pt])}
		if strings.EqualFold(f.rtpmap, "rtx/90000") && s.kind == media.Video {
			if apt, err := strconv.ParseUint(parameter(f.fmtp, "apt"), 10, 7); err == nil {
				f.apt = uint8(apt)
				repeats = append(repeats, f)
			}
			continue
		}
		if f.codec = codecOf(f); f.codec.Kind() != s.kind || f.codec != media.Opus && rank(f, codecs) < 0 ||
			slices.ContainsFunc(s.formats, func(g format) bool { return g.pt == f.pt }) {
			continue
		}
		s.formats = append(s.formats, f)
	}
	slices.SortStableFunc(s.formats, func(a, b format) int { return rank(a, codecs) - rank(b, codecs) })
	for _, f := range repeats {
		if slices.ContainsFunc(s.formats, func(g format) bool { return g.pt == f.apt && g.apt == noAPT }) &&
			!slices.ContainsFunc(s.formats, func(g format) bool { return g.pt == f.pt }) {
			s.formats = append(s.formats, f)
		}
	}
}

// codecOf tells what a payload type carries, if it can be taken.
func codecOf(f format) media.Codec {
	switch strings.ToLower(f.rtpmap) {
	case "opus/48000/2":
		return media.Opus
	case "h264/90000":
		if mode := parameter(f.fmtp, "packetization-mode"); mode == "" || mode == "0" || mode == "1" {
			return media.H264
		}
	case "h265/90000":
		return media.HEVC
	case "vp8/90000":
		return media.VP8
	case "vp9/90000":
		if p := parameter(f.fmtp, "profile-id"); p == "" || p == "0" || p == "2" {
			return media.VP9
		}
	case "av1/90000":
		return media.AV1
	}
	return media.UnknownCodec
}

// rank is the place of a format among those taken; less is better, -1 is not taken.
func rank(f format, codecs []string) int {
	if f.codec == media.Opus {
		return 0
	}
	name := map[media.Codec]string{media.H264: "h264", media.HEVC: "h265", media.AV1: "av1", media.VP9: "vp9", media.VP8: "vp8"}[f.codec]
	at := slices.Index(codecs, name)
	if at < 0 {
		return -1
	}
	at *= 2
	if f.codec == media.H264 && parameter(f.fmtp, "packetization-mode") != "1" {
		at++ // frames may be larger than a packet
	}
	return at
}

// parameter reads one of a=fmtp.
func parameter(fmtp, name string) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// answered is the fmtp of a format as the answer has it.
func (f format) answered(startBitrate int) string {
	switch {
	case f.codec == media.Opus:
		return "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"
	case f.apt != noAPT || startBitrate <= 0:
		return f.fmtp
	}
	hint := fmt.Sprintf("x-google-start-bitrate=%d;x-google-min-bitrate=%d", startBitrate, startBitrate/4)
	if f.fmtp == "" {
		return hint
	}
	return f.fmtp + ";" + hint
}

// feedbackTaken returns what of a format's feedback is used.
func (f format) feedbackTaken() []webrtc.RTCPFeedback {
	var out []webrtc.RTCPFeedback
	for _, fb := range f.feedback {
		switch fb {
		case "nack", "nack pli", "transport-cc", "ccm fir":
			typ, p, _ := strings.Cut(fb, " ")
			out = append(out, webrtc.RTCPFeedback{Type: typ, Parameter: p})
		}
	}
	return out
}

// simulcast reports whether the offer has layers.
func (o *offer) simulcast() bool {
	return slices.ContainsFunc(o.sections, func(s section) bool { return len(s.rids) > 0 })
}

// text writes the offer anew with what is taken of it, for the library. Streams are not
// declared, so that they may change: they are known by payload type, or in simulcast by
// the extensions for mid and rid.
func (o *offer) text(startBitrate int) string {
	var b strings.Builder
	line := func(f string, a ...any) { fmt.Fprintf(&b, f+"\r\n", a...) }
	line("v=0")
	line("o=- 1 1 IN IP4 127.0.0.1")
	line("s=-")
	line("t=0 0")
	var mids []string
	for _, s := range o.sections {
		mids = append(mids, s.mid)
	}
	line("a=group:BUNDLE %s", strings.Join(mids, " "))
	line("a=msid-semantic: WMS")
	for _, s := range o.sections {
		var pts []string
		for _, f := range s.formats {
			pts = append(pts, strconv.Itoa(int(f.pt)))
		}
		line("m=%s 9 UDP/TLS/RTP/SAVPF %s", s.kind, strings.Join(pts, " "))
		line("c=IN IP4 0.0.0.0")
		line("a=ice-ufrag:%s", o.ufrag)
		line("a=ice-pwd:%s", o.pwd)
		for _, p := range o.prints {
			line("a=fingerprint:%s", p)
		}
		line("a=setup:%s", o.setupOr())
		line("a=mid:%s", s.mid)
		line("a=msid:stream %s", s.kind) // the library finds no layers without
		line("a=sendonly")
		line("a=rtcp-mux")
		line("a=rtcp-rsize")
		for _, e := range s.exts {
			if e.uri == extTWCC || o.simulcast() {
				line("a=extmap:%d %s", e.id, e.uri)
			}
		}
		for _, f := range s.formats {
			line("a=rtpmap:%d %s", f.pt, f.rtpmap)
			if p := f.answered(startBitrate); p != "" {
				line("a=fmtp:%d %s", f.pt, p)
			}
			for _, fb := range f.feedbackTaken() {
				line("a=rtcp-fb:%d %s", f.pt, strings.TrimSpace(fb.Type+" "+fb.Parameter))
			}
		}
		if o.simulcast() && len(s.rids) == 0 && s.ssrc != 0 {
			// The library finds streams without a rid only if they are declared here.
			line("a=ssrc:%d cname:-", s.ssrc)
		}
		for _, r := range s.rids {
			line("a=rid:%s send", r)
		}
		if len(s.rids) > 0 {
			line("a=simulcast:send %s", strings.Join(s.rids, ";"))
		}
	}
	return b.String()
}

func (o *offer) setupOr() string {
	if o.setup == "" {
		return "actpass"
	}
	return o.setup
}
