package ingest

import (
	"testing"
	"time"

	"onair/internal/media"
)

// TestGapOfWhatCannotBeFilled: a track that no filler can be made of falls ever further
// behind while it is silent. It must not have the others looked through from there on.
func TestGapOfWhatCannotBeFilled(t *testing.T) {
	const behind, silent = time.Hour, 2 * time.Second
	now := time.Now()
	track := func(codec media.Codec, sample []byte, behind time.Duration) *lane {
		return &lane{
			track: &media.Track{Codec: codec, Timescale: 1000, SampleRate: 48000, Channels: 2, Config: []byte{0x11, 0x90}}, started: true,
			sample: sample, next: (2*time.Hour - behind).Milliseconds(), arrived: now.Add(-behind),
		}
	}
	for name, tt := range map[string]struct {
		lane *lane
		want time.Duration
	}{
		"AC-3":                       {track(media.AC3, []byte{1}, behind), silent},
		"E-AC-3":                     {track(media.EAC3, []byte{1}, behind), silent},
		"pictures without a key one": {track(media.H264, nil, behind), silent},
		"AAC":                        {track(media.AAC, []byte{1}, behind), longestFill},
		"pictures":                   {track(media.H264, []byte{1}, behind), longestFill},
	} {
		d := &desk{zero: now.Add(-2 * time.Hour), lanes: []*lane{tt.lane, track(media.H264, []byte{1}, silent)}}
		if from, until := d.gap(now); until-from != tt.want {
			t.Errorf("%s: %v are to be filled, want %v", name, until-from, tt.want)
		}
	}
}
