package replay

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/record"
)

// While as many parts are made as may be, those who ask for others wait, and are refused when
// too many do; what is not a part, or was made already, is there all the time.
func TestPartsAreMadeInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const segments = maxWaiting + 4
		r := newRig(t, twoTracks(record.Ready, segments))
		path := func(i int) string {
			return child + "v0/index.m3u8" + part{from: firstNumber + 1 + int64(i)}.query()
		}
		if w := r.get(path(0)); w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
		for range maxParts {
			if err := r.h.parts.take(); err != nil {
				t.Fatal(err)
			}
		}
		answers := make([]*httptest.ResponseRecorder, maxWaiting)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = r.get(path(1 + i)) })
		}
		synctest.Wait()
		for _, path := range []string{path(1 + maxWaiting), "/hls/" + playbackID + "/index.m3u8?start=3&end=5"} {
			w := r.get(path)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "Ask again in a second") {
				t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
			}
		}
		if n := testutil.ToFloat64(r.h.m.refused); n != 2 {
			t.Errorf("%v were refused", n)
		}
		for _, path := range []string{path(0), child + "v0/index.m3u8", "/hls/" + playbackID + "/index.m3u8"} {
			if w := r.get(path); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		for range maxParts {
			r.h.parts.give()
		}
		all.Wait()
		for i, w := range answers {
			if n := len(listed.FindAllString(w.Body.String(), -1)); w.Code != http.StatusOK || n != segments-2-i {
				t.Errorf("%d: %d with %d segments", i, w.Code, n)
			}
		}
		if w := r.get(path(1 + maxWaiting)); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}

// Files are computed in turns, too.
func TestFilesAreMadeInTurns(t *testing.T) {
	_, f, _ := newShelf(t)
	for range maxBuilds {
		if err := f.turns.take(); err != nil {
			t.Fatal(err)
		}
	}
	f.turns.waiting.Store(maxWaiting)
	w := download(t, f, files+"download.mp4")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || testutil.ToFloat64(f.m.refused) != 1 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	f.turns.waiting.Store(0)
	f.turns.give()
	if w := download(t, f, files+"download.mp4"); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}
