package replay

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/media"
	"onair/internal/record"
)

// edgeAt is the edge of a window that begins with a segment of a rendition and has ten.
func edgeAt(s *record.Snapshot, r *record.Rendition, i int) m3u8.Edge {
	const window = 10
	seg := r.Segments.At(i)
	return m3u8.Edge{
		Track: r.Inits[0].Track, Sequence: seg.Sequence, Start: seg.Start, End: seg.Start.Add(window * seg.Duration), Origin: s.Origin,
	}
}

// pastOf is the past of a library's asset as the recording of a live stream.
func pastOf(lib Library, window time.Duration) *Past {
	return NewPast(DefaultConfig(), lib, func(streamID string) (string, time.Duration, bool) {
		return assetID, window, streamID == "ls_1"
	}, nil)
}

// whole is the text of a past, the recent part too.
func whole(p *m3u8.Past) string {
	return string(append(p.Text.Plain(nil), p.Recent...))
}

// namesOf returns the segments that a text lists.
func namesOf(text string) (list []string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// TestPastListsWhatIsRecorded grows a recording segment by segment: what is listed before the
// edge is what is recorded there, from its beginning or of a window, and each state's list goes
// on where the one before ended.
func TestPastListsWhatIsRecorded(t *testing.T) {
	for _, window := range []time.Duration{-1, 200 * time.Second, 1000 * time.Second} {
		t.Run(window.String(), func(t *testing.T) {
			r := add(rendition("v0", video(1280, 720, "avc1.64001f")), 900, 2*time.Second, func(i int, s *record.Segment) {
				s.Discontinuity = i == 300 || i == 700
				s.Independent = i != 5
			})
			s := snapshot(record.Recording, r)
			p := pastOf(&fake{s: s}, window)
			if p.Before("ls_other", "v0", edgeAt(s, r, 100)) != nil || p.Has("ls_other") || !p.Has("ls_1") {
				t.Error("the past of another stream")
			}
			wrong := edgeAt(s, r, 100)
			wrong.Origin = wrong.Origin.Add(time.Nanosecond)
			if p.Before("ls_1", "v0", wrong) != nil || p.Before("ls_1", "v0", edgeAt(s, r, 0)) != nil {
				t.Error("the past of another broadcast, or before the beginning")
			}
			for i := 30; i < r.Segments.Len()-1; i += 1 + i%3 {
				edge := edgeAt(s, r, i)
				if i%2 == 0 {
					edge.Keep = 9 * time.Second
				}
				past := p.Before("ls_1", "v0", edge)
				first := 0
				if window >= 0 {
					first = max(0, i+10-int(window/(2*time.Second)))
				}
				if past == nil || past.First != r.Segments.Sequence(first) {
					t.Fatalf("before %d: %+v, want %d", i, past, r.Segments.Sequence(first))
				}
				discontinuities := 0
				for _, at := range []int{300, 700} {
					if first <= at && at < i {
						discontinuities++
					}
				}
				text := whole(past)
				names := namesOf(text)
				if len(names) != i-first || past.Discontinuities != discontinuities || strings.Count(text, "#EXT-X-DISCONTINUITY\n") != discontinuities ||
					past.Independent != (first > 5) {
					t.Fatalf("before %d: %d segments, %d discontinuities of %d, independent %v", i, len(names), past.Discontinuities, discontinuities, past.Independent)
				}
				for k, name := range names {
					if name != r.Segments.Name(first+k) {
						t.Fatalf("before %d: %s in the place of %s", i, name, r.Segments.Name(first+k))
					}
				}
				if !strings.HasPrefix(text, "#EXT-X-MAP") && !strings.HasPrefix(text, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP") {
					t.Fatalf("before %d it begins with %.100s", i, text)
				}
				recent := len(namesOf(string(past.Recent)))
				if edge.Keep > 0 && recent != 5 || edge.Keep == 0 && recent != 0 || past.Count+recent != i-first {
					t.Fatalf("before %d: %d in the text, %d recent", i, past.Count, recent)
				}
			}
		})
	}
}

// TestPastOfWhatIsBehind: where the recording is behind the window, or has stopped, there are
// gaps up to it, and what is recorded later takes their place.
func TestPastOfWhatIsBehind(t *testing.T) {
	r := add(rendition("v0", video(1280, 720, "avc1.64001f")), 1400, 2*time.Second)
	now := *r
	now.Segments = r.Segments.Slice(0, 300)
	s := snapshot(record.Recording, &now)
	lib := &fake{s: s}
	p := pastOf(lib, -1)
	for _, i := range []int{300, 305, 600, 1300} {
		past := p.Before("ls_1", "v0", edgeAt(s, r, i))
		text := whole(past)
		if names := namesOf(text); len(names) != i || strings.Count(text, "#EXT-X-GAP\n") != i-300 || names[299] != r.Segments.Name(299) {
			t.Fatalf("before %d: %d segments, %d gaps", i, len(names), strings.Count(text, "#EXT-X-GAP\n"))
		}
		if n := strings.Count(text, "#EXTINF:2.00000,\n"); n != i {
			t.Errorf("before %d: %d of them last 2 s", i, n)
		}
	}
	lib.s = snapshot(record.Recording, r)
	if text := whole(p.Before("ls_1", "v0", edgeAt(s, r, 1300))); strings.Contains(text, "GAP") {
		t.Error("gaps of what is recorded by now")
	}
}

// TestPastOfARenditionThatWasNotMade lists the source's segments, with its initialization
// section, for a rendition that has just begun.
func TestPastOfARenditionThatWasNotMade(t *testing.T) {
	source := add(rendition("v0", video(1280, 720, "avc1.64001f")), 400, 2*time.Second)
	s := snapshot(record.Recording, source)
	p := pastOf(&fake{s: s}, -1)
	edge := edgeAt(s, source, 390)
	edge.Track = video(640, 360, "avc1.64001e")
	text := whole(p.Before("ls_1", "360p", edge))
	names := namesOf(text)
	if len(names) != 390 || names[0] != "../v0/"+source.Segments.Name(0) || !strings.HasPrefix(text, `#EXT-X-MAP:URI="../v0/`+source.Inits[0].Name+`"`) {
		t.Errorf("%d segments: %.200s", len(names), text)
	}
	edge.Track = &media.Track{Codec: media.HEVC, Timescale: 90_000}
	text = whole(p.Before("ls_1", "hevc", edge))
	if strings.Contains(text, `URI=""`) || strings.Count(text, "#EXT-X-GAP\n") != 390 {
		t.Errorf("a rendition that nothing stands for: %.200s", text)
	}
}

// TestPastOfTwelveHours: the playlist of 12 hours is small when it is compressed, and what is
// kept of it in memory is not more.
func TestPastOfTwelveHours(t *testing.T) {
	const n = 21_600
	r := add(rendition("v0", video(1280, 720, "avc1.64001f")), n, 2*time.Second)
	a := add(rendition("a0", audio(media.AAC, "mp4a.40.2", "en")), n, 2*time.Second, func(i int, s *record.Segment) {
		s.Duration += time.Duration(i*7%5-2) * 21333 * time.Microsecond / 2
	})
	s := snapshot(record.Recording, r, a)
	p := pastOf(&fake{s: s}, -1)
	for _, rend := range []*record.Rendition{r, a} {
		past := p.Before("ls_1", rend.Name, edgeAt(s, rend, n-1))
		size := len(bytes.Join(past.Text.Zip(nil, nil), nil))
		t.Logf("%s: %d bytes, %d compressed", rend.Name, past.Text.Size(), size)
		if past.Count != n-1 || size > 250_000 {
			t.Errorf("%s: %d segments in %d bytes", rend.Name, past.Count, size)
		}
	}
	if p.cache.size > 600_000 {
		t.Errorf("%d bytes are kept", p.cache.size)
	}
}

// BenchmarkPast measures what a new segment costs.
func BenchmarkPast(b *testing.B) {
	for _, hours := range []int{1, 12} {
		r := add(rendition("v0", video(1280, 720, "avc1.64001f")), hours*1800, 2*time.Second)
		s := snapshot(record.Recording, r)
		p := pastOf(&fake{s: s}, -1)
		b.Run(fmt.Sprintf("%d h", hours), func(b *testing.B) {
			p.Before("ls_1", "v0", edgeAt(s, r, r.Segments.Len()-30)) // what is long past is rendered once
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.Before("ls_1", "v0", edgeAt(s, r, r.Segments.Len()-100+i%64))
			}
		})
	}
}
