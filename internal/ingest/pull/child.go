package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

const (
	// maxReason is how much of what ffmpeg says is kept, in bytes.
	maxReason = 4 << 10
	// exitTime is how long a killed ffmpeg may take to be gone.
	exitTime = 2 * time.Second
	// renewEvery is how many packets earn ffmpeg more processor time.
	renewEvery = 1024
)

// child is an ffmpeg that fetches a source and writes fragmented MP4.
type child struct {
	*fmp4.Reader
	ctx    context.Context
	cancel context.CancelFunc
	cmd    *exec.Cmd
	stderr tail
	relay  *relay
	// stand is what its address is called among ffmpeg's arguments, until forget.
	stand, address string
	forget         func()
	read           int // packets
	once           sync.Once
	exit           error

	confiner Confiner // nil for none
}

// startChild starts ffmpeg for a source, whose sound is AAC or not. It ends with ctx at the
// latest.
func (p *Puller) startChild(ctx context.Context, u *url.URL, aac bool) (Session, error) {
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "level+warning"}
	c := &child{forget: func() {}}
	c.ctx, c.cancel = context.WithCancel(ctx)
	if strings.HasPrefix(u.Scheme, "rtsp") {
		relay, err := p.startRelay(c.ctx, u)
		if err != nil {
			c.cancel()
			return nil, err
		}
		c.relay = relay
		args = append(args, "-protocol_whitelist", "tcp", "-rtsp_transport", "tcp",
			"-timeout", strconv.FormatInt(p.cfg.StallTimeout.Microseconds(), 10), "-i", relay.url)
	} else {
		c.stand, c.forget = p.proxy.hide(u)
		c.address = u.String()
		// A playlist may name anything: only HTTP and the formats of HLS are opened.
		args = append(args, "-protocol_whitelist", "http,https,httpproxy,tls,tcp,crypto",
			"-format_whitelist", "hls,mpegts,mov,aac,ac3,eac3,mp3,webvtt",
			"-http_proxy", p.proxy.url(), "-re", "-i", c.stand)
	}
	args = append(args, "-sn", "-dn", "-c", "copy")
	if aac { // in transport streams it has headers that MP4 has no place for
		args = append(args, "-bsf:a", "aac_adtstoasc")
	}
	args = append(args, "-f", "mp4", "-movflags", "delay_moov+default_base_moof+frag_every_frame+frag_discont",
		"-video_track_timescale", "90000", "-flush_packets", "1", "pipe:1")
	c.cmd = exec.CommandContext(c.ctx, p.cfg.FFmpeg, args...)
	c.cmd.WaitDelay = exitTime
	c.cmd.Stderr = &c.stderr
	// Nothing of this process's environment is ffmpeg's business, no_proxy least.
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "http_proxy=" + p.proxy.url()}
	out, err := c.cmd.StdoutPipe()
	if err == nil && p.deps.Confiner != nil {
		err = p.deps.Confiner.Confine(c.ctx, c.cmd)
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.cancel()
		c.relay.wait()
		c.forget()
		return nil, fault.Wrap(fault.Unavailable, "start ffmpeg for a source", "", err, "Install ffmpeg, or set pull-ffmpeg.")
	}
	if c.confiner = p.deps.Confiner; c.confiner != nil {
		c.confiner.Bound(c.cmd.Process.Pid)
	}
	c.Reader = fmp4.NewReader(out)
	return c, nil
}

// errNotAAC is what starting ffmpeg again without its filter for AAC answers.
var errNotAAC = errors.New("the sound is not AAC")

// ReadPacket implements media.Source. What ffmpeg says becomes the error.
func (c *child) ReadPacket(ctx context.Context) (*media.Packet, error) {
	p, err := c.Reader.ReadPacket(ctx)
	if c.read++; c.confiner != nil && c.read%renewEvery == 0 && c.ctx.Err() == nil {
		c.confiner.Renew(c.cmd.Process.Pid)
	}
	if err == nil || ctx.Err() != nil && c.ctx.Err() == nil {
		return p, err
	}
	c.reap()
	switch reason := strings.ReplaceAll(c.stderr.reason(), c.stand, c.address); {
	case c.relay.failure() != nil:
		return nil, c.relay.failure()
	case c.stderr.says("not supported by the bitstream filter"):
		return nil, errNotAAC
	case c.stderr.says(fmt.Sprintf("HTTP error %d", statusForbidden)):
		return nil, fault.New(fault.Forbidden, "pull", "", "it leads to an address that is not public",
			"Use a source at a public address, or ask the operator to allow others.")
	case c.exit == nil && errors.Is(err, io.EOF):
		return nil, io.EOF
	case reason != "":
		return nil, fault.New(fault.Unavailable, "pull", "", reason, "Check the address, and that the source is live.")
	}
	return nil, err
}

// reap waits for ffmpeg, whose output has ended: it may be about to say why.
func (c *child) reap() {
	c.once.Do(func() {
		timer := time.AfterFunc(exitTime, c.cancel)
		c.exit = c.cmd.Wait()
		timer.Stop()
		c.cancel()
		c.relay.wait()
		c.forget()
	})
}

// Close kills ffmpeg and waits for it.
func (c *child) Close() error {
	c.cancel()
	c.reap()
	return nil
}

// tail keeps the last of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-maxReason):]...)
	if len(t.b) > maxReason {
		t.b = append([]byte(nil), t.b[len(t.b)-maxReason:]...)
	}
	return len(p), nil
}

// says tells whether a text was written.
func (t *tail) says(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Contains(string(t.b), text)
}

// reason is the last error, without the address of the part of ffmpeg that wrote it.
func (t *tail) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := ""
	for line := range strings.Lines(string(t.b)) {
		for _, level := range []string{"[error] ", "[fatal] "} {
			if _, text, ok := strings.Cut(line, level); ok {
				reason = strings.ToValidUTF8(strings.TrimSpace(text), "")
			}
		}
	}
	return reason
}
