package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"onair/internal/event"
	"onair/internal/fault"
)

const (
	// maxFeeds bounds the open event feeds.
	maxFeeds = 64
	// pingEvery is how often a quiet feed shows that it is alive.
	pingEvery = 15 * time.Second
	// writeTime is how long a client may take to take one event.
	writeTime = 10 * time.Second
)

type (
	eventsInput struct {
		LastEventID  string `header:"Last-Event-ID" maxLength:"20" doc:"The id of the last event that was seen; the feed goes on after it. Browsers send it by themselves."`
		LiveStreamID string `query:"live_stream_id" maxLength:"64" doc:"Only events of this live stream."`
	}
	// eventMessage is the data of one event.
	eventMessage struct {
		Seq          uint64    `json:"seq" doc:"Counts the events of this server since its start, without gaps."`
		At           time.Time `json:"at"`
		Type         string    `json:"type" example:"live_stream.active"`
		LiveStreamID string    `json:"live_stream_id" doc:"Empty if the event is about no known stream."`
		Data         eventData `json:"data" doc:"Depends on the type."`
	}
	// eventData is the JSON of an event of the program.
	eventData []byte
	// laggedMessage is the data of the event "lagged".
	laggedMessage struct {
		Missed uint64 `json:"missed" doc:"How many events this feed did not get. Read the live streams again."`
	}
	eventsOutput struct {
		Body func(huma.Context)
	}
)

// MarshalJSON writes the event.
func (d eventData) MarshalJSON() ([]byte, error) { return d, nil }

// Schema describes every event that has a form of its own.
func (eventData) Schema(r huma.Registry) *huma.Schema {
	out := new(huma.Schema)
	for _, e := range eventTypes() {
		out.AnyOf = append(out.AnyOf, r.Schema(reflect.TypeOf(e), true, ""))
	}
	return out
}

// eventTypes has one event of each form.
func eventTypes() []event.Event {
	return []event.Event{
		event.StreamConnected{}, event.StreamActive{}, event.StreamStandby{}, event.StreamReconnecting{}, event.StreamIdle{},
		event.StreamTracksChanged{}, event.StreamHealth{}, event.RenditionChanged{}, event.IngestRefused{},
		event.AssetCreated{}, event.AssetReady{}, event.AssetErrored{}, event.AssetResumed{}, event.AssetDeleted{},
		event.StorageAway{}, event.StorageBack{}, event.ChatMessage{}, event.ChatModerated{}, event.StreamRecord{Change: "*"},
	}
}

// eventNames lists the types with the schemas of their data.
func eventNames() string {
	var b strings.Builder
	for _, e := range eventTypes() {
		fmt.Fprintf(&b, "\n- `%s`: %s", e.Type(), schemaName(reflect.TypeOf(e), ""))
	}
	return b.String()
}

func (a *API) registerEvents(describe describeOp) {
	op := describe("stream-events", http.MethodGet, "/v1/events", tagEvents, "Follow what happens",
		"Server-sent events that do not end. Each has `event` (its type), `id` (its number) and `data`, the message described here. "+
			"A feed that comes back with Last-Event-ID gets what it missed; if that is no longer kept, the event `lagged` tells how much is lost. "+
			"A comment comes every 15 seconds when nothing happens. The feed ends when the server stops: connect again.\n\nThe types and their data:\n"+eventNames(), http.StatusOK)
	message := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[eventMessage](), true, "EventMessage")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The feed.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: message}},
	}}
	register(a, op, []fault.Kind{fault.Unavailable, fault.TooMany}, a.openEvents)
}

// openEvents takes a slot for a feed, or refuses while that can still be said with a
// status.
func (a *API) openEvents(_ context.Context, in *eventsInput) (*eventsOutput, error) {
	listener := a.deps.Bus.Listen()
	if in.LastEventID != "" {
		seq, err := strconv.ParseUint(in.LastEventID, 10, 64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "follow the events", "", "Last-Event-ID is not a number",
				"Send the id of the last event as it stands, or leave it out.")
		}
		listener = a.deps.Bus.ListenAfter(seq)
	}
	if a.draining.Err() != nil {
		return nil, fault.New(fault.Unavailable, "follow the events", "", "the server is stopping", "Connect again in a moment.")
	}
	select {
	case a.feeds <- struct{}{}:
	default:
		a.rejected.WithLabelValues("event_feeds").Inc()
		return nil, fault.New(fault.TooMany, "follow the events", "",
			"there are "+strconv.Itoa(maxFeeds)+" feeds already", "Close one, or let your programs share one.")
	}
	return &eventsOutput{func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		a.openFeed.Inc()
		defer func() {
			a.openFeed.Dec()
			<-a.feeds
		}()
		a.serveEvents(w, r, listener, in.LiveStreamID)
	}}, nil
}

// serveEvents writes events until the client goes, cannot keep up, or the server drains.
func (a *API) serveEvents(w http.ResponseWriter, r *http.Request, l *event.Listener, only string) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.draining, cancel)()

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // the connection may serve other requests
	send := func(b []byte) error {
		if err := rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return rc.Flush()
	}
	err := send([]byte(": events follow\nretry: 2000\n\n"))
	quiet := time.Now() // since when the client heard nothing
	for err == nil {
		wait, stop := context.WithDeadline(ctx, quiet.Add(pingEvery))
		e, missed, nextErr := l.Next(wait)
		stop()
		switch {
		case ctx.Err() != nil:
			if r.Context().Err() == nil {
				_ = send([]byte(": the server is stopping\n\n")) // a courtesy
			}
			return
		case nextErr != nil:
			err, quiet = send([]byte(": ping\n\n")), time.Now()
			continue
		}
		var buf bytes.Buffer
		if missed > 0 {
			a.rejected.WithLabelValues("events_lagged").Add(float64(missed))
			writeEvent(&buf, 0, "lagged", laggedMessage{missed})
		}
		if only == "" || e.Event.Stream() == only {
			writeEvent(&buf, e.Seq, e.Event.Type(), message(e))
		}
		if buf.Len() > 0 {
			err, quiet = send(buf.Bytes()), time.Now()
		}
	}
}

func message(e event.Envelope) eventMessage {
	data, err := json.Marshal(e.Event)
	if err != nil { // no event of the program does this
		data = []byte("null")
	}
	return eventMessage{Seq: e.Seq, At: e.At.UTC(), Type: e.Event.Type(), LiveStreamID: e.Event.Stream(), Data: data}
}

// writeEvent appends one event in the format of the HTML standard. JSON has no line
// breaks outside of strings and escapes those within, so one data line is enough.
func writeEvent(b *bytes.Buffer, id uint64, name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return // as above
	}
	if id > 0 {
		b.WriteString("id: " + strconv.FormatUint(id, 10) + "\n")
	}
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(data)
	b.WriteString("\n\n")
}
