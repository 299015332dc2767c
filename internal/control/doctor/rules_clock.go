package doctor

import (
	"fmt"
	"math"
	"time"
)

// Thresholds of time stamps.
const (
	apart    = 0.150 // seconds between sound and picture
	skewMost = 500.0 // parts per million
)

func clockEntries() []entry {
	return []entry{
		{
			code: "av_desync", severity: Warning, raise: 5 * time.Second, clear: 10 * time.Second, check: checkDesync,
			meaning:  "Sound and picture move apart, or one began much later than the other. Lips do not fit. That one only began later is told as information: it need not be wrong.",
			when:     "their offset changed by more than 150 ms since the beginning, or the first time stamps are more than 150 ms apart",
			evidence: "`drift_ms`, `offset_ms`, `start_ms`",
			fix: Fix{
				OBS:     "Edit → Advanced Audio Properties → Sync offset. If it grows with time, set Settings → Audio → Sample rate to what the device has (48 kHz).",
				Browser: "Reload the page; do not use a Bluetooth microphone.",
				FFmpeg:  "-af aresample=async=1, and -itsoffset for a constant difference; two live inputs need -use_wallclock_as_timestamps 1.",
			},
		},
		{
			code: "timestamp_jump", severity: Warning, raise: 0, clear: 0, check: checkJump,
			meaning:  "The encoder's clock leapt. The stream's own time went on; what lay between is lost.",
			when:     "time stamps leap ahead by more than 10 s or back by more than 1 s, within the last minute",
			evidence: "`jumps`, `jumps_total`, `latest_seconds`, `track`",
			fix: Fix{
				OBS:     "Restart the stream; do not change the computer's clock while live.",
				Browser: "Reload the page after the device was asleep.",
				FFmpeg:  "With looped files (-stream_loop) and concat, put them through -fflags +genpts, or encode instead of -c copy.",
			},
		},
		{
			code: "timestamp_non_monotonic", severity: Warning, raise: 0, clear: 0, check: checkBackward,
			meaning:  "Time stamps repeat or go back a little. They were repaired; players may have stuttered.",
			when:     "more than twice within the last minute",
			evidence: "`backward`, `backward_total`, `track`",
			fix: Fix{
				OBS:     "Update OBS and its plug-ins; use a single audio device.",
				Browser: "Reload the page.",
				FFmpeg:  "“Non-monotonous DTS” in its output says the same: encode instead of -c copy, or add -fflags +genpts.",
			},
		},
		{
			code: "clock_skew_encoder", severity: Info, raise: 15 * time.Second, clear: 30 * time.Second, check: checkSkew,
			meaning:  "The encoder's clock is too fast or too slow. Over hours the stream drifts away from real time; the timeline follows it.",
			when:     "more than 0.05 % (500 ppm), evenly over at least two minutes",
			evidence: "`skew_ppm`, `seconds_per_hour`",
			fix: Fix{
				OBS:     "Settings → Audio → Sample rate: 48 kHz, and the same in the device's own settings; prefer devices with USB clock.",
				Browser: "Use another microphone.",
				FFmpeg:  "Take time from the machine: -use_wallclock_as_timestamps 1 in front of -i, with -af aresample=async=1.",
			},
		},
	}
}

func checkDesync(e *exam) verdict {
	if !known(e.avStart) && !known(e.avDrift) {
		return unclear
	}
	evidence := map[string]any{"drift_ms": millis(e.avDrift), "offset_ms": millis(e.avOffset), "start_ms": millis(e.avStart)}
	if math.Abs(nan0(e.avDrift)) > apart {
		return verdict{is: yes, title: fmt.Sprintf("Sound and picture moved apart by %.0f ms", 1000*math.Abs(e.avDrift)), evidence: evidence}
	}
	if start := nan0(e.avStart); math.Abs(start) > apart {
		title := fmt.Sprintf("The sound began %.0f ms after the picture", 1000*start)
		if start < 0 {
			title = fmt.Sprintf("The sound began %.0f ms before the picture", -1000*start)
		}
		return verdict{is: yes, title: title, evidence: evidence, severity: Info}
	}
	return fine
}

// millis is a reading of seconds as evidence in milliseconds.
func millis(v float64) any { return optional(1000*v, 0) }

// allTracks asks a rule of pictures and of sound.
func allTracks(e *exam, rule func(r *reading) verdict) verdict {
	v := each(e.video, rule)
	if v.is == yes {
		return v
	}
	if w := each(e.audio, rule); w.is != cannotTell {
		return w
	}
	return v
}

func checkJump(e *exam) verdict {
	return allTracks(e, func(r *reading) verdict {
		if r.jumpsRecent == 0 {
			return fine
		}
		way := "ahead"
		if r.jump < 0 {
			way = "back"
		}
		return verdict{is: yes, title: fmt.Sprintf("The encoder's clock leapt %s by %.0f s", way, math.Abs(r.jump)), evidence: map[string]any{
			"jumps": r.jumpsRecent, "jumps_total": r.jumps, "latest_seconds": round(r.jump, 2),
		}}
	})
}

func checkBackward(e *exam) verdict {
	const many = 3
	return allTracks(e, func(r *reading) verdict {
		if r.backwardRecent < many {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("%d time stamps of the last minute repeat or go back", r.backwardRecent),
			evidence: map[string]any{"backward": r.backwardRecent, "backward_total": r.backward}}
	})
}

func checkSkew(e *exam) verdict {
	if !known(e.skew) {
		return unclear
	}
	if math.Abs(e.skew) <= skewMost {
		return fine
	}
	way := "fast"
	if e.skew < 0 {
		way = "slow"
	}
	return verdict{is: yes, title: fmt.Sprintf("The encoder's clock is %.2f %% too %s", math.Abs(e.skew)/1e4, way),
		evidence: map[string]any{"skew_ppm": round(e.skew, 0), "seconds_per_hour": round(e.skew*3600/1e6, 2)}}
}
