package ffmpeg

import (
	"slices"
	"testing"

	"onair/internal/media"
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
