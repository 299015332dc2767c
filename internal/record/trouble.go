package record

import "time"

// Trouble is why what should be recorded is not.
type Trouble struct {
	AssetID string
	// Since is when the storage failed first, of the failures that last.
	Since time.Time
	Err   error
}

// Trouble tells what is in the way of the recording of a live stream's broadcast now. It is
// tried again until the broadcast ends, and goes on in the same asset, after a gap.
func (l *Library) Trouble(streamID string) (Trouble, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.active {
		if w.busy && w.trouble.Err != nil && w.draft.head.Stream == streamID {
			return w.trouble, true
		}
	}
	return Trouble{}, false
}
