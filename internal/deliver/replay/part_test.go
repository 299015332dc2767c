package replay

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

func TestMoments(t *testing.T) {
	// 10 segments of 2 s, of which the fifth and those after it begin a minute later.
	s := snapshot(record.Ready, add(rendition("v0", video(1280, 720, "avc1.64001f")), 10, 2*time.Second, func(i int, s *record.Segment) {
		if i == 4 {
			s.Discontinuity, s.Start = true, s.Start.Add(time.Minute)
		}
	}))
	at := func(d time.Duration) time.Time { return began.Add(d) }
	for text, want := range map[string]time.Time{
		"0":                              at(0),
		"3.25":                           at(3250 * time.Millisecond),
		"8":                              at(68 * time.Second),
		"9.5":                            at(69500 * time.Millisecond),
		"0:09.5":                         at(69500 * time.Millisecond),
		"0:00:09.5":                      at(69500 * time.Millisecond),
		"1:00":                           at(80 * time.Second), // its end
		"99999":                          at(80 * time.Second),
		"-0":                             at(80 * time.Second),
		"-2":                             at(78 * time.Second),
		"-12":                            at(68 * time.Second),
		"-12.001":                        at(8*time.Second - time.Millisecond),
		"-0:13":                          at(7 * time.Second),
		"-600":                           at(0),
		"2026-03-01T12:00:05Z":           at(5 * time.Second),
		"2026-03-01T12:00:05.250Z":       at(5250 * time.Millisecond),
		"2026-03-01T13:00:05+01:00":      at(5 * time.Second),
		"2026-03-01T13:00:05 01:00":      at(5 * time.Second), // as a form has it
		"2026-03-01T13:00:05.000+0100":   at(5 * time.Second),
		"2026-03-01T11:00:00Z":           at(-time.Hour),
		"@1772366405":                    at(5 * time.Second),
		"@1772366405.5":                  at(5500 * time.Millisecond),
		"2027-01-01T00:00:00.123456789Z": time.Date(2027, 1, 1, 0, 0, 0, 123456789, time.UTC),
	} {
		m, err := ParseMoment(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := m.In(s); !got.Equal(want) {
			t.Errorf("%s is %v, want %v", text, got.UTC(), want)
		}
	}
	if m, _ := ParseMoment("5"); !m.In(snapshot(record.Recording)).IsZero() {
		t.Error("there is a fifth second of nothing")
	}
	for text, words := range map[string]string{
		"": "neither", "x": "neither", "1e3": "neither", "--1": "neither", "1:2:3:4": "neither", "1:60": "neither", "-": "neither",
		"1.": "neither", "1.5:00": "neither", ".5": "neither", "+1": "neither", "1,5": "neither", "99999999999999999999": "neither",
		"1.0000000001": "neither", "1:-1": "neither",
		"153722868:00": "no recording is that long", "-307445735:00": "no recording is that long", "8589934591:59:59": "no recording is that long",
		"1772366405": "Unix time begins with @", "@": "after @", "@1:00": "after @", "@x": "after @",
		"2026-03-01T12:00:05": "RFC 3339", "T": "RFC 3339", strings.Repeat("T", 1000): "RFC 3339",
	} {
		_, err := ParseMoment(text)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), words) || len(err.Error()) > 400 {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzParseMoment(f *testing.F) {
	for _, text := range []string{"90", "-1:30", "@1772366400", "2026-03-01T12:00:00Z", "1:00:00.5"} {
		f.Add(text)
	}
	s := snapshot(record.Ready, add(rendition("v0", video(1280, 720, "avc1.64001f")), 3, 2*time.Second))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMoment(text)
		if err != nil {
			return
		}
		if got := m.In(s); m.at.IsZero() && (got.Before(began) || got.After(began.Add(6*time.Second))) {
			t.Errorf("%q is %v", text, got)
		}
	})
}

// twoTracks is an asset of pictures in 2 s and sound in whole frames.
func twoTracks(state record.State, n int) *record.Snapshot {
	return snapshot(state,
		add(rendition("v0", video(1280, 720, "avc1.64001f")), n, 2*time.Second),
		add(rendition("a0", audio(media.AAC, "mp4a.40.2", "")), n, 94*1024*time.Second/48_000))
}

const firstNumber = 1_772_366_400

func TestParts(t *testing.T) {
	for _, tt := range []struct {
		query string
		state record.State
		want  part
		words string
	}{
		{query: "", want: part{}},
		{query: "start=4", want: part{from: firstNumber + 2}},
		{query: "start=3.9", want: part{from: firstNumber + 1}},
		{query: "start=4&end=8", want: part{from: firstNumber + 2, to: firstNumber + 3}},
		{query: "start=4&end=8.01", want: part{from: firstNumber + 2, to: firstNumber + 4}},
		{query: "end=1", want: part{from: firstNumber, to: firstNumber}},
		{query: "start=-5", want: part{from: firstNumber + 7}},
		{query: "start=-5&end=-4", want: part{from: firstNumber + 7, to: firstNumber + 7}},
		{query: "start=4&end=5:00", want: part{from: firstNumber + 2, to: firstNumber + 9}},
		{query: "start=2026-03-01T11:00:00Z&end=2026-03-01T12:00:05Z", want: part{from: firstNumber, to: firstNumber + 2}},
		{query: "end=2027-03-01T11:00:00Z", want: part{from: firstNumber, to: firstNumber + 9}},
		{query: "end=2026-03-01T12:01:00Z", state: record.Recording, want: part{from: firstNumber, until: began.Add(time.Minute).UnixMilli()}},
		{query: "start=4", state: record.Recording, want: part{from: firstNumber + 2}},
		{query: "start=4&end=6", state: record.Recording, want: part{from: firstNumber + 2, to: firstNumber + 2}},
		{query: "start=x", words: "neither a number"},
		{query: "start=1&end=x", words: "neither a number"},
		{query: "start=4&end=4", words: "is not after the start"},
		{query: "start=4&end=1", words: "is not after the start"},
		{query: "start=-1&end=-4", words: "is not after the start"},
		{query: "end=2026-03-01T11:00:00Z", words: "after the end"},
		{query: "start=1:00", words: "it ends at 2026-03-01T12:00:20Z"},
		{query: "start=2026-03-01T13:00:00Z", state: record.Recording, words: "still to come"},
	} {
		if tt.state == "" {
			tt.state = record.Ready
		}
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := partOf(query, twoTracks(tt.state, 10))
		switch {
		case tt.words != "":
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%s: %v", tt.query, err)
			}
		case err != nil || got != tt.want:
			t.Errorf("%s is %+v, %v; want %+v", tt.query, got, err, tt.want)
		}
		again, err := url.ParseQuery(strings.TrimPrefix(got.query(), "?"))
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := parsePart(again); !ok || back != got {
			t.Errorf("%+v is read as %+v", got, back)
		}
	}
}

var listed = regexp.MustCompile(`(?m)^[^#].*`)

// A part is played as a recording of its own.
func TestPartsArePlaylists(t *testing.T) {
	s := twoTracks(record.Ready, 100)
	r := newRig(t, s)
	text := r.get(base + "index.m3u8?start=1:00&end=1:10").Body.String()
	if n := strings.Count(text, "?from=1772366430&to=1772366434"); n != 4 { // sound, picture and sound, sound, key frames
		t.Fatalf("%d playlists are of the part:\n%s", n, text)
	}
	for _, rend := range s.Renditions {
		text := r.get(child + rend.Name + "/index.m3u8?from=1772366430&to=1772366434").Body.String()
		secondOpinion(t, text, 5, true)
		view := part{from: firstNumber + 30, to: firstNumber + 34}.of(s)
		now, _ := view.Rendition(rend.Name)
		lint(t, text, view, now)
		var want []string
		for i := 30; i < 35; i++ {
			want = append(want, rend.Segments.Name(i))
		}
		if diff := cmp.Diff(want, listed.FindAllString(text, -1)); diff != "" {
			t.Error(diff)
		}
	}
	for query, status := range map[string]int{
		"index.m3u8?from=x": 400, "index.m3u8?from=2&to=1": 400, "index.m3u8?from=0": 400, "iframes.m3u8?until=-1": 400, "index.m3u8?to=99999999999999999999": 400,
		"index.m3u8?from=1&to=5": 404, "index.m3u8?from=9999999999999": 404, "iframes.m3u8?from=1772366430": 200,
	} {
		if w := r.get(child + "v0/" + query); w.Code != status {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	for _, query := range []string{"start=x", "start=10&end=5", "start=1:00:00"} {
		if w := r.get(base + "index.m3u8?" + query); w.Code != 400 || !strings.Contains(w.Body.String(), `"detail":"`) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

// What is to end later than now grows until then, and ends there.
func TestAPartThatIsStillRecorded(t *testing.T) {
	whole := twoTracks(record.Ready, 40)
	state := func(pictures, sound int) *record.Snapshot {
		now := *whole
		now.State = record.Recording
		v, a := *whole.Renditions[0], *whole.Renditions[1]
		v.Segments, a.Segments = v.Segments.Slice(0, pictures), a.Segments.Slice(0, sound)
		now.Renditions = []*record.Rendition{&v, &a}
		return &now
	}
	r := newRig(t, state(10, 10))
	text := r.get(base + "index.m3u8?start=10&end=" + began.Add(time.Minute).Format(time.RFC3339)).Body.String()
	query := regexp.MustCompile(`\?\S+until=\d+`).FindString(text)
	if query == "" {
		t.Fatal(text)
	}
	before := ""
	for n := 10; n < 40; n++ {
		r.lib.s = state(n, n-1) // one is always a moment behind
		text := r.get(child + "v0/index.m3u8" + query).Body.String()
		over := n > 30 // the sound has it too
		if !strings.HasPrefix(text, before) && !over || strings.Contains(text, "EVENT") == over || strings.Contains(text, "ENDLIST") != over {
			t.Fatalf("with %d segments:\n%s", n, text)
		}
		if got := len(listed.FindAllString(text, -1)); got != min(n, 30)-5 {
			t.Errorf("with %d segments %d are listed", n, got)
		}
		before = text
	}
	// It ends with the recording if that is over before.
	now := state(20, 20)
	now.State = record.Ready
	r.lib.s = now
	if text := r.get(child + "v0/index.m3u8" + query).Body.String(); !strings.Contains(text, "ENDLIST") || len(listed.FindAllString(text, -1)) != 15 {
		t.Error(text)
	}
}

// A rendition that begins later than its source may still get segments that it does not have
// yet; when it cannot any more the source's take their place, and stay there.
func TestHolesThatMayStillBeFilled(t *testing.T) {
	source := add(rendition("v0", video(1280, 720, "avc1.64001f")), 60, 2*time.Second)
	small := rung(60, 5, 20, 50, 60)
	r := newRig(t, nil)
	before := ""
	for n := 21; n <= 60; n++ {
		v, now := *source, *small
		v.Segments = source.Segments.Slice(0, n)
		// It goes on with 50, which is stored a little later than the source's.
		if have := max(15, n-5-3); have < 45 {
			now.Segments = small.Segments.Slice(0, 15)
		} else {
			now.Segments = small.Segments.Slice(0, have)
		}
		s := snapshot(record.Recording, &v, &now)
		r.lib.s = s
		text := r.get(child + "480p/index.m3u8").Body.String()
		if !strings.HasPrefix(text, before) {
			t.Fatalf("with %d segments the playlist is not what it was and more:\n%s\n%s", n, before, text)
		}
		lint(t, text, s, &now)
		before = text
	}
	own := strings.Count(before, "\ns1a2b3c.480p")
	if other := strings.Count(before, "\n../v0/s1a2b3c"); own != 15+7 || other != 5+30 {
		t.Errorf("%d are its own, %d the source's:\n%s", own, other, before)
	}
}

// TestPartsThatAreAlikeAreMadeOnce asks for all of an asset in many ways.
func TestPartsThatAreAlikeAreMadeOnce(t *testing.T) {
	for _, state := range []record.State{record.Ready, record.Recording} {
		s := twoTracks(state, 10)
		r := newRig(t, s)
		want := map[string]struct{}{}
		for i := range 20 {
			query := part{from: firstNumber - int64(i), to: firstNumber + 9 + int64(i)}.query()
			if i > 10 {
				query = part{from: firstNumber - int64(i), until: began.Add(time.Hour).UnixMilli() + int64(i)}.query()
			}
			w := r.get(child + "v0/index.m3u8" + query)
			if w.Code != 200 || len(listed.FindAllString(w.Body.String(), -1)) != 10 {
				t.Fatalf("%s: %d %s", query, w.Code, w.Body)
			}
			want[w.Body.String()] = struct{}{}
		}
		if len(r.h.cache.entries) != 1 {
			t.Errorf("%s: %d texts are kept of %d", state, len(r.h.cache.entries), len(want))
		}
		r.get(child + "v0/index.m3u8" + part{from: firstNumber + 1}.query())
		r.get(child + "v0/index.m3u8" + part{from: firstNumber, to: firstNumber + 8}.query())
		if len(r.h.cache.entries) != 3 {
			t.Errorf("%s: others are %d", state, len(r.h.cache.entries))
		}
	}
}
