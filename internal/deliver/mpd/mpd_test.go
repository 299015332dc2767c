package mpd

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/deliver/reply"
	"onair/internal/media"
)

// What begins at about the end of what is before it is listed as following it, and other times
// are told.
func TestTimeline(t *testing.T) {
	track := &media.Track{Codec: media.H264, Timescale: 1000}
	var list []Span
	for _, s := range []Span{
		{Number: 1, T: 0, D: 2000}, {Number: 2, T: 2010, D: 2000}, {Number: 3, T: 4000, D: 2000}, // a little early and late
		{Number: 4, T: 9000, D: 2000}, {Number: 5, T: 11_000, D: 0}, // after a gap
	} {
		list = Follow(list, s, track)
	}
	at := func(v int64) *int64 { return &v }
	want := []xmlS{{T: at(0), D: 2010}, {D: 1990}, {D: 2000}, {T: at(9000), D: 2000}, {D: 1}}
	if diff := cmp.Diff(want, timeline(list)); diff != "" {
		t.Error(diff)
	}
	// Numbers that do not follow, and time that goes back, begin anew.
	for _, s := range []Span{{Number: 7, T: 12_000, D: 1}, {Number: 6, T: 11_000, D: 1}} {
		if got := Follow(list, s, track); len(got) != 1 || got[0] != s {
			t.Errorf("%v after 5: %v", s, got)
		}
	}
}

// Renditions that are alike are in one set, which is preferred if one is the source's.
func TestSets(t *testing.T) {
	var p Period
	for i, track := range []*media.Track{
		{Codec: media.H264}, {Codec: media.AAC, Language: "en"}, {Codec: media.AAC, Language: "de"}, {Codec: media.H264}, {Codec: media.Opus, Language: "en"},
	} {
		p.Add(Representation{Name: strconv.Itoa(i), Track: track}, i < 3)
	}
	var got []string
	for _, s := range p.Sets {
		names := strconv.Itoa(s.Priority) + ":"
		for _, r := range s.List {
			names += " " + r.Name
		}
		got = append(got, names)
	}
	if diff := cmp.Diff([]string{"2: 0 3", "2: 1", "2: 2", "1: 4"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "PT0S", time.Second: "PT1S", 1500 * time.Millisecond: "PT1.5S", 12*time.Hour + 7*time.Millisecond: "PT43200.007S",
	} {
		if got := isoDuration(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/dash/time", "/dash/a/manifest.mpd", "/dash/a/b/replay.mpd", "/dash/a/b/v0/iabc.0-17.m4s", "/dash/a/b/v0/first.mp4", "/dash//..", "/dash/a/b/v0/-.m4s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, ok := ParsePath(path)
		if !ok {
			return
		}
		if !reply.WellFormed(p.ID) || p.Session != "" && !reply.WellFormed(p.Session) || len(p.File) > reply.MaxName {
			t.Errorf("%q is %+v", path, p)
		}
		if stem, number, ok := ParseFile(p.File); ok && number >= 0 && p.File != stem+"-"+strconv.FormatInt(number, 10)+SegmentExt {
			t.Errorf("%q is %q and %d", p.File, stem, number)
		}
	})
}
