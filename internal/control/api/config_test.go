package api

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"onair/internal/fault"
)

func TestTrustedProxies(t *testing.T) {
	got, err := Config{TrustedProxies: " 127.0.0.1, 10.1.2.3/8,,fd00::1/8,::ffff:192.0.2.1"}.Proxies()
	want := []string{"127.0.0.1/32", "10.0.0.0/8", "fd00::/8", "192.0.2.1/32"}
	var text []string
	for _, p := range got {
		text = append(text, p.String())
	}
	if err != nil || !cmp.Equal(want, text) {
		t.Errorf("%v, %v; want %v", text, err, want)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"localhost", "10.0.0.0/33", "127.0.0.1:80", "*"} {
		if err := (Config{TrustedProxies: bad}).Validate(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	h := newHarness(t, func(d *Deps) { d.TrustedProxies = []netip.Prefix{got[3]} })
	l := h.create("")
	fwd := h.want(200, "GET", "/v1/live-streams/"+str(t, l, "id"), "", "X-Forwarded-Host", "tv.example.com", "X-Forwarded-Proto", "https")
	if u := fwd["playback"].(map[string]any)["watch_url"].(string); u[:23] != "https://tv.example.com/" { // httptest's clients are 192.0.2.1
		t.Errorf("behind a proxy: %s", u)
	}
}
