package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/fault"
)

// TestEveryKindHasOneStatus reads the kinds from the source of package fault, so that
// a new one cannot be forgotten here.
func TestEveryKindHasOneStatus(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../fault/fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		lit, ok := v.Values[0].(*ast.BasicLit)
		if id, isIdent := v.Type.(*ast.Ident); !ok || !isIdent || id.Name != "Kind" {
			return true
		}
		found++
		kind := fault.Kind(strings.Trim(lit.Value, `"`))
		status, ok := statuses[kind]
		if !ok || status < 400 || titles[kind] == "" {
			t.Errorf("%s has status %d and title %q", kind, status, titles[kind])
		}
		p := problemOf(t.Context(), fault.New(kind, "do", "it", "cause", "Hint."))
		if p.Status != status || p.Code != string(kind) {
			t.Errorf("%s becomes %+v", kind, p)
		}
		return true
	})
	if found != len(statuses) || found < 12 {
		t.Errorf("%d kinds in the source, %d in the table", found, len(statuses))
	}
}

func TestFailuresAreToldToTheAdministratorOnly(t *testing.T) {
	err := fault.New(fault.Unavailable, "open", "/var/lib/onair/onair.db", "locked", "Stop the other.")
	out := problemOf(t.Context(), err)
	if strings.Contains(out.Detail, "/var/lib") {
		t.Errorf("anybody reads %q", out.Detail)
	}
	admin := context.WithValue(t.Context(), infoKey{}, &info{admin: true})
	if out := problemOf(admin, err); !strings.Contains(out.Detail, "/var/lib") || !strings.Contains(out.Detail, "Stop the other.") {
		t.Errorf("the administrator reads %q", out.Detail)
	}
	if out := problemOf(admin, errors.New("raw")); out.Status != 500 || strings.Contains(out.Detail, "raw") {
		t.Errorf("a plain error reads %+v", out)
	}
}

func TestPanicIsAProblemAndLogged(t *testing.T) {
	h := newHarness(t)
	h.api.mux.HandleFunc("GET /v1/panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	h.api.mux.HandleFunc("GET /v1/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	p := h.want(500, "GET", "/v1/panic", "")
	if p["code"] != "internal" || strings.Contains(str(t, p, "detail"), "boom") {
		t.Errorf("the client reads %v", p)
	}
	if l := h.log.String(); !strings.Contains(l, "boom") || !strings.Contains(l, str(t, p, "request_id")) || !strings.Contains(l, "problem_test.go") {
		t.Errorf("the log has no panic with its request id and stack: %s", l)
	}
	defer func() {
		if recover() == nil {
			t.Error("an aborted answer did not stay aborted")
		}
	}()
	h.do("GET", "/v1/abort", "")
}

func TestRequestID(t *testing.T) {
	h := newHarness(t)
	for given, kept := range map[string]bool{"abc-DEF_1.2": true, "": false, "a b": false, "x\ninjected=1": false, strings.Repeat("a", 65): false, "<script>": false} {
		r := h.request("GET", "/v1/session", "")
		r.Header["X-Request-Id"] = []string{given}
		got := h.serve(r).Header().Get("X-Request-Id")
		if (got == given) != kept || got == "" {
			t.Errorf("given %q, answered %q", given, got)
		}
	}
}

func TestStoreAwayIsUnavailable(t *testing.T) {
	h := newHarness(t)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	p := h.want(500, "GET", "/v1/live-streams", "")
	if l := h.log.String(); !strings.Contains(l, "request failed") || !strings.Contains(l, str(t, p, "request_id")) {
		t.Errorf("the log does not tell: %s", l)
	}
	w := h.do("GET", "/v1/playback/pb_x", "", "Authorization", "")
	if strings.Contains(w.Body.String(), "database") || w.Code != 500 {
		t.Errorf("a viewer reads %d %s", w.Code, w.Body)
	}
}

func TestSlowAndBrokenBodies(t *testing.T) {
	h := newHarness(t)
	for status, body := range map[int]failingBody{
		http.StatusBadRequest:     {errors.New("connection reset")},
		http.StatusRequestTimeout: {fmt.Errorf("read tcp: %w", os.ErrDeadlineExceeded)},
	} {
		r := h.request("POST", "/v1/live-streams", "x", "Idempotency-Key", "k")
		r.Body = body
		if p := decode(t, status, h.serve(r)); strings.Contains(str(t, p, "detail"), "tcp") {
			t.Errorf("the client reads %v", p)
		}
	}
}

// failingBody breaks off as a connection does.
type failingBody struct{ err error }

func (b failingBody) Read([]byte) (int, error) { return 0, b.err }
func (failingBody) Close() error               { return nil }

func TestHumaErrorsKeepNoValues(t *testing.T) {
	h := newHarness(t)
	secret := "sk_this_is_a_secret_in_the_wrong_place"
	for _, body := range []string{`{"reconnect_window":"` + secret + `"}`, `{"latency_mode":"` + secret + `"}`, `{"title":["` + secret + `"]}`, `{"title":"` + secret} {
		w := h.do("POST", "/v1/live-streams", body)
		if w.Code < 400 || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	many := fromHuma(&huma.ErrorModel{Status: 422, Errors: make([]*huma.ErrorDetail, 0)})
	if many.Detail != "" || many.Code != "invalid" {
		t.Errorf("%+v", many)
	}
	var fields strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&fields, `"field%d":1,`, i)
	}
	w := h.do("POST", "/v1/live-streams", `{`+fields.String()+`"`+strings.Repeat("x", 30000)+`":1}`)
	if w.Code != 422 || w.Body.Len() > 8<<10 {
		t.Errorf("a hostile body is answered with %d and %d bytes", w.Code, w.Body.Len())
	}
}
