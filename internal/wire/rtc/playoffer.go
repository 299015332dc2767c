package rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"onair/internal/fault"
	"onair/internal/media"
)

// maxPlaySections bounds the m-lines of a viewer's offer. Only one of each kind is used.
const maxPlaySections = 8

// playOffer is what a viewer offers to take.
type playOffer struct {
	sections []playSection // all, in order: an answer has as many
	ufrag    string
	pwd      string
	prints   []string // the values of a=fingerprint
}

// playSection is one m-line of a viewer's offer.
type playSection struct {
	section
	media   string   // as the m-line has it
	offered []string // its formats
	usable  bool     // one of our tracks can be sent there
}

// parsePlayOffer reads the offer of a viewer (draft-ietf-wish-whep, section 4.2). m-lines
// that are of no use are kept, to be rejected in the answer.
func parsePlayOffer(body []byte) (*playOffer, error) {
	if len(body) > maxOffer {
		return nil, badOffer(fault.TooLarge, fmt.Sprintf("it has more than %d bytes", maxOffer), "Offer to receive one video and one audio track")
	}
	text := string(body)
	if err := checkLines(text, maxPlaySections); err != nil {
		return nil, err
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, badOffer(fault.Invalid, "it is no session description: "+printable(err.Error(), 120), "Send the SDP of an offer")
	}
	if len(d.MediaDescriptions) == 0 {
		return nil, badOffer(fault.Invalid, "it has no m-line", "Offer to receive one video and one audio track")
	}
	o := &playOffer{}
	var setup string
	group, _ := d.Attribute("group")
	var have [media.Audio + 1]bool
	mids := map[string]bool{}
	for _, m := range d.MediaDescriptions {
		s := newPlaySection(&d, m, strings.Fields(group), len(d.MediaDescriptions) > 1)
		if s.mid != "" && mids[s.mid] {
			return nil, badOffer(fault.Invalid, "two m-lines have the same a=mid", "Give each its own")
		}
		mids[s.mid] = true
		s.usable = s.usable && !have[s.kind]
		if s.usable {
			have[s.kind] = true
			if o.ufrag == "" {
				o.ufrag, o.pwd, setup = attribute(&d, m, "ice-ufrag"), attribute(&d, m, "ice-pwd"), attribute(&d, m, "setup")
				if v := attribute(&d, m, "fingerprint"); v != "" {
					o.prints = append(o.prints, v)
				}
			}
		}
		o.sections = append(o.sections, s)
	}
	if !have[media.Video] && !have[media.Audio] {
		return nil, badOffer(fault.Unsupported, "it takes no track in a way that can be sent",
			"Offer a=recvonly video or audio, bundled, with a=rtcp-mux and a codec of "+strings.Join(codecNames, ", ")+" or Opus")
	}
	return o, checkCredentials(o.ufrag, o.pwd, setup, len(o.prints))
}

func newPlaySection(d *sdp.SessionDescription, m *sdp.MediaDescription, group []string, bundle bool) playSection {
	s := playSection{media: printable(m.MediaName.Media, 20), offered: m.MediaName.Formats}
	s.proto = printable(strings.Join(m.MediaName.Protos, "/"), 30)
	if v, ok := m.Attribute("mid"); ok && len(v) <= 32 && v == printable(v, 32) && !strings.Contains(v, " ") {
		s.mid = v
	}
	switch m.MediaName.Media {
	case "video":
		s.kind = media.Video
	case "audio":
		s.kind = media.Audio
	default:
		return s
	}
	_, sendOnly := m.Attribute("sendonly")
	_, inactive := m.Attribute("inactive")
	_, bundleOnly := m.Attribute("bundle-only")
	_, mux := m.Attribute("rtcp-mux")
	bundled := !bundle || len(group) > 1 && group[0] == "BUNDLE" && slices.Contains(group[1:], s.mid)
	rtp := strings.HasSuffix(s.proto, "RTP/SAVPF") || strings.HasSuffix(s.proto, "RTP/SAVP")
	if sendOnly || inactive || m.MediaName.Port.Value == 0 && !bundleOnly || !mux || !bundled || !rtp || s.mid == "" {
		return s
	}
	s.takeFormats(m, codecNames)
	s.formats = slices.DeleteFunc(s.formats, func(f format) bool {
		// Mode 0 of H.264 has no room for pictures larger than a packet.
		return f.codec == media.H264 && parameter(f.fmtp, "packetization-mode") != "1"
	})
	s.formats = slices.DeleteFunc(s.formats, func(f format) bool {
		return f.apt != noAPT && !slices.ContainsFunc(s.formats, func(g format) bool { return g.pt == f.apt })
	})
	s.takeExtensions(d, m)
	s.usable = len(s.formats) > 0
	return s
}

// of returns the section of a kind that is used; nil if there is none.
func (o *playOffer) of(kind media.Kind) *playSection {
	for i := range o.sections {
		if s := &o.sections[i]; s.usable && s.kind == kind {
			return s
		}
	}
	return nil
}

// accepts reports whether a codec was offered.
func (o *playOffer) accepts(c media.Codec) bool {
	s := o.of(c.Kind())
	return s != nil && slices.ContainsFunc(s.formats, func(f format) bool { return f.codec == c })
}

// choose returns the payload types of a track and of its repetitions: of what was offered
// the one that fits best; 0 if none does.
func (o *playOffer) choose(t *media.Track) (pt, rtx uint8) {
	s := o.of(t.Kind())
	if s == nil {
		return 0, 0
	}
	best := 0
	for _, f := range s.formats {
		if n := suits(f, t); n > best {
			best, pt = n, f.pt
		}
	}
	for _, f := range s.formats {
		if pt != 0 && f.apt == pt {
			rtx = f.pt
		}
	}
	return pt, rtx
}

// suits tells how well a format fits a track: more is better, 0 is not at all.
func suits(f format, t *media.Track) int {
	if f.codec != t.Codec || f.apt != noAPT {
		return 0
	}
	parts := strings.Split(t.CodecString, ".")
	switch t.Codec {
	case media.H264:
		return suitsH264(parameter(f.fmtp, "profile-level-id"), parts)
	case media.HEVC:
		// hvc1.PROFILE.COMPATIBILITY.LEVEL (ISO/IEC 14496-15, annex E)
		if len(parts) < 4 {
			return 1
		}
		profile, level := numberOr(parameter(f.fmtp, "profile-id"), 1), numberOr(parameter(f.fmtp, "level-id"), 93)
		mine := numberOr(strings.TrimLeft(parts[1], "ABC"), 1)
		if mine > profile || numberOr(strings.TrimLeft(parts[3], "LH"), 0) > level {
			return 0
		}
		if mine == profile {
			return 2
		}
		return 1
	case media.AV1:
		if len(parts) > 1 && numberOr(parts[1], 0) > numberOr(parameter(f.fmtp, "profile"), 0) {
			return 0
		}
	case media.VP9:
		if len(parts) > 1 && numberOr(parts[1], 0) != numberOr(parameter(f.fmtp, "profile-id"), 0) {
			return 0
		}
	}
	return 1
}

// suitsH264 compares profiles. Levels are left alone: what decodes one decodes those
// that are common. Browsers decode baseline, main and high in whatever of them they
// negotiated, so that another of these is a choice, if not the best.
func suitsH264(offered string, track []string) int {
	const baseline, main, high = 66, 77, 100
	have, err := strconv.ParseUint(offered, 16, 24)
	if err != nil || len(offered) != 6 {
		have = 0x42e01f // RFC 6184, section 8.1: baseline, if nothing is told
	}
	if len(track) < 2 || len(track[1]) != 6 {
		return 1
	}
	want, err := strconv.ParseUint(track[1], 16, 24)
	if err != nil {
		return 1
	}
	h, w := have>>16, want>>16
	common := func(p uint64) bool { return p == baseline || p == main || p == high }
	switch {
	case h == w && have>>8&0x40 == want>>8&0x40:
		return 5 // constrained as well, or not
	case h == w:
		return 4
	case !common(h) || !common(w):
		return 0
	case h > w:
		return 3
	default:
		return 2
	}
}

func numberOr(s string, n int) int {
	if v, err := strconv.Atoi(s); err == nil {
		return v
	}
	return n
}
