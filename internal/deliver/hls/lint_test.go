package hls

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/deliver/pack"
)

// This is a linter for what a live packager must get right (RFC 8216bis, sections 4.4,
// 6.2, and Apple's authoring specification): it sees every state of every playlist and
// all media, and compares each state with the one before.

type lintPart struct {
	name        string
	duration    float64
	independent bool
}

type lintSegment struct {
	msn       int64
	uri, init string
	duration  float64
	pdt       time.Time
	parts     []lintPart
	disc, gap bool
	complete  bool
}

type lintState struct {
	attrs    map[string]string // single tags
	target   float64
	pt       float64
	segments []lintSegment
	hint     string
	reports  map[string]string
	discSeq  int64
	end      bool
	text     string
}

func parsePlaylist(t testing.TB, text string) *lintState {
	t.Helper()
	s := &lintState{attrs: map[string]string{}, reports: map[string]string{}, text: text}
	if !strings.HasPrefix(text, "#EXTM3U\n") || !strings.HasSuffix(text, "\n") {
		t.Fatalf("not a playlist:\n%s", text)
	}
	number := func(v string) float64 {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			t.Fatalf("number %q in\n%s", v, text)
		}
		return f
	}
	var cur lintSegment
	init := ""
	flush := func() {
		cur.msn = int64(number(s.attrs["#EXT-X-MEDIA-SEQUENCE"])) + int64(len(s.segments))
		cur.init = init
		s.segments = append(s.segments, cur)
		cur = lintSegment{}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case !strings.HasPrefix(line, "#"):
			cur.uri, cur.complete = line, true
			flush()
		case tag == "#EXTINF":
			cur.duration = number(strings.TrimSuffix(value, ","))
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				t.Fatal(err)
			}
			cur.pdt = at
		case tag == "#EXT-X-DISCONTINUITY":
			cur.disc = true
		case tag == "#EXT-X-GAP":
			cur.gap = true
		case tag == "#EXT-X-MAP":
			init = attrsOf(value)["URI"]
		case tag == "#EXT-X-PART":
			a := attrsOf(value)
			cur.parts = append(cur.parts, lintPart{a["URI"], number(a["DURATION"]), a["INDEPENDENT"] == "YES"})
		case tag == "#EXT-X-PRELOAD-HINT":
			if s.hint != "" {
				t.Fatalf("two hints in\n%s", text)
			}
			s.hint = attrsOf(value)["URI"]
		case tag == "#EXT-X-RENDITION-REPORT":
			a := attrsOf(value)
			s.reports[a["URI"]] = a["LAST-MSN"] + "/" + a["LAST-PART"]
		case tag == "#EXT-X-ENDLIST":
			s.end = true
		default:
			if _, twice := s.attrs[tag]; twice {
				t.Fatalf("tag %s twice in\n%s", tag, text)
			}
			s.attrs[tag] = value
		}
	}
	if len(cur.parts) > 0 {
		flush()
	}
	s.target = number(s.attrs["#EXT-X-TARGETDURATION"])
	if v, ok := s.attrs["#EXT-X-PART-INF"]; ok {
		s.pt = number(attrsOf(v)["PART-TARGET"])
	}
	s.discSeq = int64(number(s.attrs["#EXT-X-DISCONTINUITY-SEQUENCE"]))
	return s
}

func attrsOf(list string) map[string]string {
	m := map[string]string{}
	for _, item := range strings.Split(list, ",") { // no value of ours has a comma
		k, v, _ := strings.Cut(item, "=")
		m[k] = strings.Trim(v, `"`)
	}
	return m
}

// linter follows one rendition.
type linter struct {
	t         testing.TB
	r         *pack.Rendition
	snap      *pack.Snapshot
	last      *lintState
	discs     int64 // discontinuities removed so far
	all       map[int64]lintSegment
	seen      map[string]bool
	lastEnd   int64
	kept      []keptName
	longest   float64
	mediaEnd  float64 // length of all complete segments so far
	states    int
	scale     float64
	longParts bool // a single frame may be longer than a part
	holes     bool // a track may fall silent
}

// keptName must stay available until a length of media.
type keptName struct {
	name  string
	until float64
}

func newLinter(t testing.TB, r *pack.Rendition) *linter {
	return &linter{t: t, r: r, all: map[int64]lintSegment{}, seen: map[string]bool{}, lastEnd: -1}
}

func (l *linter) fail(format string, args ...any) {
	l.t.Helper()
	l.t.Fatalf("%s, state %d: %s\n%s", l.r.Name(), l.states, fmt.Sprintf(format, args...), l.last.text)
}

// check looks at the rendition if it has changed.
func (l *linter) check(s *pack.Stream) {
	l.t.Helper()
	snap := l.r.Snapshot()
	if snap == l.snap {
		return
	}
	l.snap = snap
	l.states++
	text := string(new(Handler).playlist(s, l.r, snap, 0, false).bytes)
	now := parsePlaylist(l.t, text)
	before := l.last
	l.last = now
	l.header(now, before)
	l.lengths(now)
	l.continuity(now, before)
	l.media(now)
	l.availability(now, before)
	l.delta(s, now)
	for _, other := range s.Renditions() {
		report, ok := now.reports["../"+other.Name()+"/index.m3u8"]
		msn, part := other.Snapshot().Position()
		want := strconv.FormatInt(msn, 10) + "/"
		if part >= 0 {
			want += strconv.Itoa(part)
		}
		if other.Derived() && !other.Snapshot().Flows() {
			continue // or it has been since the text was made
		}
		if other != l.r && !now.end && (!ok || report != want) {
			l.fail("rendition report of %s is %q, want %q", other.Name(), report, want)
		}
	}
}

func (l *linter) header(now, before *lintState) {
	control := attrsOf(now.attrs["#EXT-X-SERVER-CONTROL"])
	f := func(name string) float64 { v, _ := strconv.ParseFloat(control[name], 64); return v }
	if control["CAN-BLOCK-RELOAD"] != "YES" || f("HOLD-BACK") < 3*now.target {
		l.fail("SERVER-CONTROL")
	}
	if now.pt > 0 && (f("PART-HOLD-BACK") < 3*now.pt-1e-9 || f("CAN-SKIP-UNTIL") < 6*now.target) {
		l.fail("SERVER-CONTROL of low latency")
	}
	if now.pt > 0 != (l.r.PartTarget() > 0) {
		l.fail("PART-INF")
	}
	if start, ok := now.attrs["#EXT-X-START"]; ok {
		offset, _ := strconv.ParseFloat(attrsOf(start)["TIME-OFFSET"], 64)
		l.join(now, -offset)
	} else if _, claims := now.attrs["#EXT-X-INDEPENDENT-SEGMENTS"]; !claims && !now.end && len(l.all) > 3 {
		l.fail("nobody can tell where to begin")
	}
	if before == nil {
		return
	}
	for _, tag := range []string{"#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL"} {
		if now.attrs[tag] != before.attrs[tag] {
			l.fail("%s changed from %q", tag, before.attrs[tag])
		}
	}
}

func (l *linter) lengths(now *lintState) {
	total := 0.0
	for i, s := range now.segments {
		if s.complete {
			total += s.duration
			if math.Round(s.duration) > now.target || s.duration <= 0 {
				l.fail("EXTINF %v of segment %d with target %v", s.duration, s.msn, now.target)
			}
		}
		sum := 0.0
		for j, p := range s.parts {
			sum += p.duration
			if p.duration <= 0 || p.duration > now.pt+1e-9 && !l.single(p.name) {
				l.fail("part %s lasts %v, target %v", p.name, p.duration, now.pt)
			}
			lastOne := j == len(s.parts)-1
			if p.duration < 0.85*now.pt-1e-9 && !p.independent && !lastOne && !l.longParts {
				l.fail("part %s lasts %v, less than 85 %% of %v", p.name, p.duration, now.pt)
			}
		}
		if s.complete && len(s.parts) > 0 && math.Abs(sum-s.duration) > 1e-5*float64(len(s.parts)+1) {
			l.fail("parts of segment %d last %v, not %v", s.msn, sum, s.duration)
		}
		if i > 0 && !s.disc {
			prev := now.segments[i-1]
			want := prev.pdt.Add(time.Duration(prev.duration * float64(time.Second)))
			if d := s.pdt.Sub(want); (d < -1500*time.Microsecond || d > 1500*time.Microsecond) && !l.holes {
				l.fail("PDT of segment %d is off by %v", s.msn, d)
			}
		}
		if i > 0 && s.pdt.Before(now.segments[i-1].pdt) {
			l.fail("PDT of segment %d goes back", s.msn)
		}
	}
	l.longest = max(l.longest, total)
	if n := len(now.segments); len(l.all) > 12 && (n < 6 || total < 3*now.target) {
		l.fail("the window is %d segments, %v s", n, total)
	}
}

// single reports whether a part holds one frame only, which cannot be divided.
func (l *linter) single(name string) bool {
	blob, _ := l.snap.Find(name)
	f := fragments(l.t, bytes.Join(blob.Chunks, nil))
	return l.longParts && len(f) == 1 && f[0].samples == 1
}

func (l *linter) continuity(now, before *lintState) {
	for i, s := range now.segments {
		old, known := l.all[s.msn]
		switch {
		case !known:
			if before != nil && i == 0 && len(before.segments) > 0 {
				l.fail("nothing is left of the playlist before")
			}
		case old.complete && (!s.complete || old.uri != s.uri || old.duration != s.duration), !old.pdt.Equal(s.pdt), old.disc != s.disc:
			l.fail("segment %d changed", s.msn)
		default:
			n := min(len(old.parts), len(s.parts))
			if !s.complete && len(s.parts) < len(old.parts) || len(s.parts) > 0 && !slices.Equal(old.parts[:n], s.parts[:n]) {
				l.fail("parts of segment %d changed", s.msn)
			}
		}
		if known && len(s.parts) == 0 {
			s.parts = old.parts
		}
		l.all[s.msn] = s
	}
	if before == nil {
		return
	}
	if len(before.segments) > 0 {
		b, n := before.segments[0].msn, now.segments[0].msn
		if n < b {
			l.fail("media sequence went back")
		}
		for ; b < n; b++ {
			if l.all[b].disc {
				l.discs++
			}
		}
		if now.segments[len(now.segments)-1].msn < before.segments[len(before.segments)-1].msn {
			l.fail("the end went back")
		}
	}
	if now.discSeq != l.discs {
		l.fail("DISCONTINUITY-SEQUENCE %d, want %d", now.discSeq, l.discs)
	}
	l.hint(now, before)
}

// hint checks that the hinted part came, or can never come.
func (l *linter) hint(now, before *lintState) {
	if now.pt == 0 && now.hint != "" || now.end && now.hint != "" {
		l.fail("a hint without parts")
	}
	if before.hint == "" {
		return
	}
	known := map[string]bool{}
	for _, s := range before.segments {
		for _, p := range s.parts {
			known[p.name] = true
		}
	}
	for _, s := range now.segments {
		for _, p := range s.parts {
			if known[p.name] {
				continue
			}
			if p.name != before.hint && !known[before.hint] {
				l.fail("part %s came, but %s was hinted at", p.name, before.hint)
			}
			if p.name == before.hint && s.disc && s.parts[0].name == p.name {
				l.fail("the hint led across a discontinuity")
			}
			known[p.name] = true
		}
	}
	if _, status := l.snap.Find(before.hint); status == pack.Coming && now.hint != before.hint {
		l.fail("the hint %s was neither kept nor given up", before.hint)
	}
}

// media checks the new parts and segments themselves.
func (l *linter) media(now *lintState) {
	if scale := float64(l.snap.Track.Timescale); scale != l.scale {
		if l.lastEnd >= 0 && l.scale > 0 {
			l.lastEnd = int64(float64(l.lastEnd) / l.scale * scale)
		}
		l.scale = scale
	}
	for _, s := range now.segments {
		fresh := s.complete && !l.seen[s.uri]
		var joined []byte
		for i, p := range s.parts {
			if l.seen[p.name] && !fresh {
				continue
			}
			data := l.find(p.name)
			joined = append(joined, data...)
			if !l.seen[p.name] {
				l.seen[p.name] = true
				l.follow(data, p.name, i == 0 && s.disc, p.duration)
				if f := fragments(l.t, data); p.independent != f[0].sync {
					l.fail("INDEPENDENT of %s is %v", p.name, p.independent)
				}
			}
		}
		if !fresh {
			continue
		}
		l.seen[s.uri] = true
		l.mediaEnd += s.duration
		if s.gap {
			if blob, _ := l.snap.Find(s.uri); blob != nil {
				l.fail("a gap that has media")
			}
			l.lastEnd = -1
			continue
		}
		data := l.find(s.uri)
		if len(s.parts) > 0 && !bytes.Equal(joined, data) {
			l.fail("segment %s is not its parts", s.uri)
		}
		if len(s.parts) == 0 {
			l.follow(data, s.uri, s.disc, s.duration)
		}
		if l.find(s.init); now.attrs["#EXT-X-INDEPENDENT-SEGMENTS"] != "" {
			l.fail("attribute")
		}
		_, claims := now.attrs["#EXT-X-INDEPENDENT-SEGMENTS"]
		if claims && !fragments(l.t, data)[0].sync {
			l.fail("segment %s is not independent", s.uri)
		}
	}
}

func (l *linter) find(name string) []byte {
	l.t.Helper()
	blob, status := l.snap.Find(name)
	if status != pack.Found {
		l.fail("%s is listed and cannot be had", name)
	}
	return bytes.Join(blob.Chunks, nil)
}

// follow checks that tfdt is the end of what came before, and the duration right.
func (l *linter) follow(data []byte, name string, disc bool, duration float64) {
	var total int64
	for i, f := range fragments(l.t, data) {
		if l.lastEnd >= 0 && f.tfdt != l.lastEnd && (!disc || i > 0 || f.tfdt < l.lastEnd-1) && !(l.holes && f.tfdt > l.lastEnd) {
			l.fail("%s begins at %d, what is before it ends at %d", name, f.tfdt, l.lastEnd)
		}
		l.lastEnd = f.tfdt + f.duration
		total += f.duration
	}
	if math.Abs(float64(total)/l.scale-duration) > 2e-5 {
		l.fail("%s lasts %v, not %v", name, float64(total)/l.scale, duration)
	}
}

// availability checks that what left the playlist can still be had.
func (l *linter) availability(now, before *lintState) {
	if before != nil && len(now.segments) > 0 {
		for _, s := range before.segments {
			if s.msn < now.segments[0].msn && !s.gap {
				l.kept = append(l.kept, keptName{s.uri, l.mediaEnd + s.duration + l.longest - 0.01})
				continue
			}
			if at := s.msn - now.segments[0].msn; at >= 0 && int(at) < len(now.segments) && len(s.parts) > 0 && len(now.segments[at].parts) == 0 {
				for _, p := range s.parts {
					l.kept = append(l.kept, keptName{p.name, l.mediaEnd + 3*now.target})
				}
			}
		}
	}
	l.kept = slices.DeleteFunc(l.kept, func(k keptName) bool { return k.until <= l.mediaEnd })
	for _, k := range l.kept {
		if _, status := l.snap.Find(k.name); status != pack.Found {
			l.fail("%s was removed too early: at %v, not %v", k.name, l.mediaEnd, k.until)
		}
	}
	if now.pt == 0 {
		return
	}
	end := now.segments[len(now.segments)-1]
	if !end.complete {
		for _, p := range end.parts {
			end.duration += p.duration
		}
	}
	edge := end.pdt.Add(time.Duration(end.duration * float64(time.Second)))
	for _, s := range now.segments {
		recent := edge.Sub(s.pdt.Add(time.Duration(s.duration*float64(time.Second)))) <= time.Duration(3*now.target*float64(time.Second))
		if s.complete && recent && len(s.parts) == 0 && !s.gap {
			l.fail("segment %d has no parts listed", s.msn)
		}
	}
}

// delta checks that a delta update and the playlist before give the full one.
func (l *linter) delta(s *pack.Stream, now *lintState) {
	text := string(new(Handler).playlist(s, l.r, l.snap, formDelta, false).bytes)
	if text == now.text {
		return
	}
	head, rest, ok := strings.Cut(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS=")
	n, tail, _ := strings.Cut(rest, "\n")
	skipped, err := strconv.Atoi(n)
	if declared, after, _ := strings.Cut(tail, "\n"); strings.HasPrefix(declared, "#EXT-X-MAP:") && strings.Contains(now.text, declared) && !strings.HasSuffix(now.text, tail) {
		tail = after // the initialization section in force, said again
	}
	if !ok || err != nil || skipped < 1 || !strings.HasPrefix(now.text, head) || !strings.HasSuffix(now.text, tail) {
		l.fail("delta update is not a part of the full playlist:\n%s", text)
	}
	middle := strings.TrimSuffix(strings.TrimPrefix(now.text, head), tail)
	if strings.Count(middle, "#EXTINF") != skipped {
		l.fail("delta update skips %d segments, says %d", strings.Count(middle, "#EXTINF"), skipped)
	}
}
