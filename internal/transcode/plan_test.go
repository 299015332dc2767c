package transcode

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func mediatestHEVC(w, h int) []byte {
	return bitstream.HVCC([][]byte{mediatest.HEVCVPS()}, [][]byte{mediatest.HEVCSPS(w, h, 25, 1)}, [][]byte{mediatest.HEVCPPS()})
}

func TestPlan(t *testing.T) {
	video := func(w, h int, rate float64, c media.Codec) *media.Track {
		return &media.Track{ID: 1, Codec: c, Timescale: 90000, Width: w, Height: h, FrameRate: rate}
	}
	sound := func(c media.Codec) *media.Track {
		return &media.Track{ID: 2, Codec: c, Timescale: 48000, SampleRate: 48000, Channels: 6}
	}
	for _, tt := range []struct {
		name   string
		src    source
		choice Choice
		want   string // name size@rate≤kbit/s, + listed
	}{
		{"1080p30", source{video: video(1920, 1080, 30, media.H264), audio: sound(media.AAC)}, Choice{},
			"720p 1280x720@30≤2800+ 480p 854x480@30≤1200+ 360p 640x360@30≤800+ opus"},
		{"1080p60 is halved", source{video: video(1920, 1080, 60, media.H264)}, Choice{},
			"720p 1280x720@30≤2800+ 480p 854x480@30≤1200+ 360p 640x360@30≤800+"},
		{"rungs for fast sources", source{video: video(1920, 1080, 60, media.H264)}, Choice{Rungs: []string{"720p60", "720p", "480p30"}},
			"720p60 1280x720@60≤4200+ 720p 1280x720@30≤2800+ 480p30 854x480@30≤1200+"},
		{"the same of a slow one", source{video: video(1920, 1080, 30, media.H264)}, Choice{Rungs: []string{"720p60", "720p"}},
			"720p 1280x720@30≤2800+"},
		{"only a fast rung", source{video: video(1920, 1080, 25, media.H264)}, Choice{Rungs: []string{"720p60"}},
			"720p60 1280x720@25≤2800+"},
		{"never larger", source{video: video(640, 368, 30, media.H264), audio: sound(media.AAC)}, Choice{}, "opus"},
		{"upright", source{video: video(1080, 1920, 30, media.H264)}, Choice{Rungs: []string{"720p"}}, "720p 720x1280@30≤2800+"},
		{"B-frames", source{video: video(1280, 720, 25, media.H264), audio: sound(media.Opus), reorders: true}, Choice{Rungs: []string{"360p@700k"}},
			"360p 640x360@25≤700+ realtime 1280x720@25≤2800 aac+"},
		{"B-frames of 60 at 4K", source{video: video(3840, 2160, 60, media.H264), reorders: true}, Choice{Rungs: []string{"1080p60"}},
			"1080p60 1920x1080@60≤7500+ realtime 1920x1080@60≤7500"},
		{"HEVC at 1440p60", source{video: video(2560, 1440, 60, media.HEVC), audio: sound(media.AAC)}, Choice{},
			"1080p60=realtime 1920x1080@60≤7500+ 720p 1280x720@30≤2800+ 480p 854x480@30≤1200+ 360p 640x360@30≤800+ opus"},
		{"VP8 of an odd size", source{video: video(641, 359, 30, media.VP8), audio: sound(media.Opus)}, Choice{},
			"358p=realtime 640x358@30≤796+ aac+"},
		{"simulcast", source{video: video(1280, 720, 30, media.H264), audio: sound(media.Opus), reorders: true, several: true}, Choice{},
			"realtime 1280x720@30≤2800 aac+"},
		{"simulcast with a ladder of its own", source{video: video(1280, 720, 30, media.H264), several: true}, Choice{Rungs: []string{"240p"}},
			"240p 426x240@30≤400+"},
		{"simulcast of HEVC", source{video: video(1280, 720, 30, media.HEVC), several: true}, Choice{}, "realtime 1280x720@30≤2800"},
		{"no ladder", source{video: video(1280, 720, 30, media.AV1), audio: sound(media.FLAC)}, Choice{Mode: Off},
			"realtime 1280x720@30≤2800 aac+ opus"},
		{"no more than there are feeds", source{video: video(1920, 1080, 30, media.HEVC), audio: sound(media.FLAC)},
			Choice{Rungs: []string{"720p", "540p", "480p", "360p", "240p"}},
			"1080p=realtime 1920x1080@30≤5000+ 720p 1280x720@30≤2800+ 540p 960x540@30≤1800+ 480p 854x480@30≤1200+ 360p 640x360@30≤800+ aac+ opus"},
		{"sound alone", source{audio: sound(media.MP3)}, Choice{}, "aac+ opus"},
		{"a picture of unknown size", source{video: video(0, 0, 0, media.H264)}, Choice{}, ""},
		{"unknown rate", source{video: video(1280, 720, 0, media.H264)}, Choice{Rungs: []string{"480p"}}, "480p 854x480@30≤1200+"},
		{"measured rate", source{video: video(1280, 720, 0, media.H264), rate: 60}, Choice{Rungs: []string{"480p"}}, "480p 854x480@30≤1200+"},
		{"other codecs", source{video: video(1920, 1080, 30, media.H264)}, Choice{Rungs: []string{"720p/hevc", "720p"}},
			"720p-hevc 1280x720@30≤1820+ 720p 1280x720@30≤2800+"},
	} {
		if tt.src.rate == 0 && tt.src.video != nil {
			tt.src.rate = tt.src.video.FrameRate
		}
		var got []string
		for _, s := range plan(tt.src, DefaultConfig().resolve(tt.choice), newFakeTool()) {
			text := s.name
			if s.alias != "" {
				text += "=" + s.alias
			}
			if s.video != nil {
				text += fmt.Sprintf(" %dx%d@%g≤%d", s.track.Width, s.track.Height, s.track.FrameRate, s.peak/1000)
				if s.video.Width != s.track.Width || s.video.MaxBitrate != s.peak || s.average >= s.peak || s.cost.encode <= 0 {
					t.Errorf("%s: %+v", tt.name, s)
				}
			} else if s.audio.Channels != 2 {
				t.Errorf("%s: %d channels", tt.name, s.audio.Channels)
			}
			if s.listed {
				text += "+"
			}
			if s.track.Rendition != s.name || s.flaw != "" {
				t.Errorf("%s: %+v", tt.name, s)
			}
			got = append(got, text)
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, text, tt.want)
		}
	}
}

func TestPlanTellsWhatIsMissing(t *testing.T) {
	src := source{video: videoTrack(1280, 720, media.AV1), audio: &media.Track{Codec: media.FLAC, Channels: 2}, rate: 25}
	tool := newFakeTool()
	tool.blind = []media.Codec{media.AV1}
	delete(tool.encoders, media.Opus)
	for _, s := range plan(src, DefaultConfig().resolve(Choice{}), tool) {
		switch {
		case s.video != nil && s.flaw != "this ffmpeg cannot decode AV1":
			t.Errorf("%s: %q", s.name, s.flaw)
		case s.name == media.RenditionOpus && !strings.Contains(s.flaw, "no encoder for Opus"):
			t.Errorf("%s: %q", s.name, s.flaw)
		case s.name == media.RenditionAAC && s.flaw != "":
			t.Errorf("%s: %q", s.name, s.flaw)
		}
	}
}

func TestParseRung(t *testing.T) {
	for text, want := range map[string]string{
		"720p": "720p 0 0 H.264", "1080p60": "1080p60 60 0 H.264", "480p@900k": "480p 0 900000 H.264", "720p/hevc": "720p-hevc 0 0 HEVC",
		"540p30@1200k/av1": "540p30-av1 30 1200000 AV1", "1440p@7.5M": "1440p 0 7500000 H.264", "480p/h264": "480p 0 0 H.264",
	} {
		r, err := ParseRung(text)
		if got := fmt.Sprint(r.Name(), " ", r.Rate, " ", r.Bitrate, " ", r.Codec); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "p", "720", "720P", "72p", "719p", "9999p", "720p5", "720p99", "480p60", "720p@", "720p@1k", "720p@99M",
		"720p@900", "720p/vp9", "720p/", "-720p", "720p;x", "720p 480p", "source", "audio", "720p@900k/hevc/x", "７20p"} {
		if r, err := ParseRung(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q is %+v, %v", text, r, err)
		}
	}
}

func FuzzParseRung(f *testing.F) {
	for _, s := range []string{"720p", "1080p60", "480p@900k", "720p/hevc", "540p30@1200k/av1", "source"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRung(text)
		if err != nil {
			return
		}
		name := r.Name()
		if len(name) > 32 || strings.Trim(name, "0123456789p-hevca") != "" {
			t.Errorf("%q is called %q", text, name)
		}
		if r.Height < minHeight || r.Height > maxHeight || r.Rate < 0 || r.Rate > 60 || r.Bitrate < 0 || r.Bitrate > maxBitrate {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	c := DefaultConfig()
	c.Ladders = []string{"mobile=480p, 240p@250k,audio", "default=source,1080p60,720p"}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	profiles := c.Profiles()
	if len(profiles) != 2 || profiles[0].Name != "default" || !slices.Equal(profiles[0].Rungs, []string{"source", "1080p60", "720p"}) ||
		profiles[1].Name != "mobile" || !slices.Equal(profiles[1].Rungs, []string{"480p", "240p@250k", "audio"}) {
		t.Errorf("%+v", profiles)
	}
	for _, o := range []Choice{{}, {Profile: "mobile"}, {Rungs: []string{"source", "720p", "audio"}, Mode: Always}, {Mode: Off}} {
		if err := c.CheckChoice(o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []Choice{
		{Profile: "none"}, {Mode: "sometimes"}, {Rungs: []string{"720p", "720p@1M"}}, {Rungs: []string{"big"}},
		{Rungs: []string{"1080p", "720p", "540p", "480p", "360p", "240p"}},
	} {
		if err := c.CheckChoice(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	bad := Config{Mode: "now", Cores: -1, Idle: 1, MaxLag: 1, Ladders: []string{"x", "a b=720p", "x=72p"}}
	err := bad.Validate()
	for _, part := range []string{"transcode:", "transcode-cores", "transcode-idle", "transcode-max-lag", `"x"`, "a b", "72p"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not told: %v", part, err)
		}
	}
	if n := DefaultConfig().budget(); n < 0.75 {
		t.Errorf("%v cores", n)
	}
}

func TestStatesAreClosed(t *testing.T) {
	for _, s := range []State{Idle, Starting, Running, Failed, Refused, Shed} {
		for tr := ask; tr <= rest; tr++ {
			next := s.after(tr)
			if next == "" || tr == rest && next != Idle || tr == come && next == Running && s != Starting && s != Running {
				t.Errorf("%s after %d is %q", s, tr, next)
			}
		}
	}
	if State("").after(ask) != "" {
		t.Error("a state that is none")
	}
}
