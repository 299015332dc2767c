package dash

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/mpd"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

func join(parts ...[]byte) io.Reader { return bytes.NewReader(bytes.Join(parts, nil)) }

// TestSegmentIsSentAsItComesToBe asks for the segment in progress and for the one after it.
func TestSegmentIsSentAsItComesToBe(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		src := newSource(t, mediatest.Options{})
		r.write(src.take(11100*time.Millisecond), nil)
		rep := r.manifest().find("v0")
		open := r.snapshot("v0").Open
		if open == nil || len(open.Parts) != 2 {
			t.Fatalf("in progress: %+v", open)
		}
		// Over a connection, as parts must be seen to arrive.
		client := r.connect()
		got := client.get(rep.media(open.Sequence))
		next := r.ask(rep.media(open.Sequence + 1))
		synctest.Wait()
		if n := got.parts(); n != 2 {
			t.Errorf("%d parts were sent at once, not 2", n)
		}
		if answered(next) != nil {
			t.Error("the next segment was answered before it began")
		}
		r.write(src.take(500*time.Millisecond), nil)
		if n := got.parts(); n != 3 {
			t.Errorf("%d parts after half a second more, not 3", n)
		}
		r.write(src.take(2600*time.Millisecond), nil)
		body, err := got.rest()
		want := r.snapshot("v0").Segment(open.Sequence)
		if err != nil || !bytes.Equal(body, bytes.Join(want.Blob.Chunks, nil)) {
			t.Errorf("the segment came as %d bytes and not %d: %v", len(body), want.Blob.Size, err)
		}
		w := answered(next)
		want = r.snapshot("v0").Segment(open.Sequence + 1)
		if w == nil || w.Code != 200 || !bytes.Equal(w.Body.Bytes(), bytes.Join(want.Blob.Chunks, nil)) {
			t.Error("the segment after it did not come, or something else did")
		}
		if w != nil && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Length") != "") {
			t.Errorf("header of a segment in progress: %v", w.Header())
		}
		w = r.get(rep.media(open.Sequence))
		if w.Header().Get("Cache-Control") != cacheForever[0] || w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("header of a complete segment: %v", w.Header())
		}
	})
}

// TestWaitingEnds: a request that waits ends with the stream, and after a while.
func TestWaitingEnds(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		r.write(newSource(t, mediatest.Options{}).take(11*time.Second), nil)
		rep := r.manifest().find("v0")
		last := r.snapshot("v0").LastSequence()
		begin := time.Now()
		w := r.get(rep.media(last + 2))
		if took := time.Since(begin); w.Code != 503 || took != r.handler.cfg.HoldSegment || w.Header().Get("Retry-After") == "" {
			t.Errorf("a segment that does not come: %d after %v", w.Code, took)
		}
		begin = time.Now()
		// What is there of the one in progress is sent, and ends where a part does.
		w = r.get(rep.media(last + 1))
		if took := time.Since(begin); w.Code != 200 || w.Body.Len() == 0 || took != r.handler.cfg.HoldSegment {
			t.Errorf("a segment that does not go on: %d, %d bytes after %v", w.Code, w.Body.Len(), took)
		}
		for _, number := range []int64{last + 4, last + 100, last - 1000, 0} {
			if w := r.get(rep.media(number)); w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("segment %d: %d", number-last, w.Code)
			}
		}
		c := r.ask(rep.media(last + 2))
		r.end()
		if w := answered(c); w == nil || w.Code != 200 || w.Body.Len() > 200 {
			t.Error("a segment that was foretold before the end is not without media")
		}
	})
}

// TestWaitersAreBounded (H4): not more requests wait than the audience allows.
func TestWaitersAreBounded(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		src := newSource(t, mediatest.Options{})
		r.write(src.take(11*time.Second), nil)
		rep := r.manifest().find("v0")
		next := rep.media(r.snapshot("v0").LastSequence() + 2)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 5 {
			go func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, next, nil)
				r.handler.ServeHTTP(&sink{header: http.Header{}}, req)
			}()
		}
		synctest.Wait()
		if w := r.get(next); w.Code != 503 {
			t.Errorf("one more than may wait: %d", w.Code)
		}
		cancel() // they leave
		synctest.Wait()
		c := r.ask(next)
		r.write(src.take(4*time.Second), nil)
		if w := answered(c); w == nil || w.Code != 200 {
			t.Error("nobody may wait after they left")
		}
	})
}

// TestForetoldUnderOldParameters: a segment that was listed in a Period which ended before
// it is answered without media, as it needs another initialization section.
func TestForetoldUnderOldParameters(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		begin := time.Now()
		r.write(newSource(t, mediatest.Options{}).take(19500*time.Millisecond), nil)
		rep := r.manifest().find("v0")
		list := rep.all()
		last := list[len(list)-1].Number
		c := r.ask(rep.media(last))
		r.write(bigger(t, begin, 19500*time.Millisecond, 6*time.Second), nil)
		if w := answered(c); w == nil || w.Code != 200 || w.Body.Len() > 200 || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatal("it was answered with media, or not at all")
		}
		if seg := r.snapshot("v0").Segment(last); seg == nil || seg.Init.Track.Width != 1920 {
			t.Errorf("segment %d is %+v", last, seg)
		}
		if w := r.get(r.manifest().find("v0").media(last)); w.Code != 200 || w.Body.Len() < 1000 {
			t.Errorf("under the new ones: %d, %d bytes", w.Code, w.Body.Len())
		}
	})
}

var offer480 = media.Offer{Listed: true, Peak: 1_400_000, Track: &media.Track{
	Rendition: "480p", Codec: media.H264, CodecString: "avc1.64001f", Width: 854, Height: 480, Timescale: 90000,
}}

// TestRefusedRendition: who asks for what no manifest lists gets what the ladder says.
func TestRefusedRendition(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		r.ladder.offers = []media.Offer{offer480}
		r.write(newSource(t, mediatest.Options{}).take(11*time.Second), nil)
		for _, tt := range []struct {
			err    error
			status int
		}{
			{fault.New(fault.TooMany, "encode", "480p", "the budget of 1 core is used", ""), 429},
			{fault.New(fault.Unavailable, "encode", "480p", "the encoder fails", ""), 503},
		} {
			r.ladder.refuse = tt.err
			if w := r.get(child + "480p/first.mp4"); w.Code != tt.status || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%v: %d", tt.err, w.Code)
			}
		}
		if w := r.get(child + "999p/first.mp4"); w.Code != 404 {
			t.Errorf("not offered: %d", w.Code)
		}
	})
}

func TestEntrance(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		src := newSource(t, mediatest.Options{})
		entry := "/dash/" + playbackID + "/" + mpd.ManifestName
		synctest.Wait() // until the packer has seen the stream
		early := r.ask(manifestPath)
		r.write(src.take(5*time.Second), nil)
		if w := answered(early); w == nil || w.Code != 200 {
			t.Error("who asked before it began got nothing")
		}
		w := r.get(entry + "?token=abc")
		if to := w.Header().Get("Location"); w.Code != 307 || len(to) != 16+len("/manifest.mpd?token=abc") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("entrance: %d %s", w.Code, to)
		}
		a, b := r.get(manifestPath), r.get("/dash/"+playbackID+"/fedcba9876543210/"+mpd.ManifestName)
		if n := r.handler.Viewers(streamID); n != 0 {
			t.Errorf("%d viewers before there are any", n)
		}
		for _, path := range []string{child, child, "/dash/" + playbackID + "/fedcba9876543210/", "/dash/" + playbackID + "/"} {
			if w := r.get(path + "v0/first.mp4"); w.Code != 200 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
		if a.Body.String() != b.Body.String() || r.handler.Viewers(streamID) != 2 {
			t.Errorf("two viewers got different manifests, or are not counted: %d", r.handler.Viewers(streamID))
		}
		if w := r.get(manifestPath, "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() >= a.Body.Len()/2 {
			t.Errorf("gzip: %v, %d of %d bytes", w.Header(), w.Body.Len(), a.Body.Len())
		}
		if w := r.get("/dash/time"); w.Body.String() != "2000-01-01T00:00:05.000Z" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("time: %q", w.Body)
		}
		for path, status := range map[string]int{
			"/dash/pb_other/manifest.mpd": 404, "/dash/": 404, "/dash/" + playbackID: 404, child: 404,
			child + "v0/x.m4s": 404, child + "v0/-1.m4s": 404, child + "v0/first.mp4": 200, child + "../time": 404,
		} {
			if w := r.get(path); w.Code != status || w.Header().Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %d, want %d", path, w.Code, status)
			}
		}
		if w := r.request(http.MethodPost, manifestPath); w.Code != 405 || w.Header().Get("Allow") == "" {
			t.Errorf("POST: %d", w.Code)
		}
		if w := r.request(http.MethodOptions, manifestPath); w.Code != 204 || w.Header().Get("Access-Control-Allow-Methods") == "" {
			t.Errorf("OPTIONS: %d", w.Code)
		}
		if w := r.request(http.MethodHead, manifestPath); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD: %d %v", w.Code, w.Header())
		}
		r.end()
		if to := r.get(entry).Header().Get("Location"); len(to) != 16+len("/replay.mpd") {
			t.Errorf("entrance after the end: %s", to)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		if w := r.get("/dash/" + playbackID + "/manifest.mpd"); w.Code != 404 {
			t.Errorf("idle: %d", w.Code)
		}
		r.publish(media.LatencyLow)
		synctest.Wait()
		begin := time.Now()
		if w := r.get(manifestPath); w.Code != 503 || time.Since(begin) != r.handler.cfg.HoldManifest {
			t.Errorf("nothing comes: %d after %v", w.Code, time.Since(begin))
		}
	})
}

// TestH1SlowReaderIsCutOff: a viewer who does not read loses its connection after a while.
func TestH1SlowReaderIsCutOff(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		r.write(newSource(t, mediatest.Options{}).take(11*time.Second), nil)
		rep := r.manifest().find("v0")
		seg := r.snapshot("v0").Segments[0]
		begin := time.Now()
		c := r.connect()
		c.send(rep.media(seg.Sequence))
		if _, err := io.ReadFull(c.conn, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		limit := r.handler.cfg.WriteTimeout + time.Duration(seg.Blob.Size)*time.Second/slowestRate
		<-c.closed
		if d := time.Since(begin); d < limit || d > limit+time.Second {
			t.Errorf("cut off after %v, want %v", d, limit)
		}
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

// encode makes a smaller picture of what is published, from a moment on, as a ladder does.
func (r *rig) encode(name string, list []*media.Packet) {
	r.t.Helper()
	s, ok := r.hub.Stream(streamID)
	if !ok {
		r.t.Fatal("no stream")
	}
	d, err := s.Derive(name, hub.DeriveOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	tracks := map[*media.Track]*media.Track{}
	for _, p := range list {
		if p.Track.Kind() != media.Video {
			continue
		}
		if tracks[p.Track] == nil {
			t := *p.Track
			t.Rendition, t.ID = name, 7
			tracks[p.Track] = &t
		}
		q := *p
		q.Track = tracks[p.Track]
		if err := d.WritePacket(context.Background(), &q); err != nil {
			r.t.Fatal(err)
		}
	}
	synctest.Wait()
}

// TestRenditionIsMadeWhenAskedFor: a request for a rendition that nobody has asked for is
// held until its first part is there; what it does not have is answered without media.
func TestRenditionIsMadeWhenAskedFor(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		r.ladder.offers = []media.Offer{offer480}
		src := newSource(t, mediatest.Options{})
		r.write(src.take(19900*time.Millisecond), nil)
		rep := r.manifest().find("480p")
		last := r.snapshot("v0").LastSequence()
		init, next, old := r.ask(rep.media(-1)), r.ask(rep.media(last+2)), r.ask(rep.media(last-3))
		if len(r.ladder.wanted) != 3 || r.ladder.wanted[0] != "480p" {
			t.Errorf("wanted %v", r.ladder.wanted)
		}
		list := src.take(4 * time.Second)
		r.write(list, nil)
		if answered(init) != nil || answered(next) != nil || answered(old) != nil {
			t.Fatal("answered before there is anything")
		}
		small := newSource(t, mediatest.Options{Width: 854, Height: 480, Start: time.Now().Add(-23900 * time.Millisecond)})
		small.take(19900 * time.Millisecond)
		r.encode("480p", small.take(4*time.Second))
		r.write(src.take(2100*time.Millisecond), nil)
		w := answered(init)
		if w == nil || w.Code != 200 || !bytes.Contains(w.Body.Bytes(), []byte("avcC")) {
			t.Fatal("no initialization section")
		}
		if seg := answered(next); seg == nil || seg.Code != 200 || seg.Body.Len() < 5000 {
			t.Error("no segment")
		} else if p, err := fmp4.NewReader(join(w.Body.Bytes(), seg.Body.Bytes())).ReadPacket(t.Context()); err != nil || p.Track.Width != 854 || !p.Key {
			t.Errorf("the segment holds %+v, %v", p, err)
		}
		if w := answered(old); w == nil || w.Code != 200 || w.Body.Len() > 200 {
			t.Error("a segment from before it was made was not answered without media")
		}
		if now := r.manifest(); len(now.Periods) != 1 || now.find("480p").Template.Media == rep.Template.Media {
			t.Errorf("%d Periods, media at %s", len(now.Periods), now.find("480p").Template.Media)
		}
	})
}

// TestRenditionThatIsNotToBeHad: it goes with the next Period, and until then players get
// something that does not end playback.
func TestRenditionThatIsNotToBeHad(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		r.ladder.offers = []media.Offer{offer480}
		src := newSource(t, mediatest.Options{})
		r.write(src.take(19900*time.Millisecond), nil)
		rep, source := r.manifest().find("480p"), r.manifest().find("v0")
		r.ladder.refuse = fault.New(fault.TooMany, "encode", "480p", "the budget of 1 core is used", "")
		last := r.snapshot("v0").LastSequence()
		if a, b := r.get(rep.media(-1)), r.get(source.media(-1)); a.Code != 200 || a.Body.String() != b.Body.String() {
			t.Error("the initialization section is not the source's")
		}
		if a, b := r.get(rep.media(last)), r.get(source.media(last)); a.Code != 200 || a.Body.String() != b.Body.String() {
			t.Error("the segment is not the source's")
		}
		if n := len(r.ladder.wanted); n != 1 {
			t.Errorf("it was asked for %d times", n)
		}
		if m := r.manifest(); len(m.Periods) != 1 || m.find("480p") == nil {
			t.Error("it went while it may be played")
		}
		l := newLinter(t, r)
		r.write(src.take(8*time.Second), l.check)
		m := r.manifest()
		if len(m.Periods) != 2 || m.find("480p") != nil || m.find("v0") == nil {
			t.Errorf("after 8 s: %d Periods, 480p %v", len(m.Periods), m.find("480p"))
		}
		// It is offered anew.
		r.ladder.refuse = nil
		r.write(src.take(30*time.Second), l.check)
		if m := r.manifest(); m.find("480p") == nil {
			t.Errorf("after 38 s: %d Periods, and it is not back", len(m.Periods))
		}
		// It is no longer offered: it stays until the next Period.
		r.ladder.offers = nil
		r.write(src.take(200*time.Millisecond), l.check)
		if m := r.manifest(); m.find("480p") == nil {
			t.Error("it went while it may be played")
		}
		r.write(src.take(12*time.Second), l.check)
		if m := r.manifest(); m.find("480p") != nil {
			t.Error("it is listed for ever")
		}
	})
}
