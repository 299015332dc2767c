package node

import (
	"context"
	"net/url"

	"onair/internal/control/api"
	"onair/internal/control/store"
	"onair/internal/deliver/play"
	"onair/internal/fault"
	"onair/internal/ingest/pull"
	"onair/internal/media"
	"onair/internal/wire/guard"
	"onair/internal/wire/rtmp"
	"onair/internal/wire/srt"
)

// caller connects to addresses that users gave: to send a stream there, or to fetch one.
type caller struct{ guard *guard.Guard }

// send implements play.DialTarget.
func (c caller) send(ctx context.Context, address string, tracks []*media.Track) (play.Sender, error) {
	switch schemeOf(address) {
	case "rtmp", "rtmps":
		return asSender(rtmp.Dialer{Net: *c.guard.Dialer()}.Publish(ctx, address, tracks...))
	case "srt":
		return asSender((&srt.Dialer{Control: c.guard.Control}).DialPublish(ctx, address, tracks))
	default:
		return nil, fault.New(fault.Invalid, "send the stream", "", "the address is of no known protocol", "Begin it with rtmp://, rtmps:// or srt://.")
	}
}

// receive implements pull.Dial.
func (c caller) receive(ctx context.Context, address string) (pull.Session, error) {
	if schemeOf(address) == "srt" {
		return asSession((&srt.Dialer{Control: c.guard.Control}).DialPlay(ctx, address))
	}
	return asSession(rtmp.Dialer{Net: *c.guard.Dialer()}.Play(ctx, address))
}

// asSession is asSender for sources.
func asSession[T pull.Session](s T, err error) (pull.Session, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// asSender keeps a nil pointer from becoming an interface that is not nil.
func asSender[T play.Sender](s T, err error) (play.Sender, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func schemeOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme
}

// targets plugs the store into restreaming.
type targets struct{ store *store.Store }

// Targets implements play.Targets.
func (t targets) Targets(ctx context.Context, streamID string) ([]play.Target, error) {
	rows, err := t.store.Targets(ctx, streamID)
	if err != nil {
		return nil, err
	}
	out := make([]play.Target, 0, len(rows))
	for _, r := range rows {
		out = append(out, play.Target{ID: r.ID, URL: r.Address(), Disabled: r.Disabled})
	}
	return out, nil
}

// restreams plugs restreaming into the API.
type restreams struct{ *play.Restreamer }

// Statuses implements api.Targets.
func (r restreams) Statuses(streamID string) []api.TargetStatus {
	var out []api.TargetStatus
	for _, s := range r.Restreamer.Statuses(streamID) {
		out = append(out, api.TargetStatus{
			ID: s.ID, State: string(s.State), Since: s.Since, LastError: s.LastError, Attempts: s.Attempts,
			Bytes: s.Bytes, Packets: s.Packets, Dropped: s.Dropped, Link: s.Link,
		})
	}
	return out
}

// sources plugs the store into fetching.
type sources struct{ store *store.Store }

// Pulls implements pull.Sources.
func (s sources) Pulls(ctx context.Context) ([]pull.Pull, error) {
	rows, err := s.store.Pulls(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]pull.Pull, 0, len(rows))
	for _, r := range rows {
		out = append(out, pull.Pull{StreamID: r.StreamID, URL: r.Source.URL, OnDemand: r.Source.OnDemand})
	}
	return out, nil
}

// pulls plugs fetching into the API.
type pulls struct{ *pull.Puller }

// pullStates are the API's names of the states.
var pullStates = map[pull.State]string{pull.Idle: "idle", pull.Connecting: "connecting", pull.Live: "receiving", pull.Errored: "failing"}

// Status implements api.Pulls.
func (p pulls) Status(streamID string) (api.PullStatus, bool) {
	s, ok := p.Statuses(streamID)
	return api.PullStatus{State: pullStates[s.State], Since: s.Since, LastError: s.LastError, Attempts: s.Attempts}, ok
}
