// Package transcode makes the renditions of a stream that its publisher does not send,
// each from the moment somebody asks for it until nobody has for a while.
//
// For each stream on the air it works out what can be made of it (plan): the rungs of its
// ladder, the sound as HLS and as WebRTC take it, and the picture as WebRTC takes it. Each
// is a rung with a written life (State). A rung that is wanted gets an encode: an ffmpeg
// that reads the source's feed and writes a derived feed of the same stream, restarted when
// it breaks off, ended when nobody wants it. Where a ladder is always on, its rungs share
// one encode.
//
// # Concurrency
//
// Every exported method may be called from several goroutines. A stream's mutex guards its
// rungs; only the hub, the bus and the budget are called while it is held, which wait for
// nothing.
package transcode

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Tool is what is needed of an *ffmpeg.Tool, which documents it.
type Tool interface {
	Encoders(c media.Codec) []ffmpeg.Encoder
	Decodes(c media.Codec) bool
	Plan(v ffmpeg.Video, source *media.Track) *media.Track
	PlanAudio(a ffmpeg.Audio, source *media.Track) *media.Track
	Run(ctx context.Context, job ffmpeg.Job, src media.Source, progress func(ffmpeg.Progress)) error
}

// Settings tell how a stream differs from the server's settings.
type Settings interface {
	// Ladder returns the choice of a live stream; the zero Choice if it has none.
	Ladder(ctx context.Context, streamID string) (Choice, error)
}

// Rendition is a rendition that can be made, and how that stands.
type Rendition struct {
	Offer media.Offer
	State State
	// Reason says why it is as it is; empty if there is nothing to say.
	Reason string
	// Encoder is the name of the encoder that makes it or made it last.
	Encoder string
	// Since is when State began.
	Since time.Time
	// CPU is the processor time that was used for it since the stream began. An encode of
	// several renditions counts for each.
	CPU time.Duration
	// Lag is how far it is behind the source; 0 unless Running.
	Lag time.Duration
	// Restarts counts how often its encoder broke off and was started again.
	Restarts int
}

// Transcoder makes renditions of all streams of a hub.
type Transcoder struct {
	cfg      Config
	hub      *hub.Hub
	tool     Tool
	settings Settings
	bus      *event.Bus
	log      *slog.Logger
	m        *metrics
	budget   *budget

	streams sync.Map // of *stream by id

	mu sync.Mutex
	// avoid holds until when encoders that broke off are passed over, by name.
	avoid map[string]time.Time
}

// New returns a transcoder for the streams of h. tool is nil where there is no ffmpeg that
// works: then everything that could be made is told as failed. settings may be nil. Metrics
// are registered with reg (nil for none).
func New(cfg Config, h *hub.Hub, tool Tool, settings Settings, bus *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Transcoder {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &Transcoder{
		cfg: cfg, hub: h, tool: tool, settings: settings, bus: bus, log: log,
		budget: newBudget(cfg.budget()), avoid: make(map[string]time.Time),
	}
	t.m = newMetrics(reg, t)
	return t
}

// SetTool gives what New could not be given yet; before Run.
func (t *Transcoder) SetTool(tool Tool) { t.tool = tool }

// Run follows the streams of the hub until ctx ends or the hub closes. No encoder is left
// when it returns.
func (t *Transcoder) Run(ctx context.Context) error {
	if t.cfg.Mode == Off {
		return nil
	}
	watcher := t.hub.Watch()
	var wg sync.WaitGroup
	defer wg.Wait()
	listening, stop := context.WithCancel(ctx)
	defer stop()
	if t.bus != nil {
		l := t.bus.Listen()
		wg.Go(func() { t.listen(listening, l) })
	}
	for {
		src, err := watcher.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s := newStream(t, src)
		t.streams.Store(s.id, s)
		wg.Go(func() {
			s.run(ctx)
			t.streams.CompareAndDelete(s.id, s)
		})
	}
}

// listen hears of streams whose settings or tracks changed.
func (t *Transcoder) listen(ctx context.Context, l *event.Listener) {
	for {
		e, missed, err := l.Next(ctx)
		if err != nil {
			return
		}
		if missed > 0 {
			t.streams.Range(func(_, s any) bool {
				s.(*stream).changed(true)
				return true
			})
		}
		s := t.stream(e.Event.Stream())
		if s == nil {
			continue
		}
		switch e := e.Event.(type) {
		case event.StreamRecord:
			s.changed(e.Change == "updated")
		case event.StreamTracksChanged, event.StreamActive:
			s.changed(false)
		}
	}
}

// stream returns the stream of that id if it is on the air; nil if it is not.
func (t *Transcoder) stream(id string) *stream {
	s, ok := t.streams.Load(id)
	if !ok {
		return nil
	}
	return s.(*stream)
}

// Offers lists what can be made of a live stream besides what its publisher sends, best
// picture first. A rung that is failing or shed is left out of it for as long.
func (t *Transcoder) Offers(streamID string) []media.Offer {
	s := t.stream(streamID)
	if s == nil {
		return nil
	}
	return s.offers()
}

// Want says that somebody asks for a rendition now, which is made for Config.Idle from now
// on. It never waits.
//
// The error is fault.NotFound if there is no such offer, fault.TooMany if there is no room
// in the budget, and fault.Unavailable if its encoder does not work or it was shed.
func (t *Transcoder) Want(streamID, rendition string) error {
	s := t.stream(streamID)
	if s == nil {
		return notOffered(rendition)
	}
	if r := (*s.rungs.Load())[rendition]; r != nil {
		if !r.wanted.Load() {
			r.wanted.Store(true)
		}
		if r.serving.Load() {
			return nil
		}
	}
	return s.ask(rendition)
}

func notOffered(rendition string) error {
	return fault.New(fault.NotFound, "make rendition", rendition, "it is none that can be made of this stream now", "")
}

// Reorders reports whether the publisher's pictures are decoded in another order than they
// are shown in (B-frames), which WebRTC cannot send.
func (t *Transcoder) Reorders(streamID string) bool {
	s, ok := t.hub.Stream(streamID)
	if !ok {
		return false
	}
	for _, tr := range s.Feed().Tracks() {
		if tr.Kind() == media.Video {
			frames, _ := bitstream.Reorder(tr)
			return reorders(s.Feed(), frames)
		}
	}
	return false
}

// watchPictures is after how many pictures a source that declares that it reorders, and does
// not, is believed its deeds: some encoders declare what they could do.
const watchPictures = 300

// reorders reports whether the pictures of a feed are out of order, whose track declares
// that so many may be.
func reorders(f *hub.Feed, declared int) bool {
	reordered, pictures := f.Order()
	return reordered || declared > 0 && pictures < watchPictures
}

// Renditions lists what is made of a live stream or can be made, best picture first.
func (t *Transcoder) Renditions(streamID string) []Rendition {
	s := t.stream(streamID)
	if s == nil {
		return nil
	}
	return s.renditions()
}

// Budget returns how many cores of the processor encoding may take, and how many it is
// reckoned to take now.
func (t *Transcoder) Budget() (total, used float64) { return t.budget.state() }

// Profiles lists the ladders that a stream can choose from, the default first.
func (t *Transcoder) Profiles() []Profile { return t.cfg.Profiles() }

// avoidFor is how long an encoder that broke off at work is passed over by new encodes.
const avoidFor = 10 * time.Minute

// shun lets encodes pass over an encoder for a while.
func (t *Transcoder) shun(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.avoid[name] = time.Now().Add(avoidFor)
}

// encoder returns the encoder to take for a codec: the best that is not shunned, and if all
// are, the last, which is the one in software.
func (t *Transcoder) encoder(c media.Codec) (ffmpeg.Encoder, bool) {
	all := encodersOf(t.tool, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, e := range all {
		if now.After(t.avoid[e.Name]) {
			return e, true
		}
	}
	if len(all) == 0 {
		return ffmpeg.Encoder{}, false
	}
	return all[len(all)-1], true
}
