package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/record"
)

// emptied is a library from which all can be deleted.
type emptied struct{ err error }

func (emptied) Asset(string) (*record.Asset, bool)     { return nil, false }
func (e emptied) Delete(context.Context, string) error { return e.err }

// recorded makes a live stream and the recordings of some broadcasts.
func recorded(t *testing.T, broadcasts int) (r *replays, streamID string, ids []string) {
	t.Helper()
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	now := time.Unix(1_772_366_400, 0)
	cfg.Now = func() time.Time {
		now = now.Add(time.Second)
		return now
	}
	st, err := store.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	stream, err := st.CreateLiveStream(t.Context(), store.LiveStream{Record: true, LatencyMode: "low"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range broadcasts {
		a, err := st.CreateAsset(t.Context(), stream.ID)
		if err == nil {
			_, err = st.KeepRecorded(t.Context(), a.ID, store.Recorded{Status: store.AssetReady, Duration: time.Minute})
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	return &replays{store: st}, stream.ID, ids
}

func (r *replays) wantLast(t *testing.T, streamID, want string) {
	t.Helper()
	got, err := r.last(t.Context(), streamID)
	if got != want || (err != nil) != (want == "") || err != nil && !fault.Is(err, fault.NotFound) {
		t.Fatalf("the last recording is %q, not %q: %v", got, want, err)
	}
}

// TestDeletedRecordingsAreNotReplayed deletes what a stream was being recorded as last.
func TestDeletedRecordingsAreNotReplayed(t *testing.T) {
	for _, err := range []error{nil, fault.New(fault.NotFound, "delete", "", "there is none", "")} {
		r, stream, ids := recorded(t, 2)
		r.set(stream, ids[1], -1)
		r.wantLast(t, stream, ids[1])
		if _, err := r.store.DeleteAsset(t.Context(), ids[1]); err != nil {
			t.Fatal(err)
		}
		if err := (assets{emptied{err}, r}).Delete(t.Context(), ids[1]); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := r.active(stream); ok {
			t.Error("playlists go on listing it")
		}
		r.wantLast(t, stream, ids[0])
	}
}

// TestReplayedIsNoClip makes many clips of a stream's recording, which are newer.
func TestReplayedIsNoClip(t *testing.T) {
	r, stream, ids := recorded(t, 1)
	for range 30 {
		begin := time.Unix(1_772_366_400, 0).UTC()
		if _, err := r.store.CreateClip(t.Context(), store.NewClip{Clip: store.Clip{Of: ids[0], Start: begin, End: begin.Add(time.Second)}}); err != nil {
			t.Fatal(err)
		}
	}
	r.wantLast(t, stream, ids[0])
}

// TestReplayedIsLookedUpOnce asks for what was recorded by an earlier server, and for what was
// not recorded, until something changes.
func TestReplayedIsLookedUpOnce(t *testing.T) {
	r, stream, ids := recorded(t, 1)
	r.wantLast(t, stream, ids[0])
	if _, err := r.store.CreateAsset(t.Context(), stream); err != nil { // behind its back
		t.Fatal(err)
	}
	r.wantLast(t, stream, ids[0])
	if _, _, ok := r.active(stream); ok || !r.recorded(t.Context(), stream) {
		t.Error("it is not as it was recorded: without a past")
	}
	r.set(stream, "as_next", 0)
	r.wantLast(t, stream, "as_next")

	r, stream, _ = recorded(t, 0)
	r.wantLast(t, stream, "")
	changes := r.changes
	r.set(stream, "as_first", 0)
	r.unset(stream)
	r.remember(stream, replayed{asset: "as_outdated"}, changes)
	r.wantLast(t, stream, "")
	if r.recorded(t.Context(), stream) {
		t.Error("nothing is recorded")
	}
}
