package doctor

import (
	"fmt"
	"strings"
	"time"

	"onair/internal/media"
)

const (
	// restartWindow is how long a broken encoder is told, restartsMany how often makes it
	// a warning.
	restartWindow = 5 * time.Minute
	restartsMany  = 3
)

// operator is what to do about an encoder of the server: the same for every publisher,
// who can only spare it the work.
func operator(do string) Fix {
	text := "Nothing is wrong with what is sent. Who sends several renditions (OBS: Settings → Stream → Enable Multitrack Video) spares the server the encoding. For the operator: " + do
	return Fix{OBS: text, Browser: text, FFmpeg: text}
}

// encodingEntries are about what the server makes of a stream. What they say needs no
// publisher of a certain kind, so that it is told under the main one.
func encodingEntries() []entry {
	return []entry{
		{
			code: "transcode_shed", severity: Warning, raise: 0, clear: 10 * time.Second, check: checkShed, always: true,
			meaning:  "The machine was too slow to encode all renditions that are watched, and the server gave up the largest for a while. Its viewers get a smaller one.",
			when:     "an encoder falls more than 2 s (`transcode-max-lag`) behind",
			evidence: "`renditions`, `count`, `seconds`, `reason`, `encoder`",
			fix:      operator("choose fewer or smaller rungs, lower transcode-cores so that less is begun, or use a machine with more cores or a hardware encoder."),
		},
		{
			code: "transcode_failed", severity: Warning, raise: 0, clear: 30 * time.Second, check: checkFailed, always: true,
			meaning:  "An encoder failed again and again. Its rendition cannot be watched; it is tried again after a while.",
			when:     "an encoder was started anew several times and failed each time",
			evidence: "`renditions`, `count`, `seconds`, `reason`, `encoder`",
			fix:      operator("the reason says what ffmpeg ended with; the server's log has its last lines."),
		},
		{
			code: "transcode_no_encoder", severity: Warning, raise: 0, clear: 30 * time.Second, check: checkNoEncoder, always: true,
			meaning:  "The server cannot make a rendition at all: it has no encoder for it, or cannot decode what is sent. Viewers get the stream as it comes. It is information for a rung of the ladder, and a warning for what some players need: sound in AAC, and sound in Opus or a picture without reordering over WebRTC.",
			when:     "no encoder that worked at the start makes the rendition's codec, or ffmpeg is missing",
			evidence: "`renditions`, `count`, `seconds`, `reason`",
			fix:      operator("install an ffmpeg with libx264, aac and libopus (apt install ffmpeg), or name one with --transcode-ffmpeg; GET /v1/server lists the encoders found."),
		},
		{
			code: "transcode_budget", severity: Warning, raise: 0, clear: 30 * time.Second, check: checkBudget, always: true,
			meaning:  "A rendition was asked for and refused, because all encoders together would take more of the processor than they may. Its viewers get another one.",
			when:     "the estimate of the new rendition and what is in use come to more than `transcode-cores`",
			evidence: "`renditions`, `count`, `seconds`, `reason`",
			fix:      operator("raise --transcode-cores if the machine has cores to spare, choose fewer rungs, or use a hardware encoder."),
		},
		{
			code: "transcode_restarted", severity: Info, raise: 0, clear: 0, check: checkRestarted, always: true,
			meaning:  "An encoder broke off and was started again at the next key frame. Viewers of its rendition missed a moment, viewers of others nothing. It is a warning from the third time on.",
			when:     "within the last 5 min",
			evidence: "`restarts`, `renditions`, `window_seconds`, `reason`",
			fix:      operator("the reason says how it ended; when the system killed it, memory is short."),
		},
		{
			code: "hardware_fallback", severity: Info, raise: 0, clear: 10 * time.Second, check: checkFallback, always: true,
			meaning:  "A hardware encoder failed and the processor does its work. The picture is the same; it costs more of the machine.",
			when:     "a rendition is made by a software encoder after one in hardware was given up for it",
			evidence: "`renditions`, `count`, `encoder`, `gave_up`, `reason`",
			fix:      operator("look whether the graphics card has sessions left (consumer cards have a limit) and whether its driver works."),
		},
	}
}

func checkShed(e *exam) verdict {
	return e.ofState(func(m *output) bool { return m.state == "shed" }, func(names, ago string) string {
		return ago + " ago the server gave up encoding " + names
	})
}

func checkFailed(e *exam) verdict {
	return e.ofState(func(m *output) bool { return m.state == "failed" && !lacksEncoder(m) }, func(names, ago string) string {
		return "The encoder of " + names + " failed again and again, " + ago + " ago"
	})
}

func checkNoEncoder(e *exam) verdict {
	v := e.ofState(lacksEncoder, func(names, _ string) string {
		return "The server cannot make " + names
	})
	if v.is != yes {
		return v
	}
	// Without these there are players that show or play nothing; all else is a choice less.
	v.severity = Info
	for i := range e.broadcast.outputs {
		switch m := &e.broadcast.outputs[i]; {
		case !lacksEncoder(m):
		case m.name == media.RenditionRealtime, m.name == media.RenditionOpus, m.name == media.RenditionAAC:
			v.severity = Warning
		}
	}
	return v
}

// lacksEncoder tells a rendition that was never begun from one whose encoder fails.
func lacksEncoder(m *output) bool { return m.state == "failed" && m.encoder == "" }

func checkBudget(e *exam) verdict {
	return e.ofState(func(m *output) bool { return m.state == "refused" }, func(names, ago string) string {
		return "The server has no room to encode " + names + ", which was refused " + ago + " ago"
	})
}

// ofState finds the renditions for which is holds. tell makes the sentence from their
// names and how long it has been so.
func (e *exam) ofState(is func(*output) bool, tell func(names, ago string) string) verdict {
	var names []string
	var first *output
	for i := range e.broadcast.outputs {
		m := &e.broadcast.outputs[i]
		if !is(m) {
			continue
		}
		names = append(names, m.name)
		if first == nil || m.since.Before(first.since) {
			first = m
		}
	}
	if first == nil {
		return fine
	}
	ago := e.now.Sub(first.since)
	list := strings.Join(names, ", ")
	v := verdict{is: yes, title: tell(list, spoken(ago)), evidence: map[string]any{
		"renditions": list, "count": len(names), "seconds": round(ago.Seconds(), 0), "reason": first.reason,
	}}
	if first.encoder != "" {
		v.evidence["encoder"] = first.encoder
	}
	if first.reason != "" {
		v.title += ": " + first.reason
	}
	return v
}

func checkRestarted(e *exam) verdict {
	var names []string
	var reason string
	n := 0
	for i := range e.broadcast.outputs {
		m := &e.broadcast.outputs[i]
		if r := m.restarts.within(e.now, restartWindow); r > 0 {
			n += r
			names = append(names, m.name)
			reason = m.broke
		}
	}
	if n == 0 {
		return fine
	}
	list := strings.Join(names, ", ")
	v := verdict{is: yes, title: fmt.Sprintf("The encoder of %s broke off %s in 5 minutes and was started again: %s", list, often(n), reason),
		evidence: map[string]any{"restarts": n, "renditions": list, "window_seconds": int(restartWindow.Seconds()), "reason": reason}}
	if n >= restartsMany {
		v.severity = Warning
	}
	return v
}

func checkFallback(e *exam) verdict {
	var names []string
	var first *output
	for i := range e.broadcast.outputs {
		m := &e.broadcast.outputs[i]
		if m.fellFrom == "" || m.state != "starting" && m.state != "running" {
			continue
		}
		names = append(names, m.name)
		if first == nil {
			first = m
		}
	}
	if first == nil {
		return fine
	}
	list := strings.Join(names, ", ")
	return verdict{is: yes, title: fmt.Sprintf("%s gave up on %s, and %s encodes it on the processor", first.fellFrom, list, first.encoder),
		evidence: map[string]any{"renditions": list, "count": len(names), "encoder": first.encoder, "gave_up": first.fellFrom, "reason": first.why}}
}

// spoken is a time as people say it.
func spoken(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
}

func often(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
