package srt

import (
	"strings"
	"testing"
	"time"

	"onair/internal/fault"
)

var streamIDs = []struct {
	raw    string
	want   streamID
	broken bool
}{
	{raw: "publish:abc", want: streamID{publish: true, name: "abc"}},
	{raw: "PUBLISH:abc", want: streamID{publish: true, name: "abc"}},
	{raw: "publish:/live/abc", want: streamID{publish: true, name: "abc"}},
	{raw: "publish:live/abc:user:secret", want: streamID{publish: true, name: "abc"}},
	{raw: "publish/abc", want: streamID{publish: true, name: "abc"}},
	{raw: "backup:abc", want: streamID{publish: true, name: "abc", backup: true}},
	{raw: "/backup/abc", want: streamID{publish: true, name: "abc", backup: true}},
	{raw: "abc?backup=1", want: streamID{publish: true, name: "abc", backup: true, query: "backup=1"}},
	{raw: "play:abc", want: streamID{name: "abc"}},
	{raw: "read:live/abc", want: streamID{name: "abc"}},
	{raw: "play:abc?token=t.u.v", want: streamID{name: "abc", query: "token=t.u.v"}},
	{raw: "play:abc?key=other", want: streamID{name: "abc", query: "key=other"}},
	{raw: "abc", want: streamID{publish: true, name: "abc"}},
	{raw: " abc\r\n", want: streamID{publish: true, name: "abc"}},
	{raw: "/abc", want: streamID{publish: true, name: "abc"}},
	{raw: "live/abc", want: streamID{publish: true, name: "abc"}},
	{raw: "/live/abc/", want: streamID{publish: true, name: "abc"}},
	{raw: "live/stream?key=abc", want: streamID{publish: true, name: "abc", query: "key=abc"}},
	{raw: "streamid=publish:abc", want: streamID{publish: true, name: "abc"}},
	{raw: "publish%3Aabc", want: streamID{publish: true, name: "abc"}},
	{raw: "#!::m=publish,r=abc", want: streamID{publish: true, name: "abc"}},
	{raw: "#!::r=abc,m=publish,u=me", want: streamID{publish: true, name: "abc", query: "u=me"}},
	{raw: "#!::r=live/abc,m=publish,backup=1", want: streamID{publish: true, name: "abc", backup: true}},
	{raw: "#!::h=live/abc,m=publish", want: streamID{publish: true, name: "abc"}},
	{raw: "#!::h=example.com,r=abc,m=request,token=t,", want: streamID{name: "abc", query: "token=t"}},
	{raw: "#!::r=abc", want: streamID{name: "abc"}},
	{raw: "#!::r=abc,t=stream,m=request", want: streamID{name: "abc"}},
	{raw: "%23!::m=publish,r=abc", want: streamID{publish: true, name: "abc"}},
	{raw: "%23%21%3A%3Am%3Dpublish%2Cr%3Dabc", want: streamID{publish: true, name: "abc"}},
	{raw: "#!::m=publish,r=abc,m=publish", broken: true},
	{raw: "#!::m=file,r=abc", broken: true},
	{raw: "#!::t=file,r=abc", broken: true},
	{raw: "%23%2", broken: true},
	{raw: "publish:a b", broken: true},
	{raw: "", broken: true},
	{raw: strings.Repeat("a", 513), broken: true},
}

func TestStreamIDs(t *testing.T) {
	for _, tt := range streamIDs {
		got, err := parseStreamID(tt.raw)
		if tt.broken {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q is %+v", tt.raw, got)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%q is %+v, want %+v (%v)", tt.raw, got, tt.want, err)
		}
	}
}

// FuzzStreamID holds what every stream id that is accepted must be: it names something
// that is no path, and only a publisher is a backup.
func FuzzStreamID(f *testing.F) {
	for _, tt := range streamIDs {
		f.Add(tt.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		id, err := parseStreamID(raw)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if id.name == "" || id.name == ".." || strings.ContainsAny(id.name, "/\\ \n\x00") || id.backup && !id.publish {
			t.Errorf("%q is %+v", raw, id)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		address string
		want    target
	}{
		{"srt://h:9?streamid=publish:k&passphrase=0123456789&pbkeylen=32&latency=300", target{"h:9", "publish:k", "0123456789", 32, 300 * time.Millisecond}},
		{"srt://h:9?streamid=%23!::m=publish,r=k&latency=200000&mode=caller", target{"h:9", "#!::m=publish,r=k", "", 16, 200 * time.Millisecond}},
		{"srt://h:9?latency=120&streamid=#!::m=publish,r=k", target{"h:9", "#!::m=publish,r=k", "", 16, 120 * time.Millisecond}},
		{"srt://h:9?streamid=#!::r=k,m=publish&passphrase=0123456789", target{"h:9", "#!::r=k,m=publish", "0123456789", 16, 200 * time.Millisecond}},
		{"srt://[::1]:9", target{"[::1]:9", "", "", 16, 200 * time.Millisecond}},
		{"srt://h:9?latency=60000000", target{"h:9", "", "", 16, maxPeerLatency}},
	} {
		if got, err := parseTarget(opPlay, tt.address, 200*time.Millisecond); err != nil || got != tt.want {
			t.Errorf("%s is %+v (%v)", tt.address, got, err)
		}
	}
	for _, bad := range []string{"rtmp://h/k", "srt://h", "srt://h:9?mode=listener", "srt://h:9?passphrase=short", "srt://h:9?pbkeylen=17",
		"srt://h:9?latency=soon", "srt://h:9?streamid=" + strings.Repeat("a", 513), "srt://h:9?%zz"} {
		_, err := parseTarget(opPlay, bad, time.Second)
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "short") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
