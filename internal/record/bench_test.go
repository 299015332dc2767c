package record

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"onair/internal/media"
)

// BenchmarkTwelveHours tells what the index of a recording of 12 h with two renditions takes
// in memory.
func BenchmarkTwelveHours(b *testing.B) {
	for b.Loop() {
		d := &draft{}
		began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		d.apply(&entry{Head: &headEntry{Format: indexFormat, Asset: assetID, Stream: streamID, Target: 3, Origin: began}}, nil)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, r := range []string{"v0", "a0"} {
			d.apply(&entry{R: r, Track: &trackEntry{Kind: media.Video}}, nil)
			d.apply(&entry{R: r, Init: &initEntry{Name: "i.0.mp4", Track: &media.Track{Timescale: 90000}}}, nil)
		}
		for n := range int64(21600) {
			for _, r := range []string{"v0", "a0"} {
				d.apply(&entry{R: r, Segment: &segmentEntry{
					Sequence: n, Name: fmt.Sprintf("st1abc%d.%d.m4s", 123456, n), Init: "i.0.mp4", Start: began.Add(time.Duration(n) * 2 * time.Second),
					Duration: 2 * time.Second, Base: n * 180000, Ticks: 180000, Size: 1000,
				}}, nil)
			}
			d.snapshot()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "heap-bytes")
		runtime.KeepAlive(d)
	}
}

// BenchmarkReadIndex reads the index of a recording of 4 h with two renditions of segments of a
// second, and tables of 60 pictures.
func BenchmarkReadIndex(b *testing.B) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j := appendEntry(nil, &entry{Head: &headEntry{Format: indexFormat, Asset: assetID, Stream: streamID, Target: 3, Origin: began}}, nil)
	for _, r := range []string{"v0", "a0"} {
		j = appendEntry(j, &entry{R: r, Track: &trackEntry{Kind: media.Video}}, nil)
		j = appendEntry(j, &entry{R: r, Init: &initEntry{Name: "i.0.mp4", Track: &media.Track{Timescale: 90000}}}, nil)
	}
	for n := range int64(14400) {
		for _, r := range []string{"v0", "a0"} {
			j = appendEntry(j, &entry{R: r, Segment: &segmentEntry{
				Sequence: n, Name: fmt.Sprintf("st1abc%d.%d.m4s", 123456, n), Init: "i.0.mp4", Start: began.Add(time.Duration(n) * time.Second),
				Duration: time.Second, Base: n * 90000, Ticks: 90000, Size: 1000,
			}}, make([]byte, 200))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if d, good, _ := readAll(j); good != int64(len(j)) || d.renditions[0].Segments.Len() != 14400 {
			b.Fatal("it is not read")
		}
	}
}
