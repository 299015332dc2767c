package mp4file

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media/mediatest"
)

// segment is a whole segment and its table.
func segment(t testing.TB) ([]byte, Segment, *recording) {
	t.Helper()
	r := record(t, generate(mediatest.Options{NoAudio: true, BFrames: 1, FrameSize: 40, GOP: 12, Duration: time.Second}), time.Hour, 5)
	return bytes.Join(r.chunks[0][0], nil), r.tracks[0].Segments[0], r
}

// How a segment is cut into chunks makes no difference.
func TestScanReadsAcrossChunks(t *testing.T) {
	whole, seg, _ := segment(t)
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var chunks [][]byte
		for rest := whole; len(rest) > 0; {
			n := min(len(rest), random.IntN(100))
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		table, err := Scan(chunks)
		if err != nil || !bytes.Equal(table, seg.Table) {
			t.Fatalf("another table, %v", err)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	whole, _, _ := segment(t)
	for n := range len(whole) {
		table, err := Scan([][]byte{whole[:n]})
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		// Cut between fragments it is a shorter segment.
		if err == nil && int(binary.BigEndian.Uint32(whole)) > n {
			t.Fatalf("cut at %d: %d bytes of table", n, len(table))
		}
	}
	for name, in := range map[string][]byte{
		"nothing":            nil,
		"free only":          {0, 0, 0, 8, 'f', 'r', 'e', 'e'},
		"large size":         append([]byte{0, 0, 0, 1, 'm', 'o', 'o', 'f'}, bytes.Repeat([]byte{255}, 8)...),
		"mdat alone":         {0, 0, 0, 9, 'm', 'd', 'a', 't', 1},
		"empty boxes":        bytes.Repeat([]byte{0, 0, 0, 8, 'm', 'o', 'o', 'f'}, 1000),
		"a million of empty": bytes.Repeat([]byte{0, 0, 0, 8, 'f', 'r', 'e', 'e'}, 1_000_000),
	} {
		if _, err := Scan([][]byte{in}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	whole, _, r := segment(f)
	f.Add(whole, uint16(50))
	f.Add(whole[:len(whole)/2], uint16(0))
	track := r.tracks[0].Track
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		n := min(int(cut), len(b))
		table, err := Scan([][]byte{b[:n], b[n:]})
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		seg := Segment{Table: table, Size: int64(len(b))}
		reader, err := table.read(seg.Size)
		if err != nil {
			t.Fatalf("a table that was made cannot be read: %v", err)
		}
		for {
			if _, ok := reader.next(); !ok {
				break
			}
		}
		if reader.err != nil {
			t.Fatalf("a table that was made cannot be read: %v", reader.err)
		}
		r := &recording{tracks: []Track{{Track: track, Segments: []Segment{seg}}}, chunks: [][][][]byte{{{b}}}}
		if file, err := New(r.tracks, r.open); err == nil {
			whole := bytes.Buffer{}
			if err := file.CopyRange(t.Context(), &whole, 0, file.Size()); err != nil || int64(whole.Len()) != file.Size() {
				t.Fatalf("%d bytes of %d, %v", whole.Len(), file.Size(), err)
			}
		}
	})
}

// FuzzTable makes a file of a damaged table: an error, or a file of the size it says.
func FuzzTable(f *testing.F) {
	whole, seg, r := segment(f)
	track := r.tracks[0].Track
	f.Add([]byte(seg.Table))
	f.Add([]byte(seg.Table[:len(seg.Table)/2]))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &recording{tracks: []Track{{Track: track, Segments: []Segment{{Table: b, Size: seg.Size}}}}, chunks: [][][][]byte{{{whole}}}}
		file, err := New(r.tracks, r.open)
		if err != nil {
			return
		}
		out := bytes.Buffer{}
		if err := file.CopyRange(t.Context(), &out, 0, file.Size()); err != nil || int64(out.Len()) != file.Size() {
			t.Fatalf("%d bytes of %d, %v", out.Len(), file.Size(), err)
		}
	})
}
