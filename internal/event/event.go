// Package event holds the typed facts that the program tells about itself, and the
// bus that carries them to whoever listens: the API's event feed, web hooks, statistics.
//
// Events are beside the media path. Publishing never waits; a listener that falls
// behind is told how many events it missed and goes on.
package event

import "time"

// Event is one fact. The JSON form of the concrete type is what API clients see.
type Event interface {
	// Type is the stable dotted name, such as "live_stream.active".
	Type() string
	// Stream is the id of the live stream it is about; empty if it is about none.
	Stream() string
}

// Envelope is an event with its place in the order of events.
type Envelope struct {
	// Seq counts the events of this process from 1 without gaps.
	Seq   uint64
	At    time.Time
	Event Event
}

// StreamConnected says that a publisher was admitted and its media is being awaited.
type StreamConnected struct {
	StreamID string `json:"live_stream_id"`
	Session  string `json:"session_id"`
	Protocol string `json:"protocol"`
	Encoder  string `json:"encoder,omitempty"`
	// Backup is set when it came as the stream's backup.
	Backup bool `json:"backup"`
}

// StreamActive says that media is arriving and can be watched.
type StreamActive struct {
	StreamID string `json:"live_stream_id"`
	Session  string `json:"session_id"`
	Protocol string `json:"protocol"`
	// Encoder is what the publisher calls itself by now; it may have said more than when it
	// connected.
	Encoder string `json:"encoder,omitempty"`
	// TookOver is set when another publisher with the same key was replaced.
	TookOver bool `json:"took_over"`
	// Resumed is set when the stream was waiting for its publisher to come back.
	Resumed bool `json:"resumed"`
	// Backup is set when it is the stream's backup encoder that is on the air now.
	Backup bool `json:"backup"`
}

// StreamStandby says that the stream has a second encoder that is ready to take over, or,
// if Ready is false, that it has none any more.
type StreamStandby struct {
	StreamID string `json:"live_stream_id"`
	Session  string `json:"session_id"`
	// Backup is set if it came as the stream's backup; else it is the main encoder, and the
	// backup is on the air.
	Backup bool `json:"backup"`
	Ready  bool `json:"ready"`
}

// StreamReconnecting says that the publisher was lost and the stream waits for it.
type StreamReconnecting struct {
	StreamID string `json:"live_stream_id"`
	Session  string `json:"session_id"`
	Reason   string `json:"reason"`
	// Until is when the stream ends if the publisher does not come back.
	Until time.Time `json:"until"`
}

// StreamIdle says that the broadcast is over.
type StreamIdle struct {
	StreamID string `json:"live_stream_id"`
	Reason   string `json:"reason"`
}

// StreamTracksChanged says that the encoder added a track or changed its parameters.
type StreamTracksChanged struct {
	StreamID string `json:"live_stream_id"`
	Tracks   int    `json:"tracks"`
}

// IngestRefused says that somebody was not allowed to publish, or sent what cannot be used.
type IngestRefused struct {
	StreamID string `json:"live_stream_id,omitempty"`
	Protocol string `json:"protocol"`
	Peer     string `json:"peer"`
	// Code is the fault's kind, Reason its text.
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// StreamRecord says that the resource of a live stream changed through the API.
// Change is created, updated, enabled, disabled, completed, key_reset or deleted.
type StreamRecord struct {
	StreamID string `json:"live_stream_id"`
	Change   string `json:"change"`
}

// Type returns "live_stream.connected".
func (StreamConnected) Type() string { return "live_stream.connected" }

// Type returns "live_stream.active".
func (StreamActive) Type() string { return "live_stream.active" }

// Type returns "live_stream.standby".
func (StreamStandby) Type() string { return "live_stream.standby" }

// Type returns "live_stream.reconnecting".
func (StreamReconnecting) Type() string { return "live_stream.reconnecting" }

// Type returns "live_stream.idle".
func (StreamIdle) Type() string { return "live_stream.idle" }

// Type returns "live_stream.tracks_changed".
func (StreamTracksChanged) Type() string { return "live_stream.tracks_changed" }

// Type returns "ingest.refused".
func (IngestRefused) Type() string { return "ingest.refused" }

// Type returns "live_stream." and the change.
func (e StreamRecord) Type() string { return "live_stream." + e.Change }

// Stream returns the live stream's id.
func (e StreamConnected) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e StreamActive) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e StreamStandby) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e StreamReconnecting) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e StreamIdle) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e StreamTracksChanged) Stream() string { return e.StreamID }

// Stream returns the live stream's id; empty where the key named none.
func (e IngestRefused) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e StreamRecord) Stream() string { return e.StreamID }
