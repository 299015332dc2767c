package hls

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/pack"
)

type elsewhere struct{}

func (elsewhere) StreamOf(context.Context, string) (string, error) { return "", ErrElsewhere }

// TestOthersServeWhatIsNoLiveStream: their answer is the whole answer, and without others
// there is nothing.
func TestOthersServeWhatIsNoLiveStream(t *testing.T) {
	cfg := DefaultConfig()
	h := NewHandler(cfg, pack.New(pack.DefaultConfig(), nil, slog.New(slog.DiscardHandler), nil), elsewhere{}, nil,
		audience.New(cfg.Audience()), slog.New(slog.DiscardHandler), nil)
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/hls/pb_recording/index.m3u8", nil))
		return w
	}
	if w := get(); w.Code != http.StatusNotFound {
		t.Errorf("without others: %d", w.Code)
	}
	h.SetOthers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	if w := get(); w.Code != http.StatusTeapot || w.Body.String() != "/hls/pb_recording/index.m3u8" || w.Header().Get("Cache-Control") != "" {
		t.Errorf("others: %d %v %q", w.Code, w.Header(), w.Body)
	}
	// An answer that is used again forgets it.
	a := new(Answer)
	h.Answer(t.Context(), Request{Path: "/hls/pb_recording/index.m3u8"}, a)
	if !a.Elsewhere {
		t.Error("it is answered here")
	}
	if a.Reset(); a.Elsewhere {
		t.Error("it remembers")
	}
}
