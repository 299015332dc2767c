package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/doctor"
	"onair/internal/event"
	"onair/internal/fault"
)

// spec is the OpenAPI document as it is served.
type spec struct {
	body []byte
	etag string
}

const (
	tagStreams = "Live streams"
	tagAssets  = "Assets"
	tagChat    = "Chat"
	tagEvents  = "Events"
	tagPlay    = "Playback"
	tagServer  = "Server"
)

const about = `Control of live streams: make them, read what is being received, watch over them.

Send the admin token as ` + "`Authorization: Bearer TOKEN`" + `, or as Basic with the token in place of the id or the secret and the other one empty.

Errors are problems of RFC 9457; programs look at ` + "`code`" + `, people at ` + "`detail`" + `, and ` + "`request_id`" + ` finds the request in the server's log.
Lists are pages: ask again with ` + "`cursor`" + ` set to ` + "`next_cursor`" + ` until that is null.
A POST that is repeated with the same ` + "`Idempotency-Key`" + ` and body within 24 hours is answered as the first time.`

// openAPIConfig describes the API as a whole. Nothing of huma's own is served: neither
// its pages, which load scripts from elsewhere, nor its schemas.
func openAPIConfig(a *API, version string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "onair", Version: version, Description: about},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", Description: "The admin token."},
					"basic":  {Type: "http", Scheme: "basic", Description: "The admin token in place of the id or the secret; the other one empty."},
				},
			},
			Security: []map[string][]string{{"bearer": {}}, {"basic": {}}},
			Tags: []*huma.Tag{
				{Name: tagStreams, Description: "A live stream is a place to publish to, again and again, under one secret stream key; it is watched under its playback ids."},
				{Name: tagAssets, Description: "An asset is the recording of one broadcast of a live stream with `record` on. It is watched under playback ids of its own, while it is recorded and after that, and stays when its live stream is deleted."},
				{Name: tagChat, Description: "Each live stream has a chat. Viewers are in it over a WebSocket that speaks the JSON protocol of Centrifuge, as guests or with a token that your server asked for."},
				{Name: tagEvents, Description: "What happens, as it happens."},
				{Name: tagPlay, Description: "What a player asks for; needs no token."},
				{Name: tagServer, Description: "The server and the session with it."},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{a.transform},
	}
}

// schemaName keeps the doctor's words, and those of events, apart from the API's own: a
// HealthSource is a publisher, a Source an address.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case reflect.TypeFor[doctor.Report]().PkgPath():
		return "Health" + name
	case reflect.TypeFor[event.StreamActive]().PkgPath():
		return "Event" + name
	}
	return name
}

// register adds an operation. kinds are the faults it may answer with besides those
// that every operation of its shape has.
func register[I, O any](a *API, op huma.Operation, kinds []fault.Kind, h func(context.Context, *I) (*O, error)) {
	codes := map[int]bool{http.StatusInternalServerError: true, http.StatusServiceUnavailable: true, http.StatusGatewayTimeout: true}
	if op.Metadata[public] == true {
		op.Security = []map[string][]string{} // none, not even that of the document
	} else {
		codes[http.StatusUnauthorized], codes[http.StatusTooManyRequests] = true, true
	}
	in := reflect.TypeFor[I]()
	if in.NumField() > 0 {
		codes[http.StatusUnprocessableEntity] = true
	}
	if _, ok := in.FieldByName("Body"); ok {
		for _, c := range []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusUnsupportedMediaType} {
			codes[c] = true
		}
	}
	if op.Method != http.MethodGet {
		codes[http.StatusForbidden], codes[http.StatusRequestEntityTooLarge] = true, true
	}
	if op.Method == http.MethodPost {
		kinds = append(slices.Clone(kinds), fault.Conflict)
		codes[http.StatusUnprocessableEntity] = true
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header",
			Description: "Makes the request safe to repeat: with the same key and body it is answered as the first time, for 24 hours.",
			Schema:      &huma.Schema{Type: huma.TypeString, MaxLength: ptr(maxKeyLen), MinLength: ptr(1)},
		})
	}
	for _, k := range kinds {
		codes[statuses[k]] = true
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	registry := a.huma.OpenAPI().Components.Schemas
	schema := registry.Schema(reflect.TypeFor[problem](), true, "Problem")
	for _, c := range slices.Sorted(maps.Keys(codes)) {
		op.Responses[strconv.Itoa(c)] = &huma.Response{
			Description: http.StatusText(c),
			Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
		}
	}
	op.MaxBodyBytes = maxBody + 1 // readBody was there before and is stricter
	op.BodyReadTimeout = -1       // as above: the body is in memory
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, problemOf(ctx, err)
		}
		return out, nil
	})
}

func ptr[T any](v T) *T { return &v }

// finishSpec renders the document once all operations are known, and serves it.
func (a *API) finishSpec() error {
	doc := a.huma.OpenAPI()
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own, which no operation answers
		delete(doc.Components.Schemas.Map(), unused)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	a.spec = spec{body: b, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	recordingMux{a}.HandleFunc("GET /v1/openapi.json", a.serveSpec)
	return nil
}

func (a *API) serveSpec(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.spec.etag)
	if r.Header.Get("If-None-Match") == a.spec.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(a.spec.body) // the client may be gone
}
