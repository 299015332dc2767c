package replay

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"onair/internal/record"
)

// What the encoder changed is in the file, too.
func TestAFileWithAChangeOfParameters(t *testing.T) {
	s, f, _ := newShelf(t)
	changed := *s.s.Renditions[0]
	other := *changed.Inits[0].Track
	other.Width, other.Height, other.Config = 1920, 1080, append([]byte{1, 0x64, 0, 0x28}, avc[4:]...)
	changed.Inits = append(changed.Inits[:1:1], &record.Init{Name: "i2.mp4", Track: &other})
	alter(&changed, 5, func(s *record.Segment) { s.Init = 1 })
	s.s = snapshot(record.Ready, &changed, s.s.Renditions[1])
	w := download(t, f, files+"download.mp4")
	whole := w.Body.Bytes()
	if w.Code != 200 || w.Header().Get("Content-Length") != fmt.Sprint(len(whole)) || bytes.Count(whole, []byte("avc1")) != 2 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	// Before each key frame there is what it needs.
	for _, first := range []string{"v0 0 0", "v0 5 0"} {
		set := avc[len(avc)-4:] // the end of the last one
		if !bytes.Contains(whole, append(set[:len(set):len(set)], first...)) {
			t.Errorf("no parameter sets before %q", first)
		}
	}
}

// Where a smaller picture was not made, its file has the source's; both have a gap in the
// fourth second.
func TestAFileOfARenditionWithHoles(t *testing.T) {
	s, f, _ := newShelf(t)
	small := video(854, 480, "avc1.64001e")
	small.Config = append([]byte{1, 0x64, 0, 0x1e}, avc[4:]...)
	rung := s.put(t, rendition("480p", small), 6, 0, 3, 4, 5)
	rung.Segments = rung.Segments.Slice(1, 5)
	s.s = snapshot(record.Ready, append(slices.Clone(s.s.Renditions), rung)...)
	w := download(t, f, files+"download.mp4?rendition=480p")
	whole := w.Body.Bytes()
	if w.Code != 200 || w.Header().Get("Content-Length") != fmt.Sprint(len(whole)) {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for i, want := range []string{"v0", "480p", "480p", "", "v0", "v0"} {
		for _, name := range []string{"v0", "480p"} {
			if has := bytes.Contains(whole, fmt.Appendf(nil, "%s %d 9", name, i)); has != (name == want) {
				t.Errorf("second %d of %s: %v", i, name, has)
			}
		}
	}
	// A source that is coded in another way cannot stand in.
	for _, init := range s.s.Renditions[0].Inits {
		init.Track.Timescale = 1000
	}
	_, fresh, _ := newShelf(t)
	fresh.lib = s
	if w := download(t, fresh, files+"download.mp4?rendition=480p"); w.Code != 200 || bytes.Contains(w.Body.Bytes(), []byte("v0 0 9")) {
		t.Errorf("beside another clock: %d, or it has the source's", w.Code)
	}
}

// A clip's segments lie in the asset that it was cut from.
func TestAFileOfSegmentsOfAnotherAsset(t *testing.T) {
	s, f, _ := newShelf(t)
	want := download(t, f, files+"download.mp4").Body.Bytes()
	for _, r := range s.s.Renditions {
		list := unpacked(r.Segments)
		for i := range list {
			seg := &list[i]
			if own := assetID + "/" + r.Name + "/" + seg.Name; i%2 == 0 && !seg.Gap {
				seg.Asset = "as_source"
				s.objects["as_source/"+r.Name+"/"+seg.Name] = s.objects[own]
				delete(s.objects, own)
			}
		}
		r.Segments = record.SegmentsOf(list)
	}
	_, fresh, _ := newShelf(t)
	fresh.lib = s
	if got := download(t, fresh, files+"download.mp4").Body.Bytes(); !bytes.Equal(got, want) {
		t.Error("the file is another one")
	}
}
