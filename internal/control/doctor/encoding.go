package doctor

import (
	"strings"
	"time"

	"onair/internal/event"
)

const (
	// maxOutputs bounds the renditions of one stream that are remembered, maxReason what is
	// kept of why one cannot be had, in bytes.
	maxOutputs = 16
	maxReason  = 300
)

// output is a rendition that the server makes of a stream.
type output struct {
	name, state, reason string
	since               time.Time // when the state began
	// encoder made it last. fellFrom is the one in hardware that was given up for it, why
	// the reason.
	encoder, fellFrom, why string
	// restarts are when its encoder broke off, broke why it did so last.
	restarts times
	broke    string
}

// rendition takes note of what became of a rendition.
func (d *Doctor) rendition(e event.RenditionChanged) {
	if s := d.find(e.StreamID); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rendition(e, time.Now())
	}
}

// forgetRenditions drops what is known of all renditions: events were missed, and one of
// them may have said that all is well again.
func (d *Doctor) forgetRenditions() {
	for _, s := range d.all() {
		s.mu.Lock()
		s.outputs = nil
		s.mu.Unlock()
	}
}

func (s *stream) rendition(e event.RenditionChanged, now time.Time) {
	m := s.findOutput(e.Rendition)
	if m == nil {
		if len(s.outputs) == maxOutputs {
			return
		}
		s.outputs = append(s.outputs, output{name: e.Rendition})
		m = &s.outputs[len(s.outputs)-1]
	}
	reason := clipped(e.Reason)
	if m.state == "running" && e.State == "starting" && reason != "" {
		m.restarts.add(now)
		m.broke = reason
	}
	switch {
	case e.Encoder == "":
	case inHardware(e.Encoder):
		m.fellFrom, m.why = "", ""
	case inHardware(m.encoder):
		m.fellFrom, m.why = m.encoder, reason
	}
	if m.state != e.State {
		m.state, m.since = e.State, now
	}
	m.reason = reason
	if e.Encoder != "" {
		m.encoder = e.Encoder
	}
	if e.State == "failed" && e.Encoder == "" {
		m.encoder = "" // none was to be had
	}
}

func (s *stream) findOutput(name string) *output {
	for i := range s.outputs {
		if s.outputs[i].name == name {
			return &s.outputs[i]
		}
	}
	return nil
}

// inHardware tells an encoder that is a circuit by its name, as ffmpeg has them.
func inHardware(encoder string) bool {
	for _, suffix := range []string{"_nvenc", "_vaapi", "_qsv", "_videotoolbox", "_v4l2m2m", "_amf", "_mf", "_rkmpp"} {
		if strings.HasSuffix(encoder, suffix) {
			return true
		}
	}
	return false
}

// clipped is a reason as a title takes it: not too long, and without its full stop.
func clipped(reason string) string {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return strings.TrimRight(reason, ". ")
}
