package ffmpeg

import (
	"slices"
	"testing"

	"onair/internal/media"
)

// encodeOne runs a job with one output.
func encodeOne(t *testing.T, tool *Tool, in []*media.Packet, v *Video, a *Audio) []*media.Packet {
	t.Helper()
	var out taker
	err := tool.Run(t.Context(), Job{Stream: "s", Source: in[0].Track, Outputs: []Output{{Name: "o", Sink: &out, Video: v, Audio: a}}}, &list{packets: in}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.all()) == 0 {
		t.Fatal("nothing came out")
	}
	return out.all()
}

func TestEveryEncoderDoesAsPlanned(t *testing.T) {
	tool := realTool(t)
	in := testPicture(t, 100, "1280x720", "1", "-c:v", "libx264", "-preset", "ultrafast", "-g", "12", "-sc_threshold", "0")
	wantAll, wantKeys := times(in)
	for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1} {
		for _, e := range tool.Encoders(c) {
			sizes := [][2]int{{320, 180}, {640, 360}, {854, 480}, {1280, 720}}
			if c != media.H264 { // which take long
				sizes = sizes[1:3]
			}
			for _, size := range sizes {
				for _, profile := range []string{"", "main", "baseline"} {
					if profile != "" && (c != media.H264 || size[1] != 360) {
						continue
					}
					v := Video{Encoder: e, Width: size[0], Height: size[1], MaxBitrate: 1_000_000, Profile: profile}
					out := encodeOne(t, tool, in, &v, nil)
					all, keys := times(out)
					if !slices.Equal(all, wantAll) || !slices.Equal(keys, wantKeys) {
						t.Errorf("%s %v: %d frames of %d, keys %v, want %v", e.Name, size, len(all), len(wantAll), keys, wantKeys)
					}
					if got, want := out[0].Track, tool.Plan(v, in[0].Track); got.CodecString != want.CodecString || got.Width != want.Width || got.Height != want.Height {
						t.Errorf("%s %v %s: %s %dx%d, planned was %s", e.Name, size, profile, got.CodecString, got.Width, got.Height, want.CodecString)
					}
					bytes := 0
					for _, p := range out {
						bytes += len(p.Data)
					}
					t.Log(e.Name, size, profile, out[0].Track.CodecString, bytes*8/2, "bit/s")
				}
			}
		}
	}
}

func TestSound(t *testing.T) {
	tool := realTool(t)
	for _, from := range [][]string{{"-c:a", "aac", "-ar", "44100"}, {"-c:a", "aac", "-ar", "48000"}, {"-c:a", "libopus", "-ar", "48000"}, {"-c:a", "flac", "-strict", "-2"}, {"-c:a", "ac3"}, {"-c:a", "libmp3lame"}} {
		in := made(t, 50, append([]string{"-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", "2", "-ac", "2"}, from...)...)
		for _, codec := range []media.Codec{media.AAC, media.Opus} {
			a := Audio{Codec: codec}
			out := encodeOne(t, tool, in, nil, &a)
			got, want := out[0].Track, tool.PlanAudio(a, in[0].Track)
			if got.CodecString != want.CodecString || got.SampleRate != want.SampleRate || got.Channels != want.Channels || got.Timescale != want.Timescale {
				t.Errorf("%v to %v: %+v, planned was %+v", from, codec, got, want)
			}
			first, last := got.Duration(out[0].PTS), got.Duration(out[len(out)-1].PTS)
			t.Log(from, codec, len(out), first, last)
		}
	}
}
