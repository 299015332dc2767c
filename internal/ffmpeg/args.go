package ffmpeg

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// endless is a distance of key frames that is never reached: the source's are followed.
const endless = 36000

// maxAlloc bounds what ffmpeg asks for at once, in bytes: an uncompressed picture of the
// largest size with 16 bits a sample is less.
const maxAlloc = 256 << 20

// head are the arguments in front of everything.
func head() []string {
	return []string{"-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning", "-max_alloc", strconv.Itoa(maxAlloc), "-filter_threads", "1", "-filter_complex_threads", "1"}
}

// input are the arguments that read a track from the standard input. Nothing but that
// container with that codec is read, and nothing is looked for (probed): the header says all.
func input(track *media.Track, decoder string) []string {
	container, demuxer := "mp4", "mov"
	if framed(track.Codec) {
		container, demuxer = "ivf", "ivf"
	}
	args := []string{"-probesize", "32", "-analyzeduration", "0", "-fpsprobesize", "0"}
	args = append(args, decodingThreads(track)...)
	args = append(args, "-protocol_whitelist", "pipe", "-format_whitelist", demuxer, "-codec_whitelist", decoder,
		"-f", container)
	if track.Kind() == media.Video {
		args = append(args, "-c:v", decoder)
	} else {
		args = append(args, "-c:a", decoder)
	}
	return append(args, "-i", "pipe:0")
}

// framed tells whether a codec goes in as IVF: VP8 has no place in CMAF, and VP9 from
// WebRTC no configuration record.
func framed(c media.Codec) bool { return c == media.VP8 || c == media.VP9 }

// decodingThreads keeps the decoder to one thread, which adds no frame of delay, as long
// as one is sure to be enough.
func decodingThreads(track *media.Track) []string {
	rate := track.FrameRate
	if rate == 0 {
		rate = assumedRate / 2
	}
	n := 1
	switch pixels := float64(track.Width*track.Height) * rate; {
	case track.Kind() == media.Audio:
	case pixels > 250e6:
		n = 4
	case pixels > 80e6:
		n = 2
	}
	return []string{"-threads", strconv.Itoa(min(n, runtime.NumCPU()))}
}

// arguments are those of a job. All that comes from outside is numbers by now; names are
// those of encoders and decoders that ffmpeg itself listed, and of presets that were checked.
func (t *Tool) arguments(job Job) []string {
	args := head()
	args = append(args, t.devices(job)...)
	args = append(args, input(job.Source, t.decoders[job.Source.Codec])...)
	args = append(args, "-copyts")
	filters := make([]string, len(job.Outputs))
	for i, o := range job.Outputs {
		if o.Video != nil {
			filters[i] = o.Video.filter(t.known(o.Video.Encoder), job.Source)
		}
	}
	together := len(job.Outputs) > 1 && job.Source.Kind() == media.Video
	if together {
		args = append(args, "-filter_complex", split(filters))
	}
	for i, o := range job.Outputs {
		switch {
		case o.Audio != nil:
			args = append(args, "-map", "0:a:0")
			args = append(args, o.Audio.complete(job.Source).encode()...)
		case together:
			args = append(args, "-map", fmt.Sprintf("[o%d]", i))
			args = append(args, o.Video.encode(t.known(o.Video.Encoder), job.Source)...)
		default:
			args = append(args, "-map", "0:v:0", "-vf", filters[i])
			args = append(args, o.Video.encode(t.known(o.Video.Encoder), job.Source)...)
		}
		e := Encoder{}
		if o.Video != nil {
			e = t.known(o.Video.Encoder)
		}
		args = append(args, output(job.Source, e, firstOutput+i)...)
	}
	return args
}

// split is a graph in which each filter chain gets the source's pictures.
func split(filters []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[0:v:0]split=%d", len(filters))
	for i := range filters {
		fmt.Fprintf(&b, "[i%d]", i)
	}
	for i, f := range filters {
		fmt.Fprintf(&b, ";[i%d]%s[o%d]", i, f, i)
	}
	return b.String()
}

// output are the arguments that write a fragment a frame to a file of the child, with
// time stamps as they came.
func output(source *media.Track, e Encoder, file int) []string {
	moov := "empty_moov"
	if e.Name == "libaom-av1" || strings.HasSuffix(e.Name, "_v4l2m2m") {
		moov = "delay_moov" // their first frame tells what belongs into it
	}
	args := []string{
		"-f", "mp4", "-movflags", moov + "+default_base_moof+frag_every_frame+skip_trailer+frag_discont",
		"-use_editlist", "0", "-avoid_negative_ts", "disabled", "-flush_packets", "1",
	}
	if source.Kind() == media.Video {
		args = append(args, "-video_track_timescale", strconv.Itoa(source.Timescale))
	}
	return append(args, "-protocol_whitelist", "pipe", "pipe:"+strconv.Itoa(file))
}

// devices opens what hardware encoders need before the filters.
func (t *Tool) devices(job Job) []string {
	for _, o := range job.Outputs {
		if o.Video == nil {
			continue
		}
		if e := t.known(o.Video.Encoder); e.device != "" && strings.HasSuffix(e.Name, "_vaapi") {
			return []string{"-init_hw_device", "vaapi=hw:" + e.device, "-filter_hw_device", "hw"}
		}
	}
	return nil
}

// filter thins out, scales and converts.
func (v Video) filter(e Encoder, source *media.Track) string {
	var f []string
	if v.thins(source) {
		f = append(f, fmt.Sprintf("select='isnan(prev_selected_t)+key+gte(t-prev_selected_t,%.6f)'", v.gap()))
	}
	f = append(f, fmt.Sprintf("scale=%d:%d:flags=bilinear", v.Width, v.Height))
	if w, h := bitstream.SampleAspect(source); w == h {
		f = append(f, "setsar=1") // rounding the size to even numbers is no other shape
	}
	switch {
	case strings.HasSuffix(e.Name, "_vaapi"):
		f = append(f, "format=nv12", "hwupload")
	case strings.HasSuffix(e.Name, "_qsv"):
		f = append(f, "format=nv12")
	default:
		f = append(f, "format=yuv420p")
	}
	return strings.Join(f, ",")
}

// encode are the arguments of a video encoder: no B-frames, no key frames but the source's,
// no more delay than it must have.
func (v Video) encode(e Encoder, source *media.Track) []string {
	rate := source.FrameRate
	if v.thins(source) {
		rate = v.thinned(source)
	}
	l := v.level(e.Codec, rate)
	args := []string{"-c:v", e.Name, "-force_key_frames", "source", "-g", strconv.Itoa(endless), "-bf", "0",
		"-fps_mode", "passthrough", "-enc_time_base", "1/" + strconv.Itoa(source.Timescale)}
	args = append(args, v.dialect(e, l, rate)...)
	if e.Codec == media.HEVC {
		args = append(args, "-tag:v", "hvc1")
	}
	return args
}

// threads is how many threads an encoder in software gets: about as many as it needs.
func (v Video) threads(rate float64) string {
	if rate == 0 {
		rate = assumedRate / 2
	}
	const perThread = 15e6 // pixels a second
	n := int(math.Ceil(float64(v.Width*v.Height) * rate / perThread))
	return strconv.Itoa(max(1, min(n, runtime.NumCPU(), 8)))
}

// complete fills in what is left to the source.
func (a Audio) complete(source *media.Track) Audio {
	if a.Channels == 0 {
		a.Channels = source.Channels
	}
	a.Channels = max(1, min(a.Channels, 2))
	if a.Bitrate == 0 {
		a.Bitrate = 64000 * int64(a.Channels)
	}
	if a.SampleRate == 0 {
		a.SampleRate = source.SampleRate
	}
	const opusRate = 48000
	switch a.SampleRate {
	case 16000, 22050, 24000, 32000, 44100, 48000:
	default:
		a.SampleRate = opusRate
	}
	if a.Codec == media.Opus {
		a.SampleRate = opusRate
	}
	return a
}

// encode are the arguments of an audio encoder.
func (a Audio) encode() []string {
	name := "aac"
	if a.Codec == media.Opus {
		name = "libopus"
	}
	return []string{"-c:a", name, "-b:a", strconv.FormatInt(a.Bitrate, 10),
		"-ac", strconv.Itoa(a.Channels), "-ar", strconv.Itoa(a.SampleRate)}
}
