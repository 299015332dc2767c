package hls

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/hls-m3u8/m3u8"
	"github.com/google/go-cmp/cmp"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// names are what differs from run to run: the epoch of the names, and sessions.
var names = regexp.MustCompile(`\b([spi])[0-9a-z]{8,14}\.|\b[0-9a-f]{16}/`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = names.ReplaceAllStringFunc(got, func(s string) string {
		if s[len(s)-1] == '/' {
			return "SESSION/"
		}
		return s[:1] + "EPOCH."
	})
	file := filepath.Join("testdata", name+".m3u8")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run with -update to accept):\n%s", name, diff)
	}
}

// secondOpinion parses a playlist with another implementation.
func secondOpinion(t *testing.T, name, text string, multivariant bool) {
	t.Helper()
	p, kind, err := m3u8.DecodeFrom(strings.NewReader(text), true)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	if multivariant != (kind == m3u8.MASTER) {
		t.Fatalf("%s is taken for another kind of playlist", name)
	}
	if multivariant {
		if v := p.(*m3u8.MasterPlaylist).Variants; len(v) == 0 || v[0].Codecs == "" || v[0].Bandwidth == 0 {
			t.Errorf("%s: variants %v", name, v)
		}
		return
	}
	if m := p.(*m3u8.MediaPlaylist); m.Count() == 0 || m.TargetDuration == 0 {
		t.Errorf("%s: %d segments", name, m.Count())
	}
}

func TestGoldenPlaylists(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode media.LatencyMode
		o    mediatest.Options
		act  func(r *rig, o mediatest.Options)
	}{
		{name: "low", mode: media.LatencyLow},
		{name: "ultra", mode: media.LatencyUltra, o: mediatest.Options{RateNum: 30000, RateDen: 1001, BFrames: 2}},
		{name: "standard", mode: media.LatencyStandard},
		{name: "audio", mode: media.LatencyLow, o: mediatest.Options{NoVideo: true, Audio: media.Opus}},
		{name: "video", mode: media.LatencyLow, o: mediatest.Options{NoAudio: true, Video: media.HEVC, UndeclaredRate: true}},
		{name: "change", mode: media.LatencyLow, act: func(r *rig, o mediatest.Options) {
			then(20*time.Second, 5*time.Second, 0, bigger)(r, o, nil)
		}},
		{name: "gap", mode: media.LatencyLow, act: func(r *rig, o mediatest.Options) {
			without(media.Audio, 20*time.Second, time.Hour, 28*time.Second)(r, o, nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEmptyBubble(t, tt.mode, func(t *testing.T, r *rig) {
				if tt.act != nil {
					tt.act(r, tt.o)
				} else {
					r.write(newSource(t, tt.o).take(41300*time.Millisecond), nil)
				}
				text := r.get("/hls/" + playbackID + "/index.m3u8").Body.String()
				golden(t, tt.name+"-multivariant", text)
				secondOpinion(t, "multivariant", text, true)
				for _, rend := range r.stream().Renditions() {
					path := child + rend.Name() + "/index.m3u8"
					text := r.get(path).Body.String()
					golden(t, tt.name+"-"+rend.Name(), text)
					secondOpinion(t, rend.Name(), text, false)
					if delta := r.get(path + "?_HLS_skip=YES").Body.String(); tt.name == "low" {
						golden(t, tt.name+"-"+rend.Name()+"-delta", delta)
						secondOpinion(t, "delta", delta, false)
					}
				}
				r.end()
				golden(t, tt.name+"-end", r.get(child+r.stream().Renditions()[0].Name()+"/index.m3u8?_HLS_skip=YES").Body.String())
			})
		})
	}
}
