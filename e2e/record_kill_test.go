//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// clipFile makes a small file with B-frames and a key frame a second.
func clipFile(t *testing.T, length string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.mp4")
	_, errOut, err := run(t, 3*time.Minute, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", length, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-bf", "2",
		"-b:v", "300k", "-c:a", "aac", "-b:a", "64k", "-ac", "2", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	return file
}

// copying publishes a file as it is, in real time, and says how far it is.
func copying(t *testing.T, s *server, st stream, file string) *publisher {
	t.Helper()
	return encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-nostats", "-progress", "pipe:1", "-stats_period", "0.1",
		"-re", "-stream_loop", "-1", "-i", file, "-c", "copy", "-flush_packets", "1", "-f", "flv", s.publishURL(st))
}

// sent is how much a publisher said that it has sent.
func (p *publisher) sent() time.Duration {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	for i := len(p.out.all) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(p.out.all[i], "out_time_us="); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			return time.Duration(n) * time.Microsecond
		}
	}
	return 0
}

// piece is a segment in a playlist.
type piece struct {
	uri        string
	start, end time.Time
	gap        bool
}

// pieces returns the segments of an asset's first rendition; none if it has no playlist yet.
func (s *server) pieces(a asset) (list []piece, ended bool) {
	s.t.Helper()
	base := fmt.Sprintf("%s/hls/%s/", s.http, a.PlaybackIDs[0].ID)
	master, err := fetch(base + "index.m3u8")
	if err != nil {
		return nil, false
	}
	lines := strings.Split(master, "\n")
	child := ""
	for i, line := range lines {
		if strings.HasPrefix(line, "#EXT-X-STREAM-INF:") && i+1 < len(lines) {
			child = base + lines[i+1]
			break
		}
	}
	text, err := fetch(child)
	if err != nil {
		return nil, false
	}
	var at time.Time
	var long float64
	gap := false
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#EXT-X-PROGRAM-DATE-TIME:"):
			if at, err = time.Parse(time.RFC3339Nano, line[len("#EXT-X-PROGRAM-DATE-TIME:"):]); err != nil {
				s.t.Errorf("%v in %s", err, line)
			}
		case strings.HasPrefix(line, "#EXTINF:"):
			long, _ = strconv.ParseFloat(strings.TrimSuffix(line[len("#EXTINF:"):], ","), 64)
		case line == "#EXT-X-GAP":
			gap = true
		case line == "#EXT-X-ENDLIST":
			ended = true
		case line != "" && line[0] != '#':
			end := at.Add(time.Duration(long * float64(time.Second)))
			list = append(list, piece{child[:strings.LastIndexByte(child, '/')+1] + line, at, end, gap})
			at, gap = end, false
		}
	}
	return list, ended
}

// name is what a segment is called wherever the server listens.
func (p *piece) name() string { return p.uri[strings.LastIndexByte(p.uri, '/')+1:] }

// holds fails unless an asset has every segment that it had, and all its segments are there.
func (s *server) holds(what string, a asset, had []piece, fetchAll bool) []piece {
	s.t.Helper()
	now, _ := s.pieces(a)
	for i, was := range had {
		if i >= len(now) || now[i].name() != was.name() || now[i].gap != was.gap {
			s.t.Errorf("%s: segment %d of %d, %s, is missing", what, i, len(had), was.name())
			break
		}
	}
	for i := range now {
		if i > 0 && now[i].start.Before(now[i-1].end.Add(-50*time.Millisecond)) {
			s.t.Errorf("%s: %s begins before %s ended", what, now[i].name(), now[i-1].name())
		}
		if !fetchAll || now[i].gap {
			continue
		}
		if b, err := fetch(now[i].uri); err != nil || len(b) == 0 {
			s.t.Errorf("%s: %s: %d bytes, %v", what, now[i].name(), len(b), err)
		}
	}
	return now
}

// plays fails unless ffprobe reads an asset without a word, and finds it as long as it is
// listed.
func (s *server) plays(what string, a asset) {
	s.t.Helper()
	url := fmt.Sprintf("%s/hls/%s/index.m3u8", s.http, a.PlaybackIDs[0].ID)
	out, errOut, err := run(s.t, time.Minute, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url)
	if err != nil || strings.TrimSpace(errOut) != "" {
		s.t.Errorf("%s: %v %s", what, err, errOut)
	} else if d := seconds(s.t, strings.TrimSpace(out)); d < a.Duration-0.1 || d > a.Duration+0.1 {
		s.t.Errorf("%s: it plays for %.3f s and is listed with %.3f", what, d, a.Duration)
	}
}

// assets lists a stream's assets, the newest first.
func (s *server) assets(st stream) []asset {
	s.t.Helper()
	var list struct {
		Data []asset `json:"data"`
	}
	if code := s.call(http.MethodGet, "/v1/assets?live_stream_id="+st.ID+"&limit=100", nil, &list); code != http.StatusOK {
		s.t.Fatalf("list the assets: %d", code)
	}
	return list.Data
}

// TestRecordingOutlivesKills kills the server at 60 random moments. One stream goes on within
// its reconnect window, in one asset over all kills; the publishers of two others come too late,
// and each of their broadcasts becomes an asset at the next start. No segment that was ever
// listed is missing, and at most a second of the end is lost, from the first second on: a third
// of the kills come within three seconds. A long broadcast that is killed before pack makes
// anything of it is an asset of its own, and the next one begins another.
func TestRecordingOutlivesKills(t *testing.T) {
	beside(t)
	const labs, kills = 3, 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	file := clipFile(t, "30")
	var lost, soon sample
	for lab := range labs {
		t.Run(strconv.Itoa(lab), func(t *testing.T) {
			t.Parallel()
			outlive(t, rand.New(rand.NewPCG(seed, uint64(lab))), file, kills, &lost, &soon)
		})
	}
	t.Cleanup(func() {
		t.Logf("%d kills, %d assets of them; lost of what was sent: at most %.2f s, on average %.2f s", labs*kills, lost.n, lost.max, lost.sum/float64(max(1, lost.n)))
		t.Logf("of these, %d assets of broadcasts of less than 3 s; lost of them: at most %.2f s, on average %.2f s", soon.n, soon.max, soon.sum/float64(max(1, soon.n)))
		if soon.n < labs*kills/6 {
			t.Errorf("only %d broadcasts were killed within 3 s", soon.n)
		}
		if lost.n < labs*kills/2 {
			t.Errorf("only %d assets were looked at", lost.n)
		}
	})
}

// sample is a count, a sum and a maximum.
type sample struct {
	mu       sync.Mutex
	n        int
	sum, max float64
}

func (s *sample) add(v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n, s.sum, s.max = s.n+1, s.sum+v, max(s.max, v)
}

func outlive(t *testing.T, random *rand.Rand, file string, kills int, lost, soon *sample) {
	data := t.TempDir()
	s := start(t, "--data", data)
	long := s.createWith(map[string]any{"latency_mode": "low", "record": true, "reconnect_window": 300})
	short := []stream{
		s.createWith(map[string]any{"latency_mode": "low", "record": true, "reconnect_window": 0}),
		s.createWith(map[string]any{"latency_mode": "standard", "record": true, "reconnect_window": 0}),
	}
	had := map[string][]piece{}                     // by asset
	cut, ended := map[string]bool{}, map[int]bool{} // assets of the long broadcast that do not go on, and their kills
	var moments []time.Time
	var longSent []time.Duration
	for k := range kills {
		publishers := []*publisher{copying(t, s, long, file), copying(t, s, short[0], file), copying(t, s, short[1], file)}
		span := 7 * time.Second
		if k%3 == 0 {
			span = 2 * time.Second
		}
		pause(t.Context(), time.Second+time.Duration(random.Int64N(int64(span))))
		known := map[string]bool{}
		for _, st := range append([]stream{long}, short...) {
			for _, a := range s.assets(st) {
				if a.Status != "recording" && st.ID != long.ID {
					known[a.ID] = true
					continue
				}
				if list, _ := s.pieces(a); len(list) > 0 {
					had[a.ID] = list
				}
			}
		}
		sent := []time.Duration{publishers[0].sent(), publishers[1].sent(), publishers[2].sent()}
		s.cmd.Process.Kill()
		moments, longSent = append(moments, time.Now()), append(longSent, sent[0])
		<-s.ended
		s.ended <- nil
		for _, p := range publishers {
			p.kill()
		}
		s = start(t, "--data", data)
		for i, st := range short {
			there := false
			for _, a := range s.assets(st) {
				if known[a.ID] {
					continue
				}
				there = true
				what := fmt.Sprintf("kill %d, stream %d", k, i+1)
				if a.Status != "ready" {
					t.Errorf("%s: the asset is %s: %s", what, a.Status, a.Error)
					continue
				}
				was := had[a.ID]
				s.holds(what, a, was, true)
				s.plays(what, a)
				missing := sent[i+1].Seconds() - a.Duration
				lost.add(missing)
				if sent[i+1] < 3*time.Second {
					soon.add(missing)
				}
				if missing > 1 {
					t.Errorf("%s: %.2f s are left of %.2f that were sent", what, a.Duration, sent[i+1].Seconds())
				}
				if a.Duration == 0 {
					t.Errorf("%s: there is an asset with nothing in it", what)
				}
			}
			if !there && sent[i+1] > time.Second {
				t.Errorf("kill %d, stream %d: there is no asset, and %v were sent", k, i+1, sent[i+1])
			}
		}
		for _, a := range s.assets(long) {
			what := fmt.Sprintf("kill %d, the long broadcast", k)
			if a.Status == "recording" {
				had[a.ID] = s.holds(what, a, had[a.ID], false)
				continue
			}
			if cut[a.ID] {
				continue
			}
			cut[a.ID], ended[k] = true, true
			s.plays(what, a)
			missing := sent[0].Seconds() - a.Duration
			soon.add(missing)
			if missing > 1 {
				t.Errorf("%s: %.2f s are left of %.2f that were sent", what, a.Duration, sent[0].Seconds())
			}
		}
	}
	p := copying(t, s, long, file)
	pause(t.Context(), 6*time.Second)
	p.kill()
	s.call(http.MethodPost, "/v1/live-streams/"+long.ID+"/complete", nil, nil)
	a := s.assetOf(long, 10*time.Second, func(a asset) bool { return recorded(a) && !cut[a.ID] })
	if list := s.assets(long); len(list) != 1+len(cut) || list[0].ID != a.ID {
		t.Errorf("the long broadcast is %d assets, %d of which were killed before they had begun: %+v", len(list), len(cut), list)
	}
	all := s.holds("the long broadcast", a, had[a.ID], true)
	s.plays("the long broadcast", a)
	for k, at := range moments {
		i := slices.IndexFunc(all, func(p piece) bool { return !p.gap && p.start.After(at) })
		if i < 0 {
			i = len(all)
		}
		for i--; i >= 0 && all[i].gap; i-- {
		}
		if i < 0 {
			if longSent[k] > time.Second && !ended[k] {
				t.Errorf("kill %d, the long broadcast: nothing is there of %v", k, longSent[k])
			}
			continue // it was another asset
		}
		// By the clock, so with what starting an encoder and a busy machine take.
		if missing := at.Sub(all[i].end); missing > 1500*time.Millisecond {
			t.Errorf("kill %d, the long broadcast: %v before it are missing", k, missing)
		}
	}
}

// TestTwentyPublishersCut cuts twenty publishers at once.
func TestTwentyPublishersCut(t *testing.T) {
	const streams, window = 20, 1
	s := start(t)
	file := clipFile(t, "30")
	var list []stream
	var publishers []*publisher
	for i := range streams {
		mode := []string{"low", "ultra", "standard"}[i%3]
		st := s.createWith(map[string]any{"latency_mode": mode, "record": true, "reconnect_window": window})
		list, publishers = append(list, st), append(publishers, copying(t, s, st, file))
	}
	for _, st := range list {
		s.assetOf(st, 30*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration > 0 })
	}
	pause(t.Context(), 5*time.Second+time.Duration(rand.IntN(2000))*time.Millisecond)
	var sent []time.Duration
	for _, p := range publishers {
		sent = append(sent, p.sent())
		p.cmd.Process.Kill()
	}
	cut := time.Now()
	for _, p := range publishers {
		p.kill()
	}
	worst, late := 0.0, time.Duration(0)
	for i, st := range list {
		a := s.assetOf(st, time.Until(cut)+10*time.Second+window*time.Second, recorded)
		late = max(late, time.Since(cut))
		missing := sent[i].Seconds() - a.Duration
		worst = max(worst, missing)
		if missing > 1 {
			t.Errorf("stream %d: %.2f s are left of %.2f that were sent", i, a.Duration, sent[i].Seconds())
		}
		if len(a.Error) > 0 {
			t.Errorf("stream %d: %s", i, a.Error)
		}
	}
	for i, st := range list[:3] {
		a := s.assetOf(st, time.Second, recorded)
		s.plays(fmt.Sprintf("stream %d", i), a)
		s.holds(fmt.Sprintf("stream %d", i), a, nil, true)
	}
	t.Logf("all are ready %v after the cut, window and all; at most %.2f s were lost", late, worst)
}
