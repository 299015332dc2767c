package dash

import (
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

const streamID, playbackID, session = "ls_test", "pb_test", "0123456789abcdef"

const (
	manifestPath = "/dash/" + playbackID + "/" + session + "/" + mpd.ManifestName
	child        = "/dash/" + playbackID + "/" + session + "/"
)

type directory struct{}

func (directory) StreamOf(_ context.Context, id string) (string, error) {
	if id == playbackID {
		return streamID, nil
	}
	return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
}

// ladder offers what it is told to, and remembers what was wanted.
type ladder struct {
	mu     sync.Mutex
	offers []media.Offer
	wanted []string
	refuse error
	start  func(rendition string)
}

func (l *ladder) Offers(string) []media.Offer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offers
}

func (l *ladder) Want(_, rendition string) error {
	l.mu.Lock()
	start, err := l.start, l.refuse
	l.wanted = append(l.wanted, rendition)
	known := false
	for _, o := range l.offers {
		known = known || o.Track.Rendition == rendition
	}
	l.mu.Unlock()
	if !known {
		return fault.New(fault.NotFound, "make rendition", rendition, "it is not offered", "")
	}
	if err == nil && start != nil {
		start(rendition)
	}
	return err
}

// rig is a hub, a packer and a handler in a synctest bubble.
type rig struct {
	t       testing.TB
	hub     *hub.Hub
	pub     *hub.Publication
	packer  *pack.Packer
	ladder  *ladder
	handler *Handler
	stop    context.CancelFunc
	done    chan struct{}
	onClose []func()
	text    string // the last manifest
	parsed  *xmlMPD
}

func newRig(t testing.TB, cfg Config) *rig {
	log := slog.New(slog.DiscardHandler)
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, prometheus.NewRegistry())
	r := &rig{t: t, hub: h, packer: pack.New(pack.DefaultConfig(), h, log, prometheus.NewRegistry()), ladder: new(ladder), done: make(chan struct{})}
	viewers := audience.New(audience.Config{MaxSessions: 1000, MaxWaiters: 5, SessionTimeout: 15 * time.Second})
	r.handler = NewHandler(cfg, r.packer, directory{}, r.ladder, viewers, log, prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		if err := r.packer.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return r
}

func (r *rig) close() {
	for _, f := range r.onClose {
		f()
	}
	r.stop()
	<-r.done
	r.hub.Close(io.EOF)
}

func (r *rig) publish(mode media.LatencyMode) {
	r.t.Helper()
	pub, err := r.hub.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: mode, Linger: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	r.pub = pub
}

// write writes packets when they are due, and calls each (if set) when each has been
// packaged.
func (r *rig) write(list []*media.Packet, each func()) {
	r.t.Helper()
	for _, p := range list {
		if d := time.Until(p.Arrival); d > 0 {
			time.Sleep(d) // the bubble's time
		}
		if err := r.pub.WritePacket(context.Background(), p); err != nil {
			r.t.Fatalf("WritePacket: %v", err)
		}
		synctest.Wait()
		if each != nil {
			each()
		}
	}
}

func (r *rig) end() {
	r.pub.End(io.EOF)
	synctest.Wait()
}

func (r *rig) stream() *pack.Stream {
	r.t.Helper()
	s, ok := r.packer.Stream(streamID)
	if !ok {
		r.t.Fatal("the packer has no stream")
	}
	return s
}

func (r *rig) snapshot(name string) *pack.Snapshot {
	r.t.Helper()
	rend, ok := r.stream().Rendition(name)
	if !ok {
		r.t.Fatalf("no rendition %s", name)
	}
	return rend.Snapshot()
}

func (r *rig) request(method, path string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

func (r *rig) get(path string, header ...string) *httptest.ResponseRecorder {
	return r.request(http.MethodGet, path, header...)
}

// manifest asks for the manifest and parses it.
func (r *rig) manifest() *xmlMPD {
	r.t.Helper()
	w := r.get(manifestPath)
	if w.Code != http.StatusOK {
		r.t.Fatalf("manifest: %d %s", w.Code, w.Body)
	}
	if text := w.Body.String(); r.parsed == nil || text != r.text {
		r.text, r.parsed = text, parse(r.t, text)
	}
	return r.parsed
}

func parse(t testing.TB, text string) *xmlMPD {
	t.Helper()
	m := new(xmlMPD)
	if err := xml.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// ask asks the handler in the background.
func (r *rig) ask(path string) chan *httptest.ResponseRecorder {
	c := make(chan *httptest.ResponseRecorder, 1)
	go func() { c <- r.get(path) }()
	synctest.Wait()
	return c
}

// answered returns the answer, or nil if there is none yet.
func answered(c chan *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	synctest.Wait()
	select {
	case w := <-c:
		return w
	default:
		return nil
	}
}

// find returns a representation of the last Period.
func (m *xmlMPD) find(name string) *xmlRepresentation {
	if len(m.Periods) == 0 {
		return nil
	}
	for _, s := range m.Periods[len(m.Periods)-1].Sets {
		for i := range s.Representations {
			if s.Representations[i].ID == name {
				return &s.Representations[i]
			}
		}
	}
	return nil
}

// all expands the segments of a representation.
func (r *xmlRepresentation) all() (list []span) {
	number, t := r.Template.StartNumber, int64(0)
	for _, s := range r.Template.Segments {
		if s.T != nil {
			t = *s.T
		}
		for range s.R + 1 {
			list = append(list, span{Number: number, T: t, D: s.D})
			number++
			t += s.D
		}
	}
	return list
}

// media is the path of a segment, and of the initialization section if number is negative.
func (r *xmlRepresentation) media(number int64) string {
	path := r.Template.Initialization
	if number >= 0 {
		path = strings.ReplaceAll(r.Template.Media, "$Number$", strconv.FormatInt(number, 10))
	}
	return child + strings.ReplaceAll(path, "$RepresentationID$", r.ID)
}

// source makes described packets in portions.
type source struct {
	t   testing.TB
	gen *mediatest.Generator
	dup map[*media.Track]*media.Track
}

func newSource(t testing.TB, o mediatest.Options) *source {
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	return &source{t: t, gen: mediatest.NewGenerator(o), dup: map[*media.Track]*media.Track{}}
}

// take returns the packets of the next stretch of media.
func (s *source) take(d time.Duration) (list []*media.Packet) {
	var until time.Time
	for {
		p := s.gen.Next()
		if s.dup[p.Track] == nil {
			t, err := bitstream.Describe(p.Track)
			if err != nil {
				s.t.Fatal(err)
			}
			s.dup[p.Track] = t
		}
		p.Track = s.dup[p.Track]
		list = append(list, p)
		if until.IsZero() {
			until = p.Arrival.Add(d)
		}
		if !p.Arrival.Before(until) {
			return list
		}
	}
}

// inBubble runs a test on a stream that has just been published.
func inBubble(t *testing.T, mode media.LatencyMode, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(mode)
		test(t, r)
	})
}
