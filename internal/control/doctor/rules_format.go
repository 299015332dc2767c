package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// aspects are the shapes of picture that screens and players expect, wide first.
var aspects = [...]float64{16.0 / 9, 16.0 / 10, 4.0 / 3, 3.0 / 2, 1, 5.0 / 4, 2, 21.0 / 9, 64.0 / 27, 2.39, 1.85}

// aspectTolerance is by how much a picture's shape may differ from one of them.
const aspectTolerance = 0.03

func formatEntries() []entry {
	return []entry{
		{
			code: "resolution_changed", severity: Warning, raise: 0, clear: 0, check: checkResolution,
			meaning:  "The size of the picture changed while it was live. Players start their decoders anew; some show black for a moment. Over WebRTC it is usual, and told as information only.",
			when:     "within the last minute",
			evidence: "`from`, `to`, `changes`, `track`",
			fix: Fix{
				OBS:     "Do not change Settings → Video while live.",
				Browser: "The browser makes the picture smaller when network or processor are short: use a cable, close other programs, or choose a lower quality.",
				FFmpeg:  "Give the output one size: -s 1280x720.",
			},
		},
		{
			code: "rotation_changed", severity: Warning, raise: 0, clear: 0, check: checkRotation,
			meaning:  "Width and height of the picture changed places: a phone was turned while live.",
			when:     "within the last minute",
			evidence: "`from`, `to`, `changes`, `track`",
			fix: Fix{
				OBS:     "Does not happen by itself; do not change Settings → Video while live.",
				Browser: "Lock the phone's rotation before going live.",
				FFmpeg:  "Give the output one size: -s 1280x720.",
			},
		},
		{
			code: "format_changed", severity: Warning, raise: 0, clear: 0, check: checkForm,
			meaning:  "Codec or frame rate of the picture changed while it was live. What the server makes of it goes on; players start their decoders anew, and some stop.",
			when:     "within the last minute",
			evidence: "`from`, `to`, `track`",
			fix: Fix{
				OBS:     "Do not change Settings → Output or Settings → Video while live.",
				Browser: "Do not choose another camera while live.",
				FFmpeg:  "Give the output one form: -c:v libx264 -r 30.",
			},
		},
		{
			code: "aspect_odd", severity: Info, raise: 5 * time.Second, clear: 5 * time.Second, check: checkAspect,
			meaning:  "The picture has an unusual shape, an odd number of pixels, or pixels that are not square. Players add bars, and some show it distorted.",
			when:     "not near 16:9, 16:10, 4:3, 3:2, 5:4, 1:1, 2:1, 21:9 or one of the cinema's, in either orientation; or a declared pixel shape other than 1:1",
			evidence: "`width`, `height`, `aspect`, `pixel_aspect`, `track`",
			fix: Fix{
				OBS:     "Settings → Video: make Base and Output resolution 1920×1080 or 1280×720.",
				Browser: "Usual for a shared window; share the whole screen for 16:9.",
				FFmpeg:  "-vf \"scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:-1:-1,setsar=1\"",
			},
		},
		{
			code: "interlaced", severity: Warning, raise: 2 * time.Second, clear: 2 * time.Second, check: checkInterlaced,
			meaning:  "The picture is interlaced. Browsers do not take the fields apart: moving edges look like combs.",
			when:     "the parameter sets allow fields (H.264) or declare an interlaced source (HEVC)",
			evidence: "`codec`, `width`, `height`, `track`",
			fix: Fix{
				OBS:     "Right-click the capture source → Deinterlacing → Yadif 2x.",
				Browser: "Does not happen.",
				FFmpeg:  "-vf bwdif (or yadif), and no -flags +ildct+ilme",
			},
		},
		{
			code: "codec_unsupported_for_mode", severity: Warning, raise: 2 * time.Second, clear: 2 * time.Second, check: checkCodec,
			meaning:  "Some ways to watch cannot carry this codec, or most browsers cannot decode it.",
			when:     "AC-3, E-AC-3, MP3, FLAC or VP8",
			evidence: "`codec`, `not_in`, `track`",
			fix: Fix{
				OBS:     "Settings → Output: video encoder H.264, audio encoder AAC.",
				Browser: "Use a current Chrome, Edge, Firefox or Safari: they send H.264 when the server asks for it.",
				FFmpeg:  "-c:v libx264 -c:a aac",
			},
		},
		{
			code: "hevc_no_browser", severity: Warning, raise: 2 * time.Second, clear: 2 * time.Second, check: checkHEVC,
			meaning:  "HEVC plays in Safari, and in Chrome and Edge only where the graphics card decodes it; not in Firefox on most systems. Other viewers see nothing.",
			when:     "a picture in HEVC, without another in a codec that all decode",
			evidence: "`codec`, `profile`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Video encoder: H.264, or AV1 where viewers are up to date.",
				Browser: "Reload the page: the server asks for H.264 first.",
				FFmpeg:  "-c:v libx264",
			},
		},
		{
			code: "profile_unsupported", severity: Warning, raise: 2 * time.Second, clear: 2 * time.Second, check: checkProfile,
			meaning:  "The picture has more colour or more bits than browsers and most devices decode.",
			when:     "H.264 beyond High (10 bit, 4:2:2, 4:4:4), HEVC beyond Main 10, AV1 and VP9 beyond profile 0",
			evidence: "`codec`, `profile`, `track`",
			fix: Fix{
				OBS:     "Settings → Advanced → Color format NV12; Settings → Output → Profile: high.",
				Browser: "Does not happen.",
				FFmpeg:  "-pix_fmt yuv420p -profile:v high",
			},
		},
	}
}

func (r *reading) changed() (bool, map[string]any) {
	if !known(r.resizedAgo) || r.resizedAgo > changeShown.Seconds() {
		return false, nil
	}
	return true, map[string]any{
		"from": size(r.from[0], r.from[1]), "to": size(r.track.Width, r.track.Height), "changes": r.resizes,
	}
}

func (r *reading) turned() bool { return r.from[0] == r.track.Height && r.from[1] == r.track.Width }

func size(w, h int) string { return fmt.Sprintf("%dx%d", w, h) }

func checkResolution(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		is, evidence := r.changed()
		if !is || r.turned() {
			return fine
		}
		v := verdict{is: yes, title: fmt.Sprintf("The picture changed from %v to %v", evidence["from"], evidence["to"]), evidence: evidence}
		if e.session.Protocol == "whip" {
			v.severity = Info
		}
		return v
	})
}

func checkRotation(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		is, evidence := r.changed()
		if !is || !r.turned() {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("The picture was turned from %v to %v", evidence["from"], evidence["to"]), evidence: evidence}
	})
}

// altered answers for one track whether its form changed lately; what names it in the title.
func (r *reading) altered(what string) verdict {
	if !known(r.alteredAgo) || r.alteredAgo > changeShown.Seconds() {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("The %s changed from %s to %s", what, r.alteration[0], r.alteration[1]),
		evidence: map[string]any{"from": r.alteration[0], "to": r.alteration[1]}}
}

func checkForm(e *exam) verdict {
	return each(e.video, func(r *reading) verdict { return r.altered("picture") })
}

func checkAspect(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		w, h := r.track.Width, r.track.Height
		if w == 0 || h == 0 {
			return unclear
		}
		pw, ph := bitstream.SampleAspect(r.track)
		if pw <= 0 || ph <= 0 {
			pw, ph = 1, 1
		}
		shape := float64(w) * float64(pw) / float64(h) / float64(ph)
		if pw == ph && w%2 == 0 && h%2 == 0 && usual(shape) {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("The picture has an unusual shape: %d × %d, pixels %d:%d", w, h, pw, ph), evidence: map[string]any{
			"width": w, "height": h, "aspect": round(shape, 3), "pixel_aspect": fmt.Sprintf("%d:%d", pw, ph),
		}}
	})
}

func usual(shape float64) bool {
	for _, a := range aspects {
		if math.Abs(shape/a-1) < aspectTolerance || math.Abs(shape*a-1) < aspectTolerance {
			return true
		}
	}
	return false
}

func checkInterlaced(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !r.interlaced {
			return fine
		}
		return verdict{is: yes, title: "The picture is interlaced", evidence: map[string]any{
			"codec": r.track.Codec.String(), "width": r.track.Width, "height": r.track.Height,
		}}
	})
}

// notIn says which viewers cannot have a codec.
func notIn(c media.Codec) string {
	switch c {
	case media.AC3, media.EAC3:
		return "Chrome, Firefox, WebRTC"
	case media.MP3:
		return "WebRTC, HLS in Safari as fragmented MP4"
	case media.FLAC:
		return "WebRTC, RTMP players"
	case media.VP8:
		return "HLS, DASH, RTMP players"
	default:
		return ""
	}
}

func checkCodec(e *exam) verdict {
	return allTracks(e, func(r *reading) verdict {
		where := notIn(r.track.Codec)
		if where == "" {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("%s cannot be played everywhere: not in %s", r.track.Codec, where),
			evidence: map[string]any{"codec": r.track.Codec.String(), "not_in": where}}
	})
}

func checkHEVC(e *exam) verdict {
	for i := range e.video {
		if c := e.video[i].track.Codec; c == media.H264 || c == media.AV1 || c == media.VP9 {
			return fine
		}
	}
	return each(e.video, func(r *reading) verdict {
		if r.track.Codec != media.HEVC {
			return fine
		}
		return verdict{is: yes, title: "HEVC does not play in every browser",
			evidence: map[string]any{"codec": "HEVC", "profile": r.track.CodecString}}
	})
}

// richH264 are profile_idc of H.264 in hexadecimal: Extended, High 10, High 4:2:2, High
// 4:4:4 Predictive, CAVLC 4:4:4.
var richH264 = []string{"58", "6e", "7a", "f4", "2c"}

// tooRich reports whether browsers and common hardware cannot decode a profile.
func tooRich(codecString string) bool {
	kind, rest, _ := strings.Cut(codecString, ".")
	first, _, _ := strings.Cut(rest, ".")
	switch kind {
	case "avc1", "avc3":
		return len(rest) >= 2 && slices.Contains(richH264, strings.ToLower(rest[:2]))
	case "hvc1", "hev1":
		return first != "1" && first != "2" && first != "3" && first != ""
	case "av01":
		return first != "0" && first != ""
	case "vp09":
		return first != "00" && first != ""
	default:
		return false
	}
}

func checkProfile(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if r.track.CodecString == "" {
			return unclear
		}
		if !tooRich(r.track.CodecString) {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("Most devices cannot decode this profile of %s", r.track.Codec),
			evidence: map[string]any{"codec": r.track.Codec.String(), "profile": r.track.CodecString}}
	})
}
