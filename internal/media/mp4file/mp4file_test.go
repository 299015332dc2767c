package mp4file

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// got is a sample of a file as mp4ff reads it; times in ticks of its track from where the
// movie begins.
type got struct {
	dts, pts float64 // seconds
	sync     bool
	data     []byte
}

// parse reads a progressive file: each track's samples.
func parse(t testing.TB, b []byte) (*mp4.File, [][]got) {
	t.Helper()
	f, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if f.IsFragmented() {
		t.Fatal("the file is fragmented")
	}
	var all [][]got
	for _, trak := range f.Moov.Traks {
		stbl := trak.Mdia.Minf.Stbl
		scale := float64(trak.Mdia.Mdhd.Timescale)
		shift := 0.0
		if trak.Edts != nil {
			for _, e := range trak.Edts.Elst[0].Entries {
				if e.MediaTime < 0 {
					shift += float64(e.SegmentDuration) / float64(f.Moov.Mvhd.Timescale)
				} else {
					shift -= float64(e.MediaTime) / scale
				}
			}
		}
		var list []got
		n := uint32(1)
		var chunks int
		if stbl.Stco != nil {
			chunks = len(stbl.Stco.ChunkOffset)
		} else {
			chunks = len(stbl.Co64.ChunkOffset)
		}
		for c := 1; c <= chunks; c++ {
			var at uint64
			if stbl.Stco != nil {
				at = uint64(stbl.Stco.ChunkOffset[c-1])
			} else {
				at = stbl.Co64.ChunkOffset[c-1]
			}
			in := stbl.Stsc.GetChunk(uint32(c))
			for range in.NrSamples {
				dts, _ := stbl.Stts.GetDecodeTime(n)
				offset := int32(0)
				if stbl.Ctts != nil {
					offset = stbl.Ctts.GetCompositionTimeOffset(n)
				}
				size := uint64(stbl.Stsz.GetSampleSize(int(n)))
				g := got{dts: float64(dts)/scale + shift, sync: stbl.Stss == nil || stbl.Stss.IsSyncSample(n), data: b[at : at+size]}
				g.pts = g.dts + float64(offset)/scale
				list = append(list, g)
				at += size
				n++
			}
		}
		if int(n-1) != int(stbl.Stsz.SampleNumber) {
			t.Errorf("the chunks hold %d samples of %d", n-1, stbl.Stsz.SampleNumber)
		}
		all = append(all, list)
	}
	return f, all
}

// compare holds a file against what was recorded: each sample's bytes, and its times
// against those of all tracks.
func compare(t *testing.T, r *recording, b []byte) {
	t.Helper()
	_, files := parse(t, b)
	if len(files) != len(r.expected) {
		t.Fatalf("%d tracks, want %d", len(files), len(r.expected))
	}
	zero := 1e300
	for i, list := range r.expected {
		for _, w := range list {
			zero = min(zero, float64(w.pts)/float64(r.tracks[i].Track.Timescale))
		}
	}
	for i, list := range r.expected {
		scale := float64(r.tracks[i].Track.Timescale)
		if len(files[i]) != len(list) {
			t.Fatalf("track %d: %d samples, want %d", i, len(files[i]), len(list))
		}
		for n, w := range list {
			g := files[i][n]
			if !bytes.Equal(g.data, w.data) || g.sync != w.sync {
				t.Fatalf("track %d, sample %d differs", i, n)
			}
			if d := g.pts - (float64(w.pts)/scale - zero); d > 0.6/scale || d < -0.6/scale {
				t.Fatalf("track %d, sample %d is presented %v s off", i, n, d)
			}
			if d := g.dts - (float64(w.dts)/scale - zero); d > 0.6/scale || d < -0.6/scale {
				t.Fatalf("track %d, sample %d is decoded %v s off", i, n, d)
			}
		}
	}
}

func TestSamplesAreThoseOfTheSegments(t *testing.T) {
	for name, o := range map[string]mediatest.Options{
		"H.264 and AAC":       {},
		"B-frames":            {BFrames: 2, AudioDelay: 35 * time.Millisecond},
		"sound first":         {BFrames: 1, AudioDelay: -27 * time.Millisecond, Offset: time.Second},
		"HEVC, variable rate": {Video: media.HEVC, VariableRate: true, Offset: 1e6 * time.Second},
		"AV1 and Opus":        {Video: media.AV1, Audio: media.Opus},
		"milliseconds":        {Timescale: 1000, RateNum: 30000, RateDen: 1001, BFrames: 2},
		"sound alone":         {NoVideo: true},
		"44.1 kHz, pictures":  {SampleRate: 44100, AudioDelay: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			o.Duration = 10 * time.Second
			for _, part := range []int{1, 7, 1000} {
				r := record(t, generate(o), 2*time.Second, part)
				compare(t, r, whole(t, r.file(t)))
			}
		})
	}
}

func TestSeveralAudioTracks(t *testing.T) {
	packets := generate(mediatest.Options{Duration: 6 * time.Second})
	for i, o := range []mediatest.Options{{Audio: media.Opus}, {SampleRate: 44100, Channels: 1}} {
		o.NoVideo, o.Duration, o.Seed, o.AudioDelay = true, 6*time.Second, uint64(i+1), time.Duration(i)*10*time.Millisecond
		packets = append(packets, generate(o)...)
	}
	r := record(t, packets, 2*time.Second, 10)
	r.tracks[2].Name = "English"
	b := whole(t, r.file(t))
	compare(t, r, b)
	f, _ := parse(t, b)
	enabled := ""
	for _, trak := range f.Moov.Traks {
		enabled += fmt.Sprint(trak.Tkhd.Flags & 1)
	}
	if enabled != "1100" {
		t.Errorf("enabled tracks: %s", enabled)
	}
	if name := f.Moov.Traks[2].Mdia.Hdlr.Name; name != "English" {
		t.Errorf("the track is called %q", name)
	}
}

func TestRangesAreSlicesOfTheWhole(t *testing.T) {
	r := record(t, generate(mediatest.Options{BFrames: 2, Duration: 8 * time.Second}), time.Second, 6)
	f := r.file(t)
	all := whole(t, f)
	random := rand.New(rand.NewPCG(1, 2))
	check := func(from, n int64) {
		t.Helper()
		var b bytes.Buffer
		if err := f.CopyRange(t.Context(), &b, from, n); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), all[from:from+n]) {
			t.Fatalf("the range of %d bytes from %d differs", n, from)
		}
	}
	for range 2000 {
		from := random.Int64N(f.Size() + 1)
		check(from, random.Int64N(min(f.Size()-from, 1<<(1+random.IntN(20)))+1))
	}
	for _, c := range f.chunks {
		check(c.at-1, 2)
		check(c.at, 1)
		check(c.at, 0)
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, -1}, {0, f.Size() + 1}, {f.Size() + 1, 0}, {1, 1<<63 - 1}} {
		if err := f.CopyRange(t.Context(), &bytes.Buffer{}, bad[0], bad[1]); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
