package hls

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// ladder is a Ladder whose only encoder a test drives.
type ladder struct {
	mu     sync.Mutex
	list   []media.Offer
	wanted []string
	refuse error
}

func (l *ladder) Offers(string) []media.Offer { return l.list }

func (l *ladder) Want(_, rendition string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = append(l.wanted, rendition)
	if !slices.ContainsFunc(l.list, func(o media.Offer) bool { return o.Track.Rendition == rendition }) {
		return fault.New(fault.NotFound, "make rendition", rendition, "there is no such rung", "")
	}
	return l.refuse
}

// asked returns what was wanted since the last call.
func (l *ladder) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.wanted
	l.wanted = nil
	return slices.Compact(out)
}

func (l *ladder) refuses(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// encoder makes a rendition of the source from its newest key frame on, while it is on.
type encoder struct {
	t    testing.TB
	list []*media.Packet // of the whole broadcast
	late time.Duration
	on   bool
	next int
	to   *hub.Derivation
}

func newEncoder(t *testing.T, r *rig, name string, o mediatest.Options, length, late time.Duration) *encoder {
	e := &encoder{t: t, list: rendered(t, name, o, length, 0), late: late}
	e.attach(r, name)
	return e
}

func (e *encoder) attach(r *rig, name string) {
	e.t.Helper()
	s, ok := r.hub.Stream(streamID)
	if !ok {
		e.t.Fatal("the hub has no stream")
	}
	var err error
	if e.to, err = s.Derive(name, hub.DeriveOptions{}); err != nil {
		e.t.Fatal(err)
	}
}

// start begins with the newest key frame.
func (e *encoder) start() {
	e.on = true
	now := time.Now()
	for i, p := range e.list {
		if p.Key && !p.Arrival.After(now) {
			e.next = i
		}
	}
}

// step writes what is due.
func (e *encoder) step() {
	for e.on && e.next < len(e.list) && !e.list[e.next].Arrival.Add(e.late).After(time.Now()) {
		if err := e.to.WritePacket(e.t.Context(), e.list[e.next]); err != nil {
			e.t.Fatal(err)
		}
		e.next++
	}
	synctest.Wait()
}

// offer is what the encoder says that it makes.
func (e *encoder) offer(name string, peak int64) media.Offer {
	made := *e.list[0].Track
	made.Rendition, made.Config = name, nil
	return media.Offer{Track: &made, Peak: peak, Average: peak * 3 / 4, Listed: true}
}

func (r *rig) multivariant() string {
	return r.get("/hls/" + playbackID + "/index.m3u8").Body.String()
}

// TestRungIsMadeWhenAskedFor: all is listed, nothing is made before somebody asks; who asks
// first waits for the first part. While it is not made its playlist goes on with gaps, and
// nobody who follows it is told that it is no more.
func TestRungIsMadeWhenAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length = 140 * time.Second
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(media.LatencyLow)
		all := linters{}
		source := newSource(t, mediatest.Options{FrameSize: 6000})
		enc := newEncoder(t, r, "360p", mediatest.Options{Width: 640, Height: 360}, length, 400*time.Millisecond)
		made := &ladder{list: []media.Offer{enc.offer("360p", 900_000)}}
		r.handler.ladder = made
		each := func() {
			enc.step()
			all.check(t, r)
			if l := all["360p"]; l != nil {
				l.longParts = true // its last picture stays
			}
		}
		r.write(source.take(9*time.Second), each)

		text := r.multivariant()
		for _, want := range []string{"BANDWIDTH=985000", "RESOLUTION=640x360", "/360p/index.m3u8", `CODECS="mp4a.40.2",AUDIO="audio0"`, "#EXT-X-I-FRAME-STREAM-INF"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not listed:\n%s", want, text)
			}
		}
		if strings.Contains(text, "360p/iframes.m3u8") {
			t.Error("an encoder would run for previews")
		}
		r.get(child + "v0/index.m3u8")
		if asked := made.asked(); len(asked) != 0 {
			t.Errorf("%v was wanted, which nobody asked for", asked)
		}

		first := r.ask(child + "360p/index.m3u8")
		if answered(first) != nil || !slices.Equal(made.asked(), []string{"360p"}) {
			t.Error("the first request does not wait for what it wants")
		}
		begun := time.Now()
		enc.start()
		r.write(source.take(1100*time.Millisecond), each)
		w := answered(first)
		if w == nil || w.Code != http.StatusOK {
			t.Fatalf("after %v: %+v", time.Since(begun), w)
		}
		text = w.Body.String()
		lines := strings.Split(text, "\n")
		if !strings.Contains(text, "#EXT-X-PART:") || !strings.Contains(text, "#EXT-X-GAP") || strings.Contains(text, "#EXT-X-DISCONTINUITY\n") || !strings.Contains(text, "#EXT-X-START:TIME-OFFSET=-") {
			t.Errorf("the first playlist is\n%s", text)
		}
		sourceText := r.get(child + "v0/index.m3u8").Body.String()
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#EXT-X-MEDIA-SEQUENCE:") }); i < 0 || !strings.Contains(sourceText, lines[i]+"\n") {
			t.Errorf("its numbers are not the source's:\n%s\n%s", text, sourceText)
		}
		if !strings.Contains(sourceText, "../360p/index.m3u8") {
			t.Errorf("the source's playlist has no report of a rendition that is made:\n%s", sourceText)
		}

		r.write(source.take(10*time.Second), each)
		snap := r.rendition("360p").Snapshot()
		media1 := snap.Segments[len(snap.Segments)-1]
		made.asked()
		if w := r.get(child + "360p/" + media1.Name); w.Code != http.StatusOK || !slices.Equal(made.asked(), []string{"360p"}) {
			t.Errorf("a segment: %d, and what it is of is not wanted", w.Code)
		}
		if snap.Segments[len(snap.Segments)-1].Init != snap.Open.Init {
			t.Error("another initialization section")
		}
		text = r.multivariant()
		if strings.Contains(text, "BANDWIDTH=985000") {
			t.Errorf("what was measured is not told:\n%s", text)
		}

		// Nobody makes it any more.
		enc.on = false
		follower := r.ask(child + "360p/index.m3u8?_HLS_msn=" + strconv.FormatInt(snap.Open.Sequence+1, 10))
		r.write(source.take(9*time.Second), each)
		if w := answered(follower); w == nil || w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "#EXT-X-GAP\n") {
			t.Fatalf("who follows it is told %+v", w)
		}
		if text := r.get(child + "v0/index.m3u8").Body.String(); strings.Contains(text, "../360p/index.m3u8") {
			t.Errorf("a rendition that nobody makes is reported:\n%s", text)
		}
		made.refuses(fault.New(fault.TooMany, "encode", "360p", "all 2 cores are in use", ""))
		if w := r.get(child + "360p/index.m3u8"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "#EXT-X-GAP\n") {
			t.Errorf("who may play what is listed is told %d %s", w.Code, w.Body)
		}
		r.write(source.take(35*time.Second), each)
		w = r.get(child + "360p/index.m3u8")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "10" || !strings.Contains(w.Body.String(), "all 2 cores are in use") {
			t.Errorf("refused with %d %v %s", w.Code, w.Header(), w.Body)
		}
		next := r.rendition("360p").Snapshot().LastSequence() + 1
		follower = r.ask(child + "360p/index.m3u8?_HLS_msn=" + strconv.FormatInt(next, 10) + "&_HLS_part=0")
		r.write(source.take(6*time.Second), each)
		if w := answered(follower); w == nil || w.Code != http.StatusOK {
			t.Errorf("who follows what is refused is told %+v", w)
		}
		// It is refused while somebody waits.
		made.refuses(nil)
		first = r.ask(child + "360p/index.m3u8")
		r.write(source.take(time.Second), each)
		made.refuses(fault.New(fault.Unavailable, "encode", "360p", "the encoder failed", ""))
		r.write(source.take(time.Second), each)
		if w := answered(first); w == nil || w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "the encoder failed") {
			t.Errorf("who waited is told %+v", w)
		}
		// It does not begin in time.
		made.refuses(nil)
		first = r.ask(child + "360p/index.m3u8")
		r.write(source.take(9*time.Second), each)
		if w := answered(first); w == nil || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Errorf("who waited for nothing is told %+v", w)
		}

		// It is made again, under the source's numbers and the same section.
		first = r.ask(child + "360p/index.m3u8")
		enc.start()
		r.write(source.take(5*time.Second), each)
		if w := answered(first); w == nil || w.Code != http.StatusOK || strings.Contains(w.Body.String(), "#EXT-X-DISCONTINUITY\n") || strings.Count(w.Body.String(), "#EXT-X-MAP") != 1 {
			t.Errorf("made again it is %+v", w)
		}
		// It leaves the ladder.
		made.list = nil
		enc.on = false
		r.write(source.take(9*time.Second), each)
		if w := r.get(child + "360p/index.m3u8"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "#EXT-X-GAP\n") {
			t.Errorf("out of the ladder: %d %s", w.Code, w.Body)
		}
		if text := r.multivariant(); strings.Contains(text, "360p") {
			t.Errorf("what is not in the ladder is listed:\n%s", text)
		}
		if w := r.get(child + "720p/index.m3u8"); w.Code != http.StatusNotFound {
			t.Errorf("what there never was: %d", w.Code)
		}
		r.end()
		all.check(t, r)
		if w := r.get(child + "360p/index.m3u8"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "#EXT-X-ENDLIST") {
			t.Errorf("the end is %d %s", w.Code, w.Body)
		}
		for name, l := range all {
			if n := l.count(); n != 0 {
				t.Errorf("%s has %d discontinuities", name, n)
			}
		}
	})
}

// In whole segments the first one is waited for.
func TestRungInStandardMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(media.LatencyStandard)
		source := newSource(t, mediatest.Options{})
		enc := newEncoder(t, r, "360p", mediatest.Options{Width: 640, Height: 360}, 60*time.Second, 300*time.Millisecond)
		r.handler.ladder = &ladder{list: []media.Offer{enc.offer("360p", 900_000)}}
		r.write(source.take(14*time.Second), enc.step)
		first := r.ask(child + "360p/index.m3u8")
		enc.start()
		r.write(source.take(7*time.Second), enc.step)
		w := answered(first)
		if w == nil || w.Code != http.StatusOK || strings.Contains(w.Body.String(), "#EXT-X-PART") || strings.HasSuffix(strings.TrimSpace(w.Body.String()), "#EXT-X-GAP") {
			t.Fatalf("the first playlist is %+v", w)
		}
		if snap := r.rendition("360p").Snapshot(); !snap.Flows() {
			t.Error("there is nothing at the end")
		}
		r.end()
	})
}

// Sound that players may not know is listed after sound that all do, made when asked for.
func TestSoundGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(media.LatencyLow)
		r.handler.ladder = &ladder{list: []media.Offer{
			{Track: &media.Track{Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2, CodecString: "mp4a.40.2", Rendition: media.RenditionAAC}, Peak: 140_000, Average: 128_000, Listed: true},
			{Track: &media.Track{Codec: media.H264, Timescale: 90000, CodecString: "avc1.64001f", Rendition: media.RenditionRealtime}, Peak: 140_000, Average: 128_000},
			{Track: &media.Track{Codec: media.H264, Timescale: 90000, CodecString: "avc1.64001f", Rendition: "v0"}, Peak: 140_000, Listed: true},
			{Track: &media.Track{Codec: media.H264, Timescale: 90000, CodecString: "avc1.64001f", Rendition: "../x"}, Peak: 140_000, Listed: true},
		}}
		r.write(newSource(t, mediatest.Options{Audio: media.Opus}).take(9*time.Second), nil)
		text := r.multivariant()
		aac, opus := strings.Index(text, `GROUP-ID="audio0",NAME="Audio 1",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI=`), strings.Index(text, `GROUP-ID="audio1"`)
		if aac < 0 || opus < aac || strings.Count(text, "#EXT-X-STREAM-INF") != 3 || strings.Contains(text, "realtime") || strings.Contains(text, "../x") {
			t.Errorf("multivariant playlist\n%s", text)
		}
		r.end()
	})
}

// A smaller picture is never listed with more bits than a larger one.
func TestSmallerPicturesHaveLowerRates(t *testing.T) {
	track := func(w, h int) *media.Track {
		return &media.Track{Codec: media.H264, Width: w, Height: h, CodecString: "avc1.64001f"}
	}
	list := []m3u8.Rendition{{Name: "v0", Track: track(1280, 720), Peak: 400_000, Average: 300_000}}
	for _, c := range []m3u8.Rendition{
		{Name: "720p-hevc", Track: track(1280, 720), Peak: 2_000_000, Average: 1_000_000},
		{Name: "480p", Track: track(854, 480), Peak: 1_300_000, Average: 800_000},
		{Name: "360p", Track: track(640, 360), Peak: 900_000, Average: 100_000},
	} {
		limit(list, &c)
		list = append(list, c)
	}
	for i, want := range []int64{400_000, 2_000_000, 360_000, 324_000} {
		if list[i].Peak != want || list[i].Average > want {
			t.Errorf("%s has %d and %d, want at most %d", list[i].Name, list[i].Peak, list[i].Average, want)
		}
	}
}

// The playlist of key frames names ranges that a decoder can begin with.
func TestKeyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(media.LatencyLow)
		r.write(newSource(t, mediatest.Options{FrameSize: 3000}).take(15*time.Second), nil)
		w := r.get(child + "v0/iframes.m3u8")
		text := w.Body.String()
		snap := r.rendition("v0").Snapshot()
		if w.Code != http.StatusOK || !strings.Contains(text, "#EXT-X-I-FRAMES-ONLY\n") || strings.Count(text, "#EXT-X-BYTERANGE:") != len(snap.Segments) {
			t.Fatalf("%d\n%s", w.Code, text)
		}
		seg := snap.Segments[0]
		if !strings.Contains(text, "#EXT-X-BYTERANGE:"+strconv.FormatInt(seg.KeySize, 10)+"@0\n"+seg.Name+"\n") {
			t.Errorf("the first key frame is not listed:\n%s", text)
		}
		part := r.get(child+"v0/"+seg.Name, "Range", "bytes=0-"+strconv.FormatInt(seg.KeySize-1, 10))
		if part.Code != http.StatusPartialContent || int64(part.Body.Len()) != seg.KeySize {
			t.Errorf("its range is answered with %d and %d bytes", part.Code, part.Body.Len())
		}
		zip := r.get(child+"v0/iframes.m3u8", "Accept-Encoding", "gzip")
		if zip.Header().Get("Content-Encoding") != "gzip" || zip.Body.Len() >= len(text) {
			t.Error("it is not compressed")
		}
		if w := r.get(child + "a0/iframes.m3u8"); w.Code != http.StatusNotFound {
			t.Errorf("key frames of sound: %d", w.Code)
		}
		r.end()
	})
}

// TestRungOutlivesARestart: the window of a rendition that is made is on disk like any, and
// goes on under the same numbers once somebody asks.
func TestRungOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pc := pack.DefaultConfig()
		pc.Dir = t.TempDir()
		first := newRigOf(t, DefaultConfig(), pc)
		first.publish(media.LatencyLow)
		all := linters{}
		begin := time.Now()
		source := newSource(t, mediatest.Options{})
		enc := newEncoder(t, first, "360p", mediatest.Options{Width: 640, Height: 360}, 70*time.Second, 400*time.Millisecond)
		enc.on = true
		live := source.take(21300 * time.Millisecond)
		first.write(live, func() { enc.step(); all.check(t, first) })
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(pc.Dir)); err != nil {
			t.Fatal(err)
		}
		before := parsePlaylist(t, first.get(child+"360p/index.m3u8").Body.String())
		old := fetchAll(t, first, map[string]string{"360p": first.get(child + "360p/index.m3u8").Body.String()})
		first.close()

		pc.Dir = dir
		r := newRigOf(t, DefaultConfig(), pc)
		defer r.close()
		if len(r.histories) != 1 || len(r.histories[0].Tracks) != 2 || len(r.histories[0].Keys) != 1 {
			t.Fatalf("histories %+v", r.histories)
		}
		if !r.rendition("360p").Derived() {
			t.Error("it is not known that the rendition was made here")
		}
		for name, body := range old {
			if w := r.get(child + name); w.Code != http.StatusOK || !slices.Equal(w.Body.Bytes(), body) {
				t.Errorf("%s has changed: %d", name, w.Code)
			}
		}
		h := r.histories[0]
		r.handler.ladder = &ladder{list: []media.Offer{enc.offer("360p", 900_000)}}
		pub, err := r.hub.Restore(streamID, hub.RestoreOptions{LatencyMode: h.LatencyMode, Linger: time.Minute, Reason: "restart", Tracks: h.Tracks})
		if err != nil {
			t.Fatal(err)
		}
		enc.attach(r, "360p")
		enc.on = false
		for _, l := range all {
			l.longParts = true
		}
		each := func() { enc.step(); all.check(t, r) }
		// Filler, and then the publisher again.
		gone := h.Position.Media + 3*time.Second
		quiet := *lastOf(live, media.Audio)
		quiet.Track = h.Tracks[slices.IndexFunc(h.Tracks, func(t *media.Track) bool { return t.Kind() == media.Audio })]
		at := func(d time.Duration) time.Time { return h.Position.At.Add(d - h.Position.Media) }
		r.fill(pub, away(h.Keys, &quiet, h.Position.Media, gone, 500*time.Millisecond, at), each)
		r.publish(media.LatencyLow)
		back := newSource(t, mediatest.Options{Start: begin.Add(gone)})
		r.write(moved(back.take(7*time.Second), gone), each)
		enc.start()
		r.write(moved(back.take(12*time.Second), gone), each)
		now := parsePlaylist(t, r.get(child+"360p/index.m3u8").Body.String())
		last := now.segments[len(now.segments)-1]
		if last.gap || last.msn <= before.segments[len(before.segments)-1].msn+6 {
			t.Errorf("after the restart the last segment is %+v, before it was %+v", last, before.segments[len(before.segments)-1])
		}
		r.end()
	})
}
