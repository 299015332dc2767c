package pack

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"onair/internal/media"
)

// FuzzReadPast: whatever stands in the folder of a stream, reading it neither fails otherwise
// than with an error nor makes a stream that cannot be shown.
func FuzzReadPast(f *testing.F) {
	var b batch
	b.add(entry{Head: &headEntry{Format: journalFormat, Stream: "ls", Mode: media.LatencyLow, Segment: time.Second, Part: time.Second, Target: 3, Video: true, Zero: start}}, nil)
	b.add(entry{Rendition: "v0", Track: &trackEntry{ID: 1, Kind: media.Video, PartTarget: time.Second}}, nil)
	b.add(entry{Rendition: "v0", Init: &initEntry{Name: "ix.0.mp4", Track: &media.Track{ID: 1, Codec: media.H264, Timescale: 90000}}}, []byte("init"))
	seg := segmentEntry{Sequence: 5, Name: "sx.5.m4s", Start: start, Independent: true}
	b.add(entry{Rendition: "v0", Part: &partEntry{segmentEntry: seg, Part: "px.0.m4s", Long: time.Second, Key: true}}, []byte("part"))
	b.add(entry{Rendition: "v0", Close: &closeEntry{segmentEntry: seg, Parts: 1, Duration: time.Second, End: time.Second}}, nil)
	b.add(entry{Rendition: "v0", State: &stateEntry{Wall: start, Lead: "v0", NextPart: 1, Hint: "px.1.m4s", End: 90000, Usual: 3000}}, nil)
	var all []byte
	for _, r := range b.records {
		all = appendRecord(all, r)
	}
	f.Add(all)
	f.Add(all[:len(all)-7])
	f.Add([]byte{200, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9, '{'})
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000001.log"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := readPast(dir)
		if err != nil {
			return
		}
		s := testStream(media.LatencyLow)
		s.restore(p)
		s.history()
		if r, ok := s.Rendition("v0"); ok && len(r.Snapshot().Segments) == 0 {
			t.Error("a rendition without segments is shown")
		}
	})
}
