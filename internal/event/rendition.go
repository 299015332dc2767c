package event

// RenditionChanged says that a rendition that the server makes of a stream began, ended or
// cannot be had.
type RenditionChanged struct {
	StreamID  string `json:"live_stream_id"`
	Rendition string `json:"rendition"`
	// State is idle, starting, running, failed, refused or shed.
	State string `json:"state"`
	// Reason says why, where there is more to say than the state.
	Reason string `json:"reason,omitempty"`
	// Encoder is the name of the encoder that makes it, such as "libx264"; empty before one
	// was chosen.
	Encoder string `json:"encoder,omitempty"`
}

// Type returns "live_stream.rendition".
func (RenditionChanged) Type() string { return "live_stream.rendition" }

// Stream returns the live stream's id.
func (e RenditionChanged) Stream() string { return e.StreamID }
