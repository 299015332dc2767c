package retention

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"onair/internal/control/store"
)

func TestOver(t *testing.T) {
	now := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	ready := func(id string, age, length time.Duration, bytes int64) store.KeptAsset {
		return store.KeptAsset{ID: id, CreatedAt: now.Add(-age), Status: store.AssetReady, Duration: length, Bytes: bytes}
	}
	clip := ready("clip", 25*time.Hour, 2*time.Hour, 10)
	clip.Clip = true
	broken := ready("broken", 3*day, time.Hour, 10)
	broken.Status = store.AssetErrored
	active := ready("active", 10*day, 0, 1000)
	active.Status = store.AssetRecording
	assets := []store.KeptAsset{active, ready("a", 5*day, time.Hour, 100), broken, ready("b", 25*time.Hour, 2*time.Hour, 50), clip, ready("c", time.Hour, time.Minute, 30)}
	const total = 1200
	for _, tt := range []struct {
		limits store.Retention
		total  int64
		want   string
	}{
		{store.Retention{}, total, "[]"},
		{store.Retention{Days: 36_500}, total, "[]"},
		{store.Retention{Days: 3}, total, "[a days]"},
		{store.Retention{Days: 2}, total, "[a days broken days]"},
		{store.Retention{Days: 1}, total, "[a days broken days clip days]"},
		{store.Retention{Bytes: total}, total, "[]"},
		{store.Retention{Bytes: total - 1}, total, "[a bytes]"},
		{store.Retention{Bytes: total - 101}, total, "[a bytes broken bytes]"},
		{store.Retention{Bytes: 1}, total, "[a bytes broken bytes b bytes clip bytes c bytes]"},
		{store.Retention{Days: 1, Bytes: total - 120}, total, "[a days broken days clip days]"},
		{store.Retention{Days: 2, Bytes: total - 111}, total, "[a days broken days b bytes]"},
		{store.Retention{Bytes: total}, total + 100, "[a bytes]"},
	} {
		var got []string
		for _, x := range Over(tt.limits, assets, tt.total, now) {
			got = append(got, x.ID+" "+x.Reason)
		}
		if d := cmp.Diff(tt.want, fmt.Sprint(got)); d != "" {
			t.Errorf("%+v of %d (-want +got):\n%s", tt.limits, tt.total, d)
		}
	}
}

// TestOverIsNoMoreThanNeeded holds the policy to what it promises, whatever there is.
func TestOverIsNoMoreThanNeeded(t *testing.T) {
	now := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var assets []store.KeptAsset
		total := rapid.Int64Range(0, 100).Draw(t, "not looked at")
		age := time.Duration(1000) * time.Hour
		for i := range rapid.IntRange(0, 20).Draw(t, "assets") {
			age -= time.Duration(rapid.IntRange(0, 100).Draw(t, "hours")) * time.Hour
			a := store.KeptAsset{
				ID: fmt.Sprint(i), CreatedAt: now.Add(-age), Bytes: rapid.Int64Range(0, 100).Draw(t, "bytes"),
				Status: rapid.SampledFrom([]store.AssetStatus{store.AssetReady, store.AssetErrored, store.AssetRecording}).Draw(t, "status"),
			}
			assets, total = append(assets, a), total+a.Bytes
		}
		limits := store.Retention{Days: rapid.IntRange(0, 40).Draw(t, "days"), Bytes: rapid.Int64Range(0, 1000).Draw(t, "limit")}
		gone := map[string]string{}
		left := total
		over := Over(limits, assets, total, now)
		for _, x := range over {
			if x.Reason == Days {
				left -= x.Bytes
			}
		}
		for _, x := range over {
			if x.Status == store.AssetRecording {
				t.Fatalf("%+v is being recorded", x)
			}
			gone[x.ID] = x.Reason
			if x.Reason == Days {
				continue
			}
			if left <= limits.Bytes {
				t.Errorf("%s goes, and %d bytes were no more than %d", x.ID, left, limits.Bytes)
			}
			left -= x.Bytes
		}
		for _, a := range assets {
			old := limits.Days > 0 && now.Sub(a.CreatedAt) > time.Duration(limits.Days)*day
			switch reason := gone[a.ID]; {
			case old && a.Status != store.AssetRecording && reason != Days, !old && reason == Days:
				t.Errorf("%+v goes for %q", a, reason)
			case reason == "" && a.Status != store.AssetRecording && limits.Bytes > 0 && left > limits.Bytes:
				t.Errorf("%+v stays, and %d bytes are more than %d", a, left, limits.Bytes)
			}
		}
	})
}
