package fmp4

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func mkbox(kind string, body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(all)))
	return append(append(b, kind...), all...)
}

func u32s(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func sampleInit(t testing.TB) []byte {
	t.Helper()
	init, err := Init(mediatest.NewGenerator(mediatest.Options{NoAudio: true}).Tracks()[0])
	if err != nil {
		t.Fatal(err)
	}
	return init
}

// measure runs f and tells how long it took and what it allocated in total.
func measure(f func()) (time.Duration, uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc
}

func drain(b []byte) (n int, err error) {
	r := NewReader(bytes.NewReader(b))
	for {
		if _, err = r.ReadPacket(context.Background()); err != nil {
			return n, err
		}
		n++
	}
}

// TestF7ReaderBombs reads boxes in boxes, counts of samples and sizes that nothing stands
// behind: each ends with an error, soon, and takes little memory.
func TestF7ReaderBombs(t *testing.T) {
	init := sampleInit(t)
	tfhd := mkbox("tfhd", u32s(tfhdBaseIsMoof, 1))
	tfdt := mkbox("tfdt", u32s(1<<24, 0, 0))
	// Boxes in boxes, as deep as a header may be large.
	deep := make([]byte, maxHeader/2)
	for i := 0; i+8 <= len(deep); i += 8 {
		binary.BigEndian.PutUint32(deep[i:], uint32(len(deep)-i))
		copy(deep[i+4:], "trak")
	}
	many := func(kind string, n int) []byte { return bytes.Repeat(mkbox(kind), n) }
	oneTrak := init[bytes.Index(init, []byte("trak"))-4:]
	oneTrak = oneTrak[:binary.BigEndian.Uint32(oneTrak)]
	runs := bytes.Repeat(mkbox("trun", u32s(0, maxSamples)), 10000)
	for _, tt := range []struct {
		name  string
		in    []byte
		alloc uint64 // in MiB
	}{
		{"moov of 4 GiB", append(u32s(0xfffffff0), "moov"...), 1},
		{"moov of 2^63", append(append(u32s(1), "moov"...), u32s(0x7fffffff, 0xffffffff)...), 1},
		{"moov of 2^64-1", append(append(u32s(1), "moov"...), u32s(0xffffffff, 0xffffffff)...), 1},
		{"large size less than its head", append(append(u32s(1), "moov"...), u32s(0, 3)...), 1},
		{"mdat of 60 MiB without data", append(append(append(bytes.Clone(init), mkbox("moof")...), u32s(60<<20)...), "mdat"...), 4},
		{"mdat of 4 GiB", append(append(append(bytes.Clone(init), mkbox("moof")...), u32s(0xffffffff)...), "mdat"...), 1},
		{"nesting", mkbox("moov", deep), 8},
		{"nesting in moof", append(bytes.Clone(init), mkbox("moof", deep)...), 8},
		{"empty traks", mkbox("moov", many("trak", 100000)), 8},
		{"equal traks", mkbox("moov", bytes.Repeat(oneTrak, 2000)), 8},
		{"empty trafs", append(bytes.Clone(init), mkbox("moof", many("traf", 100000))...), 8},
		{"samples without columns", append(bytes.Clone(init), mkbox("moof", mkbox("traf", tfhd, tfdt, mkbox("trun", u32s(0, 0xffffffff))))...), 8},
		{"many runs of many samples", append(bytes.Clone(init), mkbox("moof", mkbox("traf", tfhd, tfdt, runs))...), 64},
		{"many runs of an unknown track", append(bytes.Clone(init), mkbox("moof", mkbox("traf", mkbox("tfhd", u32s(tfhdBaseIsMoof, 99)), runs))...), 64},
		{"sample of 4 GiB", append(bytes.Clone(init), append(mkbox("moof", mkbox("traf", tfhd, tfdt, mkbox("trun", u32s(trunSize, 1, 0xffffffff)))), mkbox("mdat", make([]byte, 100))...)...), 1},
		{"decode time 2^64-1", append(bytes.Clone(init), mkbox("moof", mkbox("traf", tfhd, mkbox("tfdt", u32s(1<<24, 0xffffffff, 0xffffffff)), mkbox("trun", u32s(0, 5))))...), 1},
		{"data offset -2^31", append(bytes.Clone(init), append(mkbox("moof", mkbox("traf", tfhd, tfdt, mkbox("trun", u32s(trunDataOffset|trunSize, 1, 0x80000000, 4)))), mkbox("mdat", make([]byte, 100))...)...), 1},
		{"a million empty boxes", append(many("free", 1_000_000), "x"...), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n int
			var err error
			took, alloc := measure(func() { n, err = drain(tt.in) })
			if err == nil || errors.Is(err, io.EOF) && n > 0 {
				t.Errorf("%d packets, %v", n, err)
			}
			if took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if alloc > tt.alloc<<20 {
				t.Errorf("allocated %d KiB, more than %d MiB", alloc>>10, tt.alloc)
			}
		})
	}
}

// The samples of one fragment may all point at the same bytes; packets of it hold no more
// memory than the mdat, and there are at most maxSamples.
func TestReaderOverlappingSamples(t *testing.T) {
	init, err := Init(mediatest.NewGenerator(mediatest.Options{NoVideo: true}).Tracks()[0])
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1<<20)
	var run []byte
	for range 1000 {
		run = append(run, mkbox("trun", u32s(trunDataOffset, 1, 0))...)
	}
	body := func(offset uint32) []byte {
		for i := 0; i < len(run); i += 20 {
			binary.BigEndian.PutUint32(run[i+16:], offset)
		}
		return mkbox("moof", mkbox("traf", mkbox("tfhd", u32s(tfhdBaseIsMoof|tfhdDefaultSize, audioTrackID, 1<<20)), run))
	}
	moof := body(uint32(len(body(0)) + 8))
	file := append(append(bytes.Clone(init), moof...), mkbox("mdat", data)...)
	var n int
	took, alloc := measure(func() { n, err = drain(file) })
	if !errors.Is(err, io.EOF) || n != 1000 {
		t.Fatalf("%d packets, %v", n, err)
	}
	if took > 5*time.Second || alloc > 8<<20 {
		t.Errorf("took %v and %d KiB", took, alloc>>10)
	}
}

func FuzzReader(f *testing.F) {
	for _, o := range []mediatest.Options{
		{NoAudio: true, BFrames: 1, FrameSize: 40}, {NoVideo: true, AudioSize: 20}, {NoAudio: true, Video: media.HEVC, FrameSize: 40},
		{NoAudio: true, Video: media.AV1, FrameSize: 40}, {NoAudio: true, Video: media.VP9, FrameSize: 40}, {NoVideo: true, Audio: media.Opus, AudioSize: 20},
	} {
		g := mediatest.NewGenerator(o)
		var ps []*media.Packet
		for range 6 {
			ps = append(ps, g.Next())
		}
		for _, file := range remux(f, ps, 3) {
			f.Add(file)
		}
	}
	f.Add(mkbox("moov", mkbox("trak")))
	f.Add([]byte{0, 0, 0, 1, 'm', 'o', 'o', 'v', 0, 0, 0, 0, 0, 0, 0, 16})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		var last *media.Track
		for range 10000 {
			p, err := r.ReadPacket(context.Background())
			if err != nil {
				return
			}
			if p.Track == nil || len(p.Data) == 0 || len(p.Data) > 2*len(b)+64 {
				t.Fatalf("packet %+v", p)
			}
			if p.Track == last {
				continue
			}
			last = p.Track
			if _, err := Init(p.Track); err != nil && p.Track.Codec != media.VP8 && p.Track.Width != 0 && p.Track.SampleRate != 0 {
				t.Fatalf("a track that was read cannot be written: %v", err)
			}
		}
	})
}
