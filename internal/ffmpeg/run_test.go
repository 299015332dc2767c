package ffmpeg

import (
	"encoding/binary"
	"os/exec"
	"slices"
	"testing"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func TestTimesAndKeysAreTheSources(t *testing.T) {
	tool := realTool(t)
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "45", "-bf", "3", "-sc_threshold", "0"}
	for name, c := range map[string]struct {
		at    int64
		coder []string
	}{
		"H.264 with B-frames": {100, x264},
		"from 0":              {0, x264},
		"negative":            {-7, x264},
		"after weeks":         {4_000_000, x264},
		"HEVC":                {100, []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error:keyint=45:bframes=2"}},
		"AV1":                 {100, []string{"-c:v", "libsvtav1", "-preset", "13", "-g", "45"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := testPicture(t, c.at, "320x180", "3", c.coder...)
			var out taker
			v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, MaxBitrate: 300_000}
			var last Progress
			err := tool.Run(t.Context(), Job{Stream: "s", Source: in[0].Track, Outputs: []Output{{Name: "90p", TrackID: 7, Rendition: "90p", Sink: &out, Video: &v}}},
				&list{packets: in}, func(p Progress) { last = p })
			if err != nil {
				t.Fatal(err)
			}
			wantAll, wantKeys := times(in)
			gotAll, gotKeys := times(out.all())
			if !slices.Equal(wantAll, gotAll) || !slices.Equal(wantKeys, gotKeys) {
				t.Errorf("%d of %d frames, keys %v, want %v (from %v, want %v)", len(gotAll), len(wantAll), gotKeys, wantKeys, gotAll[0], wantAll[0])
			}
			got, want := *out.packets[0].Track, tool.Plan(v, in[0].Track)
			t.Log(last, got.CodecString, got.FrameRate, want.FrameRate)
			if got.CodecString != want.CodecString || got.Width != 160 || got.Height != 90 || got.ID != 7 || got.Rendition != "90p" || got.FrameRate != want.FrameRate {
				t.Errorf("the track is %+v, planned was %+v", got, want)
			}
			for _, p := range out.packets {
				if p.DTS != p.PTS || p.Arrival.IsZero() {
					t.Fatalf("DTS %d, PTS %d, arrival %v", p.DTS, p.PTS, p.Arrival)
				}
			}
			if last.Fed != int64(len(in)) || last.Made != int64(len(in)) || last.CPU <= 0 || last.State != "ended" {
				t.Errorf("progress at the end: %+v", last)
			}
		})
	}
}

// TestHalfTheRateKeepsTheKeys leaves out every second frame, where half of the keys stand
// on frames that would be left out.
func TestHalfTheRateKeepsTheKeys(t *testing.T) {
	tool := realTool(t)
	in := testPicture(t, 100, "320x180", "3", "-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-sc_threshold", "0")
	v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, FrameRate: 15, MaxBitrate: 300_000}
	out := encodeOne(t, tool, in, &v, nil)
	wantAll, wantKeys := times(in)
	all, keys := times(out)
	if !slices.Equal(keys, wantKeys) {
		t.Errorf("keys %v, want %v", keys, wantKeys)
	}
	if len(all) < len(in)/2 || len(all) > len(in)*6/10 {
		t.Errorf("%d frames of %d", len(all), len(in))
	}
	for _, at := range all {
		if !slices.Contains(wantAll, at) {
			t.Errorf("a frame at %d, where the source has none", at)
		}
	}
	if out[0].Track.FrameRate != 15 {
		t.Errorf("%v frames a second", out[0].Track.FrameRate)
	}
}

func TestSeveralOutputs(t *testing.T) {
	tool := realTool(t)
	in := testPicture(t, 100, "320x180", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-bf", "2")
	wantAll, wantKeys := times(in)
	outs := make([]taker, 3)
	job := Job{Stream: "s", Source: in[0].Track}
	for i := range outs {
		v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160 + 16*i, Height: 90, MaxBitrate: 300_000}
		job.Outputs = append(job.Outputs, Output{Name: "o", TrackID: i + 1, Sink: &outs[i], Video: &v})
	}
	if err := tool.Run(t.Context(), job, &list{packets: in}, nil); err != nil {
		t.Fatal(err)
	}
	for i := range outs {
		all, keys := times(outs[i].packets)
		if !slices.Equal(all, wantAll) || !slices.Equal(keys, wantKeys) || outs[i].packets[0].Track.Width != 160+16*i || outs[i].packets[0].Track.ID != i+1 {
			t.Errorf("output %d: %d frames of %d, keys %v, want %v", i, len(all), len(wantAll), keys, wantKeys)
		}
	}
}

// TestVP8 goes in as IVF, for it has no place in CMAF.
func TestVP8(t *testing.T) {
	tool := realTool(t)
	path := mediatest.Program(t, "ffmpeg")
	for codec, coder := range map[media.Codec]string{media.VP8: "libvpx", media.VP9: "libvpx-vp9"} {
		b, err := exec.CommandContext(t.Context(), path, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30", "-t", "1", "-c:v", coder, "-deadline", "realtime", "-cpu-used", "8", "-g", "10", "-f", "ivf", "pipe:1").Output()
		if err != nil {
			t.Fatal(err)
		}
		track := &media.Track{Codec: codec, Timescale: 90000, Width: 320, Height: 180}
		var in []*media.Packet
		for rest := b[32:]; len(rest) > 0; {
			n := binary.LittleEndian.Uint32(rest)
			at := int64(100*90000 + 3000*len(in))
			in = append(in, &media.Packet{Track: track, DTS: at, PTS: at, Key: len(in)%10 == 0, Data: rest[12 : 12+n]})
			rest = rest[12+n:]
		}
		v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, MaxBitrate: 300_000, Profile: "baseline"}
		out := encodeOne(t, tool, in, &v, nil)
		wantAll, wantKeys := times(in)
		all, keys := times(out)
		if !slices.Equal(all, wantAll) || !slices.Equal(keys, wantKeys) {
			t.Errorf("%v: %d frames of %d, keys %v, want %v", codec, len(all), len(wantAll), keys, wantKeys)
		}
	}
}

// TestOneRelievesAnother goes through several processes, and nothing is to be seen of it.
func TestOneRelievesAnother(t *testing.T) {
	tool := *realTool(t)
	tool.worn = 25
	in := testPicture(t, 100, "320x180", "3", "-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-bf", "2", "-sc_threshold", "0")
	v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, MaxBitrate: 300_000}
	var out taker
	var last Progress
	if err := tool.Run(t.Context(), Job{Source: in[0].Track, Outputs: []Output{{Sink: &out, Video: &v}}}, &list{packets: in}, func(p Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	wantAll, wantKeys := times(in)
	all, keys := times(out.packets)
	if !slices.Equal(all, wantAll) || !slices.Equal(keys, wantKeys) || last.Fed != int64(len(in)) || last.Made != int64(len(in)) {
		t.Errorf("%d frames of %d, keys %v, want %v; %+v", len(all), len(wantAll), keys, wantKeys, last)
	}
	sound := made(t, 50, "-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", "2", "-ac", "2", "-c:a", "aac")
	var end int64
	for _, p := range encodeOne(t, &tool, sound, nil, &Audio{Codec: media.Opus}) {
		if p.DTS < end || end != 0 && p.DTS > end+2*p.Duration {
			t.Errorf("a packet at %d, behind one that ends at %d", p.DTS, end)
		}
		end = p.DTS + p.Duration
	}
}
