package api

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// routeTable is every route and whether it needs the token. A route that is not here
// fails the tests: whoever adds one decides.
var routeTable = map[string]bool{
	"POST /v1/live-streams":                                      true,
	"GET /v1/live-streams":                                       true,
	"GET /v1/live-streams/{id}":                                  true,
	"PATCH /v1/live-streams/{id}":                                true,
	"DELETE /v1/live-streams/{id}":                               true,
	"POST /v1/live-streams/{id}/reset-stream-key":                true,
	"POST /v1/live-streams/{id}/enable":                          true,
	"POST /v1/live-streams/{id}/disable":                         true,
	"POST /v1/live-streams/{id}/complete":                        true,
	"POST /v1/live-streams/{id}/playback-ids":                    true,
	"DELETE /v1/live-streams/{id}/playback-ids/{playback_id}":    true,
	"GET /v1/live-streams/{id}/health":                           true,
	"GET /v1/live-streams/{id}/renditions":                       true,
	"POST /v1/live-streams/{id}/simulcast-targets":               true,
	"GET /v1/live-streams/{id}/chat":                             true,
	"PATCH /v1/live-streams/{id}/chat":                           true,
	"GET /v1/live-streams/{id}/chat/messages":                    true,
	"POST /v1/live-streams/{id}/chat/messages":                   true,
	"DELETE /v1/live-streams/{id}/chat/messages/{message_id}":    true,
	"PUT /v1/live-streams/{id}/chat/pin":                         true,
	"DELETE /v1/live-streams/{id}/chat/pin":                      true,
	"GET /v1/live-streams/{id}/chat/bans":                        true,
	"POST /v1/live-streams/{id}/chat/bans":                       true,
	"DELETE /v1/live-streams/{id}/chat/bans/{user_id}":           true,
	"POST /v1/live-streams/{id}/chat/tokens":                     true,
	"GET /v1/live-streams/{id}/simulcast-targets":                true,
	"GET /v1/live-streams/{id}/simulcast-targets/{target_id}":    true,
	"PATCH /v1/live-streams/{id}/simulcast-targets/{target_id}":  true,
	"DELETE /v1/live-streams/{id}/simulcast-targets/{target_id}": true,
	"GET /v1/assets":                                             true,
	"GET /v1/assets/{id}":                                        true,
	"PATCH /v1/assets/{id}":                                      true,
	"DELETE /v1/assets/{id}":                                     true,
	"POST /v1/clips":                                             true,
	"GET /v1/live-streams/{id}/storage":                          true,
	"GET /v1/storage":                                            true,
	"GET /v1/events":                                             true,
	"GET /v1/session":                                            true,
	"GET /v1/server":                                             true,
	"GET /v1/playback/{playback_id}":                             false,
	"GET /v1/openapi.json":                                       false,
}

func TestEveryRouteWantsTheToken(t *testing.T) {
	h := newHarness(t)
	l := h.create("")
	pb := l["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
	target := str(t, h.want(201, "POST", "/v1/live-streams/"+str(t, l, "id")+"/simulcast-targets", `{"url":"rtmp://h/x"}`), "id")
	for _, pattern := range h.api.patterns {
		guarded, ok := routeTable[pattern]
		if !ok {
			t.Errorf("%s is not in the table of routes", pattern)
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{id}", str(t, l, "id"), "{playback_id}", pb, "{target_id}", target, "{message_id}", "msg_x", "{user_id}", "u").Replace(path)
		body := ""
		if method == "POST" || method == "PATCH" {
			body = "{}"
		}
		for name, header := range map[string]string{
			"none": "", "wrong": "Bearer at_wrong", "wrong scheme": "Token " + h.token, "cut": "Bearer " + h.token[:20],
			"key": "Bearer " + str(t, l, "stream_key"), "basic both": "Basic " + b64("x:"+h.token), "basic broken": "Basic %%%",
		} {
			a := limitless{h}
			w := a.do(method, path, body, "Authorization", header)
			if guarded {
				p := decode(t, http.StatusUnauthorized, w)
				if p["code"] != "unauthorized" || w.Header().Get("WWW-Authenticate") == "" {
					t.Errorf("%s with %s: %v", pattern, name, p)
				}
			} else if w.Code != http.StatusOK {
				t.Errorf("%s with %s: status %d, want 200", pattern, name, w.Code)
			}
		}
	}
	if len(h.api.patterns) != len(routeTable) {
		t.Errorf("%d routes, %d in the table", len(h.api.patterns), len(routeTable))
	}
	h.want(200, "GET", "/v1/live-streams/"+str(t, l, "id"), "") // none of it got through
}

func TestTokenInEveryShape(t *testing.T) {
	h := newHarness(t)
	for _, header := range []string{"Bearer " + h.token, "bearer  " + h.token, "Basic " + b64(":"+h.token), "Basic " + b64(h.token+":"), "basic " + b64(h.token)} {
		if got := h.want(200, "GET", "/v1/session", "", "Authorization", header)["role"]; got != "owner" {
			t.Errorf("%.12s: role %v", header, got)
		}
	}
}

func TestTooManyWrongTokens(t *testing.T) {
	h := newHarness(t)
	for range 10 {
		h.want(401, "GET", "/v1/session", "", "Authorization", "Bearer wrong")
	}
	w := h.do("GET", "/v1/session", "", "Authorization", "Bearer wrong")
	p := decode(t, 429, w)
	if p["code"] != "too_many" || w.Header().Get("Retry-After") != "5" {
		t.Errorf("429 with Retry-After %q: %v", w.Header().Get("Retry-After"), p)
	}
	decode(t, 429, h.do("GET", "/v1/session", ""))
	r := h.request("GET", "/v1/session", "")
	r.RemoteAddr = "198.51.100.7:1234"
	decode(t, 200, h.serve(r))
}

func TestUnknownRoutesAreProblems(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/v1", "/v1/", "/v1/nothing", "/v1/live-streams/", "/v1/live-streams/x/nothing", "/v1/docs", "/v1/schemas/Problem.json", "/v1/openapi.yaml", "/v1/openapi-3.0.json"} {
		if p := h.want(404, "GET", path, ""); p["code"] != "not_found" {
			t.Errorf("%s: %v", path, p)
		}
	}
	for _, m := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		w := h.do(m, "/v1/live-streams", "")
		p := decode(t, 405, w)
		if w.Header().Get("Allow") != "GET, HEAD, POST" || !strings.Contains(str(t, p, "detail"), "POST") {
			t.Errorf("%s: Allow %q, %v", m, w.Header().Get("Allow"), p)
		}
	}
	if w := h.do("HEAD", "/v1/nothing", ""); w.Code != 404 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d with %d bytes", w.Code, w.Body.Len())
	}
}

func TestAcceptDoesNotMatter(t *testing.T) {
	h := newHarness(t)
	for _, a := range []string{"text/html", "application/cbor", "*/*", "application/yaml;q=1", ";;;", "a/b;q=x"} {
		h.want(200, "GET", "/v1/session", "", "Accept", a)
		h.want(404, "GET", "/v1/live-streams/x", "", "Accept", a)
	}
}

func TestCrossOriginChangesAreRefused(t *testing.T) {
	h := newHarness(t, func(d *Deps) { d.PublicURL = "https://live.example.com/" })
	id := str(t, h.create(""), "id")
	for _, tt := range []struct {
		header []string
		status int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Origin", "https://evil.test"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Origin", "http://live.test:8080"}, 200},
		{[]string{"Origin", "https://live.example.com", "Sec-Fetch-Site", "cross-site"}, 200},
		{nil, 200}, // no browser
	} {
		w := h.do("POST", "/v1/live-streams/"+id+"/enable", "", tt.header...)
		if v := decode(t, tt.status, w); tt.status == 403 && v["code"] != "forbidden" {
			t.Errorf("%v: %v", tt.header, v)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v: another site may read the answer", tt.header)
		}
	}
	w := h.do("GET", "/v1/live-streams", "", "Origin", "https://evil.test")
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("another site may read the list")
	}
}

func TestOpenAPIDocument(t *testing.T) {
	h := newHarness(t)
	w := h.do("GET", "/v1/openapi.json", "", "Authorization", "")
	doc := decode(t, 200, w)
	if doc["openapi"] != "3.1.0" || doc["info"].(map[string]any)["version"] != "0.1.0-test" {
		t.Errorf("openapi %v, info %v", doc["openapi"], doc["info"])
	}
	tags := map[string]bool{}
	for _, tag := range doc["tags"].([]any) {
		tags[tag.(map[string]any)["name"].(string)] = true
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	checkRefs(t, doc, schemas)
	ids := map[string]bool{}
	var lines []string
	for path, item := range doc["paths"].(map[string]any) {
		for method, v := range item.(map[string]any) {
			op := v.(map[string]any)
			where := strings.ToUpper(method) + " " + path
			guarded, known := routeTable[where]
			if !known {
				t.Errorf("%s is described and not in the table of routes", where)
			}
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: operationId %q is missing or used twice", where, id)
			}
			ids[id] = true
			if s, _ := op["summary"].(string); s == "" {
				t.Errorf("%s has no summary", where)
			}
			opTags, _ := op["tags"].([]any)
			if len(opTags) != 1 || !tags[opTags[0].(string)] {
				t.Errorf("%s has tags %v", where, opTags)
			}
			if sec, own := op["security"].([]any); guarded == (own && len(sec) == 0) {
				t.Errorf("%s: guarded %v, described as %v", where, guarded, op["security"])
			}
			checkParameters(t, where, op)
			lines = append(lines, where+"  "+id+"  "+strings.Join(checkResponses(t, where, op, guarded), " "))
		}
	}
	slices.Sort(lines)
	golden(t, "paths.golden", strings.Join(lines, "\n")+"\n")
	names := make([]string, 0, len(schemas))
	for n := range schemas {
		names = append(names, n)
	}
	slices.Sort(names)
	golden(t, "schemas.golden", strings.Join(names, "\n")+"\n")

	if w := h.do("GET", "/v1/openapi.json", "", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("unchanged: %d with %d bytes", w.Code, w.Body.Len())
	}
}

func checkResponses(t *testing.T, where string, op map[string]any, guarded bool) []string {
	t.Helper()
	var codes []string
	for code, r := range op["responses"].(map[string]any) {
		codes = append(codes, code)
		if d, _ := r.(map[string]any)["description"].(string); d == "" {
			t.Errorf("%s: response %s has no description", where, code)
		}
		content, _ := r.(map[string]any)["content"].(map[string]any)
		if code >= "400" && (len(content) != 1 || content[problemType] == nil) {
			t.Errorf("%s: response %s is no problem: %v", where, code, content)
		}
	}
	for _, c := range []string{"500", "503"} {
		if !slices.Contains(codes, c) {
			t.Errorf("%s does not tell of %s", where, c)
		}
	}
	if guarded != slices.Contains(codes, "401") {
		t.Errorf("%s tells of %v", where, codes)
	}
	slices.Sort(codes)
	return codes
}

func checkParameters(t *testing.T, where string, op map[string]any) {
	t.Helper()
	var inPath []string
	ps, _ := op["parameters"].([]any)
	for _, p := range ps {
		m := p.(map[string]any)
		if d, _ := m["description"].(string); d == "" || m["schema"] == nil {
			t.Errorf("%s: parameter %v is not described", where, m["name"])
		}
		if m["in"] == "path" {
			inPath = append(inPath, "{"+m["name"].(string)+"}")
			if m["required"] != true {
				t.Errorf("%s: parameter %v must be required", where, m["name"])
			}
		}
	}
	if n := strings.Count(where, "{"); n != len(inPath) {
		t.Errorf("%s has %d path parameters described", where, len(inPath))
	}
	for _, p := range inPath {
		if !strings.Contains(where, p) {
			t.Errorf("%s has no %s", where, p)
		}
	}
}

// checkRefs follows every $ref in the document and wants every object schema closed
// and every type one of JSON Schema.
func checkRefs(t *testing.T, v any, schemas map[string]any) {
	t.Helper()
	switch x := v.(type) {
	case map[string]any:
		if ref, ok := x["$ref"].(string); ok {
			if _, ok := schemas[strings.TrimPrefix(ref, "#/components/schemas/")]; !ok {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, y := range x {
			checkRefs(t, y, schemas)
		}
	case []any:
		for _, y := range x {
			checkRefs(t, y, schemas)
		}
	}
}

// TestAnswersFitTheirDescription reads what is really answered against the schema.
func TestAnswersFitTheirDescription(t *testing.T) {
	h := newHarness(t)
	doc := h.want(200, "GET", "/v1/openapi.json", "")
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	l := h.create(`{"title":"x","metadata":{"a":"b"}}`)
	h.streams.goLive(str(t, l, "id"), 1)
	fits(t, schemas, "LiveStream", h.want(200, "GET", "/v1/live-streams/"+str(t, l, "id"), ""))
	fits(t, schemas, "Problem", h.want(404, "GET", "/v1/nothing", ""))
	fits(t, schemas, "Problem", h.want(422, "POST", "/v1/live-streams", `{"x":1}`))
}

func fits(t *testing.T, schemas map[string]any, name string, got map[string]any) {
	t.Helper()
	s, ok := schemas[name].(map[string]any)
	if !ok {
		t.Fatalf("no schema %s", name)
	}
	props := s["properties"].(map[string]any)
	for k := range got {
		if props[k] == nil {
			t.Errorf("%s.%s is answered and not described", name, k)
		}
	}
	req, _ := s["required"].([]any)
	for _, k := range req {
		if _, ok := got[k.(string)]; !ok {
			t.Errorf("%s.%s is required and not answered", name, k)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test -update to accept):\n%s", name, d)
	}
}

func TestDescriptionHasNoForeignHosts(t *testing.T) {
	h := newHarness(t)
	b, err := json.Marshal(h.want(200, "GET", "/v1/openapi.json", ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"unpkg", "http://", "https://"} {
		if strings.Contains(string(b), host) {
			t.Errorf("the description names %s", host)
		}
	}
}
