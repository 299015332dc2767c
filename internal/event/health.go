package event

// StreamHealth says that what is wrong with a stream's ingest changed.
type StreamHealth struct {
	StreamID string `json:"live_stream_id"`
	// Status is good, degraded, bad or no_data.
	Status string `json:"status"`
	// Score goes from 0 to 100; nil while nothing is known.
	Score *int `json:"score"`
	// Raised and Cleared are the codes of findings.
	Raised  []string `json:"raised"`
	Cleared []string `json:"cleared"`
}

// Type returns "live_stream.health".
func (StreamHealth) Type() string { return "live_stream.health" }

// Stream returns the live stream's id.
func (e StreamHealth) Stream() string { return e.StreamID }
