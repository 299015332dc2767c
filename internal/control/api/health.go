package api

import (
	"context"
	"net/http"

	"onair/internal/control/doctor"
	"onair/internal/fault"
)

// Doctor tells how streams are.
type Doctor interface {
	// Health returns the report of a stream; false if nothing is known of it, and then
	// the report says just that.
	Health(streamID string) (doctor.Report, bool)
}

type healthOutput struct{ Body doctor.Report }

func (a *API) healthRoute(op describeOp) {
	register(a, op("get-live-stream-health", http.MethodGet, "/v1/live-streams/{id}/health", tagStreams, "Read how a live stream is",
		"What was measured of its publishers, what is wrong with it in words and numbers, and what to do about it. A reading that is null is unknown.", http.StatusOK),
		[]fault.Kind{fault.NotFound}, a.getHealth)
}

func (a *API) getHealth(ctx context.Context, in *streamInput) (*healthOutput, error) {
	l, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &healthOutput{doctor.Report{
		StreamID: l.ID, Status: doctor.NoData, Summary: "Nothing is being received.",
		Findings: []doctor.Finding{}, Sources: []doctor.Source{}, History: []doctor.Point{},
	}}
	if a.deps.Doctor != nil {
		if r, ok := a.deps.Doctor.Health(l.ID); ok {
			out.Body = r
		}
	}
	return out, nil
}
