package hls

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// remembered is a past that remembers all segments it has seen.
type remembered struct {
	r     *rig
	off   bool
	lists map[string][]*pack.Segment
	edges []m3u8.Edge
}

func (p *remembered) Has(id string) bool { return !p.off && id == streamID }

// see takes what is in the window.
func (p *remembered) see() {
	s, ok := p.r.packer.Stream(streamID)
	if !ok {
		return
	}
	for _, r := range s.Renditions() {
		list := p.lists[r.Name()]
		for _, seg := range r.Snapshot().Segments {
			if len(list) == 0 || seg.Sequence > list[len(list)-1].Sequence {
				list = append(list, seg)
			}
		}
		p.lists[r.Name()] = list
	}
}

func (p *remembered) Before(_, rendition string, edge m3u8.Edge) *m3u8.Past {
	p.edges = append(p.edges, edge)
	list := p.lists[rendition]
	if len(list) == 0 || list[0].Sequence >= edge.Sequence {
		return nil
	}
	past := &m3u8.Past{First: list[0].Sequence, Independent: true}
	var blocks []m3u8.Block
	for _, seg := range list {
		if seg.Sequence == edge.Sequence {
			break
		}
		var text m3u8.Printer
		if seg.Discontinuity {
			past.Discontinuities++
			text.Text("#EXT-X-DISCONTINUITY\n")
		}
		text.Text(`#EXT-X-MAP:URI="`).Text(seg.Init.Name).Text("\"\n#EXT-X-PROGRAM-DATE-TIME:").Time(seg.Start)
		text.Text("\n#EXTINF:").Seconds(seg.Duration).Text(",\n").Text(seg.Name).Text("\n")
		if edge.Keep > 0 && seg.Start.Add(seg.Duration).After(edge.Start.Add(-edge.Keep)) {
			past.Recent = append(past.Recent, text.B...)
			continue
		}
		past.Count++
		blocks = append(blocks, m3u8.NewBlock(text.B))
	}
	past.Text = m3u8.Join(blocks)
	return past
}

// unzipped asks for the gzip form.
func (r *rig) unzipped(path string) (text string, size int) {
	r.t.Helper()
	w := r.get(path, "Accept-Encoding", "gzip")
	size = w.Body.Len()
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Content-Length") != strconv.Itoa(size) {
		r.t.Fatalf("%d %v, %d bytes", w.Code, w.Header(), size)
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b), size
}

// TestPastIsListed looks at all states of playlists that list all of a broadcast: their forms
// say the same, a delta update tells those who have the playlist before it what is new, and
// nothing of what was listed changes.
func TestPastIsListed(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode media.LatencyMode
		o    mediatest.Options
	}{
		{"low", media.LatencyLow, mediatest.Options{}},
		{"without parts", media.LatencyStandard, mediatest.Options{}},
		{"a window shorter than a delta update", media.LatencyLow, mediatest.Options{GOP: 30 * 11}},
		{"cut between key frames", media.LatencyLow, mediatest.Options{GOP: 30 * 25}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEmptyBubble(t, tt.mode, func(t *testing.T, r *rig) {
				past := &remembered{r: r, lists: map[string][]*pack.Segment{}}
				r.handler.SetPast(past)
				before := map[string]*lintState{}
				check := func() {
					past.see()
					if s, ok := r.packer.Stream(streamID); !ok || !ready(s) {
						return
					}
					for _, name := range []string{"v0", "a0"} {
						now := parsePlaylist(t, r.get(child+name+"/index.m3u8").Body.String())
						if old := before[name]; old == nil || old.text != now.text {
							r.compare(name, old, now, len(past.lists[name]))
							before[name] = now
						}
					}
				}
				src := newSource(t, tt.o)
				r.write(src.take(130*time.Second), check)
				other := tt.o
				other.Width, other.Height = 640, 360
				other.Offset, other.Start = 131*time.Second, time.Now().Add(-130*time.Second)
				r.write(newSource(t, other).take(40*time.Second), check)
				r.end()
				check()
				if now := before["v0"]; !now.end || now.segments[0].msn != past.lists["v0"][0].Sequence {
					t.Errorf("at the end:\n%s", now.text)
				}
			})
		})
	}
}

// compare checks a state of a playlist with a past against the one before.
func (r *rig) compare(name string, before, now *lintState, segments int) {
	t, path := r.t, child+name+"/index.m3u8"
	t.Helper()
	if full, _ := r.unzipped(path); full != now.text {
		t.Fatalf("the gzip form is another playlist: %d bytes and %d", len(full), len(now.text))
	}
	complete := 0
	for i, s := range now.segments {
		if s.complete {
			complete++
		}
		if s.init == "" {
			t.Fatalf("%s: segment %d has no initialization section", name, i)
		}
	}
	if complete != segments || now.discSeq != 0 {
		t.Fatalf("%s: %d of %d segments are listed, from discontinuity %d", name, complete, segments, now.discSeq)
	}
	delta := r.get(path + "?_HLS_skip=YES").Body.String()
	if zipped, _ := r.unzipped(path + "?_HLS_skip=YES"); zipped != delta {
		t.Fatalf("%s: the gzip form of the delta update is another", name)
	}
	if now.end {
		if delta != now.text {
			t.Errorf("%s: a delta update at the end", name)
		}
		return
	}
	start, err := strconv.ParseFloat(attrsOf(now.attrs["#EXT-X-START"])["TIME-OFFSET"], 64)
	if err != nil || start >= 0 || start < -60 {
		t.Fatalf("%s: players begin at %v, %v", name, start, err)
	}
	head, rest, ok := strings.Cut(delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=")
	if !ok {
		if delta != now.text {
			t.Fatalf("%s: neither the playlist nor an update:\n%s", name, delta)
		}
		return
	}
	count, tail, _ := strings.Cut(rest, "\n")
	skipped, err := strconv.Atoi(count)
	if err != nil || skipped >= len(now.segments) || !strings.HasPrefix(now.text, head) {
		t.Fatalf("%s: not an update:\n%s", name, delta)
	}
	// What is skipped ends further from the end than CAN-SKIP-UNTIL, and what is not is told.
	until, _ := strconv.ParseFloat(attrsOf(now.attrs["#EXT-X-SERVER-CONTROL"])["CAN-SKIP-UNTIL"], 64)
	left := 0.0
	for _, s := range now.segments[skipped:] {
		if left += s.duration; !s.complete {
			for _, p := range s.parts {
				left += p.duration
			}
		}
	}
	const jump = 1 // the wall clock's, at the change of parameters
	if until < 6*now.target || left < until-jump-0.001 {
		t.Fatalf("%s: %v s are left of an update that may skip up to %v s:\n%s", name, left, until, delta)
	}
	if listed := strings.Count(tail, "#EXTINF"); listed != complete-skipped {
		t.Fatalf("%s: %d of %d segments are skipped, and %d listed", name, skipped, complete, listed)
	}
	if before == nil {
		return
	}
	at := before.segments[0].msn
	for i, s := range before.segments {
		if n := now.segments[i]; n.msn != at+int64(i) || s.complete && (n.uri != s.uri || n.duration != s.duration) || n.disc != s.disc || n.init != s.init {
			t.Fatalf("%s: segment %d was %v and is %v", name, s.msn, s, n)
		}
	}
}

// TestPastIsServedElsewhere asks for media that pack does not have any more, while the stream
// is on the air and when pack has forgotten it.
func TestPastIsServedElsewhere(t *testing.T) {
	inEmptyBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		past := &remembered{r: r, lists: map[string][]*pack.Segment{}}
		r.handler.SetPast(past)
		r.handler.SetOthers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
		r.write(newSource(t, mediatest.Options{}).take(2*time.Minute), past.see)
		paths := []string{child + "v0/" + past.lists["v0"][0].Name, child + "720p/s1.m4s", child + "v0/" + past.lists["v0"][0].Init.Name + "x"}
		codes := func(when string, want int, more ...string) {
			t.Helper()
			for _, path := range append(more, paths...) {
				if w := r.get(path); w.Code != want {
					t.Errorf("%s: %s: %d", when, path, w.Code)
				}
			}
		}
		codes("on the air", http.StatusTeapot)
		past.off = true
		codes("without a past", http.StatusNotFound)
		is := false
		r.handler.SetRecorded(func(_ context.Context, id string) bool { return is && id == streamID })
		codes("not recorded", http.StatusNotFound)
		is = true
		codes("recorded: a part of it", http.StatusTeapot)
		if w := r.get(child + "v0/index.m3u8"); w.Code != http.StatusOK {
			t.Errorf("its own playlist: %d", w.Code)
		}
		past.off = false
		r.end()
		time.Sleep(time.Hour) // the bubble's
		codes("long after", http.StatusTeapot, child+"v0/index.m3u8")
		past.off = true
		codes("a part, long after", http.StatusTeapot)
		if w := r.get(child + "v0/index.m3u8"); w.Code != http.StatusNotFound {
			t.Errorf("its own playlist, long after: %d", w.Code)
		}
		is, past.off = false, false
		if w := r.get("/hls/" + playbackID + "/index.m3u8"); w.Code != http.StatusNotFound || !bytes.Contains(w.Body.Bytes(), []byte("not live")) {
			t.Errorf("who comes then: %d %s", w.Code, w.Body)
		}
	})
}

// BenchmarkRenderPast measures what a new part costs in a playlist with a past.
func BenchmarkRenderPast(b *testing.B) {
	for _, hours := range []int{1, 12} {
		past := &m3u8.Past{Independent: true}
		var blocks []m3u8.Block
		for past.Count < hours*1800 {
			var text []byte
			for range 256 {
				past.Count++
				text = fmt.Appendf(text, "#EXTINF:2.00000,\ns0tq3xyabc1de2f.%d.m4s\n", 1_772_366_400+past.Count)
			}
			blocks = append(blocks, m3u8.NewBlock(text))
		}
		past.Text = m3u8.Join(blocks)
		r := newRealRig(b, DefaultConfig(), mediatest.Options{}, 31*time.Second)
		s, rend := r.stream(), r.rendition("v0")
		snap := rend.Snapshot()
		for _, form := range []struct {
			name string
			form int
		}{{"full", formGzip}, {"delta", formGzip | formDelta}} {
			b.Run(fmt.Sprintf("%d h/%s", hours, form.name), func(b *testing.B) {
				b.ReportAllocs()
				size := 0
				for b.Loop() {
					v := &view{past: past, asked: true}
					body := v.form(s, rend, snap, form.form)
					size, _ = strconv.Atoi(body.length[0])
				}
				b.ReportMetric(float64(size), "gzip-bytes")
			})
		}
		r.close()
	}
}
