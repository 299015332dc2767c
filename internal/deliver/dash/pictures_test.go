package dash

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// album has pictures if it can, and notes what is asked for.
type album struct {
	can   bool
	asked []string
}

func (a *album) Picture(t *media.Track) (width, height, bits int, ok bool) {
	return 160, 160 * t.Height / max(t.Width, 1), 24_000, a.can
}

func (a *album) Serve(w http.ResponseWriter, _ *http.Request, id, file string) {
	a.asked = append(a.asked, id+" "+file)
	w.WriteHeader(http.StatusOK)
}

// pictured returns the sets of pictures, by Period.
func (m *xmlMPD) pictured() map[string]*xmlSet {
	out := map[string]*xmlSet{}
	for i := range m.Periods {
		for j := range m.Periods[i].Sets {
			if s := &m.Periods[i].Sets[j]; s.ContentType == "image" {
				out[m.Periods[i].ID] = s
			}
		}
	}
	return out
}

// TestPicturesAreListed on the clock of the video, of segments whose key frame is there, in
// each Period from its beginning to its end.
func TestPicturesAreListed(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		shown := &album{can: true}
		r.handler.SetPictures(shown)
		periods := map[string]bool{} // whether each lists pictures
		check := func() {
			s, ok := r.packer.Stream(streamID)
			if !ok {
				return
			}
			select {
			case <-s.Ready():
			default:
				return
			}
			m := r.manifest()
			sets := m.pictured()
			for i := range m.Periods {
				id := m.Periods[i].ID
				if had, ok := periods[id]; ok && had != (sets[id] != nil) {
					t.Fatalf("pictures of Period %s: %v, then %v", id, had, !had)
				}
				periods[id] = sets[id] != nil
				if sets[id] == nil {
					continue
				}
				pictures, video := sets[id].Representations[0], m.Periods[i].Sets[0].Representations[0]
				listed := map[int64]span{}
				for _, s := range video.all() {
					listed[s.Number] = s
				}
				if pictures.Template.Timescale != video.Template.Timescale || pictures.Template.Offset != video.Template.Offset {
					t.Fatalf("another clock: %+v, %+v", pictures.Template, video.Template)
				}
				snap := s.Renditions()[0].Snapshot()
				for _, p := range pictures.all() {
					if listed[p.Number] != p {
						t.Fatalf("the picture %v is of the segment %v", p, listed[p.Number])
					}
					if seg := snap.Segment(p.Number); seg == nil || seg.KeySize == 0 {
						t.Fatalf("there is no picture %d", p.Number)
					}
				}
			}
		}
		begin := time.Now()
		r.write(newSource(t, mediatest.Options{}).take(20*time.Second), check)
		r.write(bigger(t, begin, 20*time.Second, 7300*time.Millisecond), check)
		sets := r.manifest().pictured()
		if len(sets) != 2 {
			t.Fatalf("pictures of %d Periods in\n%s", len(sets), r.text)
		}
		for _, set := range sets {
			rep := set.Representations[0]
			if set.MimeType != "image/jpeg" || rep.Width != 160 || rep.Height != 90 || rep.Codecs != "" || len(rep.Essential) != 1 || rep.Essential[0] != (xmlDescriptor{"http://dashif.org/guidelines/thumbnail_tile", "1x1"}) {
				t.Errorf("%+v", set)
			}
			path := rep.media(rep.Template.StartNumber)
			if w := r.get(path); w.Code != 200 || shown.asked[len(shown.asked)-1] != playbackID+" picture-"+strconv.FormatInt(rep.Template.StartNumber, 10)+".jpg" {
				t.Errorf("%s: %d, %q", path, w.Code, shown.asked)
			}
		}
		if strings.Contains(r.text, `codecs=""`) || strings.Contains(r.text, `initialization=""`) {
			t.Errorf("empty attributes in\n%s", r.text)
		}
		r.end()
		if sets := r.manifest().pictured(); r.parsed.Type != "static" || len(sets) != 2 {
			t.Errorf("at the end:\n%s", r.text)
		}
	})
}

// TestPicturesCome with a Period, not in one, when they can be made from some time on.
func TestPicturesCome(t *testing.T) {
	inBubble(t, media.LatencyStandard, func(t *testing.T, r *rig) {
		shown := new(album)
		r.handler.SetPictures(shown)
		begin := time.Now()
		r.write(newSource(t, mediatest.Options{}).take(20*time.Second), nil)
		first := r.manifest()
		shown.can = true
		r.write(bigger(t, begin, 20*time.Second, 12*time.Second), nil)
		now := r.manifest()
		if len(first.pictured()) != 0 || len(now.Periods) != 2 || len(now.pictured()) != 1 || now.pictured()[now.Periods[1].ID] == nil {
			t.Errorf("%d, then in\n%s", len(first.pictured()), r.text)
		}
	})
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		r.handler.SetPictures(&album{can: true})
		r.write(newSource(t, mediatest.Options{NoVideo: true}).take(20*time.Second), nil)
		if sets := r.manifest().pictured(); len(sets) != 0 {
			t.Errorf("pictures of sound:\n%s", r.text)
		}
	})
}
