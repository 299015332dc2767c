// Package slate encodes a picture of the operator's as a single key frame, to be shown
// while a publisher is away. An ffmpeg child process does it, once for each codec and size.
package slate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

const op = "encode the slate"

const (
	// maxKept bounds the key frames that are remembered.
	maxKept = 64
	// exitTime is how long ffmpeg may take to end when it is not wanted any more.
	exitTime = 2 * time.Second
)

// Config says which picture it is.
type Config struct {
	File   string `name:"slate" default:"" help:"Picture (JPEG or PNG) to show while a publisher is away for more than 10 s; by default its last picture stays. Needs ffmpeg."`
	FFmpeg string `name:"slate-ffmpeg" default:"ffmpeg" help:"The ffmpeg that encodes the slate."`
}

// DefaultConfig has no slate.
func DefaultConfig() Config { return Config{FFmpeg: "ffmpeg"} }

// shape is what a key frame is made for.
type shape struct {
	codec         media.Codec
	width, height int
}

type keyFrame struct{ config, data []byte }

// Slate makes key frames of one picture. Its methods may be called from several goroutines.
type Slate struct {
	cfg Config

	mu   sync.Mutex
	kept map[shape]keyFrame
}

// New returns the slate of a picture. It fails when the file cannot be used as one, which
// it finds out by encoding it.
func New(ctx context.Context, cfg Config) (*Slate, error) {
	s := &Slate{cfg: cfg, kept: make(map[shape]keyFrame)}
	_, _, err := s.Key(ctx, &media.Track{Codec: media.H264, Width: 320, Height: 180})
	return s, err
}

// Key returns a key frame of the picture in the codec and size of t, with black around it
// where the shapes differ, and the decoder configuration that goes with it. The error is
// fault.Unsupported for a codec that is not H.264, HEVC or AV1, and fault.Unavailable when
// ffmpeg cannot make it.
func (s *Slate) Key(ctx context.Context, t *media.Track) (config, data []byte, err error) {
	want := shape{t.Codec, t.Width, t.Height}
	s.mu.Lock()
	k, ok := s.kept[want]
	s.mu.Unlock()
	if ok {
		return k.config, k.data, nil
	}
	k, err = s.encode(ctx, want)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= maxKept {
		clear(s.kept)
	}
	s.kept[want] = k
	return k.config, k.data, nil
}

func (s *Slate) encode(ctx context.Context, want shape) (keyFrame, error) {
	var coder []string
	switch want.codec {
	case media.H264:
		coder = []string{"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high"}
	case media.HEVC:
		coder = []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=none"}
	case media.AV1:
		coder = []string{"-c:v", "libsvtav1", "-preset", "12"}
	default:
		return keyFrame{}, fault.New(fault.Unsupported, op, "", "it cannot be encoded as "+want.codec.String(), "")
	}
	fit := fmt.Sprintf("scale=%d:%d:force_original_aspect_ratio=decrease,pad=%[1]d:%[2]d:-1:-1,setsar=1", want.width, want.height)
	args := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-protocol_whitelist", "file,pipe,fd", "-i", "file:" + s.cfg.File,
		"-vf", fit, "-frames:v", "1", "-pix_fmt", "yuv420p"}, coder...)
	args = append(args, "-f", "mp4", "-movflags", "frag_every_frame+empty_moov+delay_moov+default_base_moof", "pipe:1")
	cmd := exec.CommandContext(ctx, s.cfg.FFmpeg, args...)
	// The rest of the environment may be secret.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH")}
	cmd.WaitDelay = exitTime
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		cause := fmt.Errorf("ffmpeg: %w", err)
		if line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n"); line != "" {
			cause = fmt.Errorf("ffmpeg: %s", line)
		}
		return keyFrame{}, fault.Wrap(fault.Unavailable, op, s.cfg.File, cause, "Give a JPEG or PNG picture with --slate, and see that ffmpeg is installed.")
	}
	p, err := fmp4.NewReader(&out).ReadPacket(ctx)
	if err != nil {
		return keyFrame{}, fault.Wrap(fault.Internal, op, s.cfg.File, err, "")
	}
	return keyFrame{p.Track.Config, p.Data}, nil
}
