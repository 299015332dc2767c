package retention

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recordings plays the storage.
type recordings struct {
	mu    sync.Mutex
	there map[string]store.Recorded
	fail  map[string]error
	tried []string
}

func (r *recordings) Snapshot(id string) (store.Recorded, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.there[id]
	return x, ok
}

func (r *recordings) Delete(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried = append(r.tried, id)
	if err := r.fail[id]; err != nil {
		return err
	}
	delete(r.there, id)
	return nil
}

type rig struct {
	*testing.T
	store     *store.Store
	rec       *recordings
	bus       *event.Bus
	forgotten []string
	log       bytes.Buffer
	assets    Assets
	keeper    *Keeper
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, rec: &recordings{there: map[string]store.Recorded{}, fail: map[string]error{}}, bus: event.NewBus()}
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	var err error
	if r.store, err = store.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	r.assets = Assets{Store: r.store, Recordings: r.rec, Forget: func(ids ...string) { r.forgotten = append(r.forgotten, ids...) }, Bus: r.bus}
	r.keeper = New(r.assets, slog.New(slog.NewTextHandler(&r.log, nil)), prometheus.NewRegistry())
	return r
}

func (r *rig) stream(keep store.Retention) string {
	r.Helper()
	l, err := r.store.CreateLiveStream(r.Context(), store.LiveStream{Retention: keep}, []store.Policy{store.Public})
	if err != nil {
		r.Fatal(err)
	}
	return l.ID
}

// begin begins an asset of so many bytes.
func (r *rig) begin(streamID string, bytes int64) store.Asset {
	r.Helper()
	a, err := r.store.CreateAsset(r.Context(), streamID)
	if err != nil {
		r.Fatal(err)
	}
	r.rec.mu.Lock()
	defer r.rec.mu.Unlock()
	r.rec.there[a.ID] = store.Recorded{Bytes: bytes}
	return a
}

// ready makes an asset that is over.
func (r *rig) ready(streamID string, bytes int64) store.Asset {
	r.Helper()
	a := r.begin(streamID, bytes)
	if _, err := r.store.KeepRecorded(r.Context(), a.ID, store.Recorded{Status: store.AssetReady, Bytes: bytes}); err != nil {
		r.Fatal(err)
	}
	return a
}

func (r *rig) pass(now time.Time) {
	r.Helper()
	if err := r.keeper.pass(r.Context(), now); err != nil {
		r.Error(err)
	}
}

// left returns which of assets there are, as text.
func (r *rig) left(assets ...store.Asset) (out string) {
	r.Helper()
	for _, a := range assets {
		got, err := r.store.Asset(r.Context(), a.ID)
		_, there := r.rec.Snapshot(a.ID)
		switch {
		case fault.Is(err, fault.NotFound):
			out += "forgotten "
		case err != nil:
			r.Fatal(err)
		case (got.Status == store.AssetDeleted) == there:
			out += string(got.Status) + "? "
		default:
			out += string(got.Status) + " "
		}
	}
	return strings.TrimSpace(out)
}

func TestKeeperRemovesWhatIsOver(t *testing.T) {
	r := newRig(t)
	for1 := r.stream(store.Retention{Days: 1})
	small := r.stream(store.Retention{Bytes: 100})
	all := r.stream(store.Retention{})
	listener := r.bus.Listen()
	old := r.ready(for1, 10)
	stays := r.ready(all, 1000)
	a, b, c := r.ready(small, 60), r.ready(small, 50), r.ready(small, 30)
	r.pass(time.Now())
	if got := r.left(old, stays, a, b, c); got != "ready ready deleted ready ready" {
		t.Errorf("after the first pass: %s", got)
	}
	// What is being recorded counts, and stays.
	d := r.begin(small, 500)
	r.pass(time.Now().Add(23 * time.Hour))
	if got := r.left(old, stays, a, b, c, d); got != "ready ready deleted deleted deleted recording" {
		t.Errorf("during a broadcast: %s", got)
	}
	r.pass(time.Now().Add(25 * time.Hour))
	if got := r.left(old, stays); got != "deleted ready" {
		t.Errorf("a day later: %s", got)
	}
	want := []event.Event{
		event.AssetDeleted{StreamID: small, AssetID: a.ID, Reason: "bytes"}, event.AssetDeleted{StreamID: small, AssetID: b.ID, Reason: "bytes"},
		event.AssetDeleted{StreamID: small, AssetID: c.ID, Reason: "bytes"}, event.AssetDeleted{StreamID: for1, AssetID: old.ID, Reason: "days"},
	}
	var got []event.Event
	for range want {
		e, _, err := listener.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Event)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{a.PlaybackIDs[0].ID, b.PlaybackIDs[0].ID, c.PlaybackIDs[0].ID, old.PlaybackIDs[0].ID}, r.forgotten); diff != "" {
		t.Errorf("forgotten (-want +got):\n%s", diff)
	}
	if n, m := testutil.ToFloat64(r.keeper.removed.WithLabelValues("bytes")), testutil.ToFloat64(r.keeper.removed.WithLabelValues("days")); n != 3 || m != 1 {
		t.Errorf("counted %v for bytes and %v for days", n, m)
	}
}

// TestKeeperTriesAgain removes what is left of an asset that could not be removed, and
// forgets its name only then.
func TestKeeperTriesAgain(t *testing.T) {
	r := newRig(t)
	id := r.stream(store.Retention{Bytes: 1})
	a, b := r.ready(id, 10), r.ready(id, 10)
	r.rec.fail[a.ID] = fault.New(fault.Internal, "remove", "", "not a folder", "")
	r.pass(time.Now())
	if got := r.left(a, b); got != "deleted? deleted" {
		t.Errorf("one could not be removed: %s", got)
	}
	later := time.Now().Add(keepNames + time.Hour)
	r.pass(later)
	if got := r.left(a, b); got != "deleted? forgotten" {
		t.Errorf("a month later: %s", got)
	}
	r.rec.fail[a.ID] = nil
	r.pass(later)
	if got := r.left(a, b); got != "forgotten forgotten" {
		t.Errorf("when it could be: %s", got)
	}
	if n := testutil.ToFloat64(r.keeper.failed); n != 2 || !strings.Contains(r.log.String(), "not a folder") {
		t.Errorf("counted %v failures, logged %s", n, &r.log)
	}
}

// TestKeeperGivesUpForNow leaves the rest for later while the storage is away.
func TestKeeperGivesUpForNow(t *testing.T) {
	r := newRig(t)
	id := r.stream(store.Retention{Bytes: 1})
	a, b := r.ready(id, 10), r.ready(id, 10)
	away := fault.New(fault.Unavailable, "remove", "", "the bucket is away", "")
	r.rec.fail[a.ID], r.rec.fail[b.ID] = away, away
	for range 2 {
		if err := r.keeper.pass(t.Context(), time.Now()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
	}
	if got := r.left(a, b); got != "deleted? ready" || len(r.rec.tried) != 2 {
		t.Errorf("while it is away: %s, tried %v", got, r.rec.tried)
	}
	clear(r.rec.fail)
	r.pass(time.Now())
	if got := r.left(a, b); got != "deleted deleted" {
		t.Errorf("when it is back: %s", got)
	}
}

// TestPassIsBounded removes much in several passes.
func TestPassIsBounded(t *testing.T) {
	r := newRig(t)
	id := r.stream(store.Retention{Bytes: 5})
	for range maxRemoved + 7 {
		r.ready(id, 1)
	}
	for i, want := range []int64{7, 5, 5} {
		r.pass(time.Now())
		if u, err := r.store.StreamUsage(t.Context(), id); err != nil || u.Bytes != want {
			t.Errorf("pass %d leaves %+v, %v; want %d bytes", i, u, err, want)
		}
	}
}

func TestRemoveWithoutRecordings(t *testing.T) {
	r := newRig(t)
	a := r.ready(r.stream(store.Retention{Bytes: 1}), 10)
	r.assets.Recordings = nil
	if err := r.assets.Remove(t.Context(), a.ID, Requested); !fault.Is(err, fault.Disabled) {
		t.Errorf("got %v", err)
	}
	if err := New(r.assets, slog.New(slog.DiscardHandler), nil).pass(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
	if got := r.left(a); got != "ready" {
		t.Errorf("left: %s", got)
	}
	if u, over, err := r.assets.Look(t.Context(), a.LiveStreamID, store.Retention{Bytes: 1}, time.Now()); err != nil || u.Bytes != 10 || len(over) != 1 {
		t.Errorf("a look: %+v, %v, %v", u, over, err)
	}
}

func TestRunLooksNowAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		id := r.stream(store.Retention{Bytes: 1})
		a := r.ready(id, 10)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.keeper.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.left(a); got != "deleted" {
			t.Errorf("at the start: %s", got)
		}
		b := r.ready(id, 10)
		time.Sleep(every - 2*time.Minute)
		synctest.Wait()
		if got := r.left(b); got != "ready" {
			t.Errorf("before it looks again: %s", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := r.left(b); got != "deleted" {
			t.Errorf("when it looked again: %s", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.store.Close()
	})
}
