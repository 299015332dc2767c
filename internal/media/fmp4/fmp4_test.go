package fmp4

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

var update = flag.Bool("update", false, "rewrite the golden dumps")

// tracks are one of each codec that has a sample entry.
func tracks(t testing.TB) map[string]*media.Track {
	t.Helper()
	ts := map[string]*media.Track{}
	for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		ts[c.String()] = mediatest.NewGenerator(mediatest.Options{Video: c}).Tracks()[0]
	}
	for _, c := range []media.Codec{media.AAC, media.Opus} {
		ts[c.String()] = mediatest.NewGenerator(mediatest.Options{Audio: c, NoVideo: true}).Tracks()[0]
	}
	streamInfo := append([]byte{0x80, 0, 0, 34, 0x10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0xb8, 0x02, 0xf0}, make([]byte, 20)...)
	for _, tr := range []*media.Track{
		{Codec: media.AC3, Config: []byte{0x10, 0x3d, 0xe0}, Timescale: 48000},
		{Codec: media.EAC3, Config: []byte{0x0c, 0x00, 0x20, 0x0f, 0x00}, Timescale: 48000},
		{Codec: media.FLAC, Config: streamInfo, Timescale: 48000},
		{Codec: media.MP3, SampleRate: 44100, Channels: 2, Timescale: 44100},
	} {
		d, err := bitstream.Describe(tr)
		if err != nil {
			t.Fatal(err)
		}
		ts[tr.Codec.String()] = d
	}
	return ts
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

func dump(t *testing.T, b []byte) string {
	t.Helper()
	f, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	if err := f.Info(&s, "all:1", "", "  "); err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func fileName(codec string) string { return strings.ToLower(strings.ReplaceAll(codec, ".", "")) }

func TestInitGolden(t *testing.T) {
	for name, tr := range tracks(t) {
		t.Run(name, func(t *testing.T) {
			b, err := Init(tr)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "init_"+fileName(name), dump(t, b))
		})
	}
}

func TestInitDependsOnParametersOnly(t *testing.T) {
	for name, tr := range tracks(t) {
		other := *tr
		other.ID, other.Version = 77, 5
		a, err := Init(tr)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Init(&other)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: the header changes with the track's ID and version", name)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	h264 := tracks(t)["H.264"]
	with := func(f func(*media.Track)) *media.Track {
		c := *h264
		f(&c)
		return &c
	}
	for _, tt := range []struct {
		name string
		t    *media.Track
		kind fault.Kind
	}{
		{"no config", with(func(c *media.Track) { c.Config = nil }), fault.Invalid},
		{"no size", with(func(c *media.Track) { c.Width = 0 }), fault.Invalid},
		{"no timescale", with(func(c *media.Track) { c.Timescale = 0 }), fault.Invalid},
		{"VP8", with(func(c *media.Track) { c.Codec = media.VP8 }), fault.Unsupported},
		{"unknown", with(func(c *media.Track) { c.Codec = media.UnknownCodec }), fault.Unsupported},
		{"no rate", &media.Track{Codec: media.AAC, Config: []byte{0x11, 0x90}, Timescale: 1, Channels: 2}, fault.Invalid},
	} {
		if _, err := Init(tt.t); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.kind)
		}
	}
}

// An encoder's 2-byte lengths and incomplete arrays do not reach a player: the payloads
// have 4 bytes, and hvc1 promises that the sets are all in the header.
func TestInitIsCanonical(t *testing.T) {
	ts := tracks(t)
	avc, hevc := *ts["H.264"], *ts["HEVC"]
	avc.Config = bytes.Clone(avc.Config)
	avc.Config[4] = 0xfd
	hevc.Config = bytes.Clone(hevc.Config)
	hevc.Config[21] &^= 2
	for i := 23; i < len(hevc.Config); {
		hevc.Config[i] &^= 0x80
		i += 3 + 2 + int(hevc.Config[i+3])<<8 + int(hevc.Config[i+4])
	}
	for _, tt := range []struct{ broken, want *media.Track }{{&avc, ts["H.264"]}, {&hevc, ts["HEVC"]}} {
		before := bytes.Clone(tt.broken.Config)
		got, err := Init(tt.broken)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Init(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v: the header keeps what only the encoder's payloads have", tt.want.Codec)
		}
		if !bytes.Equal(before, tt.broken.Config) {
			t.Errorf("%v: Init wrote into the track", tt.want.Codec)
		}
	}
}

func TestFragmentGolden(t *testing.T) {
	for name, o := range map[string]mediatest.Options{
		"bframes": {NoAudio: true, BFrames: 2, GOP: 8},
		"cfr":     {NoAudio: true, GOP: 8},
		"vfr":     {NoAudio: true, GOP: 4, VariableRate: true},
		"audio":   {NoVideo: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := fragment(mediatest.NewGenerator(o), 8)
			golden(t, "fragment_"+name, dump(t, f.AppendTo(nil)))
		})
	}
}

// fragment takes n packets of a generator with one track.
func fragment(g *mediatest.Generator, n int) *Fragment {
	f := &Fragment{Sequence: 7, Track: g.Tracks()[0]}
	next := g.Next()
	f.BaseDTS = next.DTS
	for range n {
		p := next
		next = g.Next()
		f.Samples = append(f.Samples, Sample{Duration: uint32(next.DTS - p.DTS), CTSOffset: int32(p.PTS - p.DTS), Key: p.Key, Data: p.Data})
	}
	return f
}

// readBack compares what mp4ff reads with what was written.
func readBack(f *Fragment, b []byte) error {
	file, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if len(file.Segments) != 1 || len(file.Segments[0].Fragments) != 1 {
		return fmt.Errorf("mp4ff does not see one fragment")
	}
	frag := file.Segments[0].Fragments[0]
	if got := frag.Moof.Mfhd.SequenceNumber; got != f.Sequence {
		return fmt.Errorf("sequence number %d", got)
	}
	if !frag.Moof.Traf.Tfhd.DefaultBaseIfMoof() {
		return fmt.Errorf("default-base-is-moof is not set")
	}
	samples, err := frag.GetFullSamples(nil)
	if err != nil {
		return err
	}
	if len(samples) != len(f.Samples) {
		return fmt.Errorf("%d samples, want %d", len(samples), len(f.Samples))
	}
	dts := uint64(max(0, f.BaseDTS))
	for i, got := range samples {
		want := f.Samples[i]
		key := want.Key || f.Track.Kind() == media.Audio
		switch {
		case got.Dur != want.Duration || got.CompositionTimeOffset != want.CTSOffset || got.DecodeTime != dts:
			return fmt.Errorf("sample %d: %d +%d %+d, want %d +%d %+d", i, got.DecodeTime, got.Dur, got.CompositionTimeOffset, dts, want.Duration, want.CTSOffset)
		case (got.Flags&nonSyncBit == 0) != key:
			return fmt.Errorf("sample %d: flags %08x, key %v", i, got.Flags, key)
		case !bytes.Equal(got.Data, want.Data):
			return fmt.Errorf("sample %d: payload differs", i)
		}
		dts += uint64(want.Duration)
	}
	return nil
}

func TestFragmentEqualsWhatMP4FFReads(t *testing.T) {
	video := &media.Track{Codec: media.H264, Timescale: 90000}
	audio := &media.Track{Codec: media.AAC, Timescale: 48000}
	rapid.Check(t, func(t *rapid.T) {
		f := &Fragment{
			Sequence: rapid.Uint32().Draw(t, "sequence"),
			Track:    rapid.SampledFrom([]*media.Track{video, audio}).Draw(t, "track"),
			BaseDTS:  rapid.Int64Range(-1, 1<<60).Draw(t, "base"),
		}
		sample := rapid.Custom(func(t *rapid.T) Sample {
			return Sample{
				Duration:  rapid.SampledFrom([]uint32{3000, 3000, 3003, 0, 1<<32 - 1}).Draw(t, "duration"),
				CTSOffset: rapid.SampledFrom([]int32{0, 0, 3000, -3000, -1 << 31, 1<<31 - 1}).Draw(t, "cts"),
				Key:       rapid.Bool().Draw(t, "key"),
				Data:      rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "data"),
			}
		})
		f.Samples = rapid.SliceOfN(sample, 1, 6).Draw(t, "samples")
		prefix := []byte("before")
		b := f.AppendTo(prefix)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatal("AppendTo does not append")
		}
		if err := readBack(f, b[len(prefix):]); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFragmentAllocatesOnce(t *testing.T) {
	f := fragment(mediatest.NewGenerator(mediatest.Options{NoAudio: true, BFrames: 2}), 30)
	if n := testing.AllocsPerRun(100, func() { f.AppendTo(nil) }); n > 1 {
		t.Errorf("AppendTo(nil) allocates %v times", n)
	}
	buf := f.AppendTo(nil)
	if len(buf) != cap(buf) && cap(buf) > len(buf)+len(buf)/4 {
		t.Errorf("AppendTo grew to %d for %d bytes", cap(buf), len(buf))
	}
	if n := testing.AllocsPerRun(100, func() { f.AppendTo(buf[:0]) }); n > 0 {
		t.Errorf("AppendTo a buffer that is large enough allocates %v times", n)
	}
}

// The columns that are the same for all samples must not cost bytes.
func TestFragmentOverhead(t *testing.T) {
	for name, tt := range map[string]struct {
		o    mediatest.Options
		want int
	}{
		"audio, all sizes equal":     {mediatest.Options{NoVideo: true}, 8 + 16 + 8 + 28 + 20 + 20},
		"video, one key, no B":       {mediatest.Options{NoAudio: true}, 8 + 16 + 8 + 24 + 20 + 24 + 15*4},
		"video, one key, B-frames 2": {mediatest.Options{NoAudio: true, BFrames: 2}, 8 + 16 + 8 + 24 + 20 + 24 + 15*8},
	} {
		f := fragment(mediatest.NewGenerator(tt.o), 15)
		payload := 0
		for _, s := range f.Samples {
			payload += len(s.Data)
		}
		if got := len(f.AppendTo(nil)) - payload - 8; got != tt.want {
			t.Errorf("%s: the moof has %d bytes, want %d", name, got, tt.want)
		}
	}
}

func TestEmptyFragment(t *testing.T) {
	f := &Fragment{Sequence: 1, Track: &media.Track{Codec: media.H264}}
	if _, err := mp4.DecodeFile(bytes.NewReader(f.AppendTo(nil))); err != nil {
		t.Error(err)
	}
}

// A part of half a second at 5 Mbit/s.
func BenchmarkFragment(b *testing.B) {
	f := fragment(mediatest.NewGenerator(mediatest.Options{NoAudio: true, BFrames: 2, FrameSize: 20000}), 15)
	buf := f.AppendTo(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = f.AppendTo(buf[:0])
	}
}

// BenchmarkFragmentMP4FF is the same with the library, for comparison.
func BenchmarkFragmentMP4FF(b *testing.B) {
	f := fragment(mediatest.NewGenerator(mediatest.Options{NoAudio: true, BFrames: 2, FrameSize: 20000}), 15)
	b.SetBytes(int64(len(f.AppendTo(nil))))
	b.ReportAllocs()
	for b.Loop() {
		frag, err := mp4.CreateFragment(f.Sequence, 1)
		if err != nil {
			b.Fatal(err)
		}
		dts := uint64(f.BaseDTS)
		for _, s := range f.Samples {
			frag.AddFullSample(mp4.FullSample{DecodeTime: dts, Data: s.Data, Sample: mp4.Sample{
				Flags: f.flags(&s), Dur: s.Duration, Size: uint32(len(s.Data)), CompositionTimeOffset: s.CTSOffset}})
			dts += uint64(s.Duration)
		}
		var out bytes.Buffer
		if err := frag.Encode(&out); err != nil {
			b.Fatal(err)
		}
	}
}
