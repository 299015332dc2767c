// Package storetest says what every database under store must do. The suite runs on
// SQLite with the other tests, and on PostgreSQL where a server is given.
package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// Clock is a clock that stands still until it is moved.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock returns a clock at an arbitrary time.
func NewClock() *Clock { return &Clock{t: time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// Opener opens an empty database with that clock, keeping at most keys answers, and
// closes it when the test ends.
type Opener func(t *testing.T, now func() time.Time, keys int) *store.Store

// Test runs the suite.
func Test(t *testing.T, open Opener) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"create and read", createAndRead},
		{"keys", keys},
		{"update", update},
		{"delete", remove},
		{"pages", pages},
		{"playback ids", playbackIDs},
		{"ways in and out", ways},
		{"targets", targets},
		{"pulls", pulls},
		{"assets", assets},
		{"assets are watched", assetPlayback},
		{"assets are bounded", assetBounds},
		{"pages of assets", assetPages},
		{"assets of streams", streamAssets},
		{"what is kept", keeping},
		{"clips", clips},
		{"usage", usage},
		{"deleted assets", deletedAssets},
		{"the last replay", lastReplay},
		{"chat", chat},
		{"concurrent chat", concurrentChat},
		{"hostile ids", hostileIDs},
		{"settings", settings},
		{"idempotency", idempotency},
		{"idempotency expires", idempotencyExpires},
		{"idempotency is bounded", idempotencyBounded},
		{"one claim wins", oneClaimWins},
		{"concurrent upserts", concurrentUpserts},
		{"concurrent updates", concurrentUpdates},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open) })
	}
}

func simple(t *testing.T, open Opener) (*store.Store, *Clock) {
	c := NewClock()
	return open(t, c.Now, 100), c
}

func sample() store.LiveStream {
	return store.LiveStream{
		Title: "Ünïcode 🎬 'quoted' \"title\"", LatencyMode: "low", ReconnectWindow: time.Minute, Record: true,
		Metadata: map[string]string{"user": "42", "ключ": "значение"},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Errorf("got error %v, want a fault of kind %s", err, k)
	}
}

func create(t *testing.T, s *store.Store, policies ...store.Policy) store.LiveStream {
	t.Helper()
	return must[store.LiveStream](t)(s.CreateLiveStream(t.Context(), sample(), policies))
}

func createAndRead(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l := create(t, s, store.Public, store.Signed)
	for _, id := range []struct{ got, prefix string }{{l.ID, "ls_"}, {l.StreamKey, "sk_"}, {l.PlaybackIDs[0].ID, "pb_"}} {
		if !strings.HasPrefix(id.got, id.prefix) || len(id.got) != 29 || id.got != strings.ToLower(id.got) {
			t.Errorf("made the id %q, want %s and 26 lower-case characters", id.got, id.prefix)
		}
	}
	want := sample()
	want.ID, want.StreamKey, want.PlaybackIDs = l.ID, l.StreamKey, l.PlaybackIDs
	want.CreatedAt, want.UpdatedAt = c.Now(), c.Now()
	if d := cmp.Diff(want, l); d != "" {
		t.Errorf("created (-want +got):\n%s", d)
	}
	if got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); !cmp.Equal(got, l) {
		t.Errorf("read back (-want +got):\n%s", cmp.Diff(l, got))
	}
	empty := must[store.LiveStream](t)(s.CreateLiveStream(t.Context(), store.LiveStream{}, nil))
	got := must[store.LiveStream](t)(s.LiveStream(t.Context(), empty.ID))
	if got.Metadata == nil || len(got.PlaybackIDs) != 0 {
		t.Errorf("an empty stream reads as %+v", got)
	}
	_, err := s.LiveStream(t.Context(), "ls_none")
	wantKind(t, err, fault.NotFound)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func keys(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	l, other := create(t, s), create(t, s)
	if got := must[store.LiveStream](t)(s.LiveStreamByKey(t.Context(), l.StreamKey)); got.ID != l.ID {
		t.Errorf("the key of %s found %s", l.ID, got.ID)
	}
	n := must[store.LiveStream](t)(s.ResetStreamKey(t.Context(), l.ID))
	if n.StreamKey == l.StreamKey {
		t.Error("the key did not change")
	}
	_, err := s.LiveStreamByKey(t.Context(), l.StreamKey)
	wantKind(t, err, fault.NotFound)
	for _, k := range []string{n.StreamKey, other.StreamKey} {
		must[store.LiveStream](t)(s.LiveStreamByKey(t.Context(), k))
	}
	for _, k := range []string{"", "sk_", n.StreamKey[:28], n.StreamKey + "a", strings.ToUpper(n.StreamKey)} {
		_, err := s.LiveStreamByKey(t.Context(), k)
		wantKind(t, err, fault.NotFound)
	}
}

func update(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l, other := create(t, s, store.Public), create(t, s)
	c.Advance(time.Second)
	got := must[store.LiveStream](t)(s.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error {
		l.Title, l.Disabled, l.LatencyMode = "new", true, "ultra"
		l.ID, l.PlaybackIDs, l.CreatedAt = "ls_other", nil, time.Time{} // must not matter
		delete(l.Metadata, "user")
		return nil
	}))
	want := l
	want.Title, want.Disabled, want.LatencyMode, want.UpdatedAt = "new", true, "ultra", c.Now()
	want.Metadata = map[string]string{"ключ": "значение"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("updated (-want +got):\n%s", d)
	}
	if got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); !cmp.Equal(got, want) {
		t.Errorf("read back (-want +got):\n%s", cmp.Diff(want, got))
	}
	if got := must[store.LiveStream](t)(s.LiveStream(t.Context(), other.ID)); !cmp.Equal(got, other) {
		t.Errorf("another stream changed:\n%s", cmp.Diff(other, got))
	}
	no := fault.New(fault.Conflict, "test", "", "no", "")
	_, err := s.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error { l.Title = "lost"; return no })
	wantKind(t, err, fault.Conflict)
	if got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID)); got.Title != "new" {
		t.Error("a refused update was written")
	}
	_, err = s.UpdateLiveStream(t.Context(), "ls_none", func(*store.LiveStream) error { return nil })
	wantKind(t, err, fault.NotFound)
	c.Advance(-time.Hour) // a clock set back
	got = must[store.LiveStream](t)(s.UpdateLiveStream(t.Context(), l.ID, func(*store.LiveStream) error { return nil }))
	if got.UpdatedAt.Before(want.UpdatedAt) {
		t.Error("updated_at went backwards")
	}
}

func remove(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	l, other := create(t, s, store.Public), create(t, s, store.Public)
	gone := must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), l.ID))
	if d := cmp.Diff(l, gone); d != "" {
		t.Errorf("deleted (-want +got):\n%s", d)
	}
	_, err := s.LiveStream(t.Context(), l.ID)
	wantKind(t, err, fault.NotFound)
	_, err = s.LiveStreamByKey(t.Context(), l.StreamKey)
	wantKind(t, err, fault.NotFound)
	_, err = s.Playback(t.Context(), l.PlaybackIDs[0].ID)
	wantKind(t, err, fault.NotFound)
	_, err = s.DeleteLiveStream(t.Context(), l.ID)
	wantKind(t, err, fault.NotFound)
	must[store.Playback](t)(s.Playback(t.Context(), other.PlaybackIDs[0].ID))
}

func pages(t *testing.T, open Opener) {
	s, c := simple(t, open)
	want := map[string]bool{}
	for i := range 11 {
		l := create(t, s, store.Public)
		want[l.ID] = true
		if i%3 == 0 { // streams of one moment, ids must break the tie
			c.Advance(100 * time.Millisecond)
		}
	}
	for _, limit := range []int{1, 2, 3, 10, 11, 12} {
		var got []store.LiveStream
		seen := map[string]bool{}
		for cursor := ""; ; {
			page, next, err := s.LiveStreams(t.Context(), limit, cursor)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > limit || (next != "" && len(page) != limit) {
				t.Fatalf("limit %d: a page of %d with next %q", limit, len(page), next)
			}
			got = append(got, page...)
			if cursor = next; next == "" {
				break
			}
			if len(got) > 11 {
				t.Fatal("the pages do not end")
			}
		}
		for i, l := range got {
			seen[l.ID] = true
			if len(l.PlaybackIDs) != 1 {
				t.Errorf("a listed stream has playback ids %v", l.PlaybackIDs)
			}
			if i > 0 && l.CreatedAt.After(got[i-1].CreatedAt) {
				t.Error("the list is not newest first")
			}
		}
		if len(got) != 11 || !cmp.Equal(seen, want) {
			t.Errorf("limit %d lists %d streams, %d different, want 11", limit, len(got), len(seen))
		}
	}
	first, next, err := s.LiveStreams(t.Context(), 4, "")
	if err != nil {
		t.Fatal(err)
	}
	// The stream the cursor points at goes, a new one comes: nothing is skipped or twice.
	must[store.LiveStream](t)(s.DeleteLiveStream(t.Context(), first[3].ID))
	c.Advance(time.Second)
	create(t, s)
	rest, _, err := s.LiveStreams(t.Context(), 100, next)
	if err != nil || len(rest) != 7 {
		t.Errorf("after the cursor come %d streams, %v; want 7", len(rest), err)
	}
	for _, bad := range []string{"x", "!!!!", "AAAA", strings.Repeat("A", 5000), "MS4nOyBEUk9Q"} {
		_, _, err := s.LiveStreams(t.Context(), 1, bad)
		wantKind(t, err, fault.Invalid)
	}
}

func playbackIDs(t *testing.T, open Opener) {
	s, c := simple(t, open)
	l, other := create(t, s, store.Public), create(t, s)
	c.Advance(time.Second)
	second := must[store.PlaybackID](t)(s.AddPlaybackID(t.Context(), l.ID, store.Signed))
	got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID))
	if d := cmp.Diff([]store.PlaybackID{l.PlaybackIDs[0], second}, got.PlaybackIDs); d != "" {
		t.Errorf("playback ids (-want +got):\n%s", d)
	}
	p := must[store.Playback](t)(s.Playback(t.Context(), second.ID))
	want := store.Playback{ID: second.ID, Policy: store.Signed, StreamID: l.ID, Title: l.Title, LatencyMode: "low"}
	if d := cmp.Diff(want, p); d != "" {
		t.Errorf("playback (-want +got):\n%s", d)
	}
	wantKind(t, s.RemovePlaybackID(t.Context(), other.ID, second.ID), fault.NotFound)
	if err := s.RemovePlaybackID(t.Context(), l.ID, second.ID); err != nil {
		t.Error(err)
	}
	wantKind(t, s.RemovePlaybackID(t.Context(), l.ID, second.ID), fault.NotFound)
	wantKind(t, s.RemovePlaybackID(t.Context(), "ls_none", second.ID), fault.NotFound)
	_, err := s.AddPlaybackID(t.Context(), "ls_none", store.Public)
	wantKind(t, err, fault.NotFound)
	for range store.MaxPlaybackIDs - 1 {
		must[store.PlaybackID](t)(s.AddPlaybackID(t.Context(), l.ID, store.Public))
	}
	_, err = s.AddPlaybackID(t.Context(), l.ID, store.Public)
	wantKind(t, err, fault.Conflict)
	_, err = s.CreateLiveStream(t.Context(), sample(), make([]store.Policy, store.MaxPlaybackIDs+1))
	wantKind(t, err, fault.Conflict)
}

// hostileIDs asks with what encoders and browsers can send: each is just unknown, on
// every database.
func hostileIDs(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	l := create(t, s, store.Public)
	for _, id := range []string{
		"", ".", "..", "../../etc/passwd", `..\..\x`, "..%2f", "%2e%2e", "\x00", "ls_\x00", "\xff\xfe", "/etc/passwd",
		"CON", "a\u2215b", "trailing.", "'; DROP TABLE live_streams; --", "%", "_", strings.Repeat("a", 4096),
	} {
		_, err := s.LiveStream(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		_, err = s.LiveStreamByKey(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		_, err = s.Playback(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		_, err = s.DeleteLiveStream(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		wantKind(t, s.RemovePlaybackID(t.Context(), l.ID, id), fault.NotFound)
		wantKind(t, s.RemoveTarget(t.Context(), l.ID, id), fault.NotFound)
		_, err = s.Target(t.Context(), l.ID, id)
		wantKind(t, err, fault.NotFound)
		_, err = s.Asset(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		_, err = s.DeleteAsset(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		_, err = s.CreateAsset(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		if as, err := s.StreamAssets(t.Context(), id); err != nil || len(as) != 0 {
			t.Errorf("the assets of %q: %v, %v", id, as, err)
		}
		if ts, err := s.Targets(t.Context(), id); err != nil || len(ts) != 0 {
			t.Errorf("the targets of %q: %v, %v", id, ts, err)
		}
	}
	must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID))
	// A key in the place of an id is not repeated by the error.
	_, byID := s.LiveStream(t.Context(), l.StreamKey)
	_, byPlayback := s.Playback(t.Context(), l.StreamKey)
	for _, err := range []error{byID, byPlayback, s.RemovePlaybackID(t.Context(), l.StreamKey, l.StreamKey)} {
		wantKind(t, err, fault.NotFound)
		if err != nil && strings.Contains(err.Error(), l.StreamKey) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

func settings(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	if _, ok, err := s.Setting(t.Context(), "a"); ok || err != nil {
		t.Errorf("a setting nobody made: %v, %v", ok, err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	kept, made := map[string]int{}, 0
	for i := range 8 {
		wg.Go(func() {
			v, mine, err := s.InitSetting(t.Context(), "a", fmt.Sprint(i))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			kept[v]++
			if mine {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 || len(kept) != 1 {
		t.Errorf("%d of 8 made the setting, values %v", made, kept)
	}
	for range 2 {
		if err := s.SetSetting(t.Context(), "a", "z"); err != nil {
			t.Fatal(err)
		}
	}
	if v, ok, err := s.Setting(t.Context(), "a"); v != "z" || !ok || err != nil {
		t.Errorf("read %q, %v, %v", v, ok, err)
	}
}

func concurrentUpserts(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				if err := s.SetSetting(t.Context(), fmt.Sprint(i%10), fmt.Sprint(g, i)); err != nil {
					t.Errorf("upsert: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func concurrentUpdates(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	l := create(t, s)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				_, err := s.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error {
					l.Metadata[fmt.Sprint(g, "-", i)] = "x"
					return nil
				})
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := must[store.LiveStream](t)(s.LiveStream(t.Context(), l.ID))
	if len(got.Metadata) != 2+8*20 {
		t.Errorf("%d of %d changes are there", len(got.Metadata)-2, 8*20)
	}
}
