package replay

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mp4file"
	"onair/internal/record"
)

// firstByte is a client that notes when the first byte of the body came, and leaves then.
type firstByte struct {
	header http.Header
	at     time.Time
}

func (w *firstByte) Header() http.Header { return w.header }
func (w *firstByte) WriteHeader(int)     {}
func (w *firstByte) Write([]byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return 0, http.ErrAbortHandler
}

// BenchmarkFirstByte measures how long the first byte of a file of a recording of 4 hours, 60
// frames a second, takes the first time that somebody asks; but for reading the index.
func BenchmarkFirstByte(b *testing.B) {
	const segments = 4 * 3600 / 2
	picture, sound := video(1280, 720, "avc1.64001f"), audio(media.AAC, "mp4a.40.2", "en")
	picture.Config, sound.Config = avc, []byte{0x11, 0x90}
	s := &shelf{tables: map[string][]record.Table{}}
	fill := func(r *record.Rendition, samples int) *record.Rendition {
		track := r.Inits[0].Track
		f := fmp4.Fragment{Sequence: 1, Track: track}
		for k := range samples {
			f.Samples = append(f.Samples, fmp4.Sample{
				Duration: uint32(2 * track.Timescale / samples), Key: k == 0 || track.Kind() == media.Audio, Data: make([]byte, 100+k*37%1000),
			})
		}
		data := f.AppendTo(nil)
		table, err := mp4file.Scan([][]byte{data})
		if err != nil {
			b.Fatal(err)
		}
		add(r, segments, 2*time.Second)
		list := unpacked(r.Segments)
		for i := range list {
			seg := &list[i]
			seg.Size = int64(len(data))
			s.tables[r.Name] = append(s.tables[r.Name], record.Table{Sequence: seg.Sequence, Data: table, BaseTime: seg.BaseTime, Size: seg.Size})
		}
		r.Segments = record.SegmentsOf(list)
		return r
	}
	s.s = snapshot(record.Ready, fill(rendition("v0", picture), 120), fill(rendition("a0", sound), 94))
	admit := func(*http.Request, string) (string, error) { return "", nil }
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, files+"download.mp4", nil)
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	b.ReportAllocs()
	for b.Loop() {
		w := &firstByte{header: http.Header{}}
		begin := time.Now()
		NewFiles(DefaultConfig(), s, admit, slog.New(slog.DiscardHandler), nil).ServeHTTP(w, req)
		sum += w.at.Sub(begin)
	}
	b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/first-byte")
}

// BenchmarkManifest is what a new segment of a recording of 12 hours costs, once, if somebody
// watches it over DASH.
func BenchmarkManifest(b *testing.B) {
	const segments = 21_600
	s := snapshot(record.Recording,
		add(rendition("v0", video(1920, 1080, "avc1.640028")), segments, 2*time.Second*1001/1000),
		add(rendition("a0", audio(media.AAC, "mp4a.40.2", "")), segments, 94*1024*time.Second/48_000, func(i int, s *record.Segment) {
			s.Ticks = int64(93+i%2) * 1024
		}))
	for b.Loop() {
		text, err := present(s).Render()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(text)), "bytes")
		b.ReportMetric(float64(len(compress(text))), "compressed-bytes")
	}
}
