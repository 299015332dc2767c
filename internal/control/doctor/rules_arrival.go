package doctor

import (
	"fmt"
	"time"
)

// Thresholds of how media arrives.
const (
	driftSlow  = -2.0 // seconds of media time against 10 s of wall clock
	driftFast  = 2.0
	lossHigh   = 0.02
	lossSevere = 0.10
	rttHigh    = 0.250 // seconds
	jitterHigh = 0.050
	// bitsLow and bitsHigh are bits for each pixel of each second that H.264 has too few
	// or more than enough of; newer codecs need newerCodec of it. bitrateFloor is what
	// is never too much.
	bitsLow          = 0.02
	bitsHigh         = 0.30
	newerCodec       = 0.6
	bitrateFloor     = 6e6
	bitrateVariation = 0.35
	reconnectsMany   = 3 // within reconnectWindow
	takeoversMany    = 3 // within takeoverWindow
	reconnectWindow  = 10 * time.Minute
	takeoverWindow   = time.Minute
	refusalShown     = 5 * time.Minute
)

func arrivalEntries() []entry {
	return []entry{
		{
			code: "ingest_starved", severity: Critical, raise: 2 * time.Second, clear: 10 * time.Second, check: checkStarved,
			meaning:  "The encoder sends less than a second of media each second. Players run out of it and stop.",
			when:     "media time falls more than 2 s behind the wall clock within 10 s",
			evidence: "`drift_seconds`, `window_seconds`",
			fix: Fix{
				OBS:     "Lower the bitrate (Settings → Output → Bitrate) to 70 % of what a speed test says your upload is, and use a cable instead of Wi-Fi. If OBS shows “Encoding overloaded”, choose a faster preset or a smaller output size.",
				Browser: "Close what else uses the network and the processor, and choose a lower quality.",
				FFmpeg:  "Watch speed= in its output: under 1.0x means that it encodes too slowly (-preset veryfast, a smaller -s); at 1.0x the network is too slow (lower -b:v and -maxrate).",
			},
		},
		{
			code: "ingest_faster_than_realtime", severity: Warning, raise: 2 * time.Second, clear: 10 * time.Second, check: checkFast,
			meaning:  "The encoder sends media faster than it plays. Players fall ever further behind live, and buffers overflow.",
			when:     "media time gets more than 2 s further ahead of the wall clock than it was in the minute before",
			evidence: "`ahead_seconds`, `window_seconds`",
			fix: Fix{
				OBS:     "OBS sends in real time by itself. If you play a file through another program into the stream, let that run at its own speed.",
				Browser: "Does not happen with a camera; reload the page.",
				FFmpeg:  "Put -re in front of -i, so that the file is read at its own speed.",
			},
		},
		{
			code: "bitrate_low", severity: Info, raise: 20 * time.Second, clear: 20 * time.Second, check: checkBitrateLow,
			meaning:  "There are very few bits for a picture of this size and rate. It will look blocky as soon as something moves; a still picture needs no more.",
			when:     "less than 0.02 bits for each pixel (HEVC, AV1 and VP9: 60 % of that) over 10 s",
			evidence: "`bitrate`, `expected_at_least`, `width`, `height`, `frame_rate`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Bitrate: 2500 for 720p30, 4500 for 1080p30, 6000 for 1080p60; or choose a smaller output size.",
				Browser: "The browser chooses by what the network carries: see whether something else uses the upload.",
				FFmpeg:  "Raise -b:v, or scale the picture down with -s 1280x720.",
			},
		},
		{
			code: "bitrate_high", severity: Warning, raise: 20 * time.Second, clear: 20 * time.Second, check: checkBitrateHigh,
			meaning:  "The bitrate is more than the picture can use. It costs upload and viewers' bandwidth and buys nothing they can see.",
			when:     "more than 0.3 bits for each pixel (HEVC, AV1 and VP9: 60 % of that) and more than 6 Mbit/s over 10 s",
			evidence: "`bitrate`, `expected_at_most`, `width`, `height`, `frame_rate`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Bitrate: 2500 for 720p30, 4500 for 1080p30, 6000 for 1080p60.",
				Browser: "Choose a lower quality.",
				FFmpeg:  "Lower -b:v, and set -maxrate to the same.",
			},
		},
		{
			code: "bitrate_unstable", severity: Warning, raise: 10 * time.Second, clear: 30 * time.Second, check: checkBitrateUnstable,
			meaning:  "The bitrate goes up and down. Each peak needs more of the network than the average promises, and viewers near their limit stall then.",
			when:     "the bitrate of groups of pictures deviates by more than 35 % over the last minute",
			evidence: "`variation`, `bitrate`, `track`",
			fix: Fix{
				OBS:     "Settings → Output → Rate control: CBR. If it is CBR already, the network does not carry it: lower the bitrate.",
				Browser: "The browser lowers the bitrate when the network is short: use a cable, or a lower quality.",
				FFmpeg:  "Give -b:v with -maxrate of the same and -bufsize of twice as much; with -crf the bitrate follows the picture.",
			},
		},
		{
			code: "uplink_loss", severity: Warning, raise: 5 * time.Second, clear: 20 * time.Second, check: checkLoss,
			meaning:  "Packets get lost on the way from the encoder. What is not repeated in time is missing in picture and sound.",
			when:     "more than 2 % of the packets of 10 s (SRT, WebRTC); critical from 10 % on",
			evidence: "`loss`, `retransmission`, `dropped`, `window_seconds`",
			fix: Fix{
				OBS:     "Use a cable instead of Wi-Fi and lower the bitrate. With SRT raise the latency in the address (latency=400000 is 400 ms): it should be at least four times the round trip.",
				Browser: "Use a cable or stand nearer to the Wi-Fi; choose a lower quality.",
				FFmpeg:  "Lower -b:v; with SRT raise latency= in the address (in microseconds) to four times the round trip.",
			},
		},
		{
			code: "uplink_rtt_high", severity: Warning, raise: 10 * time.Second, clear: 20 * time.Second, check: checkRTT,
			meaning:  "The way to the server is long or jammed. Lost packets come back late, and the encoder notices trouble late.",
			when:     "a round trip of more than 250 ms",
			evidence: "`rtt_ms`",
			fix: Fix{
				OBS:     "Lower the bitrate: an upload that is full makes packets wait. Choose a server nearer to you if there is one.",
				Browser: "Close what else uses the upload; choose a lower quality.",
				FFmpeg:  "Lower -b:v; with SRT set latency= to at least four times the round trip.",
			},
		},
		{
			code: "jitter_high", severity: Warning, raise: 10 * time.Second, clear: 20 * time.Second, check: checkJitter,
			meaning:  "Packets arrive unevenly. What the buffers do not smooth out becomes stutter.",
			when:     "arrival deviates by more than 50 ms on average",
			evidence: "`jitter_ms`",
			fix: Fix{
				OBS:     "Use a cable instead of Wi-Fi or mobile data; with SRT raise the latency.",
				Browser: "Use a cable or stand nearer to the Wi-Fi.",
				FFmpeg:  "Use a cable instead of Wi-Fi; with SRT raise latency= in the address.",
			},
		},
		{
			code: "reconnects_often", severity: Warning, raise: 0, clear: 0, check: checkReconnects, always: true,
			meaning:  "The encoder was lost and came back several times. Viewers see a held picture each time.",
			when:     "3 returns within 10 min",
			evidence: "`reconnects`, `window_seconds`",
			fix: Fix{
				OBS:     "Look at Help → Log files for why it disconnects. Mostly it is the network: use a cable, lower the bitrate.",
				Browser: "Keep the page in the foreground and the device awake; use a cable.",
				FFmpeg:  "Read what it says when it ends; a lower -b:v helps when the connection is reset.",
			},
		},
		{
			code: "publisher_conflict", severity: Critical, raise: 0, clear: 0, check: checkConflict, always: true,
			meaning:  "Two encoders use the same stream key and take the stream from each other. Viewers see it switch to and fro.",
			when:     "3 takeovers within 1 min",
			evidence: "`takeovers`, `window_seconds`",
			fix: Fix{
				OBS:     "Stop the other encoder. If you do not know it, reset the stream key and paste the new one in Settings → Stream.",
				Browser: "Close the other tabs and devices that publish this stream.",
				FFmpeg:  "End the other ffmpeg; to have a second one stand by, publish it with ?backup=1.",
			},
		},
		{
			code: "tracks_refused", severity: Critical, raise: 0, clear: 0, check: checkRefused, always: true,
			meaning:  "An encoder came with the right key, and what it sent could not be used.",
			when:     "since the last attempt, for 5 min, until one succeeds",
			evidence: "`code`, `reason`, `attempts`, `last_attempt`",
			fix: Fix{
				OBS:     "Settings → Output: video encoder H.264 (x264, NVENC, QuickSync), audio encoder AAC.",
				Browser: "Reload the page; use a current Chrome, Edge, Firefox or Safari.",
				FFmpeg:  "-c:v libx264 -pix_fmt yuv420p -c:a aac",
			},
		},
		{
			code: "key_wrong", severity: Warning,
			meaning:  "An encoder came with a stream key that nobody has. It is told on every stream that has no publisher, since it cannot be known whose it was meant to be.",
			when:     "within the last 2 min, on streams without a publisher",
			evidence: "`attempts`, `last_attempt`, `protocol`, `peer` (masked)",
			fix: Fix{
				OBS:     "Copy the stream key again (Settings → Stream → Stream key), without blanks; it was perhaps reset.",
				Browser: "Open the stream's page again: the key in it was perhaps reset.",
				FFmpeg:  "Compare the last part of the address with the stream's key.",
			},
		},
	}
}

func checkStarved(e *exam) verdict {
	if !known(e.drift) {
		return unclear
	}
	if e.drift > driftSlow {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("Only %.1f s of media arrived in the last 10 s", max(0, 10+e.drift)),
		evidence: map[string]any{"drift_seconds": round(e.drift, 2), "window_seconds": 10}}
}

func checkFast(e *exam) verdict {
	if !known(e.ahead) {
		return unclear
	}
	if e.ahead < driftFast {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("Media arrives faster than it plays: %.1f s ahead within 10 s", e.ahead),
		evidence: map[string]any{"ahead_seconds": round(e.ahead, 2), "window_seconds": 10}}
}

// bitrateBounds are the least and the most bits a second that make sense for a picture.
func bitrateBounds(r *reading) (least, most float64) {
	pixels := float64(r.track.Width*r.track.Height) * r.fps
	if r.track.Codec.String() != "H.264" {
		pixels *= newerCodec
	}
	return pixels * bitsLow, max(pixels*bitsHigh, bitrateFloor)
}

// each asks a rule of every track; one yes is enough. Tracks that cannot tell count only
// when none can.
func each(tracks []reading, rule func(r *reading) verdict) verdict {
	all := unclear
	for i := range tracks {
		switch v := rule(&tracks[i]); v.is {
		case yes:
			v.evidence["track"] = tracks[i].id
			return v
		case no:
			all = fine
		}
	}
	return all
}

func checkBitrateLow(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.bitrate) || !known(r.fps) || r.track.Width == 0 || e.age < 10 {
			return unclear
		}
		least, _ := bitrateBounds(r)
		if r.bitrate >= least || r.quiet > 2 {
			return fine
		}
		return bitrateVerdict(r, fmt.Sprintf("%s for %d × %d is very little", bits(r.bitrate), r.track.Width, r.track.Height), "expected_at_least", least)
	})
}

func checkBitrateHigh(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.bitrate) || !known(r.fps) || r.track.Width == 0 {
			return unclear
		}
		_, most := bitrateBounds(r)
		if r.bitrate <= most {
			return fine
		}
		return bitrateVerdict(r, fmt.Sprintf("%s for %d × %d is more than it can use", bits(r.bitrate), r.track.Width, r.track.Height), "expected_at_most", most)
	})
}

func bitrateVerdict(r *reading, title, bound string, value float64) verdict {
	return verdict{is: yes, title: title, evidence: map[string]any{
		"bitrate": round(r.bitrate, 0), bound: round(value, 0),
		"width": r.track.Width, "height": r.track.Height, "frame_rate": round(r.fps, 2),
	}}
}

func checkBitrateUnstable(e *exam) verdict {
	return each(e.video, func(r *reading) verdict {
		if !known(r.variation) {
			return unclear
		}
		if r.variation <= bitrateVariation {
			return fine
		}
		return verdict{is: yes, title: fmt.Sprintf("The bitrate varies by %.0f %%", 100*r.variation),
			evidence: map[string]any{"variation": round(r.variation, 3), "bitrate": round(r.bitrate, 0)}}
	})
}

func checkLoss(e *exam) verdict {
	if !known(e.link.loss) {
		return unclear
	}
	if e.link.loss <= lossHigh {
		return fine
	}
	v := verdict{is: yes, title: fmt.Sprintf("%.1f %% of the packets are lost on the way", 100*e.link.loss),
		evidence: map[string]any{"loss": round(e.link.loss, 4), "window_seconds": 10}}
	if known(e.link.retransmission) {
		v.evidence["retransmission"] = round(e.link.retransmission, 4)
	}
	if e.link.dropped != nil {
		v.evidence["dropped"] = *e.link.dropped
	}
	if e.link.loss >= lossSevere {
		v.severity = Critical
	}
	return v
}

func checkRTT(e *exam) verdict {
	if !known(e.link.rtt) {
		return unclear
	}
	if e.link.rtt <= rttHigh {
		return fine
	}
	ms := round(e.link.rtt*1000, 0)
	return verdict{is: yes, title: fmt.Sprintf("The round trip to the encoder takes %.0f ms", ms), evidence: map[string]any{"rtt_ms": ms}}
}

func checkJitter(e *exam) verdict {
	if !known(e.link.jitter) {
		return unclear
	}
	if e.link.jitter <= jitterHigh {
		return fine
	}
	ms := round(e.link.jitter*1000, 0)
	return verdict{is: yes, title: fmt.Sprintf("Packets arrive unevenly, by %.0f ms", ms), evidence: map[string]any{"jitter_ms": ms}}
}

func checkReconnects(e *exam) verdict {
	if e.broadcast.resumes < reconnectsMany {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("The encoder came back %d times within 10 min", e.broadcast.resumes),
		evidence: map[string]any{"reconnects": e.broadcast.resumes, "window_seconds": reconnectWindow.Seconds()}}
}

func checkConflict(e *exam) verdict {
	if e.broadcast.takeovers < takeoversMany {
		return fine
	}
	return verdict{is: yes, title: fmt.Sprintf("Encoders took this stream from each other %d times within a minute", e.broadcast.takeovers),
		evidence: map[string]any{"takeovers": e.broadcast.takeovers, "window_seconds": takeoverWindow.Seconds()}}
}

func checkRefused(e *exam) verdict {
	b := &e.broadcast
	if b.refusedAt.IsZero() || e.now.Sub(b.refusedAt) > refusalShown {
		return fine
	}
	return verdict{is: yes, title: "An encoder was refused: " + b.refusedReason, evidence: map[string]any{
		"code": b.refusedCode, "reason": b.refusedReason, "attempts": b.refused,
		"last_attempt": b.refusedAt.UTC().Format(time.RFC3339),
	}}
}

// bits is a bitrate in words.
func bits(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%.1f Mbit/s", v/1e6)
	}
	return fmt.Sprintf("%.0f kbit/s", v/1e3)
}
