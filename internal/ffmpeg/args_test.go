package ffmpeg

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/fault"
	"onair/internal/media"
)

var update = flag.Bool("update", false, "write the golden files")

// hostile is what publishers and operators may call things.
const hostile = "-i /etc/passwd;$(reboot)|[f=tee]\n'\"`%s\x00--"

// golden is a Tool whose encoders are the same everywhere.
func golden() *Tool {
	t := &Tool{cfg: DefaultConfig(), decoders: map[media.Codec]string{media.H264: "h264", media.HEVC: "hevc", media.AV1: "libdav1d", media.VP8: "vp8", media.VP9: "vp9", media.AAC: "aac", media.Opus: "libopus"}, formats: []PictureFormat{JPEG, WebP, AVIF}, avif: "libaom-av1"}
	t.encoders = append(t.encoders, []Encoder{
		{Name: "h264_nvenc", Codec: media.H264, Hardware: true}, {Name: "hevc_nvenc", Codec: media.HEVC, Hardware: true}, {Name: "av1_nvenc", Codec: media.AV1, Hardware: true},
		{Name: "h264_qsv", Codec: media.H264, Hardware: true, device: "/dev/dri/renderD128"}, {Name: "hevc_qsv", Codec: media.HEVC, Hardware: true, device: "/dev/dri/renderD128"},
		{Name: "h264_vaapi", Codec: media.H264, Hardware: true, device: "/dev/dri/renderD128"}, {Name: "hevc_vaapi", Codec: media.HEVC, Hardware: true, device: "/dev/dri/renderD128"},
		{Name: "h264_videotoolbox", Codec: media.H264, Hardware: true}, {Name: "h264_v4l2m2m", Codec: media.H264, Hardware: true},
		{Name: "libx264", Codec: media.H264}, {Name: "libx265", Codec: media.HEVC}, {Name: "libaom-av1", Codec: media.AV1}, {Name: "libsvtav1", Codec: media.AV1},
		{Name: "aac", Codec: media.AAC}, {Name: "libopus", Codec: media.Opus},
	}...)
	return t
}

// TestArgumentsAreThese keeps the whole of what ffmpeg is called with. Everything in the
// jobs that is text and not ours is hostile, and none of it is in the golden file.
func TestArgumentsAreThese(t *testing.T) {
	tool := golden()
	source := func(c media.Codec) *media.Track {
		s := &media.Track{Codec: c, Timescale: 90000, Language: hostile, Rendition: hostile, CodecString: hostile, Config: []byte(hostile)}
		if s.Kind() == media.Video {
			s.Width, s.Height, s.FrameRate = 640, 360, 30
		} else {
			s.Timescale, s.SampleRate, s.Channels = 48000, 48000, 6
		}
		return s
	}
	job := func(s *media.Track, outputs ...any) Job {
		j := Job{Stream: hostile, Source: s}
		for _, o := range outputs {
			out := Output{Name: hostile, Rendition: hostile, Sink: &taker{}}
			switch o := o.(type) {
			case Video:
				out.Video = &o
			case Audio:
				out.Audio = &o
			}
			j.Outputs = append(j.Outputs, out)
		}
		return j
	}
	var b strings.Builder
	write := func(name string, args []string) { fmt.Fprintf(&b, "%s:\n%s\n\n", name, strings.Join(args, " ")) }
	small := func(e Encoder) Video {
		// What a caller claims of an encoder besides its name does not count.
		e.device, e.Codec, e.constraints = hostile, media.H264, hostile
		return Video{Encoder: e, Width: 320, Height: 180, MaxBitrate: 400_000}
	}
	for _, e := range tool.encoders {
		if e.Codec.Kind() == media.Video {
			write(e.Name, tool.arguments(job(source(media.H264), small(e))))
		}
	}
	x264 := tool.Encoders(media.H264)[5]
	fixed, slow := small(x264), small(x264)
	fixed.Fixed, fixed.Profile, fixed.Preset = true, "baseline", "veryfast"
	slow.FrameRate = 15
	write("two outputs, one fixed and one of half the rate, of HEVC", tool.arguments(job(source(media.HEVC), fixed, slow)))
	write("VP8", tool.arguments(job(source(media.VP8), small(x264))))
	write("AV1", tool.arguments(job(source(media.AV1), small(x264))))
	write("AAC", tool.arguments(job(source(media.Opus), Audio{Codec: media.AAC})))
	write("Opus", tool.arguments(job(source(media.AAC), Audio{Codec: media.Opus, Bitrate: 96000, Channels: 1})))
	for _, f := range tool.formats {
		write(string(f), tool.pictureArguments(source(media.H264), 5, PictureOptions{Format: f, Width: 160, Height: 90, Columns: 4}))
	}
	file := filepath.Join("testdata", "arguments.golden")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJobsAreChecked(t *testing.T) {
	tool := golden()
	source := &media.Track{Codec: media.H264, Timescale: 90000, Width: 640, Height: 360}
	good := Video{Encoder: tool.encoders[9], Width: 320, Height: 180, MaxBitrate: 400_000}
	change := func(f func(*Video)) Output {
		v := good
		f(&v)
		return Output{Sink: &taker{}, Video: &v}
	}
	fine := Output{Sink: &taker{}, Video: &good}
	if err := tool.check(Job{Source: source, Outputs: []Output{fine}}); err != nil {
		t.Error(err)
	}
	huge, wide := *source, *source
	huge.Width, huge.Height = 16384, 16384
	wide.Width, wide.Height = 8192, 8192
	strange := &media.Track{Codec: media.AC3, Timescale: 48000, SampleRate: 48000}
	for name, c := range map[string]struct {
		job  Job
		kind fault.Kind
	}{
		"no source":     {Job{Outputs: []Output{fine}}, fault.Invalid},
		"no outputs":    {Job{Source: source}, fault.Invalid},
		"nine outputs":  {Job{Source: source, Outputs: make([]Output, 9)}, fault.Invalid},
		"16k":           {Job{Source: &huge, Outputs: []Output{fine}}, fault.TooLarge},
		"8k squared":    {Job{Source: &wide, Outputs: []Output{fine}}, fault.TooLarge},
		"no decoder":    {Job{Source: strange, Outputs: []Output{fine}}, fault.Unsupported},
		"no sink":       {Job{Source: source, Outputs: []Output{{Video: &good}}}, fault.Invalid},
		"both":          {Job{Source: source, Outputs: []Output{{Sink: &taker{}, Video: &good, Audio: &Audio{}}}}, fault.Invalid},
		"neither":       {Job{Source: source, Outputs: []Output{{Sink: &taker{}}}}, fault.Invalid},
		"other kind":    {Job{Source: source, Outputs: []Output{{Sink: &taker{}, Audio: &Audio{Codec: media.Opus}}}}, fault.Invalid},
		"encoder":       {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.Encoder = Encoder{Name: "-i"} })}}, fault.Invalid},
		"sound encoder": {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.Encoder = Encoder{Name: "aac"} })}}, fault.Invalid},
		"preset":        {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.Preset = "-i x" })}}, fault.Invalid},
		"profile":       {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.Profile = hostile })}}, fault.Invalid},
		"odd":           {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.Width = 321 })}}, fault.Invalid},
		"bit rate":      {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.MaxBitrate = 0 })}}, fault.Invalid},
		"quality":       {Job{Source: source, Outputs: []Output{change(func(v *Video) { v.CRF = 99 })}}, fault.Invalid},
	} {
		if err := tool.check(c.job); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingOfAStreamIsInTheArguments reads them as the system shows them to everybody.
func TestNothingOfAStreamIsInTheArguments(t *testing.T) {
	tool := shimTool(t, "sleeps")
	v := Video{Encoder: tool.encoders[0], Width: 160, Height: 90, MaxBitrate: 300_000}
	job := Job{Stream: "sk_live_confidential", Source: &media.Track{Codec: media.H264, Timescale: 90000, Width: 320, Height: 180, Language: hostile},
		Outputs: []Output{{Name: "sk_live_confidential", Rendition: hostile, Sink: &taker{}, Video: &v}}}
	args := tool.arguments(job)
	c, err := tool.start(args, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.release(c)
	defer c.stop()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.cmd.Process.Pid))
	if err != nil {
		t.Skip("there is no /proc here")
	}
	seen := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	if diff := cmp.Diff(append([]string{tool.path}, args...), seen); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(b), "confidential") || strings.Contains(string(b), "passwd") {
		t.Errorf("%q", b)
	}
}

func TestThinning(t *testing.T) {
	for _, c := range []struct{ source, most, want float64 }{{60, 30, 30}, {50, 30, 25}, {30, 30, 30}, {25, 30, 25}, {120, 30, 30}, {59.94, 29.97, 29.97}, {30, 15, 15}, {48, 30, 24}, {30, 0, 30}} {
		v := Video{FrameRate: c.most, Width: 320, Height: 180}
		got := golden().Plan(v, &media.Track{Codec: media.H264, Timescale: 90000, FrameRate: c.source, KeyInterval: time.Second}).FrameRate
		if got < c.want-0.01 || got > c.want+0.01 {
			t.Errorf("%v frames a second, at most %v: %v, want %v", c.source, c.most, got, c.want)
		}
	}
}
