package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

const (
	// watchTime is how often a child is looked at.
	watchTime = 250 * time.Millisecond
	// progressTime is how often progress is told.
	progressTime = 500 * time.Millisecond
	// delayed is how many packets may be inside a child that works: reordered ones, and
	// those that an encoder looks ahead at.
	delayed = 48
)

// Run feeds src, which begins with a key packet, to one ffmpeg until src ends, and writes
// what comes back to the sinks. PTS stay on the source's timeline.
//
// It returns nil when src ended with io.EOF and everything came out, ctx's error when ctx
// ended, src's error when src failed, and else a fault with one of the errors of this
// package in its chain. The child is gone when Run returns. progress may be nil; it is
// called about every half second, and must not wait.
func (t *Tool) Run(ctx context.Context, job Job, src media.Source, progress func(Progress)) error {
	if err := t.check(job); err != nil {
		t.metrics.ends.WithLabelValues("refused").Inc()
		return err
	}
	held := &source{Source: src}
	outputs := make([]outlet, len(job.Outputs))
	for i := range outputs {
		outputs[i].end = never
	}
	var before Progress
	for {
		hardware := t.usesHardware(job)
		c, err := t.start(t.arguments(job), len(job.Outputs), hardware)
		if err != nil {
			return err
		}
		r := &run{tool: t, job: job, src: held, child: c, hardware: hardware, progress: progress, started: time.Now(), past: before,
			ended: make(chan ending, 1+len(job.Outputs)), first: make(chan struct{}), outputs: outputs}
		r.newestIn.Store(never)
		err = r.live(ctx)
		t.metrics.ends.WithLabelValues(result(err)).Inc()
		if err != nil || held.next == nil {
			return err
		}
		before = r.last
		for i := range outputs {
			outputs[i].restart()
		}
	}
}

// wornOut is after how many packets one ffmpeg is relieved by another, at a key packet: it
// keeps some 150 bytes of each that it has read.
const wornOut = 1 << 20

// source is a Source with room for one packet that was read too early.
type source struct {
	media.Source
	next *media.Packet
}

func (s *source) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if p := s.next; p != nil {
		s.next = nil
		return p, nil
	}
	return s.Source.ReadPacket(ctx)
}

// usesHardware tells whether a circuit encodes.
func (t *Tool) usesHardware(job Job) bool {
	for _, o := range job.Outputs {
		if o.Video != nil && t.known(o.Video.Encoder).Hardware {
			return true
		}
	}
	return false
}

// run is one child at work on a job. Its loop owns the state; the goroutines that feed it
// and read it tell by atomics how far they are, and by a channel that they ended.
type run struct {
	tool     *Tool
	job      Job
	src      *source
	child    *child
	hardware bool
	progress func(Progress)
	started  time.Time
	ended    chan ending
	first    chan struct{} // closed with the first packet that comes out
	once     sync.Once

	past Progress // of those that this one relieves
	last Progress // that was told

	state   state
	before  state     // the one before
	since   time.Time // of the state
	stalled string
	failed  error // what was first to fail, besides the child

	line     timeline
	fed      atomic.Int64
	newestIn atomic.Int64 // as time, in nanoseconds
	blocked  atomic.Int64 // since when a packet is being written, in nanoseconds of the run; 0 if none is
	outputs  []outlet
}

// never stands for no time.
const never = -1 << 62

// outlet is what an output's goroutine tells.
type outlet struct {
	made   atomic.Int64
	newest atomic.Int64 // as time, in nanoseconds
	at     atomic.Int64 // when, in nanoseconds of the run
	fed    atomic.Int64 // how much had been fed by then
	end    int64        // DTS behind the last packet, of the reading goroutine
}

// restart forgets all but where the output ended.
func (o *outlet) restart() {
	o.made.Store(0)
	o.newest.Store(0)
	o.at.Store(0)
	o.fed.Store(0)
}

// ending is the end of one of the goroutines: of the feeder, or of the reader of an output.
type ending struct {
	feeder bool
	err    error
}

// live is the loop: it ends when the child is gone, and everything that came out is taken.
func (r *run) live(ctx context.Context) error {
	feeding, stopFeeding := context.WithCancel(ctx)
	taking, stopTaking := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	r.line = timeline{never}
	lines := make(chan timeline, 1)
	wait.Go(func() { r.ended <- ending{true, r.feed(feeding, lines)} })
	wait.Go(func() { r.readAll(taking, lines) })
	defer r.tool.release(r.child)
	defer wait.Wait()
	defer stopTaking()
	defer stopFeeding()

	watch := time.NewTicker(watchTime)
	defer watch.Stop()
	var deadline <-chan time.Time
	r.since = r.started
	done, first, told := ctx.Done(), r.first, time.Time{}
	reading := len(r.outputs)
	happened := func(e event) {
		was := r.state
		r.apply(e)
		if r.state != was {
			deadline = r.limit()
		}
	}
	for r.state != ended {
		select {
		case <-first:
			first = nil
			happened(eventOutput)
		case <-done:
			done = nil
			happened(eventStop)
		case e := <-r.ended:
			if !e.feeder {
				reading--
			}
			happened(r.note(e))
		case <-deadline:
			if r.state == draining && r.flows() {
				deadline = r.limit()
				continue
			}
			happened(eventDeadline)
		case now := <-watch.C:
			if why := r.standsStill(now); why != "" && r.stalled == "" && r.state <= running {
				r.stalled = why
				happened(eventStall)
			}
			if now.Sub(told) >= progressTime {
				told = now
				r.tell()
			}
		case <-r.child.exited:
			happened(eventExit)
		}
	}
	stopFeeding()
	// What it wrote last is still in the pipes.
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	for reading > 0 {
		select {
		case e := <-r.ended:
			if !e.feeder {
				reading--
			}
			r.note(e)
		case <-grace.C:
			stopTaking()
			r.child.stopReading()
		}
	}
	r.tell()
	return r.verdict(ctx)
}

// apply makes the transition that an event asks for.
func (r *run) apply(e event) {
	t, ok := r.state.next(e)
	if !ok {
		return
	}
	if e == eventDeadline && r.stalled == "" && (r.state == draining || t.to == killed) {
		r.stalled = "it does not end"
	}
	r.before, r.state, r.since = r.state, t.to, time.Now()
	switch t.do {
	case closeInput:
		r.child.stopFeeding()
	case closeOutputs:
		r.child.stopReading()
	case killChild:
		r.child.stop()
		r.child.stopFeeding()
		r.child.stopReading()
	}
}

// limit is when the state has lasted for as long as it may.
func (r *run) limit() <-chan time.Time {
	switch r.state {
	case draining:
		return time.After(r.tool.cfg.StallTimeout)
	case stopping:
		return time.After(exitTime)
	case cut:
		return time.After(cutTime)
	}
	return nil
}

// flows tells whether something came out lately, so that draining may go on.
func (r *run) flows() bool {
	now := time.Now()
	if now.Sub(r.since) > drainTime {
		return false
	}
	for i := range r.outputs {
		if at := r.outputs[i].at.Load(); at != 0 && now.Sub(r.started)-time.Duration(at) < r.tool.cfg.StallTimeout {
			return true
		}
	}
	return false
}

// Ends of pipes at ffmpeg's side. Why it ended, its exit tells.
var (
	errBroken = errors.New("ffmpeg closed its input")
	errCut    = errors.New("an output breaks off")
)

// note keeps why a goroutine ended, and says which event that is.
func (r *run) note(e ending) event {
	switch {
	case e.err == nil && e.feeder:
		return eventEnd
	case e.err == nil:
		return eventOutput // an output at its end: the exit follows
	case r.failed == nil && r.state < stopping:
		r.failed = e.err
	}
	return eventStop
}

// standsStill says in which way the child does not get on; empty if it does.
func (r *run) standsStill(now time.Time) string {
	limit := r.tool.cfg.StallTimeout
	if r.state == starting {
		limit = r.tool.cfg.StartTimeout
	}
	run := now.Sub(r.started)
	blocked, fed := r.blocked.Load(), r.fed.Load()
	stuck := blocked != 0 && run-time.Duration(blocked) > limit
	for i := range r.outputs {
		o := &r.outputs[i]
		if run-time.Duration(o.at.Load()) <= limit {
			continue
		}
		switch {
		case stuck:
			return fmt.Sprintf("it has taken no input for %v", limit)
		case fed-o.fed.Load() > delayed:
			return fmt.Sprintf("nothing has come out of it for %v", limit)
		}
	}
	return ""
}

// tell reports progress.
func (r *run) tell() {
	p := Progress{State: r.state.String(), Fed: r.past.Fed + r.fed.Load(), Made: r.past.Made, CPU: r.past.CPU}
	if r.past.Fed > 0 && r.state == starting {
		p.State = running.String()
	}
	in := r.newestIn.Load()
	for i := range r.outputs {
		o := &r.outputs[i]
		p.Made += o.made.Load()
		if o.made.Load() > 0 && in != never {
			p.Lag = max(p.Lag, time.Duration(in-o.newest.Load()))
		} else if p.Fed > 0 {
			p.Lag = max(p.Lag, time.Since(r.started))
		}
	}
	if r.state == ended {
		p.CPU += r.child.used()
	} else if cpu, resident, ok := usage(r.child.cmd.Process.Pid); ok {
		p.CPU, p.Resident = p.CPU+cpu, resident
		allow(r.child.cmd.Process.Pid, cpu)
		if !r.hardware && resident > r.tool.cfg.MaxMemory && r.stalled == "" {
			r.stalled = fmt.Sprintf("it holds %d bytes of memory, more than transcode-max-memory", resident)
			r.child.stop() // where the system does not keep it to that
		}
	}
	r.last = p
	if r.progress != nil {
		r.progress(p)
	}
}

// verdict is what Run returns.
func (r *run) verdict(ctx context.Context) error {
	op, subject := "transcode", r.job.Stream
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.failed != nil && !errors.Is(r.failed, errBroken) && !errors.Is(r.failed, errCut):
		return r.failed
	case r.stalled != "":
		return fault.Wrap(fault.Timeout, op, subject, fmt.Errorf("%w: %s", ErrStalled, r.stalled), "See whether the machine is overloaded.")
	case r.child.exit == nil && r.failed == nil && r.before >= draining:
		return nil
	}
	why := r.child.died()
	if r.made() == 0 && (r.hardware || r.child.said.says(encoderTrouble[:]...)) {
		return fault.Wrap(fault.Unavailable, op, subject, fmt.Errorf("%w: %w", ErrEncoder, why), "Choose another encoder.")
	}
	if r.child.exit == nil && errors.Is(r.failed, errCut) {
		return fault.Wrap(fault.Invalid, op, subject, fmt.Errorf("%w: %w", ErrGarbage, r.failed), "See that transcode-ffmpeg is an ffmpeg.")
	}
	return fault.Wrap(fault.Unavailable, op, subject, why, "")
}

// encoderTrouble is what ffmpeg says when an encoder does not open.
var encoderTrouble = [...]string{
	"Unknown encoder", "Error while opening encoder", "Error initializing output stream", "Could not open encoder",
	"Device creation failed", "No device available", "Error opening output file",
}

func (r *run) made() (n int64) {
	for i := range r.outputs {
		n += r.outputs[i].made.Load()
	}
	return n
}

// result is the name of an end of Run in the metric.
func result(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{{ErrStalled, "stalled"}, {ErrEncoder, "encoder"}, {ErrGarbage, "garbage"}, {ErrDied, "died"}, {ErrSource, "refused"}, {ErrOutput, "output"},
		{context.Canceled, "stopped"}, {context.DeadlineExceeded, "stopped"}} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	if err == nil {
		return "done"
	}
	return "source"
}
