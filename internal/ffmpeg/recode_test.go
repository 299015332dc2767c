package ffmpeg

import (
	"context"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
)

func TestRecode(t *testing.T) {
	tool := realTool(t)
	for _, coder := range [][]string{
		{"-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-g", "30"},
		{"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-g", "30", "-bf", "2", "-sc_threshold", "0"},
		{"-c:v", "libx265", "-preset", "ultrafast", "-g", "30", "-tag:v", "hvc1", "-x265-params", "log-level=error:open-gop=0"},
		{"-c:v", "libsvtav1", "-preset", "10", "-g", "30"},
		{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30"},
	} {
		in := testPicture(t, 1<<22, "320x180", "1", coder...)
		from, to := in[0].PTS+7*3000, in[0].PTS+22*3000
		out, err := tool.Recode(t.Context(), in[0].Track, in, from, to)
		if err != nil {
			t.Errorf("%v: %v", coder, err)
			continue
		}
		for i, p := range out {
			if p.PTS != from+int64(i)*3000 || p.DTS != p.PTS || p.Key != (i == 0) || p.Track.Timescale != in[0].Track.Timescale {
				t.Errorf("%v: picture %d: %d, %d, key %v", coder, i, p.PTS-from, p.DTS-p.PTS, p.Key)
			}
		}
		made := out[0].Track
		if len(out) != 15 || made.Codec != in[0].Track.Codec || made.Width != 320 || made.Height != 180 {
			t.Errorf("%v: %d pictures, %+v", coder, len(out), made)
		}
		if made.Codec == media.H264 && (made.Config[1] != in[0].Track.Config[1] || freeID(in[0].Track.Config) != 1 || freeID(made.Config) != 0) {
			t.Errorf("%v: profile %d and numbers of %x and %x", coder, made.Config[1], in[0].Track.Config, made.Config)
		}
		if _, err := tool.Recode(t.Context(), in[0].Track, in[1:], from, to); !fault.Is(err, fault.Invalid) {
			t.Errorf("without a key picture: %v", err)
		}
		if _, err := tool.Recode(t.Context(), in[0].Track, in, to+9_000_000, to+9_100_000); err == nil {
			t.Error("of a time at which there is nothing")
		}
	}
	second := *tool // where there is no libaom-av1
	second.recoders = map[string]bool{"libsvtav1": true}
	in := testPicture(t, 5, "320x180", "1", "-c:v", "libsvtav1", "-preset", "10", "-g", "30")
	if out, err := second.Recode(t.Context(), in[0].Track, in, in[7].PTS, in[22].PTS); err != nil || len(out) != 15 || out[0].PTS != in[7].PTS || !out[0].Key {
		t.Errorf("with libsvtav1: %d pictures, %v", len(out), err)
	}
	in = testPicture(t, 5, "320x180", "1", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
	without := *tool
	without.recoders = map[string]bool{"libx264": true}
	if _, err := without.Recode(t.Context(), in[0].Track, in, in[0].PTS, in[5].PTS); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "libvpx-vp9") {
		t.Errorf("of VP9 without an encoder for it: %v", err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if _, err := tool.Recode(ended, in[0].Track, in, in[0].PTS, in[5].PTS); err == nil {
		t.Error("with an ended context")
	}
}

func TestFreeID(t *testing.T) {
	for name, config := range map[string]string{
		"nothing": "", "cut": "\x01\x64\x00\x1f\xff\xe1\x00", "a short set": "\x01\x64\x00\x1f\xff\xe1\x00\x01\x67\x01",
		"a set longer than all": "\x01\x64\x00\x1f\xff\xe1\xff\xff\x67\x64",
	} {
		if id := freeID([]byte(config)); id != 0 {
			t.Errorf("%s: %d", name, id)
		}
	}
	// SPS 0 and 1, PPS 2.
	if id := freeID([]byte("\x01\x64\x00\x1f\xff\xe2" + "\x00\x06\x67\x64\x00\x1f\x80\x00" + "\x00\x06\x67\x64\x00\x1f\x40\x00" + "\x01\x00\x03\x68\x60\x00")); id != 3 {
		t.Errorf("%d is free, not 3", id)
	}
}
