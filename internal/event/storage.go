package event

// StorageAway says that the bucket of recordings does not take what is sent, or for another
// reason than before. Recordings go on: they wait in the data folder, up to a bound.
type StorageAway struct {
	// Code is the fault's kind, Reason its text.
	Code   string `json:"code"`
	Reason string `json:"reason"`
	// WaitingBytes are in the data folder, of MaxBytes that may be.
	WaitingBytes int64 `json:"waiting_bytes"`
	MaxBytes     int64 `json:"max_bytes"`
}

// StorageBack says that the bucket of recordings takes them again.
type StorageBack struct {
	// AwaySeconds is how long it did not.
	AwaySeconds float64 `json:"away_seconds"`
	// WaitingBytes are still to be sent.
	WaitingBytes int64 `json:"waiting_bytes"`
}

// Type returns "storage.away".
func (StorageAway) Type() string { return "storage.away" }

// Type returns "storage.back".
func (StorageBack) Type() string { return "storage.back" }

// Stream returns "": it is about all streams that are recorded.
func (StorageAway) Stream() string { return "" }

// Stream returns "": it is about all streams that are recorded.
func (StorageBack) Stream() string { return "" }
