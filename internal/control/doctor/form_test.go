package doctor

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestFormChanges follows a publisher that changes what it sends in mid-stream: that is told
// for a minute. What only one of the versions tells is no change.
func TestFormChanges(t *testing.T) {
	video := mediatest.VideoTrack(mediatest.Options{})
	sound := mediatest.AudioTrack(mediatest.Options{})
	for _, tt := range []struct {
		name           string
		change         func(video, sound *media.Track)
		want, from, to string
	}{
		{"codec", func(v, _ *media.Track) { v.Codec = media.HEVC }, "format_changed", "H.264", "HEVC"},
		{"frame rate", func(v, _ *media.Track) { v.FrameRate = 25 }, "format_changed", "H.264, 30 frames/s", "H.264, 25 frames/s"},
		{"channels", func(_, a *media.Track) { a.Channels = 1 }, "audio_changed", "AAC, 2 channels", "AAC, 1 channels"},
		{"sample rate", func(_, a *media.Track) { a.SampleRate = 44100 }, "audio_changed", "AAC, 48000 Hz", "AAC, 44100 Hz"},
		{"nothing", func(v, _ *media.Track) { v.FrameRate = 0 }, "", "", ""},
	} {
		was, now := [2]*media.Track{}, [2]*media.Track{}
		for i, track := range []*media.Track{video, sound} {
			a, b := *track, *track
			a.Timescale, b.Timescale, b.Version = 90000, 90000, 1
			was[i], now[i] = &a, &b
		}
		was[0].FrameRate, now[0].FrameRate = 30, 30
		for _, a := range []*media.Track{was[1], now[1]} {
			a.SampleRate, a.Channels = 48000, 2
		}
		tt.change(now[0], now[1])
		at := time.Now()
		e := &exam{}
		for i := range was {
			m := &meter{id: i}
			m.change(was[i], at)
			m.change(now[i], at)
			if i == 0 {
				e.video = []reading{m.read(at)}
			} else {
				e.audio = []reading{m.read(at)}
			}
		}
		for code, v := range map[string]verdict{"format_changed": checkForm(e), "audio_changed": checkSoundForm(e)} {
			if (v.is == yes) != (code == tt.want) || v.is == yes && (v.evidence["from"] != tt.from || v.evidence["to"] != tt.to) {
				t.Errorf("%s: %s is %+v", tt.name, code, v)
			}
		}
		e.video[0].alteredAgo, e.audio[0].alteredAgo = 61, 61
		if checkForm(e).is == yes || checkSoundForm(e).is == yes {
			t.Errorf("%s is told for more than a minute", tt.name)
		}
	}
}
