package ffmpeg

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// candidates are the encoders that are tried, the preferred of each codec first.
func candidates(hardware bool) []Encoder {
	var out []Encoder
	if hardware {
		devices, _ := filepath.Glob("/dev/dri/renderD*")
		for _, codec := range []struct {
			name  string
			codec media.Codec
		}{{"h264", media.H264}, {"hevc", media.HEVC}, {"av1", media.AV1}} {
			for _, api := range []string{"nvenc", "qsv", "vaapi", "videotoolbox", "v4l2m2m"} {
				e := Encoder{Name: codec.name + "_" + api, Codec: codec.codec, Hardware: true}
				switch api {
				case "vaapi", "qsv":
					if len(devices) == 0 {
						continue
					}
					e.device = devices[0]
				case "nvenc":
					if !there("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-ctrl") {
						continue
					}
				case "v4l2m2m":
					if !there("/dev/video1?") {
						continue
					}
				}
				out = append(out, e)
			}
		}
	}
	return append(out,
		Encoder{Name: "libx264", Codec: media.H264}, Encoder{Name: "libx265", Codec: media.HEVC},
		Encoder{Name: "libaom-av1", Codec: media.AV1}, Encoder{Name: "libsvtav1", Codec: media.AV1}, Encoder{Name: "aac", Codec: media.AAC}, Encoder{Name: "libopus", Codec: media.Opus})
}

// there tells whether one of these files exists.
func there(patterns ...string) bool {
	for _, p := range patterns {
		if names, _ := filepath.Glob(p); len(names) > 0 {
			return true
		}
	}
	return false
}

// What encoders are tried with.
const (
	tryWidth, tryHeight = 320, 192 // circuits refuse smaller ones
	tryRate             = 30
	tryFrames           = 2
	trySound            = 48000 // hertz
)

// try encodes a moment of grey, or of silence, with the arguments of a job, and returns e
// with what it learned of it.
func (t *Tool) try(ctx context.Context, e Encoder) (Encoder, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	args := head()
	source := &media.Track{Codec: media.H264, Timescale: 90000, Width: tryWidth, Height: tryHeight, FrameRate: tryRate}
	var data []byte
	if e.Codec.Kind() == media.Video {
		v := Video{Encoder: e, Width: tryWidth, Height: tryHeight, MaxBitrate: 500_000}
		if e.device != "" && strings.HasSuffix(e.Name, "_vaapi") {
			args = append(args, "-init_hw_device", "vaapi=hw:"+e.device, "-filter_hw_device", "hw")
		}
		args = append(args, "-protocol_whitelist", "pipe", "-format_whitelist", "rawvideo", "-codec_whitelist", "rawvideo",
			"-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", fmt.Sprintf("%dx%d", tryWidth, tryHeight),
			"-framerate", fmt.Sprint(tryRate), "-i", "pipe:0", "-copyts", "-map", "0:v:0", "-vf", v.filter(e, source))
		args = append(args, v.encode(e, source)...)
		data = make([]byte, tryFrames*tryWidth*tryHeight*3/2)
		for i := range data {
			data[i] = 0x80
		}
	} else {
		source = &media.Track{Codec: media.AAC, Timescale: trySound, SampleRate: trySound, Channels: 2}
		a := Audio{Codec: e.Codec}.complete(source)
		args = append(args, "-protocol_whitelist", "pipe", "-format_whitelist", "s16le", "-codec_whitelist", "pcm_s16le",
			"-f", "s16le", "-ar", fmt.Sprint(trySound), "-ac", "2", "-itsoffset", fmt.Sprint(startSecond), "-i", "pipe:0", "-copyts", "-map", "0:a:0")
		args = append(args, a.encode()...)
		data = make([]byte, trySound/5*4)
	}
	args = append(args, output(source, e, firstOutput)...)
	out, err := t.once(ctx, args, data, maxListed, e.Hardware)
	if err != nil {
		return e, err
	}
	p, err := fmp4.NewReader(strings.NewReader(string(out))).ReadPacket(ctx)
	if err != nil {
		return e, err
	}
	if p.Track.Codec != e.Codec {
		return e, fault.New(fault.Unsupported, "try", e.Name, "it makes "+p.Track.Codec.String(), "")
	}
	e.constraints = constraints(p.Track.CodecString)
	return e, nil
}

// constraints is the part of a codec string that the encoder decides: of "avc1.640c1e" it is
// "0c", of "hvc1.1.6.L63.90" what stands behind the level.
func constraints(codec string) string {
	if rest, ok := strings.CutPrefix(codec, "avc1."); ok && len(rest) == 6 {
		return rest[2:4]
	}
	if strings.HasPrefix(codec, "hvc1.1.6.L") {
		if f := strings.SplitN(codec, ".", 5); len(f) == 5 {
			return f[4]
		}
	}
	return ""
}

// once lets one ffmpeg read data and returns the one thing that it writes, at most limit
// bytes. When ctx ends it is killed.
func (t *Tool) once(ctx context.Context, args []string, data []byte, limit int64, hardware bool) ([]byte, error) {
	c, err := t.start(args, 1, hardware)
	if err != nil {
		return nil, err
	}
	defer t.release(c)
	ended := context.AfterFunc(ctx, c.stop)
	defer ended()
	c.wait.Go(func() {
		// That it does not read to the end is no failure: what it writes counts.
		_, _ = c.in.Write(data)
		c.stopFeeding()
	})
	out, err := bounded(c.outs[0], limit)
	if err != nil {
		c.stop()
		return nil, err
	}
	late := false
	select {
	case <-c.exited:
	case <-time.After(exitTime):
		late = true // it has said what it had to say
		c.stop()
		<-c.exited
	}
	switch {
	case ctx.Err() != nil:
		return nil, fault.Wrap(fault.Timeout, "run", "ffmpeg", fmt.Errorf("%w: %w", ErrStalled, ctx.Err()), "")
	case c.exit != nil && !late || len(out) == 0:
		return nil, fault.Wrap(fault.Unavailable, "run", "ffmpeg", c.died(), "")
	}
	return out, nil
}

// died says how a child that is gone ended, and why as it said it.
func (c *child) died() error {
	c.said.close()
	how := "it wrote nothing"
	if c.exit != nil {
		how = c.exit.Error()
	}
	if why := c.said.reason(); why != "" {
		return fmt.Errorf("%w (%s): %s", ErrDied, how, why)
	}
	return fmt.Errorf("%w (%s)", ErrDied, how)
}
