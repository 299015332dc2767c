package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"onair/internal/fault"
)

// Whoever asks for a file is not told to log in because the database does not say that
// everybody may have it.
func TestDownloadWhileTheDatabaseIsAway(t *testing.T) {
	b, _ := broadcastsOf(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	<-ctx.Done()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/assets/as_1/download.mp4", nil)
	const id = "as_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	if _, err := (downloads{nil, b.store}).admit(r, id); !fault.Is(err, fault.Timeout) && !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}
