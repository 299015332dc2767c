package doctor

import (
	"fmt"
	"math"
	"time"
)

// Thresholds of how the picture is coded and moves.
const (
	keyLong        = 4.0 // seconds
	keyShort       = 0.5
	keyIrregular   = 0.20 // deviation from the mean
	keyNotRegular  = 0.25 // of the mean, below which deviation in seconds does not matter
	fpsLow         = 0.90 // of the declared rate
	fpsVaries      = 0.15
	fpsFew         = 5.0 // with fewer frames one more or less in a second says nothing
	framesMissing  = 0.01
	changeShown    = time.Minute
	unchangedAfter = 20.0 // seconds, for black and frozen pictures
)

func pictureEntries() []entry {
	return []entry{
		{
			code: "only_keyframes", severity: Critical, raise: 2 * time.Second, clear: 5 * time.Second, check: checkOnlyKeys,
			meaning:  "Nothing but key frames arrives. Mostly the encoder's network is jammed and it throws all other frames away, and the picture jumps; an encoder that is set to code key frames only needs several times the bitrate.",
			when:     "all frames of the last 10 s are key frames, and no fewer than 3",
			evidence: "`frames`, `frame_rate`, `track`",
			fix: Fix{
				OBS:     "Lower the bitrate: the red square at the bottom and “Dropped frames (network)” show the same. With a custom encoder, set the key-frame interval to 2 s.",
				Browser: "Choose a lower quality, or use a cable.",
				FFmpeg:  "Set -g to twice the frame rate; if you did, the network is too slow: lower -b:v.",
			},
		},
		{
			code: "keyframe_interval_long", severity: Warning, raise: 2 * time.Second, clear: 5 * time.Second, check: checkKeyLong,
			meaning:  "Key frames are far apart. Viewers wait for one when they join, change quality or lost something, and segments become as long.",
			when:     "more than 4 s between two key frames",
			evidence: "`interval_seconds`, `longest_seconds`, `threshold_seconds`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Keyframe Interval: 2 s (0 means “auto”, which is up to 10 s).",
				Browser: "Nothing to set: the server asks for key frames when it needs them. Reload the page if it stays.",
				FFmpeg:  "-g 60 -keyint_min 60 at 30 frames a second (twice the frame rate), or -force_key_frames \"expr:gte(t,n_forced*2)\".",
			},
		},
		{
			code: "keyframe_interval_short", severity: Warning, raise: 5 * time.Second, clear: 5 * time.Second, check: checkKeyShort,
			meaning:  "Key frames come very often. They are large, and leave few bits for the rest of the picture.",
			when:     "less than 0.5 s between key frames on average",
			evidence: "`interval_seconds`, `threshold_seconds`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Keyframe Interval: 2 s.",
				Browser: "Many viewers that lose packets ask for key frames: see the loss. Reload the page if it stays.",
				FFmpeg:  "Set -g to twice the frame rate.",
			},
		},
		{
			code: "keyframe_interval_irregular", severity: Info, raise: 5 * time.Second, clear: 20 * time.Second, check: checkKeyIrregular,
			meaning:  "The distance of key frames varies. Segments become uneven, and renditions cannot be cut at the same points.",
			when:     "the last intervals deviate from their mean by more than 20 %",
			evidence: "`deviation`, `shortest_seconds`, `interval_seconds`, `longest_seconds`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Keyframe Interval: 2 s; with x264 put scenecut=0 into the x264 options.",
				Browser: "Usual for browsers: key frames are made when they are asked for.",
				FFmpeg:  "Add -sc_threshold 0 and set -keyint_min to the same as -g.",
			},
		},
		{
			code: "open_gop", severity: Warning, raise: 0, clear: 35 * time.Second, check: checkOpenGOP,
			meaning:  "Groups of pictures are open: some pictures refer to what was before the key frame. Who joins there sees broken pictures, and H.264 has no point at which segments can begin.",
			when:     "recovery points without an IDR picture (H.264), or pictures that are skipped at a CRA picture (HEVC)",
			evidence: "`codec`, `track`",
			fix: Fix{
				OBS:     "In the x264 options put open-gop=0; hardware encoders: switch off “open GOP” or “adaptive I-frames”.",
				Browser: "Does not happen.",
				FFmpeg:  "-flags +cgop (libx264: -x264-params open-gop=0, libx265: -x265-params open-gop=0).",
			},
		},
		{
			code: "bframes_in_realtime", severity: Info, raise: 0, clear: 35 * time.Second, check: checkBFrames,
			meaning:  "The encoder uses B-frames. WebRTC viewers cannot be given them, and they delay every picture by some frames. Viewers of HLS are not concerned.",
			when:     "frames that are shown in another order than they come",
			evidence: "`codec`, `track`",
			fix: Fix{
				OBS:     "x264: Tune zerolatency, or bframes=0 in the x264 options. NVENC: Max B-frames 0. AMD and QuickSync: B-frames 0.",
				Browser: "Does not happen.",
				FFmpeg:  "-bf 0 (or -tune zerolatency)",
			},
		},
		{
			code: "fps_low", severity: Warning, raise: 5 * time.Second, clear: 10 * time.Second, check: checkFPSLow,
			meaning:  "Fewer frames come than the encoder says it makes: it is overloaded, or throws frames away.",
			when:     "less than 90 % of the declared frame rate over 10 s",
			evidence: "`frame_rate`, `declared_frame_rate`, `track`",
			fix: Fix{
				OBS:     "Look at View → Stats. “Frames missed due to rendering lag”: lower the frame rate, limit the game's. “Skipped due to encoding lag”: a faster preset. “Dropped (network)”: a lower bitrate.",
				Browser: "Close other programs, choose a lower quality; see that the camera has light: in the dark it makes fewer frames.",
				FFmpeg:  "If speed= is under 1.0x choose a faster -preset; else the input has fewer frames than -r says.",
			},
		},
		{
			code: "fps_unstable", severity: Info, raise: 5 * time.Second, clear: 15 * time.Second, check: checkFPSUnstable,
			meaning:  "The frame rate goes up and down, and motion looks uneven.",
			when:     "the frame rates of the last seconds deviate by more than 15 %, from 5 frames a second on",
			evidence: "`variation`, `frame_rate`, `track`",
			fix: Fix{
				OBS:     "Give OBS a share of the graphics card: run it as administrator, limit the game's frame rate.",
				Browser: "Usual for shared screens and for cameras in the dark.",
				FFmpeg:  "Give the output a constant rate: -r 30 -vsync cfr.",
			},
		},
		{
			code: "frames_missing", severity: Warning, raise: 2 * time.Second, clear: 20 * time.Second, check: checkMissing,
			meaning:  "The time stamps leave room for frames that never came.",
			when:     "more than 1 % of the frames of the last minute",
			evidence: "`missing`, `share`, `missing_total`, `track`",
			fix: Fix{
				OBS:     "View → Stats says why: rendering lag, encoding lag, or the network.",
				Browser: "Close other programs; choose a lower quality.",
				FFmpeg:  "Look for “drop=” and “Past duration” in its output; -vsync cfr fills gaps.",
			},
		},
		{
			code: "video_black", severity: Warning, raise: 0, clear: 0, check: checkBlack,
			meaning:  "The picture is black.",
			when:     "for 20 s, by samples of key frames",
			evidence: "`black_seconds`, `brightness` (0 to 1)",
			fix: Fix{
				OBS:     "See that a scene is chosen and its sources are visible. For a game use “Game Capture” and run OBS on the same graphics card.",
				Browser: "See that the camera is not covered or used by another program, and that the right one is chosen.",
				FFmpeg:  "Look at the input: ffplay and the same -i.",
			},
		},
		{
			code: "video_frozen", severity: Warning, raise: 0, clear: 0, check: checkFrozen,
			meaning:  "The picture does not change. If it is no still picture, the camera or the capture hangs.",
			when:     "for 20 s, by samples of key frames",
			evidence: "`unchanged_seconds`",
			fix: Fix{
				OBS:     "Deactivate and activate the capture source (its eye symbol), or take its device out and in.",
				Browser: "Choose the camera again; reload the page if it stays.",
				FFmpeg:  "See whether frame= still counts and whether the input delivers new pictures.",
			},
		},
	}
}

func checkOnlyKeys(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if r.age < 5 || r.recentFrames < 3 {
			return unclear
		}
		if !r.onlyKeys {
			return fine
		}
		return verdict{is: yes, title: "Nothing but key frames arrives",
			evidence: map[string]any{"frames": r.recentFrames, "frame_rate": optional(r.fps, 2)}}
	})
}

func checkKeyLong(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if r.keys == 0 && !(r.keyOpen > keyLong) {
			return unclear
		}
		longest := r.keyOpen
		if r.keys > 0 {
			longest = max(longest, r.keyMean)
		}
		if longest <= keyLong {
			return fine
		}
		v := verdict{is: yes, title: fmt.Sprintf("Key frames are %.1f s apart", longest), evidence: map[string]any{
			"interval_seconds": optional(r.keyMean, 2), "longest_seconds": round(max(r.keyOpen, nan0(r.keyMax)), 2), "threshold_seconds": keyLong,
		}}
		return v
	})
}

func checkKeyShort(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if r.keys < 3 {
			return unclear
		}
		if r.keyMean >= keyShort || r.onlyKeys {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("Key frames come every %.2f s", r.keyMean),
			evidence: map[string]any{"interval_seconds": round(r.keyMean, 3), "threshold_seconds": keyShort}}
	})
}

func checkKeyIrregular(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.keyDeviation) {
			return unclear
		}
		if r.keyDeviation <= keyIrregular || r.keyMax-r.keyMin < keyNotRegular {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("Key frames come between %.1f and %.1f s", r.keyMin, r.keyMax), evidence: map[string]any{
			"deviation": round(r.keyDeviation, 3), "shortest_seconds": round(r.keyMin, 2),
			"interval_seconds": round(r.keyMean, 2), "longest_seconds": round(r.keyMax, 2),
		}}
	})
}

func checkOpenGOP(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !r.openGOP {
			return fine
		}
		return verdict{is: yes, title: "Groups of pictures are open", evidence: map[string]any{"codec": r.track.Codec.String()}}
	})
}

func checkBFrames(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !r.bframes {
			return fine
		}
		return verdict{is: yes, title: "The encoder uses B-frames, which WebRTC viewers cannot be given",
			evidence: map[string]any{"codec": r.track.Codec.String()}}
	})
}

func checkFPSLow(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.fps) || r.track.FrameRate == 0 || r.age < 10 {
			return unclear
		}
		if r.fps >= fpsLow*r.track.FrameRate {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("%.1f frames a second come instead of %.4g", r.fps, r.track.FrameRate),
			evidence: map[string]any{"frame_rate": round(r.fps, 2), "declared_frame_rate": round(r.track.FrameRate, 3)}}
	})
}

func checkFPSUnstable(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.fpsVariation) || !known(r.fps) || r.fps < fpsFew {
			return unclear
		}
		if r.fpsVariation <= fpsVaries {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("The frame rate varies by %.0f %%", 100*r.fpsVariation),
			evidence: map[string]any{"variation": round(r.fpsVariation, 3), "frame_rate": round(r.fps, 2)}}
	})
}

func checkMissing(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.missingShare) || r.age < 5 {
			return unclear
		}
		if r.missingShare <= framesMissing {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("%d frames are missing in the last minute", r.missingRecent), evidence: map[string]any{
			"missing": r.missingRecent, "share": round(r.missingShare, 4), "missing_total": r.missing,
		}}
	})
}

// fresh reports whether a sample is recent enough to speak for now.
func (e *exam) fresh(sampled time.Time) bool {
	return !sampled.IsZero() && e.now.Sub(sampled) < 3*e.every+sampleWait
}

// lasting is the time from since to when a sample was taken, in seconds.
func lasting(since, sampled time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return sampled.Sub(since).Seconds()
}

func checkBlack(e *exam) verdict {
	l := &e.looks
	if !e.fresh(l.seenAt) {
		return unclear
	}
	d := lasting(l.blackSince, l.seenAt)
	if d < unchangedAfter {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("The picture has been black for %.0f s", d),
		evidence: map[string]any{"black_seconds": round(d, 0), "brightness": round(l.brightness, 3)}}
}

func checkFrozen(e *exam) verdict {
	l := &e.looks
	if !e.fresh(l.seenAt) {
		return unclear
	}
	d := lasting(l.stillSince, l.seenAt)
	if d < unchangedAfter || !l.blackSince.IsZero() {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("The picture has not changed for %.0f s", d),
		evidence: map[string]any{"unchanged_seconds": round(d, 0)}}
}

// optional is a reading in evidence: null if it is unknown.
func optional(v float64, digits int) any {
	if math.IsNaN(v) {
		return nil
	}
	return round(v, digits)
}

// nan0 is v, and 0 for an unknown one that is to be compared only.
func nan0(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}
