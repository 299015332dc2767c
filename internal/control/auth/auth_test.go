package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"onair/internal/control/store"
	"onair/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAuth(t *testing.T) (*Auth, *store.Store, string) {
	t.Helper()
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	a, err := New(t.Context(), st, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return a, st, cfg.Dir
}

func newStream(t *testing.T, st *store.Store, policies ...store.Policy) store.LiveStream {
	t.Helper()
	l, err := st.CreateLiveStream(t.Context(), store.LiveStream{Title: "t", LatencyMode: "low"}, policies)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Errorf("got error %v, want a fault of kind %s", err, k)
	}
}

func TestAdmitPublish(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st)
	if got, err := a.AdmitPublish(t.Context(), l.StreamKey); err != nil || got.ID != l.ID {
		t.Errorf("the right key: %v, %v", got.ID, err)
	}
	_, err := st.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error { l.Disabled = true; return nil })
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.AdmitPublish(t.Context(), l.StreamKey)
	wantKind(t, err, fault.Disabled)
	if strings.Contains(err.Error(), l.StreamKey) || !strings.Contains(err.Error(), l.ID) {
		t.Errorf("%v must name the stream, not the key", err)
	}
	if n := testutil.ToFloat64(a.refused.WithLabelValues("stream_disabled")); n != 1 {
		t.Errorf("counted %v", n)
	}
}

// TestHostileKeysAreUnknown is row R8 of the threats: a key is never a path, a pattern
// or a statement; it is known or it is not.
func TestHostileKeysAreUnknown(t *testing.T) {
	a, st, dir := newAuth(t)
	l := newStream(t, st)
	before, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*"))
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{
		"", "../", "../../etc/passwd", "..%2f", "%2e%2e", `..\`, "\x00", l.StreamKey + "\x00", "\xff", strings.Repeat("k", 4096),
		".", "..", "CON", "a\u2215b", l.StreamKey + ".", "/etc/passwd", "sk_", "' OR 1=1 --", "%", l.ID, strings.ToUpper(l.StreamKey),
	}
	for _, k := range keys {
		_, err := a.AdmitPublish(t.Context(), k)
		wantKind(t, err, fault.Unauthorized)
		if want := "publish: the stream key is not known. Copy it again from"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("key %.20q is refused with %v", k, err)
		}
		if len(k) > 4 && strings.Contains(err.Error(), k) {
			t.Errorf("the refusal repeats the key: %v", err)
		}
	}
	if n := testutil.ToFloat64(a.refused.WithLabelValues("stream_key")); n != float64(len(keys)) {
		t.Errorf("counted %v of %d", n, len(keys))
	}
	after, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*"))
	if err != nil || len(after) != len(before) {
		t.Errorf("files appeared beside the data folder: %v, %v", after, err)
	}
}

func TestAdminTokenIsMadeOnce(t *testing.T) {
	a, st, dir := newAuth(t)
	if a.CheckAdmin("") {
		t.Error("no token administers")
	}
	token, created, err := a.EnsureAdminToken(t.Context(), "")
	if err != nil || !created || len(token) != 29 {
		t.Fatalf("first start: %q, %v, %v", token, created, err)
	}
	again, created, err := a.EnsureAdminToken(t.Context(), "")
	if err != nil || created || again != "" {
		t.Errorf("second start: %q, %v, %v", again, created, err)
	}
	for _, x := range []string{"", "x", token[:28], token + "x", strings.Repeat("x", 4096)} {
		if a.CheckAdmin(x) {
			t.Errorf("%.40q administers", x)
		}
	}
	if !a.CheckAdmin(token) {
		t.Error("the token does not administer")
	}
	second, err := New(t.Context(), st, a.log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if _, created, err := second.EnsureAdminToken(t.Context(), ""); err != nil || created || !second.CheckAdmin(token) {
		t.Errorf("another process does not know the token: %v, %v", created, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || bytes.Contains(b, []byte(token)) {
			t.Errorf("%s holds the token itself (%v)", f, err)
		}
	}
	fresh, err := a.ResetAdminToken(t.Context())
	if err != nil || a.CheckAdmin(token) || !a.CheckAdmin(fresh) {
		t.Errorf("after a reset: %v", err)
	}
}

func TestConfiguredAdminTokenOverrides(t *testing.T) {
	a, _, _ := newAuth(t)
	made, _, err := a.EnsureAdminToken(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	const own = "0123456789abcdef"
	if token, created, err := a.EnsureAdminToken(t.Context(), own); token != "" || created || err != nil {
		t.Errorf("configured: %q, %v, %v", token, created, err)
	}
	if a.CheckAdmin(made) || !a.CheckAdmin(own) {
		t.Error("the configured token does not override")
	}
	if _, _, err := a.EnsureAdminToken(t.Context(), ""); err != nil || !a.CheckAdmin(made) {
		t.Errorf("without it the made token must count again: %v", err)
	}
	for _, bad := range []string{"tiny-one", "with spaces in it, long", "ümlaut-ümlaut-ümlaut", "new\nline-new-line-new", strings.Repeat("x", 513)} {
		_, _, err := a.EnsureAdminToken(t.Context(), bad)
		wantKind(t, err, fault.Invalid)
		if err != nil && (strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "admin-token")) {
			t.Errorf("%v must name the setting and not repeat the token", err)
		}
	}
}

func TestDamagedAdminSetting(t *testing.T) {
	a, st, _ := newAuth(t)
	if err := st.SetSetting(t.Context(), adminSetting, base64.StdEncoding.EncodeToString([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	_, _, err := a.EnsureAdminToken(t.Context(), "")
	wantKind(t, err, fault.Internal)
}

func TestWrongTokensAreLimited(t *testing.T) {
	a, _, _ := newAuth(t)
	token, _, err := a.EnsureAdminToken(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		bad, good := netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for range 100 { // asking without a token is not an attempt
			wantKind(t, a.AdmitAdmin(bad, ""), fault.Unauthorized)
		}
		for range failureBurst {
			wantKind(t, a.AdmitAdmin(bad, "wrong"), fault.Unauthorized)
			if err := a.AdmitAdmin(good, token); err != nil {
				t.Error(err)
			}
		}
		wantKind(t, a.AdmitAdmin(bad, "wrong"), fault.TooMany)
		wantKind(t, a.AdmitAdmin(netip.MustParseAddr("192.0.2.1"), token), fault.TooMany)
		time.Sleep(failureEvery)
		if err := a.AdmitAdmin(bad, token); err != nil {
			t.Errorf("after the wait: %v", err)
		}
		wantKind(t, a.AdmitAdmin(bad, "wrong"), fault.Unauthorized)
		wantKind(t, a.AdmitAdmin(bad, "wrong"), fault.TooMany)
		wantKind(t, a.AdmitAdmin(netip.Addr{}, "wrong"), fault.Unauthorized)
		// One IPv6 host has a whole /64 to choose from.
		for i := range failureBurst {
			wantKind(t, a.AdmitAdmin(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)), "wrong"), fault.Unauthorized)
		}
		wantKind(t, a.AdmitAdmin(netip.MustParseAddr("2001:db8::ffff"), token), fault.TooMany)
		if err := a.AdmitAdmin(netip.MustParseAddr("2001:db8:0:1::1"), token); err != nil {
			t.Errorf("the next network: %v", err)
		}
	})
}

func TestFailuresAreBounded(t *testing.T) {
	a, _, _ := newAuth(t)
	for i := range failureCacheSize + 2000 {
		wantKind(t, a.AdmitAdmin(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "wrong"), fault.Unauthorized)
	}
	a.failures.CleanUp()
	if n := a.failures.EstimatedSize(); n > failureCacheSize {
		t.Errorf("%d addresses are kept", n)
	}
}

func TestStreamOf(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st, store.Public, store.Signed)
	for range 3 {
		if id, err := a.StreamOf(t.Context(), l.PlaybackIDs[0].ID); err != nil || id != l.ID {
			t.Errorf("public: %q, %v", id, err)
		}
		_, err := a.StreamOf(t.Context(), l.PlaybackIDs[1].ID)
		wantKind(t, err, fault.Forbidden)
		_, err = a.StreamOf(t.Context(), "pb_none")
		wantKind(t, err, fault.NotFound)
	}
	if n := testutil.ToFloat64(a.lookups.WithLabelValues("database")); n != 3 {
		t.Errorf("the database was asked %v times for 3 ids", n)
	}
	if err := st.RemovePlaybackID(t.Context(), l.ID, l.PlaybackIDs[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.StreamOf(t.Context(), l.PlaybackIDs[0].ID); err != nil {
		t.Errorf("a removed id is not remembered for its time: %v", err)
	}
	a.Forget(l.PlaybackIDs[0].ID)
	_, err := a.StreamOf(t.Context(), l.PlaybackIDs[0].ID)
	wantKind(t, err, fault.NotFound)
}

func TestWatch(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st, store.Public, store.Signed)
	asset, err := st.CreateAsset(t.Context(), l.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for id, want := range map[string]Watched{l.PlaybackIDs[0].ID: {StreamID: l.ID}, asset.PlaybackIDs[0].ID: {AssetID: asset.ID}} {
			if got, err := a.Watch(t.Context(), id); err != nil || got != want {
				t.Errorf("%s is %+v, %v; want %+v", id, got, err, want)
			}
		}
		for _, id := range []string{l.PlaybackIDs[1].ID, asset.PlaybackIDs[1].ID} {
			_, err := a.Watch(t.Context(), id)
			wantKind(t, err, fault.Forbidden)
		}
		for _, id := range []string{"pb_none", "", "\x00", asset.ID, l.ID} {
			_, err := a.Watch(t.Context(), id)
			wantKind(t, err, fault.NotFound)
		}
		for _, p := range asset.PlaybackIDs { // no stream's, whatever their policy
			if id, err := a.StreamOf(t.Context(), p.ID); id != "" || !fault.Is(err, fault.NotFound) {
				t.Errorf("the stream of an asset's playback id is %q, %v", id, err)
			}
			_, err := a.Playback(t.Context(), p.ID)
			wantKind(t, err, fault.NotFound)
		}
	}
	if n := testutil.ToFloat64(a.lookups.WithLabelValues("database")); n != 7 {
		t.Errorf("the database was asked %v times for 7 ids", n)
	}
	if _, err := st.KeepRecorded(t.Context(), asset.ID, store.Recorded{Status: store.AssetReady}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.DeleteAsset(t.Context(), asset.ID); err != nil {
		t.Fatal(err)
	}
	a.Forget(asset.PlaybackIDs[0].ID)
	_, err = a.Watch(t.Context(), asset.PlaybackIDs[0].ID)
	wantKind(t, err, fault.NotFound)
}

func TestPlaybackIsLookedUpAgainInTime(t *testing.T) {
	a, _, _ := newAuth(t)
	a.playback.Set("pb_old", cached{playback: store.Playback{StreamID: "gone", Policy: store.Public}, until: time.Now().Add(-time.Second)})
	_, err := a.StreamOf(t.Context(), "pb_old")
	wantKind(t, err, fault.NotFound)
}

func TestPlaybackCacheIsBounded(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st, store.Public)
	for _, id := range []string{"../../x", strings.Repeat("a", 65), "", "\x00"} {
		_, err := a.StreamOf(t.Context(), id)
		wantKind(t, err, fault.NotFound)
		if _, ok := a.playback.GetIfPresent(id); ok {
			t.Errorf("%.20q is remembered", id)
		}
	}
	// Somebody tries many ids while one is watched.
	for i := range playbackCacheSize + playbackCacheSize/2 {
		a.playback.Set(fmt.Sprint("pb_", i), cached{missing: errors.New("x"), until: time.Now().Add(missTTL)})
		if i%100 == 0 {
			if _, err := a.StreamOf(t.Context(), l.PlaybackIDs[0].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.playback.CleanUp()
	if n := a.playback.EstimatedSize(); n > playbackCacheSize {
		t.Errorf("%d ids are kept", n)
	}
}

func TestOneLookupForMany(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st, store.Public)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := a.StreamOf(t.Context(), l.PlaybackIDs[0].ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := testutil.ToFloat64(a.lookups.WithLabelValues("database")); n != 1 {
		t.Errorf("the database was asked %v times", n)
	}
}

func BenchmarkStreamOf(b *testing.B) {
	cfg := store.DefaultConfig()
	cfg.Dir = b.TempDir()
	st, err := store.Open(b.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	a, err := New(b.Context(), st, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	l, err := st.CreateLiveStream(b.Context(), store.LiveStream{}, []store.Policy{store.Public})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.StreamOf(b.Context(), l.PlaybackIDs[0].ID); err != nil {
			b.Fatal(err)
		}
	}
}
