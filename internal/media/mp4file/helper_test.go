package mp4file

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

// recording is what a test records: the tracks of a file, and the bytes of their segments.
type recording struct {
	tracks []Track
	chunks [][][][]byte // of each track's segments
	// expected are the samples of each track, as they went into the segments.
	expected [][]wanted
}

type wanted struct {
	dts, pts int64
	sync     bool
	data     []byte
}

// record cuts packets into segments of that length with so many samples a part.
func record(t testing.TB, packets []*media.Packet, length time.Duration, part int) *recording {
	t.Helper()
	r := &recording{}
	byTrack := map[*media.Track][]*media.Packet{}
	var order []*media.Track
	for _, p := range packets {
		if byTrack[p.Track] == nil {
			order = append(order, p.Track)
		}
		byTrack[p.Track] = append(byTrack[p.Track], p)
	}
	slices.SortStableFunc(order, func(a, b *media.Track) int { return int(a.Kind()) - int(b.Kind()) }) // pictures first
	for _, track := range order {
		r.add(t, track, byTrack[track], length, part)
	}
	return r
}

func (r *recording) add(t testing.TB, track *media.Track, packets []*media.Packet, length time.Duration, part int) {
	t.Helper()
	out := Track{Track: track, Name: track.Kind().String()}
	var chunks [][][]byte
	var samples []wanted
	sequence := uint32(0)
	var open [][]byte // parts of the segment
	var f fmp4.Fragment
	base := int64(0)
	flush := func() {
		if len(f.Samples) > 0 {
			sequence++
			f.Sequence, f.Track = sequence, track
			open = append(open, f.AppendTo(nil))
			f = fmp4.Fragment{}
		}
	}
	finish := func() {
		flush()
		if len(open) == 0 {
			return
		}
		table, err := Scan(open)
		if err != nil {
			t.Fatal(err)
		}
		out.Segments = append(out.Segments, Segment{Table: table, BaseTime: base, Size: int64(size(open)), Track: track})
		chunks = append(chunks, open)
		open = nil
	}
	for i, p := range packets {
		if len(open) == 0 && len(f.Samples) == 0 || (p.Key && track.Duration(p.DTS-base) >= length) {
			finish()
			base = p.DTS
		}
		duration := p.Duration
		if i+1 < len(packets) {
			duration = packets[i+1].DTS - p.DTS
		}
		if duration <= 0 {
			duration = track.Ticks(20 * time.Millisecond)
		}
		if len(f.Samples) == 0 {
			f.BaseDTS = p.DTS
		}
		f.Samples = append(f.Samples, fmp4.Sample{Duration: uint32(duration), CTSOffset: int32(p.PTS - p.DTS), Key: p.Key, Data: p.Data})
		samples = append(samples, wanted{dts: p.DTS, pts: p.PTS, sync: p.Key, data: p.Data})
		if len(f.Samples) >= part {
			flush()
		}
	}
	finish()
	r.tracks = append(r.tracks, out)
	r.chunks = append(r.chunks, chunks)
	r.expected = append(r.expected, samples)
}

func size(chunks [][]byte) (n int) {
	for _, c := range chunks {
		n += len(c)
	}
	return n
}

// open is an Open over the segments in memory.
func (r *recording) open(_ context.Context, track, segment int, offset, length int64) (io.ReadCloser, error) {
	b := bytes.Join(r.chunks[track][segment], nil)
	return io.NopCloser(bytes.NewReader(b[offset : offset+length])), nil
}

func (r *recording) file(t testing.TB) *File {
	t.Helper()
	f, err := New(r.tracks, r.open)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func whole(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.CopyRange(t.Context(), &b, 0, f.Size()); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != f.Size() {
		t.Fatalf("the file has %d bytes, and %d were announced", b.Len(), f.Size())
	}
	return b.Bytes()
}

func generate(o mediatest.Options) []*media.Packet {
	g := mediatest.NewGenerator(o)
	var packets []*media.Packet
	for {
		p, err := g.ReadPacket(context.Background())
		if err != nil {
			return packets
		}
		packets = append(packets, p)
	}
}
