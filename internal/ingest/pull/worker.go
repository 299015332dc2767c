package pull

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/media"
)

// worker fetches one source.
type worker struct {
	p    *Puller
	pull Pull
	stop context.CancelFunc
	done chan struct{}
	// asked wakes a source on demand.
	asked chan struct{}

	// notAAC is set once the source's sound was found to be something else.
	notAAC bool

	mu     sync.Mutex
	status Status
	wanted time.Time
}

func (w *worker) set(state State, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.status.LastError = redact(err.Error(), w.pull.URL)
	}
	if w.status.State == state {
		return
	}
	if w.status.State != "" {
		w.p.states.WithLabelValues(string(w.status.State)).Dec()
	}
	w.status.State, w.status.Since = state, time.Now()
	w.p.states.WithLabelValues(string(state)).Inc()
}

func (w *worker) want() {
	w.mu.Lock()
	w.wanted = time.Now()
	w.mu.Unlock()
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

// run fetches until own ends; serving is the context of what is being served, which is
// ended properly when only own ends.
func (w *worker) run(serving, own context.Context) {
	log := w.p.log.With("stream", w.pull.StreamID)
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.p.states.WithLabelValues(string(w.status.State)).Dec()
		w.status.State = ""
	}()
	failures := 0
	for {
		if !w.due(own) {
			return
		}
		begun := time.Now()
		err := w.once(serving, own)
		if own.Err() != nil {
			return
		}
		if err == nil || errors.Is(err, hub.ErrTakenOver) {
			w.set(Idle, err)
			failures = 0
			continue
		}
		w.set(Errored, err)
		if time.Since(begun) > steady {
			failures = 0
		}
		pause := w.pause(failures, err)
		failures++
		log.Warn("pulling a source failed", "error", redact(err.Error(), w.pull.URL), "again_in", pause)
		if !sleep(own, pause) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// pause is how long to wait after a number of failures: twice as long each time, half of it
// by chance. What cannot work is not tried often.
func (w *worker) pause(failures int, err error) time.Duration {
	d := w.p.cfg.MaxBackoff
	kind := fault.KindOf(err)
	if failures < 30 && kind != fault.Forbidden && kind != fault.Unsupported {
		d = min(d, minBackoff<<failures)
	}
	return d/2 + time.Duration(w.p.jitter()*float64(d/2))
}

// due waits until the source is to be fetched.
func (w *worker) due(ctx context.Context) bool {
	for ctx.Err() == nil {
		if w.needed() && !w.published() {
			return true
		}
		w.set(Idle, nil)
		t := time.NewTimer(look)
		select {
		case <-ctx.Done():
		case <-w.asked:
		case <-t.C:
		}
		t.Stop()
	}
	return false
}

// needed tells whether somebody watches or asked lately.
func (w *worker) needed() bool {
	if !w.pull.OnDemand {
		return true
	}
	if w.p.deps.Watched != nil && w.p.deps.Watched(w.pull.StreamID) {
		w.mu.Lock()
		w.wanted = time.Now()
		w.mu.Unlock()
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.wanted.IsZero() && time.Since(w.wanted) < w.p.cfg.IdleTimeout
}

// published tells whether an encoder publishes the stream.
func (w *worker) published() bool {
	s, ok := w.p.deps.Hub.Stream(w.pull.StreamID)
	if !ok {
		return false
	}
	publisher := s.Snapshot().Publisher
	return publisher != nil && publisher.Protocol != protocol
}

// once connects and serves. It returns nil when it was ended for want of viewers.
func (w *worker) once(serving, own context.Context) error {
	w.set(Connecting, nil)
	w.mu.Lock()
	w.status.Attempts++
	w.mu.Unlock()
	r, err := w.connect(own)
	if errors.Is(err, errNotAAC) && !w.notAAC {
		w.notAAC = true
		r, err = w.connect(own)
	}
	if err != nil {
		w.p.attempts.WithLabelValues("failed").Inc()
		return err
	}
	w.p.attempts.WithLabelValues("connected").Inc()
	w.set(Live, nil)
	defer r.end()
	var watching sync.WaitGroup
	defer watching.Wait()
	over := make(chan struct{})
	defer close(over)
	watching.Add(1)
	go func() {
		defer watching.Done()
		w.watch(own, r, over)
	}()
	err = w.p.deps.Serve(serving, r)
	switch reason := r.ended(); {
	case reason != nil:
		return reason
	case errors.Is(r.finished(), errNobody):
		return nil
	case err == nil:
		return fault.New(fault.Unavailable, "pull", "", "the source ended", "It is fetched again when it is back.")
	}
	return err
}

// connect opens the source and waits for its first packet.
func (w *worker) connect(own context.Context) (*request, error) {
	u, err := parse(w.pull.URL)
	if err != nil {
		return nil, err
	}
	addresses, err := w.p.deps.Guard.Resolve(own, u.Hostname())
	if err != nil {
		return nil, err
	}
	r := &request{streamID: w.pull.StreamID, address: w.pull.URL, peer: peer(net.JoinHostPort(addresses[0].String(), u.Port())), stopped: own.Err}
	// The session lives on after connecting: only the timer ends with that.
	ctx, cancel := context.WithCancelCause(own)
	r.cancel = cancel
	late := fault.New(fault.Timeout, "pull", "", "the source sent nothing for "+w.p.cfg.StartTimeout.String(), "Check that it is live.")
	timer := time.AfterFunc(w.p.cfg.StartTimeout, func() { cancel(late) })
	defer timer.Stop()
	switch dial := w.p.deps.Dial[u.Scheme]; {
	case dial != nil:
		r.session, err = dial(ctx, w.pull.URL)
	case usesFFmpeg(u.Scheme):
		r.session, err = w.p.startChild(ctx, u, !w.notAAC)
	default:
		err = fault.New(fault.Unsupported, "pull from", u.Scheme+"://", "the protocol is not one that can be fetched",
			"Use rtmp, rtmps, srt, http(s) with HLS, or rtsp(s).")
	}
	if err == nil {
		unblock := context.AfterFunc(ctx, func() { _ = r.session.Close() })
		r.first, err = r.session.ReadPacket(ctx)
		if err == nil {
			r.unblock = unblock
			return r, nil
		}
		unblock()
		_ = r.session.Close()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	if errors.Is(err, io.EOF) {
		err = fault.New(fault.Unavailable, "pull", "", "the source ended before it sent media", "Check that it is live.")
	}
	return nil, err
}

// errNobody and errStopped are why a session is ended properly.
var (
	errNobody  = errors.New("nobody watches")
	errStopped = errors.New("the source is not to be fetched any more")
)

// watch ends the session when it is not needed, or when nothing comes.
func (w *worker) watch(own context.Context, r *request, over <-chan struct{}) {
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		select {
		case <-over:
			return
		case <-own.Done():
			r.finish(errStopped)
			return
		case <-t.C:
		}
		if !w.needed() {
			r.finish(errNobody)
			return
		}
		if r.silence() > w.p.cfg.StallTimeout {
			r.finish(fault.New(fault.Timeout, "pull", "", "the source sent nothing for "+w.p.cfg.StallTimeout.String(), "Check that it is live."))
			return
		}
	}
}

// protocol is what a pulled stream's publisher is called; no encoder that connects is.
const protocol = "pull"

// request is a source as ingest sees it.
type request struct {
	streamID string
	address  string
	peer     peer
	session  Session
	cancel   context.CancelCauseFunc
	unblock  func() bool
	// stopped tells whether the source is not to be fetched any more.
	stopped func() error
	first   *media.Packet

	mu     sync.Mutex
	last   time.Time
	reason error // why it was finished from here
	failed error // what reading it or ingest said
	closed bool
}

var _ ingest.Request = (*request)(nil)

// ReadPacket implements media.Source. A session that was ended for good ends with io.EOF, so
// that the stream does not wait for it.
func (r *request) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if p := r.first; p != nil {
		r.first = nil
		r.touch()
		return p, nil
	}
	p, err := r.session.ReadPacket(ctx)
	if err == nil {
		r.touch()
		return p, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(r.reason, errNobody), errors.Is(r.reason, errStopped), r.stopped() != nil:
		return nil, io.EOF
	case r.reason != nil:
		return nil, r.reason
	case ctx.Err() == nil && !errors.Is(err, io.EOF):
		r.failed = discreet(err, r.address)
		return nil, r.failed
	}
	return nil, err
}

// discreet returns an error that says the same without what is secret of an address: ingest
// tells why a publisher was lost to logs and to whoever asks.
func discreet(err error, address string) error {
	if text := err.Error(); redact(text, address) == text {
		return err
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Cause == nil {
		return errors.New(redact(err.Error(), address))
	}
	return fault.New(f.Kind, f.Op, redact(f.Subject, address), redact(f.Cause.Error(), address), f.Hint)
}

func (r *request) touch() {
	r.mu.Lock()
	r.last = time.Now()
	r.mu.Unlock()
}

// silence is how long ago the last packet came.
func (r *request) silence() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() {
		return 0
	}
	return time.Since(r.last)
}

// finish ends the session from here.
func (r *request) finish(reason error) {
	r.mu.Lock()
	if r.reason == nil {
		r.reason = reason
	}
	r.mu.Unlock()
	r.cancel(reason)
}

func (r *request) finished() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// ended is why it failed; nil if it ended properly.
func (r *request) ended() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reason != nil && !errors.Is(r.reason, errNobody) && !errors.Is(r.reason, errStopped) {
		return r.reason
	}
	return r.failed
}

// end closes the session.
func (r *request) end() {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return
	}
	r.unblock()
	_ = r.session.Close()
	r.cancel(nil)
}

// Link describes the way to the source as far as its protocol can.
func (r *request) Link() media.Link {
	if l, ok := r.session.(media.Linked); ok {
		return l.Link()
	}
	return media.Link{}
}

func (r *request) Protocol() string             { return protocol }
func (r *request) Peer() net.Addr               { return r.peer }
func (r *request) Key() string                  { return r.streamID }
func (r *request) StreamID() string             { return r.streamID }
func (r *request) Encoder() string              { return "" }
func (r *request) Backup() bool                 { return false }
func (r *request) Tracks() []*media.Track       { return r.session.Tracks() }
func (r *request) Accept(context.Context) error { return nil }

func (r *request) Reject(err error) { r.Close(err) }

func (r *request) Close(err error) {
	r.mu.Lock()
	if err != nil && r.failed == nil && r.reason == nil {
		r.failed = err
	}
	r.mu.Unlock()
	r.end()
}

// peer is the address of a source.
type peer string

func (peer) Network() string  { return protocol }
func (p peer) String() string { return string(p) }
