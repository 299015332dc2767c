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

// Parts of recordings are asked for in the query of playlists.
func TestPartsOfRecordingsAreElsewhere(t *testing.T) {
	cfg := DefaultConfig()
	h := NewHandler(cfg, pack.New(pack.DefaultConfig(), nil, slog.New(slog.DiscardHandler), nil), directoryOf{}, nil,
		audience.New(cfg.Audience()), slog.New(slog.DiscardHandler), nil)
	a := new(Answer)
	for _, tt := range []struct {
		path, query string
		want        bool
	}{
		{"/hls/pb/index.m3u8", "start=-30", true},
		{"/hls/pb/index.m3u8", "token=x&end=90", true},
		{"/hls/pb/0123456789abcdef/v0/index.m3u8", "from=12&to=14", true},
		{"/hls/pb/0123456789abcdef/v0/iframes.m3u8", "until=12", true},
		{"/hls/pb/0123456789abcdef/v0/s.m4s", "start=-30", false},
		{"/hls/pb/index.m3u8", "", false},
		{"/hls/pb/index.m3u8", "from=a-newsletter&to=you", false}, // where somebody comes from
		{"/hls/pb/0123456789abcdef/v0/index.m3u8", "start=1&end=2", false},
		{"/hls/pb/index.m3u8", "restart=1&x=start=2", false},
		{"/hls/pb/0123456789abcdef/v0/index.m3u8", "_HLS_msn=5&_HLS_part=2", false},
	} {
		req := Request{Path: tt.path, Query: tt.query}
		h.Answer(t.Context(), req, a)
		if a.Elsewhere != tt.want {
			t.Errorf("%s?%s: elsewhere is %v", tt.path, tt.query, a.Elsewhere)
		}
		if tt.want {
			if n := testing.AllocsPerRun(10, func() { h.Answer(t.Context(), req, a) }); n > 0 {
				t.Errorf("%s?%s: %v allocations", tt.path, tt.query, n)
			}
		}
	}
}

// directoryOf says that each id is of the live stream of the same name.
type directoryOf struct{}

func (directoryOf) StreamOf(_ context.Context, id string) (string, error) { return id, nil }
