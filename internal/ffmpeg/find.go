package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"onair/internal/fault"
	"onair/internal/media"
)

const (
	// tryTime bounds one question that ffmpeg is asked at the start.
	tryTime = 10 * time.Second
	// maxListed bounds what it answers, in bytes.
	maxListed = 1 << 20
	// tries is how many encoders are tried at a time.
	tries = 2
)

// Tool is an ffmpeg that was found to work. Its methods may be called from several goroutines.
type Tool struct {
	cfg     Config
	path    string
	version string
	box     sandbox
	limits  error // why the system does not bound a child; nil if it does
	log     *slog.Logger
	metrics *metrics

	decoders map[media.Codec]string
	encoders []Encoder       // that work, the preferred first
	recoders map[string]bool // encoders in software that Recode takes
	worn     int64           // packets after which one ffmpeg is relieved by another
	avif     string          // the encoder of still AV1 pictures
	formats  []PictureFormat
}

// Find looks for ffmpeg, and tries its encoders with one frame each. It takes about a
// second of processor time. The error is fault.Unavailable when there is no ffmpeg that works.
func Find(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Tool, error) {
	path, err := exec.LookPath(cfg.Path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "find", cfg.Path, err,
			"Install ffmpeg or set transcode-ffmpeg; without it there are no renditions besides those that encoders send, and no pictures.")
	}
	t := &Tool{cfg: cfg, path: path, log: log, worn: wornOut, decoders: map[media.Codec]string{}}
	if err := t.enclose(ctx, sandboxes(cfg)); err != nil {
		return nil, err
	}
	has, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	t.metrics = newMetrics(reg)
	t.learnDecoders(has)
	if err := t.learnEncoders(ctx, has); err != nil {
		return nil, err
	}
	t.learnRecoders(has)
	t.learnFormats(has)
	log.Info("ffmpeg is ready", "path", path, "version", t.version, "encoders", names(t.encoders), "own_user", t.box.user, "no_network", t.box.network)
	return t, nil
}

// enclose finds the first of these surroundings, the strictest, that ffmpeg starts in.
func (t *Tool) enclose(ctx context.Context, all []sandbox) error {
	var first error
	for _, box := range all {
		t.box = box
		out, err := t.ask(ctx, "-version")
		if err == nil {
			t.version = parseVersion(out)
			if why := errors.Join(first, t.limits); why != nil {
				t.log.Warn("ffmpeg runs less confined than it should", "reason", why.Error(), "own_user", box.user, "no_network", box.network, "limits", t.limits == nil)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first == nil {
			first = err
		}
	}
	return fault.Wrap(fault.Unavailable, "run", t.path, first, "See that it is an ffmpeg that starts, or set transcode-ffmpeg.")
}

var versionPattern = regexp.MustCompile(`^ffmpeg version n?(\S+)`)

func parseVersion(out []byte) string {
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return "unknown"
	}
	v, _, _ := strings.Cut(string(m[1]), "-")
	return v
}

// Version is ffmpeg's version, such as "5.1.9".
func (t *Tool) Version() string { return t.version }

// ask runs ffmpeg for an answer on its standard output.
func (t *Tool) ask(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Env = environment()
	t.box.confine(cmd, false)
	var out limited
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t.limits = limit(cmd.Process.Pid, t.cfg, false)
	if err := cmd.Wait(); err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	return out.Bytes(), nil
}

// limited keeps the first maxListed bytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), maxListed-l.Len())])
	return len(p), nil
}

// listed are the coders that this ffmpeg was built with.
type listed struct{ decoders, encoders map[string]bool }

func (t *Tool) list(ctx context.Context) (has listed, err error) {
	for option, names := range map[string]*map[string]bool{"-decoders": &has.decoders, "-encoders": &has.encoders} {
		out, err := t.ask(ctx, "-hide_banner", option)
		if err != nil {
			return has, fault.Wrap(fault.Unavailable, "ask ffmpeg for its", option[1:], err, "")
		}
		*names = parseList(out)
	}
	return has, nil
}

// coderName is what the name of an encoder or decoder looks like.
var coderName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// parseList reads lines such as " V....D libx264   description" behind a line of dashes.
func parseList(out []byte) map[string]bool {
	names := map[string]bool{}
	begun := false
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 1 && strings.HasPrefix(f[0], "---"):
			begun = true
		case begun && len(f) >= 2 && coderName.MatchString(f[1]):
			names[f[1]] = true
		}
	}
	return names
}

// decoders that are taken, the preferred first: one that is named decodes, and no other.
var decoderNames = map[media.Codec][]string{
	media.H264: {"h264"}, media.HEVC: {"hevc"}, media.AV1: {"libdav1d", "libaom-av1"},
	media.VP8: {"vp8", "libvpx"}, media.VP9: {"vp9", "libvpx-vp9"},
	media.AAC: {"aac", "libfdk_aac"}, media.Opus: {"libopus", "opus"}, media.AC3: {"ac3"}, media.EAC3: {"eac3"},
	media.MP3: {"mp3float", "mp3"}, media.FLAC: {"flac"},
}

func (t *Tool) learnDecoders(has listed) {
	for codec, names := range decoderNames {
		if i := slices.IndexFunc(names, func(n string) bool { return has.decoders[n] }); i >= 0 {
			t.decoders[codec] = names[i]
		}
	}
}

// Decodes tells whether a source of that codec can be read.
func (t *Tool) Decodes(c media.Codec) bool { return t.decoders[c] != "" }

// learnEncoders tries those that are built in with one frame each.
func (t *Tool) learnEncoders(ctx context.Context, has listed) error {
	var all []Encoder
	for _, e := range candidates(t.cfg.Hardware) {
		if has.encoders[e.Name] {
			all = append(all, e)
		}
	}
	works := make([]bool, len(all))
	var g errgroup.Group
	g.SetLimit(tries)
	for i := range all {
		g.Go(func() error {
			e, err := t.try(ctx, all[i])
			if works[i] = err == nil; works[i] {
				all[i] = e
			} else {
				t.log.Debug("an encoder does not work", "encoder", all[i].Name, "reason", err.Error())
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, e := range all {
		if works[i] {
			t.encoders = append(t.encoders, e)
		}
	}
	return ctx.Err()
}

// learnRecoders notes what Recode can encode with: what was tried and works, and of VP9, which
// no rendition is made in, what is built in.
func (t *Tool) learnRecoders(has listed) {
	t.recoders = map[string]bool{}
	for _, e := range t.encoders {
		t.recoders[e.Name] = true
	}
	for _, name := range recoders(media.VP9) {
		t.recoders[name] = has.encoders[name]
	}
}

// Encoders returns the encoders of a codec that work, the preferred first: those in
// hardware, if they are wanted.
func (t *Tool) Encoders(c media.Codec) []Encoder {
	var out []Encoder
	for _, e := range t.encoders {
		if e.Codec == c {
			out = append(out, e)
		}
	}
	return out
}

func (t *Tool) encoder(name string) (Encoder, bool) {
	for _, e := range t.encoders {
		if e.Name == name {
			return e, true
		}
	}
	return Encoder{}, false
}

// known is the encoder as it was tried: what a caller put into e but for its name does not count.
func (t *Tool) known(e Encoder) Encoder {
	if k, ok := t.encoder(e.Name); ok {
		return k
	}
	return e
}

func (t *Tool) learnFormats(has listed) {
	if has.encoders["mjpeg"] {
		t.formats = append(t.formats, JPEG)
	}
	if has.encoders["libwebp"] {
		t.formats = append(t.formats, WebP)
	}
	for _, name := range []string{"libaom-av1", "libsvtav1"} {
		if has.encoders[name] {
			t.avif = name
			t.formats = append(t.formats, AVIF)
			break
		}
	}
}

// Formats returns the picture formats that can be made.
func (t *Tool) Formats() []PictureFormat { return slices.Clone(t.formats) }

func names(encoders []Encoder) string {
	var out []string
	for _, e := range encoders {
		out = append(out, e.Name)
	}
	return strings.Join(out, ",")
}
