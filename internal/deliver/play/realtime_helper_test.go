package play

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// fan remembers what was written to it.
type fan struct {
	requestKey func()
	pause      time.Duration // before each packet

	mu      sync.Mutex
	packets []*media.Packet
	closed  bool
}

func (f *fan) WritePacket(ctx context.Context, p *media.Packet) error {
	if f.pause > 0 {
		select {
		case <-time.After(f.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.packets = append(f.packets, p)
	return nil
}

func (f *fan) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

func (f *fan) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *fan) list() []*media.Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.packets
}

// rendition is what the fan is of.
func (f *fan) rendition() string {
	if p := f.list(); len(p) > 0 {
		return p[0].Track.Rendition
	}
	return "nothing"
}

// rtViewer is a viewer in real time that is told what its way carries.
type rtViewer struct {
	id          string
	interactive bool
	codecs      []media.Codec

	mu           sync.Mutex
	estimate     Estimate
	wish         string
	accepted     []media.Codec
	rejected     error
	closed       bool
	reason       error
	video, audio *fan
	watches      int
	misused      string
	done         chan struct{}
}

func newRTViewer(codecs ...media.Codec) *rtViewer {
	if len(codecs) == 0 {
		codecs = []media.Codec{media.H264, media.VP8, media.Opus}
	}
	return &rtViewer{id: "pb_1", codecs: codecs, done: make(chan struct{})}
}

func (v *rtViewer) Protocol() string             { return "test" }
func (v *rtViewer) Peer() net.Addr               { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (v *rtViewer) PlaybackID() string           { return v.id }
func (v *rtViewer) Interactive() bool            { return v.interactive }
func (v *rtViewer) Supports(t *media.Track) bool { return v.Accepts(t.Codec) }
func (v *rtViewer) Done() <-chan struct{}        { return v.done }
func (v *rtViewer) Err() error                   { return io.EOF }
func (v *rtViewer) Reject(err error)             { v.rejected = err }
func (v *rtViewer) set(change func(v *rtViewer)) { v.mu.Lock(); defer v.mu.Unlock(); change(v) }
func (v *rtViewer) leave()                       { close(v.done) }

func (v *rtViewer) Accepts(c media.Codec) bool {
	for _, has := range v.codecs {
		if has == c {
			return true
		}
	}
	return false
}

func (v *rtViewer) Accept(_ context.Context, video, audio media.Codec) error {
	v.set(func(v *rtViewer) { v.accepted = []media.Codec{video, audio} })
	return nil
}

func (v *rtViewer) Close(err error) { v.set(func(v *rtViewer) { v.closed, v.reason = true, err }) }

func (v *rtViewer) Estimate() Estimate {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.estimate
}

func (v *rtViewer) Wish() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wish
}

func (v *rtViewer) Watch(video, audio Fan) {
	v.set(func(v *rtViewer) {
		v.watches++
		for _, old := range []*fan{v.video, v.audio} {
			if old != nil && old.isClosed() {
				v.misused = "a fan was closed while it was watched"
			}
		}
		v.video, _ = video.(*fan)
		v.audio, _ = audio.(*fan)
	})
}

// got returns the codecs that the viewer was accepted with; nil if it was not.
func (v *rtViewer) got() []media.Codec {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted
}

// sees returns what is watched.
func (v *rtViewer) sees() (video, audio *fan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.video, v.audio
}

// picture names the rendition that is watched.
func (v *rtViewer) picture() string {
	if video, _ := v.sees(); video != nil {
		return video.rendition()
	}
	return "none"
}

// ladder makes renditions of a stream: the packets of its source, which has 1 Mbit/s, under
// another name, and shorter.
type ladder struct {
	t   *testing.T
	hub *hub.Hub

	mu       sync.Mutex
	offers   []media.Offer
	reorders bool
	refuses  map[string]error
	wants    map[string]int
	running  map[string]bool
	group    sync.WaitGroup
}

func (l *ladder) Offers(string) []media.Offer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offers
}

func (l *ladder) Reorders(string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reorders
}

func (l *ladder) wanted(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wants[name]
}

func (l *ladder) change(f func(l *ladder)) { l.mu.Lock(); defer l.mu.Unlock(); f(l) }

func (l *ladder) Want(id, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuses[name]; err != nil {
		return err
	}
	l.wants[name]++
	if l.running[name] {
		return nil
	}
	var track *media.Track
	var rate int64
	for _, o := range l.offers {
		if o.Track.Rendition == name {
			track, rate = o.Track, o.Average
		}
	}
	stream, ok := l.hub.Stream(id)
	if track == nil || !ok {
		return fault.New(fault.NotFound, "make a rendition", name, "there is none", "")
	}
	l.running[name] = true
	l.group.Go(func() { l.encode(stream, track, rate) })
	return nil
}

func (l *ladder) encode(stream *hub.Stream, track *media.Track, rate int64) {
	name := track.Rendition
	defer l.change(func(l *ladder) { l.running[name] = false })
	reader := stream.Feed().NewReader(hub.ReaderOptions{Name: "test"})
	defer reader.Close()
	d, err := stream.Derive(name, hub.DeriveOptions{})
	if err != nil {
		l.t.Error(err)
		return
	}
	for {
		p, err := reader.ReadPacket(l.t.Context())
		if err != nil {
			return
		}
		if p.Track.Kind() != track.Kind() {
			continue
		}
		q := *p
		made := *track
		made.Timescale = p.Track.Timescale
		q.Track = &made
		q.Data = p.Data[:min(len(p.Data), len(p.Data)*int(rate)/1_000_000)]
		if d.WritePacket(l.t.Context(), &q) != nil {
			return
		}
	}
}

func offer(name string, c media.Codec, height int, rate int64) media.Offer {
	return media.Offer{
		Track:   &media.Track{ID: 50 + height, Codec: c, Rendition: name, Width: height * 16 / 9, Height: height, FrameRate: 25, Timescale: 90000},
		Average: rate, Peak: 2 * rate, Listed: true, Realtime: c.Kind() == media.Video,
	}
}

// theatre is a Realtime with all around it.
type theatre struct {
	*Realtime
	t      *testing.T
	hub    *hub.Hub
	ladder *ladder
	fans   []*fan
	pause  time.Duration // of the fans that are made
	bursts time.Duration // how far apart media is sent; 0 as it is due
	wait   sync.WaitGroup
}

func newTheatre(t *testing.T, offers ...media.Offer) *theatre {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, nil)
	th := &theatre{t: t, hub: h}
	th.ladder = &ladder{t: t, hub: h, offers: offers, refuses: map[string]error{}, wants: map[string]int{}, running: map[string]bool{}}
	th.Realtime = NewRealtime(DefaultRealtimeConfig(), gate{}, h, th.ladder, func(requestKey func()) Fan {
		f := &fan{requestKey: requestKey, pause: th.pause}
		th.fans = append(th.fans, f)
		return f
	}, log, prometheus.NewRegistry())
	return th
}

// made returns the fans that were made so far.
func (th *theatre) made() []*fan {
	th.mu.Lock()
	defer th.mu.Unlock()
	return th.fans
}

// serve serves a viewer, and returns where its end is told.
func (th *theatre) serve(v *rtViewer) <-chan error {
	end := make(chan error, 1)
	th.wait.Go(func() { end <- th.Serve(th.t.Context(), v) })
	return end
}

// finish waits for everybody and looks whether everything was given back.
func (th *theatre) finish() {
	th.t.Helper()
	th.wait.Wait()
	th.ladder.group.Wait()
	for _, f := range th.made() {
		if !f.isClosed() {
			th.t.Errorf("a fan of %s was not closed", f.rendition())
		}
	}
	if len(th.rooms) != 0 {
		th.t.Errorf("%d rooms are left", len(th.rooms))
	}
}

// broadcast publishes at the pace of the clock until the length is over or ctx ends, and
// then ends the publication.
func (th *theatre) broadcast(ctx context.Context, o mediatest.Options, describe func(t *media.Track)) {
	th.wait.Go(func() {
		pub, err := th.hub.Publish("ls_1", hub.PublishOptions{})
		if err != nil {
			th.t.Error(err)
			return
		}
		defer pub.End(nil)
		th.send(ctx, pub, o, describe)
	})
}

// send writes media at the pace of the clock.
func (th *theatre) send(ctx context.Context, pub *hub.Publication, o mediatest.Options, describe func(t *media.Track)) {
	g := mediatest.NewGenerator(o)
	begun := time.Now()
	tracks := map[*media.Track]*media.Track{}
	for {
		p, err := g.ReadPacket(ctx)
		if errors.Is(err, io.EOF) {
			return
		}
		if tracks[p.Track] == nil {
			changed := *p.Track
			if describe != nil {
				describe(&changed)
			}
			tracks[p.Track] = &changed
		}
		if due := begun.Add(th.due(p.Track.Duration(p.DTS))); time.Until(due) > 0 {
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return
			}
		}
		p.Track, p.Arrival = tracks[p.Track], time.Now()
		if pub.WritePacket(ctx, p) != nil {
			return
		}
	}
}

// due is when media of that time is sent.
func (th *theatre) due(at time.Duration) time.Duration {
	if th.bursts > 0 {
		return at - at%th.bursts + th.bursts
	}
	return at
}

// camera is 1280x720 of about 1 Mbit/s at 25 frames a second with Opus.
func camera(length time.Duration) mediatest.Options {
	return mediatest.Options{Duration: length, GOP: 50, RateNum: 25, FrameSize: 4600, Audio: media.Opus}
}
