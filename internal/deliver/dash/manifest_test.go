package dash

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// epochs are what differs from run to run in the names of media.
var epochs = regexp.MustCompile(`\b(p?i)[0-9a-z]{8,14}\.`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = epochs.ReplaceAllString(got, "${1}EPOCH.")
	file := filepath.Join("testdata", name+".mpd")
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

// bigger is media of another size, from a moment of the timeline.
func bigger(t *testing.T, begin time.Time, from, length time.Duration) []*media.Packet {
	list := newSource(t, mediatest.Options{Width: 1920, Height: 1080, Start: begin}).take(from + length)
	for i, p := range list {
		if p.Arrival.Sub(begin) >= from && p.Key && p.Track.Kind() == media.Video {
			return list[i:]
		}
	}
	return nil
}

func TestGoldenManifests(t *testing.T) {
	offers := []media.Offer{
		{Listed: true, Peak: 1_400_000, Average: 900_000, Track: &media.Track{Rendition: "480p", Codec: media.H264, CodecString: "avc1.64001f", Width: 854, Height: 480, FrameRate: 30, Timescale: 90000}},
		{Listed: true, Peak: 5_000_000, Average: 4_000_000, Track: &media.Track{Rendition: "720p-hevc", Codec: media.HEVC, CodecString: "hvc1.1.6.L93.b0", Width: 1280, Height: 720, FrameRate: 30, Timescale: 90000}},
		{Listed: true, Peak: 160_000, Average: 128_000, Track: &media.Track{Rendition: media.RenditionAAC, Codec: media.AAC, CodecString: "mp4a.40.2", SampleRate: 48000, Channels: 2, Timescale: 48000}},
		{Peak: 1, Track: &media.Track{Rendition: media.RenditionRealtime, Codec: media.H264, CodecString: "avc1.64001f", Timescale: 90000}},
	}
	for _, tt := range []struct {
		name   string
		mode   media.LatencyMode
		o      mediatest.Options
		offers []media.Offer
		act    func(t *testing.T, r *rig)
	}{
		{name: "low", mode: media.LatencyLow},
		{name: "ultra", mode: media.LatencyUltra, o: mediatest.Options{RateNum: 30000, RateDen: 1001, BFrames: 2}},
		{name: "standard", mode: media.LatencyStandard},
		{name: "audio", mode: media.LatencyLow, o: mediatest.Options{NoVideo: true, Audio: media.Opus}},
		{name: "ladder", mode: media.LatencyLow, o: mediatest.Options{Audio: media.Opus}, offers: offers},
		{name: "change", mode: media.LatencyLow, act: func(t *testing.T, r *rig) {
			begin := time.Now()
			r.write(newSource(t, mediatest.Options{}).take(20*time.Second), nil)
			r.write(bigger(t, begin, 20*time.Second, 7300*time.Millisecond), nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.mode, func(t *testing.T, r *rig) {
				r.ladder.offers = tt.offers
				if tt.act != nil {
					tt.act(t, r)
				} else {
					r.write(newSource(t, tt.o).take(41300*time.Millisecond), nil)
				}
				golden(t, tt.name, r.get(manifestPath).Body.String())
				r.end()
				golden(t, tt.name+"-end", r.get(manifestPath).Body.String())
				if tt.name == "low" || tt.name == "change" {
					golden(t, tt.name+"-replay", r.get(child+mpd.ReplayName).Body.String())
				}
			})
		})
	}
}

// linter checks what must hold from one manifest to the next.
type linter struct {
	t    *testing.T
	r    *rig
	last *xmlMPD
	// sure are the segments that were listed when they were complete.
	sure  map[string]map[int64]span
	seen  map[string]bool // media that was asked for
	count int
}

func newLinter(t *testing.T, r *rig) *linter {
	return &linter{t: t, r: r, sure: map[string]map[int64]span{}, seen: map[string]bool{}}
}

func (l *linter) check() {
	s, ok := l.r.packer.Stream(streamID)
	if !ok {
		return
	}
	select {
	case <-s.Ready():
	default:
		return
	}
	m := l.r.manifest()
	if m == l.last {
		return // the same state
	}
	l.count++
	if l.last != nil {
		if m.Type == "dynamic" && m.Start != l.last.Start {
			l.t.Errorf("availabilityStartTime moved from %s to %s", l.last.Start, m.Start)
		}
		l.periods(m)
	}
	for _, p := range m.Periods {
		for _, set := range p.Sets {
			for i := range set.Representations {
				l.representation(s, &set.Representations[i], set.Representations[i].ID)
			}
		}
	}
	l.last = m
}

// periods checks that those that stay keep their start, and that none goes but the first.
func (l *linter) periods(m *xmlMPD) {
	before := l.last.Periods
	for len(before) > 0 && before[0].ID != m.Periods[0].ID {
		before = before[1:]
	}
	for i, p := range before {
		if i >= len(m.Periods) || m.Periods[i].ID != p.ID || m.Periods[i].Start != p.Start {
			l.t.Errorf("Period %s from %s is gone, or elsewhere", p.ID, p.Start)
		}
	}
	if len(before) == 0 {
		l.t.Errorf("no Period of the manifest before is left")
	}
}

func (l *linter) representation(s *pack.Stream, r *xmlRepresentation, name string) {
	rend, ok := s.Rendition(name)
	if !ok {
		return
	}
	snap := rend.Snapshot()
	sure := l.sure[name]
	if sure == nil {
		sure = map[int64]span{}
		l.sure[name] = sure
	}
	list := r.all()
	for i, now := range list {
		if i > 0 && now.T < list[i-1].T+list[i-1].D {
			l.t.Errorf("%s: segment %d begins before the end of the one before it", name, now.Number)
		}
		seg := snap.Segment(now.Number)
		if seg == nil || seg.Blob == nil && !seg.Gap {
			continue // foretold
		}
		if at := seg.BaseTime + seg.Offset; at != now.T {
			l.t.Errorf("%s: segment %d begins at %d and is listed at %d", name, now.Number, at, now.T)
		}
		if before, ok := sure[now.Number]; ok && before.T != now.T {
			l.t.Errorf("%s: segment %d moved from %v to %v", name, now.Number, before, now)
		}
		sure[now.Number] = now
		l.fetch(r, now)
	}
}

// fetch asks for a complete segment, once.
func (l *linter) fetch(r *xmlRepresentation, s span) {
	path := r.media(s.Number)
	if l.seen[path] {
		return
	}
	l.seen[path] = true
	for _, p := range []string{r.media(-1), path} {
		if w := l.r.get(p); w.Code != 200 || w.Body.Len() == 0 {
			l.t.Errorf("%s: %d, %d bytes", p, w.Code, w.Body.Len())
		}
	}
}

// TestManifestsAgree looks at each state of streams of many kinds.
func TestManifestsAgree(t *testing.T) {
	for _, tt := range []struct {
		name    string
		mode    media.LatencyMode
		o       mediatest.Options
		act     func(t *testing.T, r *rig, each func())
		periods int
	}{
		{name: "low", mode: media.LatencyLow},
		{name: "ultra with B-frames", mode: media.LatencyUltra, o: mediatest.Options{RateNum: 30000, RateDen: 1001, BFrames: 2}},
		{name: "standard", mode: media.LatencyStandard},
		{name: "stamps in milliseconds", mode: media.LatencyLow, o: mediatest.Options{Timescale: 1000, RateNum: 24000, RateDen: 1001}},
		{name: "variable rate", mode: media.LatencyLow, o: mediatest.Options{VariableRate: true}},
		{name: "odd groups", mode: media.LatencyLow, o: mediatest.Options{GOP: 77}},
		{name: "sound", mode: media.LatencyLow, o: mediatest.Options{NoVideo: true}},
		{name: "pictures", mode: media.LatencyLow, o: mediatest.Options{NoAudio: true}},
		{name: "change of size", mode: media.LatencyLow, periods: 2, act: func(t *testing.T, r *rig, each func()) {
			begin := time.Now()
			r.write(newSource(t, mediatest.Options{}).take(20*time.Second), each)
			r.write(bigger(t, begin, 20*time.Second, 20*time.Second), each)
		}},
		{name: "a hole", mode: media.LatencyLow, act: func(t *testing.T, r *rig, each func()) {
			src := newSource(t, mediatest.Options{})
			r.write(src.take(15*time.Second), each)
			src.take(9 * time.Second)
			r.write(src.take(20*time.Second), each)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.mode, func(t *testing.T, r *rig) {
				l := newLinter(t, r)
				if tt.act != nil {
					tt.act(t, r, l.check)
				} else {
					r.write(newSource(t, tt.o).take(45*time.Second), l.check)
				}
				if l.count < 10 {
					t.Errorf("%d manifests", l.count)
				}
				if n := len(l.last.Periods); n != max(tt.periods, 1) {
					t.Errorf("%d Periods", n)
				}
				r.end()
				l.check()
				if l.last.Type != "static" || l.last.Duration == "" || l.last.Update != "" {
					t.Errorf("the last manifest is %+v", l.last)
				}
			})
		})
	}
}

// TestForecastsHold: what a manifest foretells of a regular stream is not shorter than
// what comes to be, and hardly longer.
func TestForecastsHold(t *testing.T) {
	for _, o := range []mediatest.Options{{}, {Timescale: 1000}, {RateNum: 30000, RateDen: 1001, BFrames: 2}, {SampleRate: 44100}} {
		inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
			foretold := map[string]map[int64]int64{"v0": {}, "a0": {}}
			wrong := 0
			r.write(newSource(t, o).take(30*time.Second), func() {
				if s, ok := r.packer.Stream(streamID); !ok || len(s.Renditions()) < 2 {
					return
				}
				m := r.manifest()
				for name, ends := range foretold {
					snap := r.snapshot(name)
					rep := m.find(name)
					list := rep.all()
					if last := list[len(list)-1].Number; last != r.snapshot("v0").LastSequence()+1 && last != r.snapshot("v0").LastSequence()+2 {
						t.Fatalf("%s: the last segment listed is %d", name, last)
					}
					for _, s := range list {
						end := s.T + s.D
						if seg := snap.Segment(s.Number); seg == nil || seg.Blob == nil {
							ends[s.Number] = end
							continue
						}
						was, ok := ends[s.Number]
						delete(ends, s.Number)
						if off := snap.Track.Duration(was - end); ok && s.Number != list[len(list)-1].Number && (off < 0 || off > 120*time.Millisecond) {
							wrong++
							t.Logf("%s: segment %d ended %v before it was foretold to", name, s.Number, off)
						}
					}
				}
			})
			if wrong > 0 {
				t.Errorf("%+v: %d forecasts were wrong", o, wrong)
			}
		})
	}
}

// TestFragmentsFit: the first sample of a segment is decoded when its fragment says, and
// shown when the manifest says.
func TestFragmentsFit(t *testing.T) {
	inBubble(t, media.LatencyUltra, func(t *testing.T, r *rig) {
		r.write(newSource(t, mediatest.Options{BFrames: 2}).take(20*time.Second), nil)
		m := r.manifest()
		for _, name := range []string{"v0", "a0"} {
			rep := m.find(name)
			init := r.get(rep.media(-1)).Body.Bytes()
			for _, s := range rep.all()[:5] {
				body := r.get(rep.media(s.Number)).Body.Bytes()
				p, err := fmp4.NewReader(join(init, body)).ReadPacket(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if p.PTS != s.T || !p.Key {
					t.Errorf("%s %d: the first sample is shown at %d, listed %d; key %v", name, s.Number, p.PTS, s.T, p.Key)
				}
			}
		}
	})
}
