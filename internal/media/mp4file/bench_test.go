package mp4file

import (
	"runtime"
	"testing"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// longRecording is 4 h of tables: 432,000 pictures with two B-frames and 675,000 packets of
// sound, all of different sizes, in segments of 2 s and parts of a third of a second.
func longRecording(t testing.TB) []Track {
	t.Helper()
	g := mediatest.NewGenerator(mediatest.Options{BFrames: 2})
	var tracks []Track
	for _, track := range g.Tracks() {
		out := Track{Track: track}
		duration, total, cts := uint32(3000), 432_000, []int32{3000, 9000, 3000, 0}
		if track.Kind() == media.Audio {
			duration, total, cts = 1024, 675_000, []int32{0}
		}
		perSegment := (total + 7199) / 7200
		base, n := int64(0), 0
		for n < total {
			var w tableWriter
			at := int64(0)
			for i := 0; i < perSegment && n < total; {
				at += 300
				e := extent{from: at}
				for range min(10, perSegment) {
					if i >= perSegment || n >= total {
						break
					}
					s := sample{size: uint32(200 + n*7919%3000), duration: duration, cts: cts[i%len(cts)], sync: i == 0 || track.Kind() == media.Audio}
					w.add(s)
					e.size += int64(s.size)
					i++
					n++
				}
				at += e.size
				w.addExtent(e)
			}
			out.Segments = append(out.Segments, Segment{Table: w.table(), BaseTime: base, Size: at})
			base += int64(perSegment) * int64(duration)
		}
		tracks = append(tracks, out)
	}
	return tracks
}

func BenchmarkNew4h(b *testing.B) {
	tracks := longRecording(b)
	tables, samples := 0, 0
	for _, t := range tracks {
		for _, s := range t.Segments {
			tables += len(s.Table)
			r, err := s.Table.read(s.Size)
			if err != nil {
				b.Fatal(err)
			}
			samples += r.left
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f, err := New(tracks, nil)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := float64(after.HeapAlloc) - float64(before.HeapAlloc)
	b.ReportAllocs()
	for b.Loop() {
		if f, err = New(tracks, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(tables)/float64(samples), "table-B/sample")
	b.ReportMetric(kept/(1<<20), "kept-MiB")
	b.ReportMetric(float64(len(f.head))/(1<<20), "moov-MiB")
	b.ReportMetric(float64(samples), "samples")
}
