// Package testcard makes a live test picture without a camera: colour bars, a moving
// ball, a clock that people and programs can read, and a beep on each second. The
// pictures are drawn here, and encoded by an ffmpeg child process fed through pipes.
package testcard

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// Options describe the stream to make. The zero value of a field means its default.
type Options struct {
	// Width and Height are in pixels and even; 1280 × 720 by default.
	Width, Height int
	// FrameRate is in frames a second; 30 by default.
	FrameRate int
	// VideoCodec is H264 (the default), HEVC or AV1. AudioCodec is AAC (the default) or Opus.
	VideoCodec, AudioCodec media.Codec
	// VideoBitrate is in bits a second; 2,500,000 by default.
	VideoBitrate int
	// KeyInterval is the time between key frames; 2 s by default.
	KeyInterval time.Duration
	// BFrames is the number of consecutive B-frames (H.264 and HEVC); 0 by default.
	BFrames int
	// NoVideo and NoAudio leave a track out.
	NoVideo, NoAudio bool
	// FFmpeg is the program to run; "ffmpeg" by default.
	FFmpeg string
}

func (o Options) withDefaults() Options {
	setDefault(&o.Width, 1280)
	setDefault(&o.Height, 720)
	setDefault(&o.FrameRate, 30)
	setDefault(&o.VideoCodec, media.H264)
	setDefault(&o.AudioCodec, media.AAC)
	setDefault(&o.VideoBitrate, 2_500_000)
	setDefault(&o.KeyInterval, 2*time.Second)
	setDefault(&o.FFmpeg, "ffmpeg")
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Source is a running test picture. It yields packets at the pace of the wall clock.
type Source struct {
	*fmp4.Reader

	cancel  context.CancelFunc
	group   *errgroup.Group
	encoded *os.File // what ffmpeg writes
	stderr  *tail
}

// Open starts the test picture; it runs until ctx ends or Close is called.
func Open(ctx context.Context, o Options) (*Source, error) {
	o = o.withDefaults()
	args, err := arguments(o)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(o.FFmpeg); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "start the test picture", "", err,
			"It needs ffmpeg: apt-get install ffmpeg, or brew install ffmpeg.")
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Source{cancel: cancel, stderr: &tail{}}
	if err := s.start(ctx, o, args); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// start runs ffmpeg, and what feeds it and waits for it.
func (s *Source) start(ctx context.Context, o Options, args []string) (err error) {
	var opened []*os.File
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			opened = append(opened, r, w)
		}
		return r, w
	}
	pictureIn, pictureOut := pipe()
	soundIn, soundOut := pipe()
	encodedIn, encodedOut := pipe()
	cmd := exec.CommandContext(ctx, o.FFmpeg, args...)
	// The rest of the environment may be secret.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH")}
	if err == nil {
		cmd.Stdin, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = pictureIn, []*os.File{soundIn}, encodedOut, s.stderr
		cmd.WaitDelay = 2 * time.Second
		err = cmd.Start()
	}
	if err != nil {
		for _, f := range opened {
			f.Close()
		}
		return fault.Wrap(fault.Unavailable, "start the test picture", o.FFmpeg, err, "")
	}
	// The child has these now.
	pictureIn.Close()
	soundIn.Close()
	encodedOut.Close()
	s.encoded = encodedIn
	s.Reader = fmp4.NewReader(encodedIn)

	start := time.Now()
	s.group = &errgroup.Group{}
	s.group.Go(cmd.Wait)
	s.group.Go(func() error {
		defer pictureOut.Close()
		if o.NoVideo {
			return nil
		}
		return writePictures(ctx, pictureOut, o, start)
	})
	s.group.Go(func() error {
		defer soundOut.Close()
		if o.NoAudio {
			return nil
		}
		return writeSound(ctx, soundOut, start)
	})
	return nil
}

// ReadPacket returns the next packet of the encoder. When ffmpeg fails, its last words
// are in the error.
func (s *Source) ReadPacket(ctx context.Context) (*media.Packet, error) {
	p, err := s.Reader.ReadPacket(ctx)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	s.stop() // its last words are complete when it is gone
	if said := s.stderr.String(); said != "" {
		return nil, fault.New(fault.Unavailable, "encode the test picture", "", "ffmpeg: "+said,
			"Run onair doctor to see which encoders this ffmpeg has.")
	}
	return nil, err
}

// Close stops ffmpeg and waits for it.
func (s *Source) Close() error {
	s.stop()
	_ = s.encoded.Close() // an error means that it is closed
	return nil
}

// stop ends ffmpeg and what feeds it, if they have not ended, and waits for them.
func (s *Source) stop() {
	s.cancel()
	// They end because they were told to; how they say so does not matter.
	_ = s.group.Wait()
}

// writePictures draws a frame each time one is due.
func writePictures(ctx context.Context, w io.Writer, o Options, start time.Time) error {
	p := newPicture(o.Width, o.Height)
	for n := int64(0); ; n++ {
		elapsed := time.Duration(n) * time.Second / time.Duration(o.FrameRate)
		if err := sleepUntil(ctx, start.Add(elapsed)); err != nil {
			return err
		}
		if _, err := w.Write(p.draw(time.Now(), elapsed)); err != nil {
			return err
		}
	}
}

// writeSound writes ten milliseconds of sound each time they are due.
func writeSound(ctx context.Context, w io.Writer, start time.Time) error {
	const step = sampleRate / 100
	buf := make([]byte, 0, step*channels*2)
	for n := int64(0); ; n += step {
		if err := sleepUntil(ctx, start.Add(time.Duration(n)*time.Second/sampleRate)); err != nil {
			return err
		}
		if _, err := w.Write(tone(buf[:0], n, n+step)); err != nil {
			return err
		}
	}
}

func sleepUntil(ctx context.Context, at time.Time) error {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// arguments builds ffmpeg's command line.
func arguments(o Options) ([]string, error) {
	args := []string{"-hide_banner", "-loglevel", "error", "-nostats"}
	if !o.NoVideo {
		args = append(args, "-thread_queue_size", "8", "-f", "rawvideo", "-pix_fmt", "yuv420p",
			"-s", fmt.Sprintf("%dx%d", o.Width, o.Height), "-r", strconv.Itoa(o.FrameRate), "-i", "pipe:0")
	}
	if !o.NoAudio {
		args = append(args, "-thread_queue_size", "64", "-f", "s16le",
			"-ar", strconv.Itoa(sampleRate), "-ac", strconv.Itoa(channels), "-i", "pipe:3")
	}
	if !o.NoVideo {
		video, err := videoArguments(o)
		if err != nil {
			return nil, err
		}
		args = append(args, video...)
	}
	if !o.NoAudio {
		switch o.AudioCodec {
		case media.AAC:
			args = append(args, "-c:a", "aac", "-b:a", "128k")
		case media.Opus:
			args = append(args, "-c:a", "libopus", "-b:a", "96k")
		default:
			return nil, unsupported(o.AudioCodec, "AAC or Opus")
		}
	}
	return append(args, "-strict", "experimental", "-f", "mp4",
		"-movflags", "frag_every_frame+empty_moov+delay_moov+default_base_moof", "-flush_packets", "1", "pipe:1"), nil
}

func videoArguments(o Options) ([]string, error) {
	gop := strconv.Itoa(max(1, int(o.KeyInterval.Seconds()*float64(o.FrameRate))))
	var args []string
	switch o.VideoCodec {
	case media.H264:
		args = []string{"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-bf", strconv.Itoa(o.BFrames),
			"-x264-params", "scenecut=0:rc-lookahead=0:sync-lookahead=0:sliced-threads=1"}
	case media.HEVC:
		lookahead := 0
		if o.BFrames > 0 {
			lookahead = o.BFrames + 1 // libx265 does not open with less
		}
		args = []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1",
			"-x265-params", fmt.Sprintf("log-level=none:scenecut=0:rc-lookahead=%d:open-gop=0:bframes=%d", lookahead, o.BFrames)}
	case media.AV1:
		args = []string{"-c:v", "libsvtav1", "-preset", "12",
			"-svtav1-params", "pred-struct=1:lookahead=0:scd=0"}
	default:
		return nil, unsupported(o.VideoCodec, "H.264, HEVC or AV1")
	}
	rate := strconv.Itoa(o.VideoBitrate)
	args = append(args, "-pix_fmt", "yuv420p", "-g", gop, "-b:v", rate)
	if o.VideoCodec != media.AV1 {
		args = append(args, "-keyint_min", gop, "-maxrate", rate, "-bufsize", rate)
	}
	return args, nil
}

func unsupported(c media.Codec, want string) error {
	return fault.New(fault.Unsupported, "start the test picture", "", "it cannot be encoded as "+c.String(),
		"Choose "+want+".")
}

// tail keeps the last kilobytes of what is written to it. The child's only writer is
// os/exec, and it is read after the child closed its output.
type tail struct{ buf bytes.Buffer }

const tailLimit = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.buf.Write(b)
	if over := t.buf.Len() - tailLimit; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(t.buf.String()) }
