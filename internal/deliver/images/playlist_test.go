package images

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

var entry = regexp.MustCompile(`#EXT-X-PROGRAM-DATE-TIME:(\S+)\n#EXT-X-TILES:RESOLUTION=160x90,LAYOUT=1x1,DURATION=(\S+)\n#EXTINF:(\S+),\npicture-(\d+)\.jpg\n`)

// TestPlaylistOfPictures: it slides with the media, and every picture in it can be had, and
// is made when it is asked for.
func TestPlaylistOfPictures(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 20*time.Second)
		for range 20 {
			r.play(g, 1300*time.Millisecond)
			w := r.get(PlaylistName)
			text := w.Body.String()
			s, _ := r.packer.Stream(streamID)
			segments := s.Renditions()[0].Snapshot().Segments
			head := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-IMAGES-ONLY\n", s.TargetDuration(), segments[0].Sequence)
			list := entry.FindAllStringSubmatch(text, -1)
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/vnd.apple.mpegurl" || !strings.HasPrefix(text, head) || len(list) != len(segments) {
				t.Fatalf("%d, %d pictures of %d segments:\n%s", w.Code, len(list), len(segments), text)
			}
			for i, seg := range segments {
				length := fmt.Sprintf("%.5f", seg.Duration.Seconds())
				if e := list[i]; e[1] != seg.Start.UTC().Format("2006-01-02T15:04:05.000Z") || e[2] != length || e[3] != length || e[4] != strconv.FormatInt(seg.Sequence, 10) {
					t.Errorf("%q, the segment begins at %v, lasts %s", e[0], seg.Start, length)
				}
			}
		}
		if r.tool.made() != 0 {
			t.Errorf("%d pictures were made for nobody", r.tool.made())
		}
		list := entry.FindAllStringSubmatch(r.get(PlaylistName).Body.String(), -1)
		r.play(g, 5*time.Second) // what leaves the playlist can still be had
		for _, e := range list {
			w := r.get("picture-" + e[4] + ".jpg")
			if w.Code != 200 || w.Body.String() != "jpeg 160x90 of 1280x720, 1 in rows of 1" || w.Header().Get("Content-Type") != "image/jpeg" {
				t.Errorf("%s: %d %s", e[4], w.Code, w.Body)
			}
		}
		if r.get("picture-"+list[0][4]+".jpg").Code != 200 || r.tool.made() != len(list) {
			t.Errorf("%d were made of %d", r.tool.made(), len(list))
		}
		for _, name := range []string{"picture-1.jpg", "picture-.jpg", "picture-0" + list[0][4] + ".jpg", "picture--1.jpg", "picture-9999999999999999999.jpg", "picture-" + list[0][4] + ".webp", "pictures.vtt"} {
			if w := r.get(name); w.Code != 404 {
				t.Errorf("%s: %d", name, w.Code)
			}
		}
		r.pub.End(nil)
		synctest.Wait()
		if text := r.get(PlaylistName).Body.String(); !strings.HasSuffix(text, ".jpg\n#EXT-X-ENDLIST\n") {
			t.Errorf("at the end:\n%s", text)
		}
	})
}

// TestPicturesOfLongGroups: a segment that begins with no key frame is shown by the one
// before it, and both by one picture.
func TestPicturesOfLongGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeTool{})
		defer r.close()
		r.publish(media.LatencyLow)
		r.play(mediatest.NewGenerator(mediatest.Options{Start: time.Now(), GOP: 20 * 30}), 70*time.Second)
		s, _ := r.packer.Stream(streamID)
		keys := map[int64]bool{}
		segments := s.Renditions()[0].Snapshot().Segments
		for _, seg := range segments {
			if seg.KeySize > 0 {
				keys[seg.Sequence] = true
			}
		}
		list := entry.FindAllStringSubmatch(r.get(PlaylistName).Body.String(), -1)
		if len(keys) == len(segments) || len(keys) == 0 || len(list) < len(keys) || len(list) == 0 {
			t.Fatalf("%d key frames, %d segments, %d pictures", len(keys), len(segments), len(list))
		}
		if first, _ := strconv.ParseInt(list[0][4], 10, 64); !keys[first] {
			t.Errorf("the first one listed has no key frame")
		}
		for _, e := range list {
			if w := r.get("picture-" + e[4] + ".jpg"); w.Code != 200 {
				t.Errorf("%s: %d", e[4], w.Code)
			}
		}
		if r.tool.made() != len(keys) {
			t.Errorf("%d pictures were made of %d key frames", r.tool.made(), len(keys))
		}
	})
}

// TestPicturesAreBounded: those of segments that are kept, and the requests that wait.
func TestPicturesAreBounded(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 20*time.Second)
		s, _ := r.packer.Stream(streamID)
		a := r.handler.album(s)
		a.mu.Lock()
		for i := range 3 * maxPictures {
			held := a.slot(pictureStem + strconv.Itoa(i))
			if i == 5 {
				held.making = make(chan struct{})
			}
		}
		slots, order, kept := len(a.slots), len(a.order), a.slots[pictureStem+"5"] != nil
		a.mu.Unlock()
		if slots != maxPictures || order != maxPictures || !kept {
			t.Errorf("%d pictures are kept, %d in order, the one being made %v", slots, order, kept)
		}
		list := entry.FindAllStringSubmatch(r.get(PlaylistName).Body.String(), -1)
		r.handler.waiting.Store(maxWaiting)
		if w := r.get("picture-" + list[0][4] + ".jpg"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("with no place: %d %s", w.Code, w.Body)
		}
		r.handler.waiting.Store(0)
		// Who asks at once gets the same one.
		r.tool.takes = 300 * time.Millisecond
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if w := r.get("picture-" + list[1][4] + ".jpg"); w.Code != 200 {
					t.Errorf("%d", w.Code)
				}
			})
		}
		wg.Wait()
		if r.tool.made() != 1 {
			t.Errorf("it was made %d times", r.tool.made())
		}
	})
}

func TestPlaylistWithoutPictures(t *testing.T) {
	for _, tt := range []struct {
		tool Tool
		o    mediatest.Options
		code int
	}{{nil, mediatest.Options{}, 503}, {&fakeTool{}, mediatest.Options{NoVideo: true}, 404}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, tt.tool)
			defer r.close()
			r.publish(media.LatencyLow)
			tt.o.Start = time.Now()
			r.play(mediatest.NewGenerator(tt.o), 12*time.Second)
			if w := r.get(PlaylistName); w.Code != tt.code {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w := r.get("picture-5.jpg"); w.Code != 404 {
				t.Errorf("a picture: %d", w.Code)
			}
		})
	}
}

// TestServeForAnotherHandler: pictures are asked for where a manifest is.
func TestServeForAnotherHandler(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 12*time.Second)
		s, _ := r.packer.Stream(streamID)
		name := pictureStem + strconv.FormatInt(s.Renditions()[0].Snapshot().LastSequence(), 10) + ".jpg"
		for id, code := range map[string]int{"pb_test": 200, "pb_other": 404} {
			w := httptest.NewRecorder()
			r.handler.Serve(w, httptest.NewRequest("GET", "/dash/x/y/pictures/"+name, nil), id, name)
			if w.Code != code {
				t.Errorf("%s: %d %s", id, w.Code, w.Body)
			}
		}
		r.tool.err = fault.New(fault.Unsupported, "make a picture", "", "this ffmpeg does not decode it", "")
		other := pictureStem + strconv.FormatInt(s.Renditions()[0].Snapshot().LastSequence()-1, 10) + ".jpg"
		if w := r.get(other); w.Code != 501 {
			t.Errorf("a picture that cannot be made: %d", w.Code)
		}
	})
}
