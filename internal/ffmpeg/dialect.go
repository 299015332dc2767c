package ffmpeg

import (
	"fmt"
	"strconv"
	"strings"

	"onair/internal/media"
)

// crf is the quality where none is asked for.
func (v Video) crf(c media.Codec) string {
	q := v.CRF
	if q == 0 {
		switch c {
		case media.HEVC:
			q = 27
		case media.AV1:
			q = 36
		default:
			q = 24
		}
	}
	return strconv.FormatFloat(q, 'f', -1, 64)
}

func (v Video) preset(usual string) string {
	if v.Preset != "" {
		return v.Preset
	}
	return usual
}

func (v Video) profile() string {
	if v.Profile == "" {
		return "high"
	}
	return v.Profile
}

// dialect says it as each encoder wants it. The buffer holds one second.
func (v Video) dialect(e Encoder, l level, rate float64) []string {
	most := strconv.FormatInt(v.MaxBitrate, 10)
	// Encoders of circuits have no constant quality that keeps to a bound: they aim a little
	// below it, and spend less on easy content by themselves.
	aim := strconv.FormatInt(v.MaxBitrate*4/5, 10)
	if v.Fixed {
		aim = most
	}
	bound := []string{"-maxrate", most, "-bufsize", most}
	quality := append([]string{"-crf", v.crf(e.Codec)}, bound...)
	if v.Fixed {
		quality = append([]string{"-b:v", most}, bound...)
	}
	with := func(args []string, more ...[]string) []string {
		for _, m := range more {
			args = append(args, m...)
		}
		return args
	}
	average := append([]string{"-b:v", aim}, bound...)
	named := []string{"-profile:v", v.profile(), "-level:v", l.name}
	if e.Codec == media.HEVC {
		named[1] = "main"
	}
	_, api, _ := strings.Cut(e.Name, "_")
	switch {
	case e.Name == "libx264":
		high := "0"
		if v.profile() == "high" {
			high = "1" // otherwise the profile written depends on the preset
		}
		profile := []string{"-profile:v", v.profile(), "-level:v", l.name, "-8x8dct", high}
		if v.profile() != "baseline" {
			profile = append(profile, "-coder", "cabac")
		}
		return with([]string{"-preset", v.preset("superfast"), "-tune", "zerolatency", "-threads", v.threads(rate), "-sc_threshold", "0", "-forced-idr", "1"}, profile, quality)
	case e.Name == "libx265":
		return with([]string{"-preset", v.preset("superfast"), "-tune", "zerolatency", "-profile:v", "main", "-forced-idr", "1"}, quality,
			[]string{"-x265-params", fmt.Sprintf("log-level=error:level-idc=%s:high-tier=0:scenecut=0:open-gop=0:pools=%s:frame-threads=1", l.name, v.threads(rate))})
	case e.Name == "libaom-av1":
		rc := append([]string{"-crf", v.crf(e.Codec)}, average...)
		if v.Fixed {
			rc = average
		}
		return with([]string{"-usage", "realtime", "-cpu-used", v.preset("8"), "-lag-in-frames", "0", "-row-mt", "1", "-threads", v.threads(rate)}, rc)
	case e.Name == "libsvtav1":
		// Only its mode that reorders inside, which costs about a second, takes key frames.
		return with([]string{"-preset", v.preset("10")}, quality, []string{"-svtav1-params", "enable-force-key-frames=1:scd=0:lp=" + v.threads(rate)})
	case api == "nvenc":
		rc := []string{"-rc", "vbr", "-cq", v.crf(e.Codec), "-b:v", "0"}
		if v.Fixed {
			rc = []string{"-rc", "cbr", "-b:v", most}
		}
		if e.Codec == media.AV1 {
			named = nil
		}
		return with([]string{"-preset", v.preset("p4"), "-tune", "ull", "-zerolatency", "1", "-delay", "0", "-rc-lookahead", "0", "-no-scenecut", "1", "-forced-idr", "1"}, named, rc, bound)
	case api == "vaapi":
		if e.Codec != media.H264 {
			named = nil
		}
		return with([]string{"-rc_mode", "VBR", "-async_depth", "1"}, named, average)
	case api == "qsv":
		named = nil
		if e.Codec == media.H264 {
			named = []string{"-profile:v", v.profile(), "-level:v", strconv.Itoa(l.number), "-look_ahead", "0"}
		}
		return with([]string{"-preset", v.preset("faster"), "-async_depth", "1", "-forced_idr", "1"}, named, average)
	case api == "videotoolbox":
		if e.Codec != media.H264 {
			named = nil
		}
		return with([]string{"-realtime", "1", "-allow_sw", "0"}, named, average)
	default: // v4l2m2m
		return average
	}
}
