package node

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/images"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
)

// toolbox finds ffmpeg while the server serves already: trying what it can do takes a
// second and more. The server goes on without one: it then tells of every rendition and
// picture why there is none.
type toolbox struct {
	find   func(ctx context.Context) (*ffmpeg.Tool, error)
	log    *slog.Logger
	wanted chan struct{} // closed when it is to be found
	once   sync.Once     // closes wanted
	found  chan struct{} // closed when tool and err are set
	tool   *ffmpeg.Tool
	err    error
}

func newToolbox(cfg ffmpeg.Config, log *slog.Logger, reg prometheus.Registerer) *toolbox {
	return &toolbox{
		find:   func(ctx context.Context) (*ffmpeg.Tool, error) { return ffmpeg.Find(ctx, cfg, log, reg) },
		log:    log,
		wanted: make(chan struct{}), found: make(chan struct{}),
	}
}

// confined is an ffmpeg of another path, held to what cfg holds those that encode to, but
// for the network if it is online. The viewers' renditions come before it.
func confined(cfg ffmpeg.Config, path string, online bool, log *slog.Logger) *ffmpeg.Program {
	const nice = 10
	cfg.Path, cfg.Nice = path, max(cfg.Nice, nice)
	return ffmpeg.NewProgram(cfg, online, log)
}

// want has ffmpeg found, if it is not.
func (b *toolbox) want() { b.once.Do(func() { close(b.wanted) }) }

// run finds ffmpeg when it is wanted first.
func (b *toolbox) run(ctx context.Context) error {
	defer close(b.found)
	select {
	case <-b.wanted:
	case <-ctx.Done():
		b.err = ctx.Err()
		return nil
	}
	if b.tool, b.err = b.find(ctx); b.err != nil && ctx.Err() == nil {
		b.log.Warn("nothing can be encoded", "error", b.err)
	}
	return nil
}

// state is the tool, or why there is none. It waits for nothing.
func (b *toolbox) state() (*ffmpeg.Tool, error) {
	select {
	case <-b.found:
		return b.tool, b.err
	default:
		return nil, fault.New(fault.Unavailable, "find ffmpeg", "", "it is being looked for", "Try again in a moment.")
	}
}

// Formats implements images.Tool. It waits until ffmpeg is found or is not, or ctx ends.
func (b *toolbox) Formats(ctx context.Context) ([]ffmpeg.PictureFormat, error) {
	b.want()
	select {
	case <-b.found:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.tool == nil {
		return nil, nil
	}
	return b.tool.Formats(), nil
}

// illustrated lists the pictures of segments where they can be made. It does not have
// ffmpeg looked for: where nothing else needed it yet, no playlist lists pictures.
type illustrated struct {
	*images.Handler
	tools *toolbox
}

// Picture implements hls.Pictures and dash.Pictures.
func (i illustrated) Picture(t *media.Track) (width, height, bits int, ok bool) {
	if tool, _ := i.tools.state(); tool == nil || !slices.Contains(tool.Formats(), ffmpeg.JPEG) {
		return 0, 0, 0, false
	}
	width, height, bits = images.PictureSize(t)
	return width, height, bits, true
}

// Picture implements images.Tool.
func (b *toolbox) Picture(ctx context.Context, t *media.Track, units []*media.Packet, o ffmpeg.PictureOptions) ([]byte, error) {
	b.want()
	select {
	case <-b.found:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.tool == nil {
		return nil, b.err
	}
	return b.tool.Picture(ctx, t, units, o)
}

// Recode implements clip.Tool.
func (b *toolbox) Recode(ctx context.Context, t *media.Track, units []*media.Packet, from, to int64) ([]*media.Packet, error) {
	b.want()
	select {
	case <-b.found:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.tool == nil {
		return nil, b.err
	}
	return b.tool.Recode(ctx, t, units, from, to)
}
