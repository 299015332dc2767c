package event

// AssetCreated says that a broadcast is being recorded.
type AssetCreated struct {
	StreamID string `json:"live_stream_id"`
	AssetID  string `json:"asset_id"`
}

// AssetReady says that an asset is complete: its broadcast ended.
type AssetReady struct {
	StreamID string `json:"live_stream_id"`
	AssetID  string `json:"asset_id"`
	// Duration is in seconds, Bytes what is stored.
	Duration float64 `json:"duration"`
	Bytes    int64   `json:"size_bytes"`
	// Gaps counts the times for which media is missing.
	Gaps int `json:"gaps"`
}

// AssetErrored says that a recording stopped before its broadcast did, or that a clip was not
// made. What was stored up to then can be played.
type AssetErrored struct {
	StreamID string `json:"live_stream_id"`
	AssetID  string `json:"asset_id"`
	// Code is the fault's kind, Reason its text.
	Code   string `json:"code"`
	Reason string `json:"reason"`
	// Clip is set if the asset is a clip.
	Clip bool `json:"clip"`
}

// AssetResumed says that a recording goes on that had stopped: its storage works again.
type AssetResumed struct {
	StreamID string `json:"live_stream_id"`
	AssetID  string `json:"asset_id"`
	// After is for how many seconds it had stopped.
	After float64 `json:"after"`
}

// AssetDeleted says that an asset is no more.
type AssetDeleted struct {
	StreamID string `json:"live_stream_id"`
	AssetID  string `json:"asset_id"`
	// Reason is requested, or the limit of its live stream that it was over: days or bytes.
	Reason string `json:"reason"`
}

// Type returns "asset.created".
func (AssetCreated) Type() string { return "asset.created" }

// Type returns "asset.ready".
func (AssetReady) Type() string { return "asset.ready" }

// Type returns "asset.errored".
func (AssetErrored) Type() string { return "asset.errored" }

// Type returns "asset.resumed".
func (AssetResumed) Type() string { return "asset.resumed" }

// Type returns "asset.deleted".
func (AssetDeleted) Type() string { return "asset.deleted" }

// Stream returns the live stream's id.
func (e AssetCreated) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e AssetReady) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e AssetErrored) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e AssetResumed) Stream() string { return e.StreamID }

// Stream returns the live stream's id.
func (e AssetDeleted) Stream() string { return e.StreamID }
