package ffmpeg

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"onair/internal/fault"
	"onair/internal/media"
)

// Program is an ffmpeg that encodes nothing, so that its encoders need not be tried, confined
// as the children of a Tool are. Its methods may be called from several goroutines.
type Program struct {
	boxes []sandbox

	mu       sync.Mutex
	enclosed bool
	tool     *Tool // is not written to any more when enclosed
}

// NewProgram returns the ffmpeg of cfg, which is looked for when it is needed first. One
// that is online keeps the network.
func NewProgram(cfg Config, online bool, log *slog.Logger) *Program {
	boxes := sandboxes(cfg)
	for i := range boxes {
		boxes[i].network = boxes[i].network && !online
	}
	return &Program{boxes: boxes, tool: &Tool{cfg: cfg, path: cfg.Path, log: log, metrics: newMetrics(nil)}}
}

// ready finds the program and the strictest surroundings that it starts in, once.
func (p *Program) ready(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.enclosed {
		return nil
	}
	path, err := exec.LookPath(p.tool.cfg.Path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, "find", p.tool.cfg.Path, err, "Install ffmpeg.")
	}
	p.tool.path = path
	err = p.tool.enclose(ctx, p.boxes)
	p.enclosed = err == nil
	return err
}

// Decode lets one ffmpeg read MP4 with one track of that codec, by the codec's own decoder
// and no other, and returns the one thing that it writes as args, those of an output, say:
// at most limit bytes.
//
// The error is fault.Unsupported for a codec that is never decoded, fault.Timeout when ctx
// ended, fault.TooLarge for an answer over the limit, and fault.Unavailable when nothing
// came of it.
func (p *Program) Decode(ctx context.Context, codec media.Codec, mp4 []byte, limit int64, args ...string) ([]byte, error) {
	decoders := decoderNames[codec]
	if len(decoders) == 0 {
		return nil, fault.New(fault.Unsupported, "decode", codec.String(), "there is no decoder for it", "")
	}
	if err := p.ready(ctx); err != nil {
		return nil, err
	}
	all := append(head(), "-threads", "1", "-protocol_whitelist", "pipe", "-format_whitelist", "mov",
		"-codec_whitelist", strings.Join(decoders, ","), "-f", "mp4", "-i", "pipe:0", "-threads", "1")
	return p.tool.once(ctx, append(append(all, args...), "-protocol_whitelist", "pipe", "pipe:3"), mp4, limit, false)
}

// Confine prepares a command that runs the program for somebody else, who calls Bound when
// it has started. The error is fault.Unavailable when there is no ffmpeg that starts.
func (p *Program) Confine(ctx context.Context, cmd *exec.Cmd) error {
	if err := p.ready(ctx); err != nil {
		return err
	}
	p.tool.box.confine(cmd, false)
	return nil
}

// Bound bounds what a process that was confined may take of memory, files and the
// processor, and lets the server go first.
func (p *Program) Bound(pid int) { _ = limit(pid, p.tool.cfg, false) } // ready has said so once

// Renew gives such a process, which does its work, more processor time.
func (p *Program) Renew(pid int) {
	if used, _, ok := usage(pid); ok {
		allow(pid, used)
	}
}
