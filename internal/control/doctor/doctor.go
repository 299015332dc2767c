// Package doctor measures what publishers send and says what is wrong with it, in
// words and numbers, and what to do.
//
// It listens before anything is repaired: a Tap stands in the way of a publisher's
// packets and takes notes, an examination every second turns the notes into readings,
// the rules of the catalogue turn readings into findings. What only a decoder can tell,
// loudness and black or frozen pictures, is looked at by an ffmpeg every few seconds.
package doctor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
)

// examineEvery is how often streams are examined; meters count by it.
const examineEvery = time.Second

// Doctor watches publishers. Its methods may be called from several goroutines.
type Doctor struct {
	cfg     Config
	bus     *event.Bus
	log     *slog.Logger
	metrics *metrics
	rules   []entry
	decoder decoder // nil without ffmpeg

	mu        sync.Mutex
	streams   map[string]*stream
	strangers [strangersKept]stranger
}

// New returns a Doctor that tells changes on bus and registers its metrics with reg (nil
// for none). Until SetDecoder loudness and pictures are unknown.
func New(cfg Config, bus *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Doctor {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Doctor{cfg: cfg, bus: bus, log: log, metrics: newMetrics(reg), rules: catalogue(), streams: map[string]*stream{}}
}

// SetDecoder gives what samples are decoded with, the ffmpeg of the settings, before Run.
// When that is missing the Doctor says so.
func (d *Doctor) SetDecoder(confined Decoder) {
	if d.cfg.SampleInterval == 0 {
		return
	}
	f, err := newFFmpeg(d.cfg.FFmpeg, confined)
	if err != nil {
		d.log.Warn("the stream doctor is hard of hearing", "reason", err.Error())
		return
	}
	d.decoder = f
}

// Run examines the streams until ctx ends, which is no error.
func (d *Doctor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { d.listen(ctx) })
	jobs := make(chan job, d.cfg.Samplers)
	if d.decoder != nil {
		for range d.cfg.Samplers {
			wg.Go(func() { d.sampler(ctx, jobs) })
		}
	}
	tick := time.NewTicker(examineEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.examine(time.Now(), jobs)
		}
	}
}

// examine looks at every stream once, and forgets those that are long over.
func (d *Doctor) examine(now time.Time, jobs chan<- job) {
	collecting := 0
	for _, s := range d.all() {
		if change := s.examine(d.rules, now, d.cfg.SampleInterval); change != nil {
			d.tell(*change)
		}
		if d.decoder != nil {
			d.collect(s, now, jobs, &collecting)
		}
		d.forget(s, now)
	}
}

// tell publishes and counts a change.
func (d *Doctor) tell(change event.StreamHealth) {
	for _, code := range change.Raised {
		d.metrics.raised.WithLabelValues(code).Inc()
	}
	d.bus.Publish(change)
}

// Watch begins to watch a publisher. The Tap takes the packets as they come. For more
// streams than the bound it is one that does nothing.
func (d *Doctor) Watch(session Session) *Tap {
	now := time.Now()
	s := d.findOrMake(session.StreamID, now)
	if s == nil {
		return &Tap{off: true}
	}
	t := &Tap{session: session}
	t.looks.alone = -1
	s.watch(t, now)
	return t
}

func (d *Doctor) all() []*stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*stream, 0, len(d.streams))
	for _, s := range d.streams {
		all = append(all, s)
	}
	return all
}

// find returns the stream, nil if nothing is known of it.
func (d *Doctor) find(id string) *stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.streams[id]
}

// findOrMake is find that makes a stream unless that were too many.
func (d *Doctor) findOrMake(id string, now time.Time) *stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.streams[id]; ok {
		s.touch(now)
		return s
	}
	if len(d.streams) >= d.cfg.MaxStreams {
		d.metrics.unwatched.Inc()
		return nil
	}
	s := newStream(id, now)
	d.streams[id] = s
	d.metrics.streams.Set(float64(len(d.streams)))
	return s
}

// forget drops a stream of which nothing was heard for a while.
func (d *Doctor) forget(s *stream, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !s.idle(now, d.cfg.Keep) {
		return
	}
	delete(d.streams, s.id)
	d.metrics.streams.Set(float64(len(d.streams)))
}
