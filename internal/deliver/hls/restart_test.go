package hls

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// linters follow all renditions of a stream.
type linters map[string]*linter

func (all linters) check(t testing.TB, r *rig) {
	t.Helper()
	s, ok := r.packer.Stream(streamID)
	if !ok || !ready(s) {
		return
	}
	for _, rend := range s.Renditions() {
		l := all[rend.Name()]
		if l == nil {
			l = newLinter(t, rend)
			l.holes = true
			all[rend.Name()] = l
		}
		l.r = rend
		l.check(s)
	}
}

// discs counts the discontinuities that a rendition ever had.
func (l *linter) count() (n int) {
	for _, s := range l.all {
		if s.disc {
			n++
		}
	}
	return n
}

// away is what ingest writes while a publisher is away: each video track's last key frame,
// one a part, and sound without end.
func away(keys []*media.Packet, sound *media.Packet, from, to, part time.Duration, at func(time.Duration) time.Time) (list []*media.Packet) {
	for d := from; d < to; d += part {
		for _, k := range keys {
			p := *k
			p.DTS = p.Track.Ticks(d)
			p.PTS, p.Duration, p.Arrival = p.DTS, p.Track.Ticks(part), at(d)
			list = append(list, &p)
		}
	}
	const frame = 1024
	for n := sound.Track.Ticks(from); n < sound.Track.Ticks(to); n += frame {
		p := *sound
		p.DTS, p.PTS, p.Duration, p.Arrival = n, n, frame, at(sound.Track.Duration(n))
		list = append(list, &p)
	}
	slices.SortStableFunc(list, func(a, b *media.Packet) int {
		return int(a.Track.Duration(a.DTS) - b.Track.Duration(b.DTS))
	})
	return list
}

// moved are packets moved in time.
func moved(list []*media.Packet, by time.Duration) []*media.Packet {
	out := make([]*media.Packet, len(list))
	for i, p := range list {
		q := *p
		q.DTS += p.Track.Ticks(by)
		q.PTS += p.Track.Ticks(by)
		out[i] = &q
	}
	return out
}

func lastOf(list []*media.Packet, kind media.Kind) (last *media.Packet) {
	for _, p := range list {
		if p.Track.Kind() == kind && p.Key {
			last = p
		}
	}
	return last
}

func (r *rig) fill(pub *hub.Publication, list []*media.Packet, each func()) {
	r.t.Helper()
	for _, p := range list {
		if d := time.Until(p.Arrival); d > 0 {
			time.Sleep(d) // the bubble's time
		}
		if err := pub.Fill(p); err != nil {
			r.t.Fatalf("Fill: %v", err)
		}
		synctest.Wait()
		each()
	}
}

// TestFillerIsMediaLikeAny: a publisher breaks off in the middle of a part and a segment, and
// comes back in the middle of the filler: with the same parameters there is no tag, with
// others one in all renditions at the same segment.
func TestFillerIsMediaLikeAny(t *testing.T) {
	for _, mode := range []media.LatencyMode{media.LatencyUltra, media.LatencyLow, media.LatencyStandard} {
		for _, tt := range []struct {
			name string
			gap  time.Duration
			back mediatest.Options
			tags int
		}{
			{"1 s", time.Second, mediatest.Options{}, 0},
			{"5 s", 5300 * time.Millisecond, mediatest.Options{}, 0},
			{"30 s", 30 * time.Second, mediatest.Options{}, 0},
			{"other parameters", 5100 * time.Millisecond, mediatest.Options{Width: 640, Height: 360, SampleRate: 44100, Channels: 1}, 1},
		} {
			t.Run(string(mode)+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, DefaultConfig())
					defer r.close()
					r.publish(mode)
					all := linters{}
					each := func() { all.check(t, r) }
					begin := time.Now()
					live := newSource(t, mediatest.Options{}).take(21300 * time.Millisecond)
					r.write(live, each)
					part := 500 * time.Millisecond
					if mode == media.LatencyUltra {
						part = 200 * time.Millisecond
					}
					lost := time.Since(begin)
					at := func(d time.Duration) time.Time { return begin.Add(max(d, lost+600*time.Millisecond)) }
					r.write(away([]*media.Packet{lastOf(live, media.Video)}, lastOf(live, media.Audio), lost+30*time.Millisecond, lost+tt.gap, part, at), each)
					o := tt.back
					o.Start = begin.Add(lost + tt.gap)
					back := newSource(t, o).take(11 * time.Second)
					r.write(moved(back, lost+tt.gap), each)
					r.end()
					each()
					if len(all) != 2 {
						t.Fatalf("%d renditions", len(all))
					}
					for _, l := range all {
						if n := l.count(); n != tt.tags {
							t.Errorf("%s has %d discontinuities, want %d\n%s", l.r.Name(), n, tt.tags, l.last.text)
						}
						var before lintSegment
						for _, msn := range slices.Sorted(maps.Keys(l.all)) {
							s := l.all[msn]
							if before.uri != "" {
								if hole := s.pdt.Sub(before.pdt).Seconds() - before.duration; hole > 0.03 || hole < -0.03 {
									t.Errorf("%s: PROGRAM-DATE-TIME of %d is %.3f s off", l.r.Name(), msn, hole)
								}
							}
							before = s
						}
					}
					aligned(t, publisher{apart: tt.tags > 0}, all["v0"], all["a0"])
				})
			})
		}
	}
}

// TestRestart: the server is killed while it serves, and another one finds the last window
// on disk. It answers the same at once, and goes on with the same numbers and names.
func TestRestart(t *testing.T) {
	for _, mode := range []media.LatencyMode{media.LatencyUltra, media.LatencyLow, media.LatencyStandard} {
		for _, length := range []time.Duration{4500 * time.Millisecond, 21300 * time.Millisecond, 4*time.Minute + 1300*time.Millisecond} {
			t.Run(string(mode)+"/"+length.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { restart(t, mode, length) })
			})
		}
	}
}

func restart(t *testing.T, mode media.LatencyMode, length time.Duration) {
	if mode == media.LatencyStandard {
		length += 5 * time.Second
	}
	pc := pack.DefaultConfig()
	pc.Dir = t.TempDir()
	first := newRigOf(t, DefaultConfig(), pc)
	first.publish(mode)
	all := linters{}
	begin := time.Now()
	live := newSource(t, mediatest.Options{FrameSize: 4000, AudioDelay: -60 * time.Millisecond}).take(length)
	first.write(live, func() { all.check(t, first) })
	killed := time.Since(begin)

	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(pc.Dir)); err != nil {
		t.Fatal(err)
	}
	tear(t, dir)
	old := map[string]string{}
	for _, name := range []string{"v0", "a0"} {
		old[name] = first.get(child + name + "/index.m3u8").Body.String()
	}
	media0 := fetchAll(t, first, old)
	first.close()
	if list, _ := filepath.Glob(pc.Dir + "/*"); len(list) != 0 {
		t.Errorf("a stream that ended left %v", list)
	}

	pc.Dir = dir
	r := newRigOf(t, DefaultConfig(), pc)
	defer r.close()
	if len(r.histories) != 1 {
		t.Fatalf("%d histories", len(r.histories))
	}
	h := r.histories[0]
	for name, text := range old {
		now := r.get(child + name + "/index.m3u8").Body.String()
		// How far the others are is said as of when the text was made.
		if reports := regexp.MustCompile("(?m)^#EXT-X-RENDITION-REPORT.*"); reports.ReplaceAllString(now, "") != reports.ReplaceAllString(text, "") {
			t.Fatalf("%s: the playlist was\n%s\nand is\n%s", name, text, now)
		}
	}
	for name, body := range fetchAll(t, r, old) {
		if !bytes.Equal(body, media0[name]) {
			t.Errorf("%s has changed", name)
		}
	}
	if h.StreamID != streamID || h.LatencyMode != mode || len(h.Keys) != 1 || len(h.Tracks) != 2 {
		t.Fatalf("history %+v", h)
	}
	if key := lastOf(live, media.Video); !bytes.Equal(h.Keys[0].Data, key.Data) && mode != media.LatencyStandard && length > 20*time.Second {
		t.Errorf("the last key frame is not the last one sent")
	}
	if off := killed - h.Position.Media; off < 0 || off > 5*time.Second || h.Position.At.Sub(begin)-h.Position.Media > 50*time.Millisecond {
		t.Errorf("killed at %v, position %v at %v", killed, h.Position.Media, h.Position.At.Sub(begin))
	}

	time.Sleep(3 * time.Second)
	pub, err := r.hub.Restore(streamID, hub.RestoreOptions{
		LatencyMode: h.LatencyMode, Linger: time.Minute, Reason: "restart", Tracks: h.Tracks,
	})
	if err != nil {
		t.Fatal(err)
	}
	each := func() { all.check(t, r) }
	now := time.Now()
	at := func(d time.Duration) time.Time {
		return now.Add(max(0, h.Position.At.Add(d-h.Position.Media).Sub(now)))
	}
	end := h.Position.Media + 6*time.Second
	sound := lastOf(live, media.Audio)
	i := slices.IndexFunc(h.Tracks, func(t *media.Track) bool { return t.Kind() == media.Audio })
	quiet := *sound
	quiet.Track = h.Tracks[i]
	part := 500 * time.Millisecond
	if mode == media.LatencyUltra {
		part = 200 * time.Millisecond
	}
	r.fill(pub, away(h.Keys, &quiet, h.Position.Media, end, part, at), each)
	r.publish(mode)
	back := newSource(t, mediatest.Options{Start: at(end)}).take(9 * time.Second)
	r.write(moved(back, end), each)
	for _, l := range all {
		if n := l.count(); n != 0 {
			t.Errorf("%s has %d discontinuities", l.r.Name(), n)
		}
	}
	r.end()
}

var listedName = regexp.MustCompile(`(?m)^[ps][0-9a-z]+\.[0-9]+\.m4s$|URI="([pi][0-9a-z]+\.[0-9]+\.m[p4s]+)"`)

// fetchAll gets all that playlists list.
func fetchAll(t *testing.T, r *rig, playlists map[string]string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for rendition, text := range playlists {
		for line := range strings.Lines(text) {
			m := listedName.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil || strings.HasPrefix(line, "#EXT-X-PRELOAD-HINT") {
				continue
			}
			name := m[0]
			if m[1] != "" {
				name = m[1]
			}
			w := r.get(child + rendition + "/" + name)
			if w.Code != 200 {
				t.Fatalf("%s/%s: %d", rendition, name, w.Code)
			}
			out[rendition+"/"+name] = w.Body.Bytes()
		}
	}
	if len(out) < 4 {
		t.Fatalf("only %d names are listed", len(out))
	}
	return out
}

// tear leaves half a record at the end of what a server wrote last.
func tear(t *testing.T, dir string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no journal: %v %v", list, err)
	}
	slices.Sort(list)
	f, err := os.OpenFile(list[len(list)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte{200, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9, '{'}); err != nil {
		t.Fatal(err)
	}
}
