package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"testing"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// decode runs ffmpeg over data and returns the samples; any complaint of the decoder fails.
func decode(t *testing.T, data []byte, format string) []int16 {
	t.Helper()
	mediatest.Program(t, "ffmpeg")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "warning", "-err_detect", "explode", "-f", format, "-i", "pipe:0", "-f", "s16le", "pipe:1")
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, complaints.String())
	}
	samples := make([]int16, out.Len()/2)
	_ = binary.Read(&out, binary.LittleEndian, samples)
	return samples
}

func quiet(t *testing.T, samples []int16, want int) {
	t.Helper()
	if len(samples) < want*9/10 || len(samples) > want*11/10 {
		t.Errorf("%d samples, want about %d", len(samples), want)
	}
	for i, v := range samples {
		if v != 0 {
			t.Fatalf("sample %d is %d", i, v)
		}
	}
}

// adts puts a raw data block into an ADTS frame; rate is the index of the sample rate.
func adts(block []byte, rate, channels int) []byte {
	n := len(block) + 7
	h := []byte{0xff, 0xf1, byte(1<<6 | rate<<2 | channels>>2), byte(channels&3<<6 | n>>11), byte(n >> 3), byte(n<<5 | 0x1f), 0xfc}
	return append(h, block...)
}

func TestSilentAAC(t *testing.T) {
	const frames = 50
	for channels := 1; channels <= 7; channels++ {
		for rate, hz := range map[int]int{3: 48000, 4: 44100, 6: 24000} {
			t.Run(fmt.Sprint(channels, " channels at ", hz), func(t *testing.T) {
				track := &media.Track{Codec: media.AAC, SampleRate: hz, Timescale: hz, Config: []byte{byte(2<<3 | rate>>1), byte(rate&1<<7 | channels<<3)}}
				s, ok := silenceOf(track, nil)
				if !ok || s.samples != 1024 {
					t.Fatalf("%+v, %v", s, ok)
				}
				var all []byte
				for range frames {
					all = append(all, adts(s.data, rate, channels)...)
				}
				n := channels
				if channels == 7 {
					n = 8
				}
				quiet(t, decode(t, all, "aac"), frames*1024*n)
			})
		}
	}
	for _, c := range []byte{0, 8, 13} {
		if b := silentAAC([]byte{0x11, 0x80 | c<<3}); b != nil {
			t.Errorf("channel configuration %d has silence % x", c, b)
		}
	}
	if silentAAC([]byte{0xf8, 0xe6, 0x20}) != nil || silentAAC(nil) != nil || silentAAC([]byte{0x11}) != nil {
		t.Error("silence for what is no AAC-LC")
	}
}

// TestSilentHEAAC: the core's silence in an SBR stream decodes at the full rate.
func TestSilentHEAAC(t *testing.T) {
	track := &media.Track{Codec: media.AAC, SampleRate: 48000, Timescale: 48000, Config: []byte{0x2b, 0x11, 0x88, 0x00}} // SBR, core 24 kHz stereo
	s, ok := silenceOf(track, nil)
	if !ok || s.samples != 2048 {
		t.Fatalf("%+v, %v", s, ok)
	}
	lc := silentAAC([]byte{0x13, 0x10})
	if !bytes.Equal(s.data, lc) {
		t.Errorf("% x, want the core's % x", s.data, lc)
	}
}

// page is an Ogg page that holds packets of less than 255 bytes each.
func page(kind byte, granule uint64, serial uint32, packets ...[]byte) []byte {
	b := append([]byte("OggS\x00"), kind)
	b = binary.LittleEndian.AppendUint64(b, granule)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, serial)
	b = append(b, 0, 0, 0, 0, byte(len(packets)))
	var body []byte
	for _, p := range packets {
		b = append(b, byte(len(p)))
		body = append(body, p...)
	}
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[22:], crc(b, 0x04c11db7, 32))
	return b
}

func TestSilentOpus(t *testing.T) {
	for name, tt := range map[string]struct {
		channels int
		mapping  []byte // family, streams, coupled, map
	}{
		"mono": {1, []byte{0}}, "stereo": {2, []byte{0}},
		"5.1": {6, []byte{1, 4, 2, 0, 4, 1, 2, 3, 5}}, "quad": {4, []byte{1, 2, 2, 0, 1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			config := append([]byte{0, byte(tt.channels), 0, 0, 0, 0, 0xbb, 0x80, 0, 0}, tt.mapping...)
			s, ok := silenceOf(&media.Track{Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Config: config}, nil)
			if !ok || s.samples != 960 {
				t.Fatalf("%+v, %v", s, ok)
			}
			head := append([]byte("OpusHead\x01"), byte(tt.channels), 0, 0, 0x80, 0xbb, 0, 0, 0, 0)
			all := page(2, 0, 0, append(head, tt.mapping...))
			all = append(all, page(0, 0, 1, []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"))...)
			const frames = 50
			for i := range frames {
				kind := byte(0)
				if i == frames-1 {
					kind = 4
				}
				all = append(all, page(kind, uint64(i+1)*960, uint32(i+2), s.data)...)
			}
			quiet(t, decode(t, all, "ogg"), frames*960*tt.channels)
		})
	}
}

// TestSilenceLikeAPacket: codecs whose silent frame follows a frame that came.
func TestSilenceLikeAPacket(t *testing.T) {
	mediatest.Program(t, "ffmpeg")
	encode := func(args ...string) []byte {
		args = append([]string{"-v", "error", "-f", "lavfi", "-i", "sine=440:duration=1"}, args...)
		out, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, "pipe:1")...).Output()
		if err != nil {
			t.Skipf("ffmpeg cannot encode it: %v", err)
		}
		return out
	}
	t.Run("MP3", func(t *testing.T) {
		for _, ch := range []string{"1", "2"} {
			b := encode("-c:a", "libmp3lame", "-b:a", "128k", "-ar", "48000", "-ac", ch, "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3")
			s, ok := silenceOf(&media.Track{Codec: media.MP3, SampleRate: 48000, Timescale: 48000}, b[:384])
			if !ok || s.samples != 1152 {
				t.Fatalf("%d samples, %v", s.samples, ok)
			}
			quiet(t, decode(t, bytes.Repeat(s.data, 50), "mp3"), 50*1152*int(ch[0]-'0'))
		}
	})
	t.Run("FLAC", func(t *testing.T) {
		b := encode("-c:a", "flac", "-ar", "48000", "-ac", "2", "-sample_fmt", "s16", "-frame_size", "4096", "-f", "flac")
		rest, size := b[4:], 4
		for last := false; !last; {
			last = rest[0]&0x80 != 0
			n := 4 + int(rest[1])<<16 + int(rest[2])<<8 + int(rest[3])
			rest, size = rest[n:], size+n
		}
		track := &media.Track{Codec: media.FLAC, SampleRate: 48000, Channels: 2, Timescale: 48000, Config: b[4:42]}
		s, ok := silenceOf(track, rest)
		if !ok || s.samples != 4096 {
			t.Fatalf("%d samples, %v", s.samples, ok)
		}
		quiet(t, decode(t, append(b[:size:size], s.data...), "flac"), 4096*2)
	})
	for _, c := range []media.Codec{media.AC3, media.EAC3, media.MP3, media.FLAC} {
		if _, ok := silenceOf(&media.Track{Codec: c, SampleRate: 48000, Timescale: 48000, Channels: 2}, nil); ok {
			t.Errorf("%v has silence without a packet", c)
		}
	}
}

// FuzzSilence: whatever a packet begins with, silence is made or not, within bounds.
func FuzzSilence(f *testing.F) {
	g := mediatest.NewGenerator(mediatest.Options{})
	p, _ := g.ReadPacket(context.Background())
	f.Add(uint8(media.AAC), []byte{0x11, 0x90}, p.Data[:16])
	f.Add(uint8(media.FLAC), []byte{}, []byte{0xff, 0xf8, 0xc9, 0x18, 0, 0, 0})
	f.Add(uint8(media.MP3), []byte{}, []byte{0xff, 0xfb, 0x94, 0})
	f.Add(uint8(media.Opus), append(make([]byte, 10), 1, 255, 0), []byte{})
	f.Fuzz(func(t *testing.T, codec uint8, config, like []byte) {
		track := &media.Track{Codec: media.Codec(codec), SampleRate: 48000, Channels: 2, Timescale: 48000, Config: config}
		s, ok := silenceOf(track, like)
		if ok && (s.samples <= 0 || s.samples > 1<<16 || len(s.data) > max(1100, len(like))) {
			t.Errorf("%d ticks in %d bytes", s.samples, len(s.data))
		}
	})
}
