package ingest

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// repair is a kind of repair that a timeline makes.
type repair uint8

const (
	// repairOrder: a DTS that did not grow was moved behind the one before it.
	repairOrder repair = iota
	// repairOutlier: a time stamp far from all others was replaced by where the packet was due.
	repairOutlier
	// repairJump: the publisher's clock leapt; the stream's time went on without it.
	repairJump
	// repairComposition: an absurd distance of PTS and DTS was taken for none.
	repairComposition
	// repairEarlyPTS: a PTS before the beginning was moved to it.
	repairEarlyPTS
	// repairResync: counted samples had fallen behind the time stamps and were moved up to them.
	repairResync
	// repairSurplus: a sound packet was left out because counted samples ran ahead of the time stamps.
	repairSurplus
	// repairBefore: a packet from before the beginning was left out.
	repairBefore

	// repairLate: a packet was left out because filler stands in its place already.
	repairLate
	// repairParameters: a packet was left out because the parameters changed too often.
	repairParameters
	// repairClock: the publisher's clock differs from the wall clock, and its time stamps
	// are stretched or pressed to follow it. Counted once for each time that it begins.
	repairClock
	// repairTrackClock: the same for one track that drifts from the others.
	repairTrackClock
	// repairCount: counted samples drift from the time stamps, and are moved up to them a
	// little with each packet.
	repairCount

	repairKinds = int(repairCount) + 1
)

// String returns the kind as a metric's label has it.
func (r repair) String() string {
	return [repairKinds]string{
		repairOrder:       "order",
		repairOutlier:     "outlier",
		repairJump:        "jump",
		repairComposition: "composition",
		repairEarlyPTS:    "early_pts",
		repairResync:      "audio_resync",
		repairSurplus:     "audio_surplus",
		repairBefore:      "before_start",
		repairLate:        "late",
		repairParameters:  "parameters",
		repairClock:       "clock_drift",
		repairTrackClock:  "track_drift",
		repairCount:       "audio_drift",
	}[r]
}

// repairs counts one publisher's repairs, and adds them to the metrics of all.
type repairs struct {
	n   [repairKinds]atomic.Int64
	all *[repairKinds]prometheus.Counter
}

func (r *repairs) count(k repair) {
	r.n[k].Add(1)
	if r.all != nil {
		r.all[k].Inc()
	}
}

// counts returns what was repaired at least once, by kind.
func (r *repairs) counts() map[string]int64 {
	out := make(map[string]int64)
	for k := range r.n {
		if n := r.n[k].Load(); n > 0 {
			out[repair(k).String()] = n
		}
	}
	return out
}
