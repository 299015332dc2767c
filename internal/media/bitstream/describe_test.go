package bitstream_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"pgregory.net/rapid"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// Configurations that encoders wrote (x264, x265, libaom, SVT-AV1, ffmpeg's own, Apple's).
var encoders = []struct {
	name   string
	codec  media.Codec
	config string
	want   string
}{
	{"x264 main 1080p NTSC", media.H264, "014d4028ffe10018674d4028eca03c0113f2e022000007d20001d4c01e30632c01000568ebe3cb20", "avc1.4d4028 1920x1080 29.970"},
	{"x264 baseline 240p", media.H264, "0142c015ffe100196742c015d901b1fe4f0110000003001000000301e0f162e48001000568cb83cb20", "avc1.42c015 426x240 15.000"},
	{"x264 4:4:4", media.H264, "01f4001effe1001a67f4001e919b281405ff3e0220000003002000000641e2c5b2c001000668ebe3c44844fff8f800", "avc1.f4001e 640x362 25.000"},
	{"x264 4:2:2 10 bits anamorphic", media.H264, "017a001fffe1001e677a001fb6cd940b4126ffc010000b44000003000400000301903c60c65801000668ebe3cb22c0fefafa00", "avc1.7a001f 720x576 50.000 sar 64:45"},
	{"x264 interlaced", media.H264, "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000668fba3cb22c0fdf8f800", "avc1.640028 1920x1080 25.000"},
	{"x265 main 10", media.HEVC, "0102200000009000000000007bf000fcfdfafa00000f03200001001840010c01ffff02200000030090000003000003007b959809210001002c42010102200000030090000003000003007ba003c08010e4d96566924caf016808000003000800000301e04022000100074401c172b46240", "hvc1.2.4.L123.90 1920x1080 60.000"},
	{"x265 main", media.HEVC, "0101600000009000000000005df000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003005d959809210001002b42010101600000030090000003000003005da00280802d165959a4932bc05a020000030002000003003c1022000100074401c172b46240", "hvc1.1.6.L93.90 1280x720 30.000"},
	{"libaom 10 bits", media.AV1, "81084c000a0b00000042abbfc3776be501", "av01.0.08M.10 1920x1080 0.000"},
	{"SVT-AV1 2160p", media.AV1, "810d0c000a0c0000006aefbfe1bc02f80040", "av01.0.13M.08 3840x2160 0.000"},
	{"AV1 without a sequence header", media.AV1, "81084c00", "av01.0.08M.10 0x0 0.000"},
	{"VP9", media.VP9, "001f820202020000", "vp09.00.31.08 0x0 0.000"},
	{"VP9 with the box's version", media.VP9, "01000000021fa20202020000", "vp09.02.31.10 0x0 0.000"},
	{"AAC-LC", media.AAC, "1190", "mp4a.40.2 48000x2 1024"},
	{"AAC-LC with a sync extension that says no SBR", media.AAC, "138856e500", "mp4a.40.2 22050x1 1024"},
	{"AAC-LC 5.1", media.AAC, "11b056e500", "mp4a.40.2 48000x6 1024"},
	{"HE-AAC, signalled at the end", media.AAC, "139056e5a0", "mp4a.40.5 44100x2 2048"},
	{"HE-AAC, signalled in front", media.AAC, "2b118800", "mp4a.40.5 48000x2 2048"},
	{"HE-AACv2, signalled in front", media.AAC, "eb098800", "mp4a.40.29 48000x2 2048"},
	{"HE-AACv2, signalled at the end", media.AAC, "138856e5a54880", "mp4a.40.29 44100x2 2048"},
	{"AAC-LC of 960", media.AAC, "1194", "mp4a.40.2 48000x2 960"},
	{"xHE-AAC", media.AAC, "f94824211cc0185000200097084730b0", "mp4a.40.42 44100x1 1024"},
	{"Opus", media.Opus, "0002013800 00bb80000000", "Opus 48000x2 0"},
	{"Opus 5.1", media.Opus, "000601380000bb800000010402000401020305", "Opus 48000x6 0"},
	{"OpusHead", media.Opus, "4f707573486561640102380180bb0000000000", "Opus 48000x2 0"},
	{"AC-3 5.1", media.AC3, "103de0", "ac-3 48000x6 1536"},
	{"E-AC-3", media.EAC3, "0600200400", "ec-3 48000x2 0"},
	{"FLAC with the box's version", media.FLAC, "00000000800000222000200000032e000887177002f000004b001b3615e0f4eaceea91bcac62f1ec46e0", "fLaC 96000x2 8192"},
	{"FLAC stream marker", media.FLAC, "664c6143800000222000200000032e000887177002f000004b001b3615e0f4eaceea91bcac62f1ec46e0", "fLaC 96000x2 8192"},
	{"MP3", media.MP3, "", "mp4a.40.34 0x0 1152"},
}

func summary(t *media.Track) string {
	if t.Kind() == media.Audio {
		return fmt.Sprintf("%s %dx%d %d", t.CodecString, t.SampleRate, t.Channels, bitstream.SamplesPerPacket(t))
	}
	s := fmt.Sprintf("%s %dx%d %.3f", t.CodecString, t.Width, t.Height, t.FrameRate)
	if w, h := bitstream.SampleAspect(t); w != h {
		s += fmt.Sprintf(" sar %d:%d", w, h)
	}
	return s
}

func TestDescribeEncoders(t *testing.T) {
	for _, tt := range encoders {
		t.Run(tt.name, func(t *testing.T) {
			config := unhex(t, strings.ReplaceAll(tt.config, " ", ""))
			in := &media.Track{ID: 3, Version: 2, Codec: tt.codec, Timescale: 1000, Config: config, Language: "de"}
			got, err := bitstream.Describe(in)
			if err != nil {
				t.Fatal(err)
			}
			if s := summary(got); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
			if got == in || in.CodecString != "" || got.ID != 3 || got.Version != 2 || got.Language != "de" || got.Timescale != 1000 {
				t.Error("Describe does not return a completed copy")
			}
			again, err := bitstream.Describe(got)
			if err != nil || summary(again) != summary(got) || !bytes.Equal(again.Config, got.Config) {
				t.Errorf("described again: %+v, %v", again, err)
			}
		})
	}
}

// A configuration that is cut short anywhere is an error or is read from what is there;
// nothing panics.
func TestDescribeCutShort(t *testing.T) {
	for _, tt := range encoders {
		config := unhex(t, strings.ReplaceAll(tt.config, " ", ""))
		for n := range len(config) {
			_, err := bitstream.Describe(&media.Track{Codec: tt.codec, Config: config[:n:n]})
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("%s cut to %d bytes: %v", tt.name, n, err)
			}
			if err == nil && n < 3 && tt.codec != media.AAC {
				t.Errorf("%s cut to %d bytes is accepted", tt.name, n)
			}
		}
	}
}

func TestDescribeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		codec  media.Codec
		config string
		kind   fault.Kind
	}{
		{"unknown codec", media.UnknownCodec, "", fault.Unsupported},
		{"H.264 without sets", media.H264, "01640028ffe000", fault.Invalid},
		{"H.264 without PPS", media.H264, "0142c015ffe100196742c015d901b1fe4f0110000003001000000301e0f162e48000", fault.Invalid},
		{"annex B", media.H264, "00000001674d4028eca03c0113f2e022000007d20001d4c01e30632c", fault.Invalid},
		{"AAC object type 6", media.AAC, "3190", fault.Invalid},
		{"AAC reserved rate", media.AAC, "1690", fault.Invalid},
		{"AAC rate 0", media.AAC, "17800000 1000", fault.Invalid},
		{"AAC reserved channels", media.AAC, "11c8", fault.Invalid},
		{"ADTS in place of ASC", media.AAC, "fff150801f", fault.Invalid},
		{"Opus, 3 channels without a map", media.Opus, "000301380000bb80000000", fault.Invalid},
		{"Opus, no channels", media.Opus, "000001380000bb80000000", fault.Invalid},
		{"AC-3 reserved rate", media.AC3, "d03de0", fault.Invalid},
		{"VP9 depth", media.VP9, "001f420202020000", fault.Invalid},
		{"64 KiB", media.H264, strings.Repeat("00", 70000), fault.Invalid},
	} {
		_, err := bitstream.Describe(&media.Track{Codec: tt.codec, Config: unhex(t, strings.ReplaceAll(tt.config, " ", ""))})
		if !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.kind)
		}
	}
}

// The library's readers are the oracle for what they can read.
func TestAgreesWithLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.IntRange(8, 4096).Draw(t, "width/2") * 2
		h := rapid.IntRange(8, 2160).Draw(t, "height/2") * 2
		num, den := rapid.IntRange(1, 60000).Draw(t, "num"), rapid.IntRange(0, 1001).Draw(t, "den")
		if w*h > bitstream.MaxWidth*bitstream.MaxHeight {
			t.Skip()
		}
		sps := mediatest.H264SPS(w, h, num, den)
		var a h264.SPS
		if err := a.Unmarshal(sps); err != nil {
			t.Fatal(err)
		}
		fps := 0.0
		if a.VUI != nil {
			fps = a.FPS()
		}
		compare(t, media.H264, bitstream.AVCC([][]byte{sps}, [][]byte{mediatest.H264PPS()}), a.Width(), a.Height(), fps)
		sps = mediatest.HEVCSPS(w, h, num, den)
		var b h265.SPS
		if err := b.Unmarshal(sps); err != nil {
			t.Fatal(err)
		}
		compare(t, media.HEVC, bitstream.HVCC(nil, [][]byte{sps}, [][]byte{mediatest.HEVCPPS()}), b.Width(), b.Height(), b.FPS())
		header := mediatest.AV1SequenceHeader(w, h, num, den)
		var c av1.SequenceHeader
		if err := c.Unmarshal(header); err != nil {
			t.Fatal(err)
		}
		compare(t, media.AV1, bitstream.AV1C(header), c.Width(), c.Height(), fps)
	})
}

func compare(t *rapid.T, c media.Codec, config []byte, w, h int, fps float64) {
	d, err := bitstream.Describe(&media.Track{Codec: c, Config: config})
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	if fps < 1 || fps > 300 || math.IsNaN(fps) {
		fps = 0
	}
	if d.Width != w || d.Height != h || math.Abs(d.FrameRate-fps) > 1e-9 {
		t.Fatalf("%v: %dx%d at %g, the library says %dx%d at %g", c, d.Width, d.Height, d.FrameRate, w, h, fps)
	}
}

// The configurations in real files must say what the index of the files says.
func TestDescribeSharedFiles(t *testing.T) {
	index, err := os.ReadFile(mediatest.SharedFile(t, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	size := regexp.MustCompile(`^(h264|hevc|av1) .*?(\d+x\d+)`)
	tested := 0
	for line := range strings.Lines(string(index)) {
		col := strings.Split(line, "\t")
		m := size.FindStringSubmatch(col[5])
		if col[0] != "mp4" || strings.HasSuffix(col[1], ".mkv") || m == nil {
			continue
		}
		file, err := os.ReadFile(mediatest.SharedFile(t, "mp4/"+col[1]))
		if err != nil {
			t.Fatal(err)
		}
		codec := map[string]media.Codec{"h264": media.H264, "hevc": media.HEVC, "av1": media.AV1}[m[1]]
		i := bytes.Index(file, []byte(map[string]string{"h264": "avcC", "hevc": "hvcC", "av1": "av1C"}[m[1]]))
		if i < 4 {
			continue
		}
		n := int(binary.BigEndian.Uint32(file[i-4:]))
		d := describe(t, codec, file[i+4:i-4+n])
		if n == 8+4 {
			continue // an av1C without sequence header does not tell the size
		}
		if got := fmt.Sprintf("%dx%d", d.Width, d.Height); got != m[2] && m[2] != "0x0" {
			t.Errorf("%s: %s, the index says %s", col[1], got, m[2])
		}
		sameRate(t, d)
		t.Logf("%s: %s", col[1], summary(d))
		tested++
	}
	if tested < 10 {
		t.Errorf("only %d files were tested", tested)
	}
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		t      media.Track
		packet string
		want   string
		frames int64 // ticks of 48000
	}{
		{"AC-3", media.Track{Codec: media.AC3}, "0b77b50b1e40ebf8403eff99ff0841fc", "ac-3 48000x6 1536", 1536},
		{"E-AC-3", media.Track{Codec: media.EAC3}, "0b77017f3487c0002084210838008c06", "ec-3 48000x2 0", 1536},
		{"MP3", media.Track{Codec: media.MP3}, "fffb50c400000a2c", "mp4a.40.34 44100x1 1152", 1254},
		{"VP9", media.Track{Codec: media.VP9}, "8249834200 4ff02cf0", "vp09.00.31.08 1280x720 0.000", 0},
		{"VP8", media.Track{Codec: media.VP8}, "500100 9d012a 8007 3804", "vp8 1920x1080 0.000", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packet := unhex(t, strings.ReplaceAll(tt.packet, " ", ""))
			tt.t.Timescale = 48000
			got, err := bitstream.Probe(&tt.t, packet)
			if err != nil {
				t.Fatal(err)
			}
			if s := summary(got); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
			if tt.frames > 0 {
				if d := bitstream.Duration(got, packet); d != tt.frames {
					t.Errorf("a packet lasts %d, want %d", d, tt.frames)
				}
			}
			if _, err := bitstream.Probe(&tt.t, []byte{0, 0, 0}); !fault.Is(err, fault.Invalid) {
				t.Errorf("nonsense: %v", err)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	opus := track(media.Opus)
	for _, tt := range []struct {
		t    *media.Track
		data string
		want int64
	}{
		{opus, "fc", 960}, {opus, "08", 960}, {opus, "e0", 120}, {opus, "fd", 1920}, {opus, "ff03", 2880},
		{opus, "ff3f", 0}, {opus, "", 0}, {opus, "ff", 0},
		{track(media.AAC), "", 1024},
		{&media.Track{Codec: media.FLAC, SampleRate: 96000, Timescale: 96000, Config: unhex(t, "800000221000200000032e000887177002f000004b001b3615e0f4eaceea91bcac62f1ec46e0")}, "fff8c9180000", 4096},
		{&media.Track{Codec: media.AAC, Config: []byte{0x11, 0x90}, SampleRate: 48000, Timescale: 1000}, "", 21},
		{&media.Track{Codec: media.H264, SampleRate: 48000, Timescale: 1000}, "00", 0},
	} {
		if got := bitstream.Duration(tt.t, unhex(t, tt.data)); got != tt.want {
			t.Errorf("%v %s: %d, want %d", tt.t.Codec, tt.data, got, tt.want)
		}
	}
}
