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
