package doctor

import (
	"fmt"
	"time"
)

// Thresholds of sound; levels are at the samples (sample.go).
const (
	soundMissing = 10.0 // seconds without a packet
	silentAfter  = 60.0 // seconds
	aloneAfter   = 10.0
)

func soundEntries() []entry {
	return []entry{
		{
			code: "audio_missing", severity: Warning, raise: 2 * time.Second, clear: 5 * time.Second, check: checkSoundMissing,
			meaning:  "There is no sound track, or it stopped while the picture goes on.",
			when:     "no packet of sound for 10 s while pictures come",
			evidence: "`seconds`, `tracks`",
			fix: Fix{
				OBS:     "Settings → Audio: choose a device; see that the mixer moves and that track 1 is ticked in Settings → Output.",
				Browser: "Allow the microphone and choose it in the page.",
				FFmpeg:  "Map the sound: -map 0:v -map 0:a; or add silence: -f lavfi -i anullsrc -c:a aac",
			},
		},
		{
			code: "audio_silent", severity: Warning, raise: 0, clear: 0, check: checkSilent,
			meaning:  "There is a sound track and nothing is heard in it.",
			when:     "below −60 dBFS for 60 s, by samples",
			evidence: "`silent_seconds`, `level_dbfs`, `peak_dbfs`",
			fix: Fix{
				OBS:     "See whether the source is muted in the mixer (red loudspeaker) or its fader is down, and whether the right device is chosen.",
				Browser: "See that you are not muted and that the right microphone is chosen; look at its level in the system settings.",
				FFmpeg:  "Listen to the input; -af volumedetect tells its level.",
			},
		},
		{
			code: "audio_clipping", severity: Warning, raise: 0, clear: 0, check: checkClipping,
			meaning:  "The sound is too loud and is cut off at full scale: it crackles.",
			when:     "more than 0.3 % of the samples of a look stand within 0.1 dB of full scale, three or more in a row, in two looks after one another",
			evidence: "`clipped_share`, `peak_dbfs`, `level_dbfs`",
			fix: Fix{
				OBS:     "Pull the fader down until the mixer stays in the yellow, or add a Limiter filter at −6 dB.",
				Browser: "Lower the microphone's level in the system settings.",
				FFmpeg:  "-af \"volume=-6dB,alimiter=limit=0.8\"",
			},
		},
		{
			code: "audio_mono_one_side", severity: Warning, raise: 0, clear: 0, check: checkOneSide,
			meaning:  "Sound is heard on one side only. With headphones that is unpleasant.",
			when:     "one of two channels below −60 dBFS while the other is above −45 dBFS, in looks at least 10 s apart",
			evidence: "`silent_channel`, `left_dbfs`, `right_dbfs`",
			fix: Fix{
				OBS:     "Edit → Advanced Audio Properties → tick Mono for the microphone.",
				Browser: "Reload the page and choose the microphone again; some interfaces put it on one channel only.",
				FFmpeg:  "-af \"pan=stereo|c0=c0|c1=c0\" (the left on both sides)",
			},
		},
		{
			code: "audio_changed", severity: Warning, raise: 0, clear: 0, check: checkSoundForm,
			meaning:  "Codec, sample rate or number of channels of the sound changed while it was live. What the server makes of it goes on; players start their decoders anew, and some stop.",
			when:     "within the last minute",
			evidence: "`from`, `to`, `track`",
			fix: Fix{
				OBS:     "Do not change Settings → Audio while live.",
				Browser: "Do not choose another microphone while live.",
				FFmpeg:  "Give the output one form: -c:a aac -ar 48000 -ac 2.",
			},
		},
		{
			code: "audio_sample_rate_odd", severity: Info, raise: 2 * time.Second, clear: 2 * time.Second, check: checkRate,
			meaning:  "The sound has an unusual sample rate. Some devices do not play it, and WebRTC viewers need it converted.",
			when:     "neither 48000 nor 44100 Hz",
			evidence: "`sample_rate`, `track`",
			fix: Fix{
				OBS:     "Settings → Audio → Sample rate: 48 kHz.",
				Browser: "Does not happen: browsers send 48 kHz.",
				FFmpeg:  "-ar 48000",
			},
		},
	}
}

func checkSoundForm(e *exam) verdict {
	return each(e.audio, func(r *reading) verdict { return r.altered("sound") })
}

func checkSoundMissing(e *exam) verdict {
	moving := false
	for i := range e.video {
		moving = moving || e.video[i].quiet < 2
	}
	if !moving || !known(e.age) || e.age < soundMissing {
		return unclear
	}
	quiet := e.age
	for i := range e.audio {
		quiet = min(quiet, e.audio[i].quiet)
	}
	if len(e.audio) > 0 && quiet < soundMissing {
		return fine
	}
	title := "There is no sound track"
	if len(e.audio) > 0 {
		title = fmt.Sprintf("The sound stopped %.0f s ago", quiet)
	}
	return verdict{is: yes, title: title, evidence: map[string]any{"seconds": round(quiet, 0), "tracks": len(e.audio)}}
}

func checkSilent(e *exam) verdict {
	l := &e.looks
	if !e.fresh(l.heardAt) {
		return unclear
	}
	d := lasting(l.silentSince, l.heardAt)
	if d < silentAfter {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("Nothing has been heard for %.0f s", d), evidence: map[string]any{
		"silent_seconds": round(d, 0), "level_dbfs": round(l.sound.level, 1), "peak_dbfs": round(l.sound.peak, 1),
	}}
}

func checkClipping(e *exam) verdict {
	l := &e.looks
	if !e.fresh(l.heardAt) {
		return unclear
	}
	if lasting(l.clippedSince, l.heardAt) <= 0 {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("The sound is too loud: %.1f %% of it is cut off", 100*l.sound.clipped), evidence: map[string]any{
		"clipped_share": round(l.sound.clipped, 4), "peak_dbfs": round(l.sound.peak, 1), "level_dbfs": round(l.sound.level, 1),
	}}
}

func checkOneSide(e *exam) verdict {
	l := &e.looks
	if !e.fresh(l.heardAt) {
		return unclear
	}
	if l.alone < 0 || lasting(l.aloneSince, l.heardAt) < aloneAfter || len(l.sound.channels) != 2 {
		return fine
	}
	heard, silent := "left", "right"
	if l.alone == 1 {
		heard, silent = silent, heard
	}
	return verdict{is: yes, title: fmt.Sprintf("Sound is heard on the %s only", heard), evidence: map[string]any{
		"silent_channel": silent, "left_dbfs": round(l.sound.channels[0], 1), "right_dbfs": round(l.sound.channels[1], 1),
	}}
}

func checkRate(e *exam) verdict {
	return each(e.audio, func(r *reading) verdict {
		switch r.track.SampleRate {
		case 0:
			return unclear
		case 44100, 48000:
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("The sound has %d Hz", r.track.SampleRate),
			evidence: map[string]any{"sample_rate": r.track.SampleRate}}
	})
}
