package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/media"
)

// targetSchemes are what a stream can be passed on over.
var targetSchemes = []string{"rtmp", "rtmps", "srt"}

// TargetStatus is how passing a stream on to another service goes.
type TargetStatus struct {
	// ID is the simulcast target's, State idle, starting, broadcasting or errored, Since
	// when it began.
	ID, State string
	Since     time.Time
	// LastError is why it last failed, without secrets; Attempts counts since it last worked.
	LastError string
	Attempts  int
	// Bytes and Packets were sent, Dropped were not, since the broadcast began.
	Bytes, Packets, Dropped uint64
	Link                    media.Link
}

// Targets is what the API sees of the passing on to other services.
type Targets interface {
	// Statuses tells of the targets of a stream that are known.
	Statuses(streamID string) []TargetStatus
	// Changed says that a stream's targets changed.
	Changed(streamID string)
}

type (
	simulcastTarget struct {
		ID          string            `json:"id" example:"st_f6tra4n5l8y7w9x4z5b6c7e8f9"`
		CreatedAt   time.Time         `json:"created_at"`
		URL         string            `json:"url" doc:"Passwords and the values of parameters are hidden as ****." example:"rtmp://live.example.com/app"`
		StreamKey   string            `json:"stream_key" doc:"Hidden but for its end." example:"****9xk2"`
		Passthrough string            `json:"passthrough"`
		Enabled     bool              `json:"enabled"`
		Status      string            `json:"status" enum:"idle,starting,broadcasting,errored" doc:"idle: nothing to send, or not enabled. errored: it is tried again after a while."`
		Since       orNull[time.Time] `json:"since" doc:"When the status began; null if that is not known, as below."`
		LastError   string            `json:"last_error" doc:"Why it last failed; empty if it did not."`
		Attempts    orNull[int]       `json:"attempts" doc:"Tries since it last worked."`
		Bytes       orNull[uint64]    `json:"bytes" doc:"Sent since the broadcast began."`
		Packets     orNull[uint64]    `json:"packets"`
		Dropped     orNull[uint64]    `json:"dropped" doc:"Packets not sent because the other service was too slow."`
		Link        orNull[link]      `json:"link"`
	}
	targetBody struct {
		URL         string `json:"url" maxLength:"2048" doc:"rtmp, rtmps or srt." example:"rtmp://live.example.com/app"`
		StreamKey   string `json:"stream_key,omitempty" maxLength:"1024" doc:"What the other service knows you by; for SRT its stream id."`
		Passthrough string `json:"passthrough,omitempty" maxLength:"255" doc:"Whatever you need; the server does not look at it."`
		Enabled     *bool  `json:"enabled,omitempty" default:"true"`
	}
	targetPatch struct {
		Passthrough optional[string] `json:"passthrough" required:"false" maxLength:"255" doc:"Null removes it."`
		Enabled     optional[bool]   `json:"enabled" required:"false" doc:"Null: true."`
	}
	addTargetInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body targetBody
	}
	targetInput struct {
		ID       string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		TargetID string `path:"target_id" doc:"One of the stream's simulcast targets." example:"st_f6tra4n5l8y7w9x4z5b6c7e8f9"`
	}
	patchTargetInput struct {
		ID       string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		TargetID string `path:"target_id" doc:"One of the stream's simulcast targets." example:"st_f6tra4n5l8y7w9x4z5b6c7e8f9"`
		Body     targetPatch
	}
	targetOutput     struct{ Body simulcastTarget }
	listTargetOutput struct {
		Body struct {
			Data       []simulcastTarget `json:"data" nullable:"false"`
			NextCursor null              `json:"next_cursor" doc:"Always null: a stream has at most 10."`
		}
	}
)

func (a *API) targetRoutes(op describeOp) {
	const all, one = "/v1/live-streams/{id}/simulcast-targets", "/v1/live-streams/{id}/simulcast-targets/{target_id}"
	missing := []fault.Kind{fault.NotFound}
	register(a, op("create-simulcast-target", http.MethodPost, all, tagStreams, "Pass the stream on",
		"Sends the stream to another service, too, at once if it is live. A stream has at most 10 targets.", http.StatusCreated), missing, a.addTarget)
	register(a, op("list-simulcast-targets", http.MethodGet, all, tagStreams, "List the simulcast targets",
		"With the state and the counts of each.", http.StatusOK), missing, a.listTargets)
	register(a, op("get-simulcast-target", http.MethodGet, one, tagStreams, "Read a simulcast target", "", http.StatusOK),
		missing, a.getTarget)
	register(a, op("update-simulcast-target", http.MethodPatch, one, tagStreams, "Switch a simulcast target on or off",
		"A merge patch (RFC 7396), also while live. The address cannot change: make another target.", http.StatusOK), missing, a.patchTarget)
	register(a, op("delete-simulcast-target", http.MethodDelete, one, tagStreams, "Remove a simulcast target",
		"Also while live: it is disconnected.", http.StatusNoContent), missing, a.removeTarget)
}

// targetsOf puts what is stored and what is going on together.
func (a *API) targetsOf(l store.LiveStream) []simulcastTarget {
	out := make([]simulcastTarget, len(l.Targets))
	known := map[string]TargetStatus{}
	if a.deps.Targets != nil && len(l.Targets) > 0 {
		for _, s := range a.deps.Targets.Statuses(l.ID) {
			known[s.ID] = s
		}
	}
	for i, t := range l.Targets {
		s, ok := known[t.ID]
		out[i] = targetOf(t, s, ok)
	}
	return out
}

func targetOf(t store.SimulcastTarget, s TargetStatus, known bool) simulcastTarget {
	out := simulcastTarget{
		ID: t.ID, CreatedAt: t.CreatedAt, URL: maskAddress(t.URL), StreamKey: maskKey(t.StreamKey),
		Passthrough: t.Passthrough, Enabled: !t.Disabled, Status: "idle",
	}
	if known {
		if !t.Disabled {
			out.Status = s.State
		}
		out.LastError, out.Attempts = s.LastError, some(s.Attempts)
		out.Bytes, out.Packets, out.Dropped, out.Link = some(s.Bytes), some(s.Packets), some(s.Dropped), some(linkOf(s.Link))
		if !s.Since.IsZero() {
			out.Since = some(s.Since.UTC())
		}
	}
	return out
}

// target answers one target as it stands.
func (a *API) target(streamID string, t store.SimulcastTarget) *targetOutput {
	return &targetOutput{a.targetsOf(store.LiveStream{ID: streamID, Targets: []store.SimulcastTarget{t}})[0]}
}

// targetsChanged tells of a change of a stream's targets to whom it may concern.
func (a *API) targetsChanged(streamID, change string) {
	if a.deps.Targets != nil {
		a.deps.Targets.Changed(streamID)
	}
	a.changed(streamID, "simulcast_target."+change)
}

// target checks a new target.
func (b *targetBody) target(op string) (store.SimulcastTarget, error) {
	if err := checkAddress(op, "url", b.URL, targetSchemes); err != nil {
		return store.SimulcastTarget{}, err
	}
	if strings.ContainsFunc(b.StreamKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return store.SimulcastTarget{}, fault.New(fault.Invalid, op, "stream_key",
			"the stream key has spaces or characters that keys do not have",
			"Copy it again from the other service, without a line break.")
	}
	if err := checkPassthrough(op, b.Passthrough); err != nil {
		return store.SimulcastTarget{}, err
	}
	return store.SimulcastTarget{
		URL: b.URL, StreamKey: b.StreamKey, Passthrough: b.Passthrough, Disabled: b.Enabled != nil && !*b.Enabled,
	}, nil
}

func checkPassthrough(op, s string) error {
	if !printable(s) {
		return fault.New(fault.Invalid, op, "passthrough", "passthrough has control characters", "Use letters and digits.")
	}
	return nil
}

func (a *API) addTarget(ctx context.Context, in *addTargetInput) (*targetOutput, error) {
	t, err := in.Body.target("add a simulcast target")
	if err != nil {
		return nil, err
	}
	t, err = a.deps.Store.AddTarget(ctx, in.ID, t)
	if err != nil {
		return nil, err
	}
	a.targetsChanged(in.ID, "created")
	return a.target(in.ID, t), nil
}

func (a *API) listTargets(ctx context.Context, in *streamInput) (*listTargetOutput, error) {
	l, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := new(listTargetOutput)
	out.Body.Data = a.targetsOf(l)
	return out, nil
}

func (a *API) getTarget(ctx context.Context, in *targetInput) (*targetOutput, error) {
	t, err := a.deps.Store.Target(ctx, in.ID, in.TargetID)
	if err != nil {
		return nil, err
	}
	return a.target(in.ID, t), nil
}

func (a *API) patchTarget(ctx context.Context, in *patchTargetInput) (*targetOutput, error) {
	if err := checkPassthrough("update the simulcast target", in.Body.Passthrough.v); err != nil {
		return nil, err
	}
	t, err := a.deps.Store.UpdateTarget(ctx, in.ID, in.TargetID, func(t *store.SimulcastTarget) {
		in.Body.Passthrough.to(&t.Passthrough, "")
		on := !t.Disabled
		in.Body.Enabled.to(&on, true)
		t.Disabled = !on
	})
	if err != nil {
		return nil, err
	}
	a.targetsChanged(in.ID, "updated")
	return a.target(in.ID, t), nil
}

func (a *API) removeTarget(ctx context.Context, in *targetInput) (*emptyOutput, error) {
	if err := a.deps.Store.RemoveTarget(ctx, in.ID, in.TargetID); err != nil {
		return nil, err
	}
	a.targetsChanged(in.ID, "deleted")
	return nil, nil
}
