package pack

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

// What a manifest says of a segment's times is what is in the media.
func TestSegmentTimesAreThoseOfTheMedia(t *testing.T) {
	s := testStream(media.LatencyLow)
	for _, p := range generate(t, mediatest.Options{Duration: 60 * time.Second, BFrames: 2}) {
		s.write(p)
	}
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		if snap.Segment(snap.kept[0].Sequence) != snap.kept[0] || snap.Segment(snap.kept[0].Sequence-1) != nil {
			t.Error("a segment is not found by its number")
		}
		if snap.Open == nil || snap.Segment(snap.LastSequence()+1) != snap.Open || snap.Segment(snap.LastSequence()+2) != nil {
			t.Error("the open segment is not found by its number")
		}
		for i, seg := range snap.kept {
			scale := seg.Init.Track
			packets := readBlob(t, seg.Init, seg.Blob)
			first := packets[0]
			if first.DTS != seg.BaseTime || first.PTS-first.DTS != seg.Offset {
				t.Errorf("%s: segment %d begins at %d and %d, says %d and %d", r.Name(), seg.Sequence, first.DTS, first.PTS, seg.BaseTime, seg.Offset)
			}
			if at := s.AvailabilityStart().Add(scale.Duration(first.PTS)); at.Sub(seg.Start).Abs() > time.Microsecond {
				t.Errorf("%s: segment %d is at %v, says %v", r.Name(), seg.Sequence, at, seg.Start)
			}
			if i > 0 && snap.kept[i-1].BaseTime+snap.kept[i-1].Ticks != seg.BaseTime {
				t.Errorf("%s: segment %d does not begin where the one before it ended", r.Name(), seg.Sequence)
			}
			if d := scale.Duration(seg.Ticks); (d - seg.Duration).Abs() > time.Microsecond {
				t.Errorf("%s: segment %d lasts %v, says %v", r.Name(), seg.Sequence, d, seg.Duration)
			}
			if r.Kind() == media.Audio {
				if seg.KeySize != 0 {
					t.Errorf("%s: sound has a key frame", r.Name())
				}
				continue
			}
			raw := bytes.Join(seg.Blob.Chunks, nil)
			end := int64(len(first.Data))
			if seg.KeySize < end || !bytes.Equal(raw[seg.KeySize-end:seg.KeySize], first.Data) {
				t.Errorf("%s: the key frame of segment %d does not end at %d", r.Name(), seg.Sequence, seg.KeySize)
			}
		}
	}
}

// readBlob reads the packets of a segment.
func readBlob(t *testing.T, init *Init, blob *Blob) (list []*media.Packet) {
	t.Helper()
	r := fmp4.NewReader(io.MultiReader(bytes.NewReader(init.Blob.Chunks[0]), bytes.NewReader(bytes.Join(blob.Chunks, nil))))
	for {
		p, err := r.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}
