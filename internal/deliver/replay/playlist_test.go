package replay

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/hls-m3u8/m3u8"
	"github.com/google/go-cmp/cmp"

	"onair/internal/media"
	"onair/internal/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

var session = regexp.MustCompile(`\b[0-9a-f]{16}/`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = session.ReplaceAllString(got, "SESSION/")
	file := filepath.Join("testdata", name)
	if *update {
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
func secondOpinion(t *testing.T, text string, segments int, closed bool) {
	t.Helper()
	p, kind, err := m3u8.DecodeFrom(strings.NewReader(text), true)
	if err != nil || kind != m3u8.MEDIA {
		t.Fatalf("%v, kind %v\n%s", err, kind, text)
	}
	if m := p.(*m3u8.MediaPlaylist); int(m.Count()) != segments || m.Closed != closed {
		t.Errorf("%d segments, closed %v; want %d, %v", m.Count(), m.Closed, segments, closed)
	}
}

// lint checks a media playlist against what it was made of (RFC 8216bis, section 4.4): the
// time that a player reckons of each segment is its time, and the rest of what the tags say.
func lint(t *testing.T, text string, s *record.Snapshot, r *record.Rendition) {
	t.Helper()
	l := lineupOf(s, r)
	if !strings.HasPrefix(text, "#EXTM3U\n#EXT-X-VERSION:6\n") || strings.HasSuffix(text, "#EXT-X-ENDLIST\n") != ended(s) {
		t.Fatalf("begins or ends wrongly:\n%.300s", text)
	}
	var clock time.Time
	var duration float64
	var disc, gap bool
	i, uri := 0, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-TARGETDURATION" && value != strconv.Itoa(s.TargetDuration),
			tag == "#EXT-X-PLAYLIST-TYPE" && (value == "VOD") != ended(s),
			tag == "#EXT-X-MEDIA-SEQUENCE" && value != strconv.FormatInt(l.first, 10):
			t.Fatal(line)
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				t.Fatal(err)
			}
			clock = at
		case tag == "#EXT-X-MAP":
			_, uri, _ = strings.Cut(value, `"`)
			uri = strings.TrimSuffix(uri, `"`)
		case tag == "#EXT-X-DISCONTINUITY":
			disc = true
		case tag == "#EXT-X-GAP":
			gap = true
		case tag == "#EXTINF":
			duration, _ = strconv.ParseFloat(strings.TrimSuffix(value, ","), 64)
		case !strings.HasPrefix(line, "#"):
			seg := l.at(l.first + int64(i))
			folder := ""
			if seg.of != r {
				folder = "../" + seg.of.Name + "/"
			}
			if d := clock.Sub(seg.Start).Abs(); d > maxDrift+500*time.Microsecond {
				t.Fatalf("a player takes segment %d to be at %v, which is %v off", i, clock, d)
			}
			if disc != seg.Discontinuity || gap != seg.Gap || line == "" || seg.Name != "" && line != folder+seg.Name ||
				uri != folder+seg.init().Name || math.Abs(duration-seg.Duration.Seconds()) > 1e-5 || math.Round(duration) > float64(s.TargetDuration) {
				t.Fatalf("segment %d is listed as %q, disc %v, gap %v, %v s, %s", i, line, disc, gap, duration, uri)
			}
			clock = clock.Add(time.Duration(math.Round(duration*1e5)) * 10 * time.Microsecond)
			disc, gap = false, false
			i++
		}
	}
	if i != l.len() {
		t.Fatalf("%d of %d segments are listed", i, l.len())
	}
}

// assets are what playlists are rendered of in tests.
func assets() map[string]*record.Snapshot {
	v0 := func() *record.Rendition { return rendition("v0", video(1280, 720, "avc1.64001f")) }
	a0 := func() *record.Rendition { return rendition("a0", audio(media.AAC, "mp4a.40.2", "en")) }
	gapAt := func(from, to int) func(int, *record.Segment) {
		return func(i int, s *record.Segment) {
			if s.Gap = i >= from && i < to; s.Gap {
				s.Name = ""
			}
		}
	}
	change := func(at int, d time.Duration) func(int, *record.Segment) {
		return func(i int, s *record.Segment) {
			if i == at {
				s.Discontinuity, s.Init, s.Start = true, 1, s.Start.Add(d)
			}
		}
	}
	hevc := video(1280, 720, "hvc1.1.6.L93.B0")
	hevc.Codec = media.HEVC
	late := add(rendition("480p", video(854, 480, "avc1.64001e")), 10, 2*time.Second)
	late.Segments = late.Segments.Slice(7, 10)
	return map[string]*record.Snapshot{
		"ready":     snapshot(record.Ready, add(v0(), 8, 2*time.Second), add(a0(), 8, 2005333*time.Microsecond)),
		"recording": snapshot(record.Recording, add(v0(), 5, 2*time.Second), add(a0(), 4, 2*time.Second)),
		"errored":   snapshot(record.Errored, add(v0(), 3, 2*time.Second)),
		"gap":       snapshot(record.Ready, add(v0(), 8, 2*time.Second, gapAt(3, 5)), add(a0(), 8, 2*time.Second, gapAt(3, 5))),
		"change": snapshot(record.Ready,
			add(rendition("v0", video(1280, 720, "avc1.64001f"), video(1920, 1080, "avc1.640028")), 9, 2*time.Second, change(3, 700*time.Millisecond)),
			add(rendition("a0", audio(media.AAC, "mp4a.40.2", ""), audio(media.AAC, "mp4a.40.2", "")), 9, 2*time.Second, change(3, 700*time.Millisecond))),
		// One was made twice for a while: where it was not, its playlist has the source's.
		"holes": snapshot(record.Ready, add(rendition("v0", video(1280, 720, "avc1.64001f"), video(1920, 1080, "avc1.640028")), 10, 2*time.Second, change(7, 0)), rung(10, 2, 5, 6, 9)),
		// Of another codec there are gaps instead, and nobody is sent there.
		"unlike": snapshot(record.Ready, add(rendition("v0", hevc), 6, 2*time.Second), rung(6, 2, 4)),
		// One begins after a discontinuity, and has not all: it is served and not listed.
		"late":  snapshot(record.Ready, add(rendition("v0", video(1280, 720, "avc1.64001f"), video(1920, 1080, "avc1.640028")), 10, 2*time.Second, change(4, 0)), late),
		"audio": snapshot(record.Ready, add(a0(), 4, 2*time.Second), add(rendition("a1", audio(media.Opus, "opus", "de")), 4, 2*time.Second)),
		// Key frames do not come with every segment.
		"dependent": snapshot(record.Ready, add(v0(), 4, 2*time.Second, func(i int, s *record.Segment) { s.Independent = i%2 == 0 })),
	}
}

func TestPlaylists(t *testing.T) {
	for name, s := range assets() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, s)
			text := r.get(base + "index.m3u8").Body.String()
			golden(t, name+"-multivariant.m3u8", text)
			if p, kind, err := m3u8.DecodeFrom(strings.NewReader(text), true); err != nil || kind != m3u8.MASTER || len(p.(*m3u8.MasterPlaylist).Variants) == 0 {
				t.Errorf("multivariant: %v\n%s", err, text)
			}
			for _, rend := range s.Renditions {
				text := r.get(child + rend.Name + "/index.m3u8").Body.String()
				golden(t, name+"-"+rend.Name+".m3u8", text)
				l := lineupOf(s, rend)
				secondOpinion(t, text, l.len(), ended(s))
				lint(t, text, s, rend)
			}
			if name == "gap" || name == "change" {
				text := r.get(child + "v0/iframes.m3u8").Body.String()
				golden(t, name+"-v0-frames.m3u8", text)
				lint(t, text, s, s.Renditions[0])
			}
		})
	}
}

// What is appended to a playlist changes nothing that was listed before.
func TestARecordingOnlyGrows(t *testing.T) {
	whole := add(rendition("a0", audio(media.AAC, "mp4a.40.2", "")), 500, 2005333*time.Nanosecond*1000, func(i int, s *record.Segment) {
		s.Gap = i%40 == 39
		s.Discontinuity = i%70 == 69
	})
	r := newRig(t, nil)
	before := ""
	for n := 1; n <= whole.Segments.Len(); n += 7 {
		now := &record.Rendition{Name: whole.Name, Kind: whole.Kind, Inits: whole.Inits, Segments: whole.Segments.Slice(0, n)}
		r.lib.s = snapshot(record.Recording, now)
		text := r.get(child + "a0/index.m3u8").Body.String()
		if !strings.HasPrefix(text, before) {
			t.Fatalf("with %d segments the playlist is not what it was and more", n)
		}
		lint(t, text, r.lib.s, now)
		before = text
	}
	r.lib.s = snapshot(record.Ready, whole)
	lint(t, r.get(child+"a0/index.m3u8").Body.String(), r.lib.s, whole)
}

// A recording of 12 hours has a playlist that is quickly there.
func TestALongRecordingHasAShortPlaylist(t *testing.T) {
	const segments, limit = 21_600, 300_000
	s := snapshot(record.Recording,
		// No track lasts 2 s exactly: NTSC pictures, and sound in whole frames.
		add(rendition("v0", video(1920, 1080, "avc1.640028")), segments, 2*time.Second*1001/1000),
		add(rendition("a0", audio(media.AAC, "mp4a.40.2", "")), segments, 94*1024*time.Second/48_000))
	for _, state := range []record.State{record.Recording, record.Ready} {
		s.State = state
		r := newRig(t, s)
		for _, rend := range s.Renditions {
			w := r.get(child+rend.Name+"/index.m3u8", "Accept-Encoding", "gzip")
			if size := w.Body.Len(); size >= limit {
				t.Errorf("the playlist of %s has %d bytes", rend.Name, size)
			} else {
				t.Logf("%s, %s: %d bytes", state, rend.Name, size)
			}
			z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			lint(t, string(text), s, rend)
		}
	}
}

func TestRates(t *testing.T) {
	r := rendition("v0", video(1280, 720, "avc1.64001f"))
	add(r, 10, 2*time.Second, func(i int, s *record.Segment) {
		s.Size = 250_000 // 1 Mbit/s
		if i == 6 {
			s.Size = 500_000
		}
		s.Gap = i == 3
	})
	l := lineupOf(snapshot(record.Ready, r), r)
	peak, average := l.rates(3 * time.Second)
	if peak != 2_000_000 || average != (8*250_000+500_000)*8/18 {
		t.Errorf("peak %d, average %d", peak, average)
	}
	r = rendition("v0", video(1, 1, ""))
	l = lineupOf(snapshot(record.Ready, r), r)
	if peak, average := l.rates(time.Second); peak != 0 || average != 0 {
		t.Errorf("of nothing: %d, %d", peak, average)
	}
}

func TestFind(t *testing.T) {
	r := add(rendition("v0", video(1280, 720, "avc1.64001f")), 20, 2*time.Second)
	alter(r, 4, func(s *record.Segment) { s.Name = "other" })
	alter(r, 5, func(s *record.Segment) { s.Name = "s.1.m4s" })
	for _, seg := range unpacked(r.Segments) {
		if got, ok := find(r, seg.Name); !ok || got != seg {
			t.Errorf("%s was not found", seg.Name)
		}
	}
	for _, name := range []string{"", ".", "..", "x", "s1a2b3c.v0.1772366404.m4s", "s1a2b3c.v0.-1.m4s", "s1a2b3c.v0.99999999999999999999.m4s"} {
		if _, ok := find(r, name); ok {
			t.Errorf("%q was found", name)
		}
	}
}
