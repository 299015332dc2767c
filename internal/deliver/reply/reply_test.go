package reply

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"onair/internal/fault"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "a": true, "pb_1-A": true, "a/b": false, "a.b": false, "ä": false,
		strings.Repeat("a", MaxName): true, strings.Repeat("a", MaxName+1): false,
	} {
		if WellFormed(name) != want {
			t.Errorf("%q: not %v", name, want)
		}
	}
}

func TestEncodings(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "br": false, "gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"*, gzip;q=0": false, "*;q=0, gzip": true, "gzip;q=0, *": false, "br, *;q=0": false, "gzip, *;q=0": true,
	} {
		if AcceptsGzip(header) != want {
			t.Errorf("%q: not %v", header, want)
		}
	}
}

func TestProblems(t *testing.T) {
	status, code, detail := Of(fault.New(fault.TooMany, "play", "", "it is full", "Wait."))
	if status != http.StatusTooManyRequests || code != fault.TooMany || detail != "play: it is full. Wait." {
		t.Errorf("%d %s %s", status, code, detail)
	}
	var body map[string]any
	if err := json.Unmarshal(Problem(status, code, detail), &body); err != nil || body["code"] != "too_many" || body["status"] != 429.0 || body["detail"] != detail {
		t.Errorf("%v: %v", err, body)
	}
	// What is no fault may name files and hosts.
	if status, code, detail = Of(errors.New("open /secret")); status != http.StatusInternalServerError || code != fault.Internal || strings.Contains(detail, "secret") {
		t.Errorf("%d %s %s", status, code, detail)
	}
}

func TestPreflight(t *testing.T) {
	w := httptest.NewRecorder()
	Preflight(w)
	head := w.Header()
	if w.Code != http.StatusNoContent || head.Get("Access-Control-Allow-Origin") != "*" || head.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" ||
		!strings.Contains(head.Get("Access-Control-Allow-Headers"), "Range, Authorization") || head.Get("Access-Control-Max-Age") == "" {
		t.Errorf("%d %v", w.Code, head)
	}
}
