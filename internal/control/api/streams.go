package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

const (
	defaultLatency = "low"
	defaultWindow  = 60 // seconds
	maxMetadata    = 50
	maxMetaKey     = 64  // bytes
	maxMetaValue   = 512 // bytes
)

type (
	createBody struct {
		Title            string            `json:"title,omitempty" maxLength:"512" doc:"Shown to viewers."`
		LatencyMode      string            `json:"latency_mode,omitempty" enum:"standard,low,ultra" default:"low" doc:"standard: whole segments. low: parts of 0.5 s. ultra: parts of 0.2 s."`
		ReconnectWindow  *int              `json:"reconnect_window,omitempty" minimum:"0" maximum:"1800" default:"60" doc:"Seconds that a lost publisher is waited for, with the viewers staying."`
		Record           bool              `json:"record,omitempty" doc:"Makes each broadcast an asset."`
		DVR              string            `json:"dvr,omitempty" enum:"off,whole,window" default:"off" doc:"How far viewers can go back in a broadcast that is recorded. whole: to its beginning. window: dvr_window seconds."`
		DVRWindow        *int              `json:"dvr_window,omitempty" minimum:"60" maximum:"2592000" doc:"Seconds; with dvr window only."`
		Retention        *retentionBody    `json:"retention,omitempty" doc:"When assets of the stream are removed by themselves; never by default."`
		PlaybackPolicies []string          `json:"playback_policies,omitempty" nullable:"false" enum:"public,signed" maxItems:"32" doc:"A playback id is made for each; one public id by default. signed is not supported yet."`
		SRTPassphrase    string            `json:"srt_passphrase,omitempty" maxLength:"79" doc:"Encrypts SRT: 10 to 79 letters, digits and - . _ ~."`
		Source           *sourceBody       `json:"source,omitempty" doc:"Fetch the stream from an address, in place of waiting for an encoder."`
		Multitrack       *multitrackBody   `json:"multitrack,omitempty" doc:"Limits what OBS is told to send when it asks for settings."`
		Ladder           *ladderBody       `json:"ladder,omitempty" doc:"In which renditions viewers get the stream; as the server is set by default."`
		RealtimeViewers  *int              `json:"realtime_viewers,omitempty" minimum:"0" maximum:"100000" doc:"How many may watch over WebRTC at a time; 0: nobody. The server's default if it is left out."`
		SimulcastTargets []targetBody      `json:"simulcast_targets,omitempty" nullable:"false" maxItems:"10" doc:"Services to pass the stream on to."`
		Metadata         map[string]string `json:"metadata,omitempty" maxProperties:"50" doc:"Up to 50 pairs, keys of 64 bytes, values of 512."`
	}
	createInput struct{ Body *createBody }
	streamInput struct {
		ID string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
	}
	streamOutput struct{ Body liveStream }
	emptyOutput  struct{}
	listInput    struct {
		Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"25" doc:"Most streams on the page."`
		Cursor string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before; nothing for the first page."`
	}
	listOutput struct {
		Body struct {
			Data       []liveStream   `json:"data" nullable:"false"`
			NextCursor orNull[string] `json:"next_cursor" doc:"Asks for the next page; null on the last one."`
		}
	}
	playbackBody struct {
		Policy string `json:"policy,omitempty" enum:"public,signed" default:"public" doc:"signed is not supported yet."`
	}
	addPlaybackInput struct {
		ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Body *playbackBody
	}
	playbackIDOutput    struct{ Body playbackID }
	removePlaybackInput struct {
		ID         string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		PlaybackID string `path:"playback_id" doc:"One of the stream's playback ids."`
	}
)

func (a *API) routes() {
	const all, one = "/v1/live-streams", "/v1/live-streams/{id}"
	missing := []fault.Kind{fault.NotFound}
	op := func(id, method, path, tag, summary, description string, status int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{tag},
			Summary: summary, Description: description, DefaultStatus: status, Metadata: map[string]any{},
		}
	}
	register(a, op("create-live-stream", http.MethodPost, all, tagStreams, "Create a live stream",
		"Makes the stream with its key and a playback id for each policy. No field is required, not even a body.", http.StatusCreated),
		[]fault.Kind{fault.Unsupported}, a.createStream)
	register(a, op("list-live-streams", http.MethodGet, all, tagStreams, "List live streams", "Newest first.", http.StatusOK),
		nil, a.listStreams)
	register(a, op("get-live-stream", http.MethodGet, one, tagStreams, "Read a live stream", "", http.StatusOK),
		missing, a.getStream)
	register(a, op("update-live-stream", http.MethodPatch, one, tagStreams, "Change a live stream",
		"A merge patch (RFC 7396): what is left out stays, null returns a field to its default, metadata is merged key by key and null removes a key. A new latency_mode, reconnect_window, record or dvr applies to the next broadcast, a new ladder at once.", http.StatusOK),
		[]fault.Kind{fault.NotFound, fault.Unsupported}, a.patchStream)
	register(a, op("delete-live-stream", http.MethodDelete, one, tagStreams, "Delete a live stream",
		"Its key and playback ids are unknown from then on; a running broadcast ends at once. Its assets stay.", http.StatusNoContent),
		missing, a.deleteStream)
	register(a, op("reset-stream-key", http.MethodPost, one+"/reset-stream-key", tagStreams, "Make a new stream key",
		"The old key is refused from then on, and whoever publishes with it is disconnected.", http.StatusOK),
		missing, a.resetKey)
	register(a, op("enable-live-stream", http.MethodPost, one+"/enable", tagStreams, "Enable a live stream",
		"Lets publishers in again. Enabling an enabled stream changes nothing.", http.StatusOK),
		missing, a.enableStream)
	register(a, op("disable-live-stream", http.MethodPost, one+"/disable", tagStreams, "Disable a live stream",
		"Refuses publishers until the stream is enabled, and ends a running broadcast at once.", http.StatusOK),
		missing, a.disableStream)
	register(a, op("complete-live-stream", http.MethodPost, one+"/complete", tagStreams, "End the broadcast",
		"Ends the running broadcast at once, without waiting for the reconnect window; the stream stays usable. Without a broadcast nothing happens; a disabled stream is refused.", http.StatusOK),
		missing, a.completeStream)
	register(a, op("create-playback-id", http.MethodPost, one+"/playback-ids", tagStreams, "Add a playback id",
		"A stream has at most 32.", http.StatusCreated), []fault.Kind{fault.NotFound, fault.Unsupported}, a.addPlaybackID)
	register(a, op("delete-playback-id", http.MethodDelete, one+"/playback-ids/{playback_id}", tagStreams, "Remove a playback id",
		"Nobody can start watching under it from then on.", http.StatusNoContent), missing, a.removePlaybackID)
	a.targetRoutes(op)
	a.healthRoute(op)
	a.renditionRoute(op)
	a.assetRoutes(op)
	a.clipRoutes(op)
	a.chatRoutes(op)
	a.storageRoutes(op)
	a.otherRoutes(op)
}

func (a *API) changed(id, change string) {
	a.deps.Bus.Publish(event.StreamRecord{StreamID: id, Change: change})
}

// forget lets go of what is remembered of a stream that changed.
func (a *API) forget(l store.LiveStream) {
	for _, p := range l.PlaybackIDs {
		a.deps.Auth.Forget(p.ID)
	}
	a.deps.Auth.ForgetKey(l.StreamKey)
	if a.deps.Pulls != nil {
		a.deps.Pulls.Changed(l.ID)
	}
}

func (a *API) out(ctx context.Context, l store.LiveStream) (*streamOutput, error) {
	assets, err := a.deps.Store.StreamAssets(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	return &streamOutput{a.present(ctx, l, assets[l.ID])}, nil
}

func (a *API) createStream(ctx context.Context, in *createInput) (*streamOutput, error) {
	const op = "create the live stream"
	b := in.Body
	if b == nil {
		b = new(createBody)
	}
	l := store.LiveStream{
		Title: b.Title, LatencyMode: b.LatencyMode, Record: b.Record, Metadata: b.Metadata,
		ReconnectWindow: defaultWindow * time.Second, SRTPassphrase: b.SRTPassphrase, RealtimeViewers: b.RealtimeViewers,
	}
	var err error
	if l.DVR, err = dvrOf(op, b.DVR, b.DVRWindow, 0); err != nil {
		return nil, err
	}
	b.Retention.apply(&l.Retention)
	b.Source.apply(&l)
	b.Multitrack.apply(&l)
	b.Ladder.apply(&l.Ladder)
	if l.LatencyMode == "" {
		l.LatencyMode = defaultLatency
	}
	if b.ReconnectWindow != nil {
		l.ReconnectWindow = time.Duration(*b.ReconnectWindow) * time.Second
	}
	policies := []store.Policy{store.Public}
	if b.PlaybackPolicies != nil {
		policies = policies[:0]
		for _, p := range b.PlaybackPolicies {
			if err := checkPolicy(op, p); err != nil {
				return nil, err
			}
			policies = append(policies, store.Policy(p))
		}
	}
	for _, t := range b.SimulcastTargets {
		st, err := t.target(op)
		if err != nil {
			return nil, err
		}
		l.Targets = append(l.Targets, st)
	}
	if err := check(op, l); err != nil {
		return nil, err
	}
	if err := a.checkLadder(op, l.Ladder); err != nil {
		return nil, err
	}
	l, err = a.deps.Store.CreateLiveStream(ctx, l, policies)
	if err != nil {
		return nil, err
	}
	a.forget(l) // somebody may have guessed; an unknown id is remembered too
	a.changed(l.ID, "created")
	return &streamOutput{a.present(ctx, l, store.StreamAssets{})}, nil // a new stream has no assets
}

func (a *API) listStreams(ctx context.Context, in *listInput) (*listOutput, error) {
	page, next, err := a.deps.Store.LiveStreams(ctx, in.Limit, in.Cursor)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(page))
	for i, l := range page {
		ids[i] = l.ID
	}
	assets, err := a.deps.Store.StreamAssets(ctx, ids...)
	if err != nil {
		return nil, err
	}
	out := new(listOutput)
	out.Body.Data = make([]liveStream, len(page))
	for i, l := range page {
		out.Body.Data[i] = a.present(ctx, l, assets[l.ID])
	}
	if next != "" {
		out.Body.NextCursor.v = &next
	}
	return out, nil
}

func (a *API) getStream(ctx context.Context, in *streamInput) (*streamOutput, error) {
	l, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return a.out(ctx, l)
}

func (a *API) patchStream(ctx context.Context, in *patchInput) (*streamOutput, error) {
	const op = "update the live stream"
	l, err := a.deps.Store.UpdateLiveStream(ctx, in.ID, func(l *store.LiveStream) error {
		in.Body.apply(l)
		if err := in.Body.applyDVR(op, l); err != nil {
			return err
		}
		if in.Body.Ladder.set {
			// Only then: a profile that the server lost must not keep others from being renamed.
			if err := a.checkLadder(op, l.Ladder); err != nil {
				return err
			}
		}
		return check(op, *l)
	})
	if err != nil {
		return nil, err
	}
	a.forget(l)
	a.changed(l.ID, "updated")
	return a.out(ctx, l)
}

func (a *API) deleteStream(ctx context.Context, in *streamInput) (*emptyOutput, error) {
	l, err := a.deps.Store.DeleteLiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	a.forget(l)
	if a.deps.Targets != nil {
		a.deps.Targets.Changed(l.ID)
	}
	if a.deps.Chat != nil {
		a.deps.Chat.Forget(l.ID)
	}
	a.deps.Streams.Kick(l.ID, fault.New(fault.NotFound, "publish to", l.ID, "the live stream was deleted", "Create another one."))
	a.changed(l.ID, "deleted")
	return nil, nil
}

func (a *API) resetKey(ctx context.Context, in *streamInput) (*streamOutput, error) {
	old, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	l, err := a.deps.Store.ResetStreamKey(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	a.deps.Auth.ForgetKey(old.StreamKey)
	a.forget(l)
	a.deps.Streams.Kick(l.ID, fault.New(fault.Unauthorized, "publish to", l.ID, "the stream key was reset",
		"Copy the new key from the live stream's page."))
	a.changed(l.ID, "key_reset")
	return a.out(ctx, l)
}

// setDisabled turns the one stored part of the state, if the table of states lets it.
func (a *API) setDisabled(ctx context.Context, id string, t store.Trigger, disabled bool) (store.LiveStream, error) {
	return a.deps.Store.UpdateLiveStream(ctx, id, func(l *store.LiveStream) error {
		if err := a.may(*l, t); err != nil {
			return err
		}
		l.Disabled = disabled
		return nil
	})
}

// may refuses what the table of states does not have.
func (a *API) may(l store.LiveStream, t store.Trigger) error {
	snap, there := a.deps.Streams.Snapshot(l.ID)
	s := status(l.Disabled, snap, there)
	if _, ok := s.Next(t); ok {
		return nil
	}
	kind, hint := fault.Conflict, "Read the live stream to see its status."
	if s == store.Disabled {
		kind, hint = fault.Disabled, "Enable it first."
	}
	return fault.New(kind, string(t), l.ID, "the live stream is "+string(s), hint)
}

func (a *API) enableStream(ctx context.Context, in *streamInput) (*streamOutput, error) {
	l, err := a.setDisabled(ctx, in.ID, store.OnEnable, false)
	if err != nil {
		return nil, err
	}
	a.forget(l)
	a.changed(l.ID, "enabled")
	return a.out(ctx, l)
}

func (a *API) disableStream(ctx context.Context, in *streamInput) (*streamOutput, error) {
	l, err := a.setDisabled(ctx, in.ID, store.OnDisable, true)
	if err != nil {
		return nil, err
	}
	a.forget(l)
	a.deps.Streams.Kick(l.ID, fault.New(fault.Disabled, "publish to", l.ID, "the live stream was disabled",
		"It takes publishers again when it is enabled."))
	a.changed(l.ID, "disabled")
	return a.out(ctx, l)
}

func (a *API) completeStream(ctx context.Context, in *streamInput) (*streamOutput, error) {
	l, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := a.may(l, store.OnComplete); err != nil {
		return nil, err
	}
	a.deps.Streams.Kick(l.ID, fault.New(fault.Forbidden, "publish to", l.ID, "the broadcast was ended by its operator",
		"Stop the encoder; starting it again begins another broadcast."))
	a.changed(l.ID, "completed")
	return a.out(ctx, l)
}

func (a *API) addPlaybackID(ctx context.Context, in *addPlaybackInput) (*playbackIDOutput, error) {
	policy := string(store.Public)
	if in.Body != nil && in.Body.Policy != "" {
		policy = in.Body.Policy
	}
	if err := checkPolicy("add the playback id", policy); err != nil {
		return nil, err
	}
	p, err := a.deps.Store.AddPlaybackID(ctx, in.ID, store.Policy(policy))
	if err != nil {
		return nil, err
	}
	a.deps.Auth.Forget(p.ID)
	a.changed(in.ID, "updated")
	return &playbackIDOutput{playbackID{p.ID, string(p.Policy)}}, nil
}

func (a *API) removePlaybackID(ctx context.Context, in *removePlaybackInput) (*emptyOutput, error) {
	if err := a.deps.Store.RemovePlaybackID(ctx, in.ID, in.PlaybackID); err != nil {
		return nil, err
	}
	a.deps.Auth.Forget(in.PlaybackID)
	a.changed(in.ID, "updated")
	return nil, nil
}

// checkPolicy refuses signed ids: there is no way to sign yet, and an id that anybody
// can use must not be called signed.
func checkPolicy(op, policy string) error {
	if policy == string(store.Signed) {
		return fault.New(fault.Unsupported, op, "", "signed playback ids are not supported by this version",
			"Use the policy public.")
	}
	return nil
}

// check bounds what the description of the API cannot, and refuses control
// characters, which have no place in a title and break logs and databases.
func check(op string, l store.LiveStream) error {
	if err := checkText(op, l.Title, l.Metadata); err != nil {
		return err
	}
	if err := checkRealtime(op, l.RealtimeViewers); err != nil {
		return err
	}
	if err := checkRecording(op, l); err != nil {
		return err
	}
	return checkWays(op, l)
}

// checkText does so for the title and the metadata.
func checkText(op, title string, metadata map[string]string) error {
	bad := func(cause string) error {
		return fault.New(fault.Invalid, op, "", cause, "See the description of the field at /docs.")
	}
	if !printable(title) {
		return bad("title has control characters")
	}
	if len(metadata) > maxMetadata {
		return bad(fmt.Sprintf("metadata has %d pairs, at most %d are kept", len(metadata), maxMetadata))
	}
	for k, v := range metadata {
		switch {
		case k == "" || len(k) > maxMetaKey || !printable(k):
			return bad(fmt.Sprintf("a metadata key must be 1 to %d bytes without control characters", maxMetaKey))
		case len(v) > maxMetaValue:
			return bad(fmt.Sprintf("a metadata value is longer than %d bytes", maxMetaValue))
		case strings.ContainsRune(v, 0) || !utf8.ValidString(v):
			return bad("a metadata value has characters that cannot be kept")
		}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
