package transcode

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTool is an ffmpeg that hands on what it is given.
type fakeTool struct {
	encoders map[media.Codec][]ffmpeg.Encoder
	blind    []media.Codec // that it cannot decode

	// job is called as a job begins; its error ends it.
	job func(ffmpeg.Job) error
	// packet is called for each packet, before it is written.
	packet func(context.Context, ffmpeg.Job, *media.Packet) error
	// lag is told as that of all jobs, cores as the processors that each uses.
	lag   time.Duration
	cores float64

	mu      sync.Mutex
	jobs    []ffmpeg.Job
	running int
	most    int
}

func newFakeTool() *fakeTool {
	return &fakeTool{encoders: map[media.Codec][]ffmpeg.Encoder{
		media.H264: {{Name: "libx264", Codec: media.H264}},
		media.HEVC: {{Name: "libx265", Codec: media.HEVC}},
		media.AAC:  {{Name: "aac", Codec: media.AAC}},
		media.Opus: {{Name: "libopus", Codec: media.Opus}},
	}}
}

func (f *fakeTool) Encoders(c media.Codec) []ffmpeg.Encoder { return f.encoders[c] }
func (f *fakeTool) Decodes(c media.Codec) bool              { return !slices.Contains(f.blind, c) }

func (f *fakeTool) Plan(v ffmpeg.Video, source *media.Track) *media.Track {
	rate := source.FrameRate
	if v.FrameRate > 0 {
		rate = v.FrameRate
	}
	return &media.Track{Codec: v.Encoder.Codec, Timescale: source.Timescale, Width: v.Width, Height: v.Height, FrameRate: rate, CodecString: "made"}
}

func (f *fakeTool) PlanAudio(a ffmpeg.Audio, source *media.Track) *media.Track {
	return &media.Track{Codec: a.Codec, Timescale: 48000, SampleRate: 48000, Channels: a.Channels, CodecString: "made"}
}

func (f *fakeTool) Run(ctx context.Context, job ffmpeg.Job, src media.Source, progress func(ffmpeg.Progress)) error {
	f.mu.Lock()
	f.jobs = append(f.jobs, job)
	f.running++
	f.most = max(f.most, f.running)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.running--
		f.mu.Unlock()
	}()
	if f.job != nil {
		if err := f.job(job); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	tick, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	made, began := int64(0), time.Now()
	wg.Go(func() {
		t := time.NewTicker(500 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-tick.Done():
				return
			case <-t.C:
				mu.Lock()
				progress(ffmpeg.Progress{State: "running", Lag: f.lag, Made: made, Fed: made,
					CPU: time.Duration(f.cores * float64(time.Since(began)))})
				mu.Unlock()
			}
		}
	})
	tracks := make([]*media.Track, len(job.Outputs))
	for i, o := range job.Outputs {
		tr := &media.Track{ID: o.TrackID, Rendition: o.Rendition, Timescale: job.Source.Timescale}
		if o.Video != nil {
			tr.Codec, tr.Width, tr.Height = o.Video.Encoder.Codec, o.Video.Width, o.Video.Height
		} else {
			tr.Codec, tr.SampleRate, tr.Channels = o.Audio.Codec, 48000, o.Audio.Channels
		}
		tracks[i] = tr
	}
	for {
		p, err := src.ReadPacket(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if p.Track != job.Source {
			return errors.Join(ffmpeg.ErrSource, errors.New("another track in the middle"))
		}
		if f.packet != nil {
			if err := f.packet(ctx, job, p); err != nil {
				return err
			}
		}
		for i, o := range job.Outputs {
			q := *p
			q.Track, q.DTS = tracks[i], p.PTS
			if err := o.Sink.WritePacket(ctx, &q); err != nil {
				return errors.Join(ffmpeg.ErrOutput, err)
			}
		}
		mu.Lock()
		made++
		mu.Unlock()
	}
}

// names returns what each job made, in the order in which they began.
func (f *fakeTool) names() (out [][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.jobs {
		var names []string
		for _, o := range j.Outputs {
			names = append(names, o.Rendition)
		}
		out = append(out, names)
	}
	return out
}

func (f *fakeTool) now() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// stage is a hub with a publisher and a transcoder, in a bubble of synctest.
type stage struct {
	*testing.T
	tool *fakeTool
	hub  *hub.Hub
	bus  *event.Bus
	tr   *Transcoder
	pub  *hub.Publication

	video, audio *media.Track
	clock        time.Duration // of the timeline
	frame        int64
	events       *event.Listener
}

const (
	frameTime = 40 * time.Millisecond
	gop       = 50 // frames
)

// newStage begins a stream of H.264 at 720p25 without B-frames, and AAC.
func newStage(t *testing.T, change func(*Config), tool *fakeTool, settings Settings) *stage {
	bus := event.NewBus()
	s := &stage{T: t, tool: tool, bus: bus, hub: hub.New(hub.DefaultConfig(), bus, nil, nil), clock: 100 * time.Second, events: bus.Listen()}
	cfg := DefaultConfig()
	cfg.Cores = 4
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var asTool Tool
	if tool != nil {
		asTool = tool
	}
	s.tr = New(cfg, s.hub, asTool, settings, bus, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := tool.now2(); n != 0 {
			t.Errorf("%d encoders are left", n)
		}
		if _, used := s.tr.Budget(); used > 1e-9 {
			t.Errorf("%v cores are still reserved", used)
		}
	})
	s.video = videoTrack(1280, 720, media.H264)
	s.audio = &media.Track{ID: 2, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2}
	return s
}

func (f *fakeTool) now2() int {
	if f == nil {
		return 0
	}
	return f.now()
}

func videoTrack(w, h int, c media.Codec) *media.Track {
	t := &media.Track{ID: 1, Codec: c, Timescale: 90000, Width: w, Height: h, FrameRate: 25}
	if c == media.H264 {
		// One that says nothing of the order of its pictures.
		t.Config = bitstream.AVCC([][]byte{mediatest.H264SPS(w, h, 25, 0)}, [][]byte{mediatest.H264PPS()})
	}
	return t
}

func (s *stage) publish() {
	s.Helper()
	p, err := s.hub.Publish("s", hub.PublishOptions{Linger: time.Minute, Tracks: s.tracks()})
	if err != nil {
		s.Fatal(err)
	}
	s.pub = p
	synctest.Wait()
}

func (s *stage) tracks() (out []*media.Track) {
	for _, t := range []*media.Track{s.video, s.audio} {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// live publishes for so long, at the pace of the clock.
func (s *stage) live(d time.Duration) {
	s.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.write()
		time.Sleep(frameTime)
	}
	synctest.Wait()
}

// write publishes a frame and the sound of as long.
func (s *stage) write() {
	s.Helper()
	for _, tr := range s.tracks() {
		p := &media.Packet{Track: tr, DTS: tr.Ticks(s.clock), Arrival: time.Now(), Data: make([]byte, 100), Key: true}
		p.PTS = p.DTS
		if tr == s.video {
			p.Key = s.frame%gop == 0
		}
		if err := s.pub.WritePacket(s.Context(), p); err != nil {
			s.Fatal(err)
		}
	}
	s.frame++
	s.clock += frameTime
}

// state returns the state of a rendition and why it is so.
func (s *stage) state(name string) (State, string) {
	s.Helper()
	for _, r := range s.tr.Renditions("s") {
		if r.Offer.Track.Rendition == name {
			return r.State, r.Reason
		}
	}
	return "", ""
}

func (s *stage) wantState(name string, want State) {
	s.Helper()
	if got, reason := s.state(name); got != want {
		s.Errorf("%s is %q (%s), want %q", name, got, reason, want)
	}
}

func (s *stage) want(name string) {
	s.Helper()
	if err := s.tr.Want("s", name); err != nil {
		s.Errorf("Want(%s): %v", name, err)
	}
	synctest.Wait()
}

// listed returns the names of the offers.
func (s *stage) offered() (out []string) {
	for _, o := range s.tr.Offers("s") {
		out = append(out, o.Track.Rendition)
	}
	return out
}

// feed returns the derived feed of that name; nil if there is none.
func (s *stage) feed(name string) *hub.Feed {
	st, ok := s.hub.Stream("s")
	if !ok {
		return nil
	}
	for _, f := range st.Feeds() {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// read returns what a reader has by now.
func (s *stage) read(r *hub.Reader) (out []*media.Packet) {
	s.Helper()
	for {
		ctx, cancel := context.WithTimeout(s.Context(), time.Microsecond)
		p, err := r.ReadPacket(ctx)
		cancel()
		var gap *hub.Gap
		if errors.As(err, &gap) {
			continue
		}
		if err != nil {
			return out
		}
		out = append(out, p)
	}
}

// told returns what events said of a rendition since the last call.
func (s *stage) told(name string) (out []event.RenditionChanged) {
	for {
		ctx, cancel := context.WithTimeout(s.Context(), time.Microsecond)
		e, _, err := s.events.Next(ctx)
		cancel()
		if err != nil {
			return out
		}
		if c, ok := e.Event.(event.RenditionChanged); ok && c.Rendition == name {
			out = append(out, c)
		}
	}
}
