package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

const (
	dashBase  = "/dash/" + playbackID + "/"
	dashChild = dashBase + "0123456789abcdef/"
)

// mpdText is a manifest as the tests read it.
type mpdText struct {
	Type     string `xml:"type,attr"`
	Start    string `xml:"availabilityStartTime,attr"`
	Duration string `xml:"mediaPresentationDuration,attr"`
	Periods  []struct {
		ID    string `xml:"id,attr"`
		Start string `xml:"start,attr"`
		Sets  []struct {
			ContentType string `xml:"contentType,attr"`
			List        []struct {
				ID       string `xml:"id,attr"`
				Template struct {
					Media     string `xml:"media,attr"`
					Init      string `xml:"initialization,attr"`
					Number    int64  `xml:"startNumber,attr"`
					Timescale int64  `xml:"timescale,attr"`
					Offset    int64  `xml:"presentationTimeOffset,attr"`
					Segments  []struct {
						T *int64 `xml:"t,attr"`
						D int64  `xml:"d,attr"`
						R int64  `xml:"r,attr"`
					} `xml:"SegmentTimeline>S"`
				} `xml:"SegmentTemplate"`
			} `xml:"Representation"`
		} `xml:"AdaptationSet"`
	} `xml:"Period"`
}

func (r *rig) dash() http.Handler {
	return NewDASH(DefaultConfig(), r.lib, func(_ context.Context, id string) (string, error) {
		if id != playbackID {
			return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
		}
		return assetID, nil
	}, slog.New(slog.DiscardHandler), nil)
}

// follows checks a manifest against the asset: what it lists is there, at its time. It
// returns how many segments of each rendition are listed.
func follows(t *testing.T, h http.Handler, text string, s *record.Snapshot) map[string]int {
	t.Helper()
	var m mpdText
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	listed := map[string]int{}
	for _, p := range m.Periods {
		start, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(p.Start, "PT")))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range p.Sets {
			for _, rep := range set.List {
				r, _ := s.Rendition(rep.ID)
				tmpl := rep.Template
				if w := ask(t, h, http.MethodGet, dashChild+strings.ReplaceAll(tmpl.Init, "$RepresentationID$", rep.ID)); w.Code != 200 || w.Body.String() != "init of "+rep.ID {
					t.Fatalf("%s: %d %s", tmpl.Init, w.Code, w.Body)
				}
				number, at := tmpl.Number, int64(0)
				for _, span := range tmpl.Segments {
					if span.T != nil {
						at = *span.T
					}
					for range span.R + 1 {
						seg := itemOf(r, number)
						shown := seg.BaseTime + seg.Offset
						begins := time.Duration(float64(at-tmpl.Offset)/float64(tmpl.Timescale)*1e9) + start
						if at != shown || begins < -100*time.Millisecond {
							t.Fatalf("%s %d is listed at %d, and is at %d; %v in the presentation", rep.ID, number, at, shown, begins)
						}
						path := dashChild + strings.NewReplacer("$RepresentationID$", rep.ID, "$Number$", strconv.FormatInt(number, 10)).Replace(tmpl.Media)
						if w := ask(t, h, http.MethodHead, path); w.Code != 200 {
							t.Fatalf("%s: %d", path, w.Code)
						}
						number, at = number+1, at+span.D
						listed[rep.ID]++
					}
				}
			}
		}
	}
	return listed
}

func TestManifests(t *testing.T) {
	for name, want := range map[string]map[string]int{
		"ready": {"v0": 8, "a0": 8}, "recording": {"v0": 5, "a0": 4}, "errored": {"v0": 3}, "change": {"v0": 9, "a0": 9},
		"gap": {"v0": 8, "a0": 8}, "holes": {"v0": 10, "480p": 0}, "late": {"v0": 10, "480p": 0}, "audio": {"a0": 4, "a1": 4}, "dependent": {"v0": 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := assets()[name]
			r := newRig(t, s)
			h := r.dash()
			w := ask(t, h, http.MethodGet, dashBase+"manifest.mpd")
			to := w.Header().Get("Location")
			if over := strings.HasSuffix(to, "/replay.mpd"); w.Code != 307 || over != ended(s) || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
			w = ask(t, h, http.MethodGet, dashBase+to)
			text := w.Body.String()
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/dash+xml" || w.Header().Get("Etag") == "" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), text)
			}
			golden(t, name+".mpd", text)
			got := follows(t, h, text, s)
			for rend, n := range want {
				if got[rend] != n {
					t.Errorf("%d of %s are listed, not %d", got[rend], rend, n)
				}
			}
			zip := ask(t, h, http.MethodGet, dashBase+to, "Accept-Encoding", "gzip")
			z, err := gzip.NewReader(bytes.NewReader(zip.Body.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if again, err := io.ReadAll(z); err != nil || string(again) != text {
				t.Errorf("compressed it is another one: %v", err)
			}
		})
	}
}

// A rendition that was made in one Period and not in another is in that.
func TestARungIsInThePeriodsThatItHas(t *testing.T) {
	source := add(rendition("v0", video(1280, 720, "avc1.64001f"), video(1920, 1080, "avc1.640028")), 10, 2*time.Second, func(i int, s *record.Segment) {
		if i == 5 {
			s.Discontinuity, s.Init = true, 1
		}
	})
	s := snapshot(record.Ready, source, rung(10, 4, 10))
	r := newRig(t, s)
	h := r.dash()
	if got := follows(t, h, ask(t, h, http.MethodGet, dashChild+"replay.mpd").Body.String(), s); got["v0"] != 10 || got["480p"] != 5 {
		t.Errorf("%v", got)
	}
}

func TestMediaOfManifests(t *testing.T) {
	r, _, data := mediaRig(t)
	h := r.dash()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		dashChild + "v0/i1a2b3c.v0.0-1772366401.m4s":  {200, string(data)},
		dashBase + "v0/i1a2b3c.v0.0-1772366401.m4s":   {200, string(data)}, // where ffmpeg looks for it
		dashChild + "v0/i1a2b3c.v0.0.mp4":             {200, "init of v0"},
		dashChild + "v0/i1a2b3c.v0.0-1772366409.m4s":  {404, "no such rendition or segment"},
		dashChild + "v0/i1a2b3c.v0.1-1772366401.m4s":  {404, "no such rendition or segment"},
		dashChild + "v0/i1a2b3c.v0.0-01772366401.m4s": {404, "no such rendition or segment"},
		dashChild + "v1/i1a2b3c.v0.0-1772366401.m4s":  {404, "no such rendition or segment"},
		dashChild + "v0/first.mp4":                    {404, "no such rendition or segment"},
		dashChild + "v0/i1a2b3c.v0.0-1772366400.m4s":  {404, "missing in its storage"},
		dashBase:                                       {404, "nothing under this address"},
		"/dash/pb_none/manifest.mpd":                   {404, "no such playback id"},
		dashChild + "manifest.mpd?from=x":              {400, "numbers that the way to it gives"},
		dashBase + "manifest.mpd?start=5&end=1":        {400, "is not after the start"},
		dashChild + "manifest.mpd?from=9999999999":     {404, "nothing in this recording"},
		dashBase + "manifest.mpd?start=1&end=3&token=": {307, ""},
	} {
		w := ask(t, h, http.MethodGet, path)
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.body) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	// A gap is a fragment without samples.
	w := ask(t, h, http.MethodGet, dashChild+"v0/i1a2b3c.v0.0-1772366402.m4s")
	if w.Code != 200 || !bytes.Contains(w.Body.Bytes(), []byte("moof")) {
		t.Errorf("a gap: %d %q", w.Code, w.Body)
	}
}

// A part of an asset has a manifest of its own, that begins at 0.
func TestPartsAreManifests(t *testing.T) {
	s := twoTracks(record.Ready, 100)
	h := newRig(t, s).dash()
	w := ask(t, h, http.MethodGet, dashBase+"manifest.mpd?start=1:00&end=1:10")
	to := w.Header().Get("Location")
	if !strings.HasSuffix(to, "/replay.mpd?from=1772366430&to=1772366434") {
		t.Fatal(to)
	}
	text := ask(t, h, http.MethodGet, dashBase+to).Body.String()
	golden(t, "part.mpd", text)
	if got := follows(t, h, text, s); got["v0"] != 5 || got["a0"] != 5 {
		t.Errorf("%v", got)
	}
}

// A recording of 12 hours has a manifest that is quickly there, though nothing of it repeats.
func TestALongRecordingHasAShortManifest(t *testing.T) {
	const segments, limit = 21_600, 300_000
	frames := func(i int, s *record.Segment) { // as sound of 48 kHz is cut at pictures
		s.Ticks = int64(93+i%2) * 1024
		s.Duration = time.Duration(s.Ticks) * time.Second / 48_000
	}
	s := snapshot(record.Recording,
		add(rendition("v0", video(1920, 1080, "avc1.640028")), segments, 2*time.Second*1001/1000),
		add(rendition("a0", audio(media.AAC, "mp4a.40.2", "")), segments, 94*1024*time.Second/48_000, frames))
	w := ask(t, newRig(t, s).dash(), http.MethodGet, dashChild+"manifest.mpd", "Accept-Encoding", "gzip")
	if size := w.Body.Len(); w.Code != 200 || size >= limit {
		t.Errorf("%d: %d bytes", w.Code, size)
	} else {
		t.Logf("%d bytes", size)
	}
}
