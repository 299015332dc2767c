package doctor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

// staged is a decoder whose answers a test chooses.
type staged struct {
	mu    sync.Mutex
	sound sound
	still still
	err   error
	block bool
	looks int
}

func (s *staged) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *staged) listen(ctx context.Context, packets []*media.Packet) (sound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := packets[0].Track.Duration(packets[len(packets)-1].DTS - packets[0].DTS); d < sampleSpan {
		return sound{}, errors.New("too little sound")
	}
	return s.sound, s.err
}

func (s *staged) look(ctx context.Context, key *media.Packet) (still, error) {
	// Nobody waits for the end of a look while holding the lock: in fake time it would
	// never come.
	s.mu.Lock()
	block, seen, err := s.block, s.still, s.err
	s.looks++
	s.mu.Unlock()
	if !key.Key || key.Track.Kind() != media.Video {
		return nil, errors.New("no key frame")
	}
	if block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return seen, err
}

func plain(v byte) still { return bytes.Repeat([]byte{v}, stillWidth*stillHeight) }

// sampled is admit with a staged decoder.
func sampled(t *testing.T, f func(p *patient, s *staged)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &staged{sound: sound{level: -20, peak: -6, channels: []float64{-20, -20}}, still: plain(120)}
		p := &patient{t: t, bus: event.NewBus(), begin: time.Now()}
		p.d = New(Config{MaxStreams: 4, Keep: time.Hour, FFmpeg: "there is no such program", SampleInterval: 15 * time.Second, SampleTimeout: 5 * time.Second, Samplers: 1}, p.bus, nil, nil)
		p.d.decoder = s
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.d.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		defer wg.Wait()
		defer cancel()
		p.gen = mediatest.NewGenerator(mediatest.Options{Start: time.Now(), Width: 640, Height: 360})
		p.tap = p.d.Watch(Session{StreamID: "ls_1", Session: "in_1"})
		f(p, s)
	})
}

// TestSamples provokes what only a decoder can tell.
func TestSamples(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		set        func(s *staged)
		d          time.Duration
		evidence   map[string]any
	}{
		{name: "silence", want: "audio_silent", d: 85 * time.Second, set: func(s *staged) { s.sound = sound{level: -80, peak: -70, channels: []float64{-80, -90}} },
			evidence: map[string]any{"level_dbfs": -80.0}},
		{name: "too loud", want: "audio_clipping", d: 40 * time.Second, set: func(s *staged) { s.sound = sound{level: -3, peak: 0, clipped: 0.05, channels: []float64{-3, -3}} },
			evidence: map[string]any{"clipped_share": 0.05}},
		{name: "one side", want: "audio_mono_one_side", d: 40 * time.Second, set: func(s *staged) { s.sound = sound{level: -20, peak: -9, channels: []float64{-20, -95}} },
			evidence: map[string]any{"silent_channel": "right"}},
		{name: "other side", want: "audio_mono_one_side", d: 40 * time.Second, set: func(s *staged) { s.sound = sound{level: -20, peak: -9, channels: []float64{-95, -20}} },
			evidence: map[string]any{"silent_channel": "left"}},
		{name: "black", want: "video_black", d: 60 * time.Second, set: func(s *staged) { s.still = plain(2) }},
		{name: "frozen", want: "video_frozen", d: 60 * time.Second, set: func(*staged) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sampled(t, func(p *patient, s *staged) {
				picture := byte(100)
				alive := func() { // a picture that changes, unless the case is about it
					if !strings.HasPrefix(tt.want, "video") {
						picture += 20
						s.set(func() { s.still = plain(picture) })
					}
				}
				s.set(func() { tt.set(s) })
				for range int(tt.d / (5 * time.Second)) {
					p.send(5 * time.Second)
					alive()
				}
				p.has(tt.want)
				f := p.finding(tt.want)
				for k, want := range tt.evidence {
					if f.Evidence[k] != want {
						t.Errorf("evidence %s is %v, want %v", k, f.Evidence[k], want)
					}
				}
				// All is well again.
				s.set(func() { s.sound = sound{level: -20, peak: -6, channels: []float64{-20, -20}} })
				for i := range 7 {
					s.set(func() { s.still = plain(byte(100 + 20*i)) })
					p.send(5 * time.Second)
				}
				p.has()
			})
		})
	}
}

// TestSampleReadings shows levels and pictures in the report, and none that were not taken.
func TestSampleReadings(t *testing.T) {
	sampled(t, func(p *patient, s *staged) {
		p.send(20 * time.Second)
		v, a := p.report().Sources[0].Tracks[0], p.report().Sources[0].Tracks[1]
		if a.AudioLevel == nil || *a.AudioLevel != -20 || *a.AudioPeak != -6 || len(a.AudioChannelLevels) != 2 || *a.AudioSilent != 0 || a.SampledAt == nil {
			t.Errorf("sound %+v", a)
		}
		if v.PictureBrightness == nil || math.Abs(*v.PictureBrightness-0.471) > 0.001 || v.AudioLevel != nil {
			t.Errorf("picture %+v", v)
		}
	})
	sampled(t, func(p *patient, s *staged) {
		s.set(func() { s.err = errors.New("it cannot be decoded") })
		p.send(100 * time.Second)
		p.has()
		if a := p.report().Sources[0].Tracks[1]; a.AudioLevel != nil || a.AudioSilent != nil {
			t.Errorf("levels out of nothing: %+v", a)
		}
	})
}

// TestSlowDecoder is killed on time, and nothing waits for it.
func TestSlowDecoder(t *testing.T) {
	sampled(t, func(p *patient, s *staged) {
		s.set(func() { s.block = true })
		p.send(60 * time.Second)
		p.has()
		s.set(func() {
			if s.looks < 2 || s.looks > 5 {
				t.Errorf("%d looks in a minute", s.looks)
			}
		})
	})
}

// TestCollectorIsBounded holds back no more than it may.
func TestCollectorIsBounded(t *testing.T) {
	var c collector
	c.want(time.Now())
	audio := &media.Track{ID: 2, Codec: media.Opus, Timescale: 48000}
	for i := range 10 * sampleAudio {
		c.take(&media.Packet{Track: audio, DTS: int64(i), Data: make([]byte, 100)})
	}
	if c.count != sampleAudio || !c.enough(time.Now(), true, false) {
		t.Errorf("%d packets", c.count)
	}
	c.want(time.Now())
	c.take(&media.Packet{Track: audio, Data: make([]byte, sampleBytes-1)})
	c.take(&media.Packet{Track: audio, Data: make([]byte, 2)})
	c.take(&media.Packet{Track: audio, Data: make([]byte, 1)})
	if c.count != 1 || c.bytes >= sampleBytes {
		t.Errorf("%d packets of %d bytes", c.count, c.bytes)
	}
	video := &media.Track{ID: 1, Codec: media.H264, Timescale: 90000}
	c.take(&media.Packet{Track: video, Key: true, Data: make([]byte, sampleKey+1)})
	if c.key != nil {
		t.Error("a huge key frame is held")
	}
	if c.enough(c.since.Add(time.Second), true, true) || !c.enough(c.since.Add(sampleWait), true, true) {
		t.Error("it waits for ever, or not at all")
	}
	next := *audio
	c.want(time.Now())
	c.take(&media.Packet{Track: audio})
	c.take(&media.Packet{Track: &next})
	if c.count != 1 || c.audio[0].Track != &next {
		t.Error("two versions of a track are mixed")
	}
}

// tone is interleaved stereo; amplitudes over 1 are cut off.
func tone(left, right float64) []byte {
	var b []byte
	for i := range 48000 {
		for _, a := range []float64{left, right} {
			v := a * math.Sin(2*math.Pi*440*float64(i)/48000)
			b = binary.BigEndian.AppendUint16(b, uint16(int16(32767*max(-1, min(1, v)))))
		}
	}
	return b
}

func TestHear(t *testing.T) {
	for _, tt := range []struct {
		name        string
		left, right float64
		level       float64
		clipped     bool
	}{
		{"full scale", 0.9, 0.9, -3.9, false},
		{"half", 0.5, 0.25, -9, false},
		{"too loud", 3, 3, -0.7, true},
		{"silence", 0, 0, -100, false},
		{"one side", 0.1, 0, -23, false},
	} {
		s := hear(tone(tt.left, tt.right), 2)
		if math.Abs(s.level-tt.level) > 0.2 || (s.clipped > clippedAbove) != tt.clipped {
			t.Errorf("%s: %+v", tt.name, s)
		}
		if tt.right == 0 && s.channels[1] != -100 {
			t.Errorf("%s: the right has %g", tt.name, s.channels[1])
		}
	}
	if s := hear(nil, 1); s.level != -100 || s.clipped != 0 {
		t.Errorf("nothing is heard as %+v", s)
	}
}

func TestSame(t *testing.T) {
	a := plain(100)
	b := bytes.Clone(a)
	b[7] += 3
	if !a.same(b) {
		t.Error("coding noise is taken for another picture")
	}
	b[7] = 160
	if a.same(b) {
		t.Error("a small thing that moved is not seen")
	}
	if still(nil).same(a) || a.same(plain(102)) {
		t.Error("other pictures are the same")
	}
}

// made lets ffmpeg make media and returns the packets of its only track.
func made(t *testing.T, args ...string) []*media.Packet {
	t.Helper()
	mediatest.Program(t, "ffmpeg")
	args = append(append([]string{"-v", "error", "-nostdin"}, args...), "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1")
	out, err := exec.Command("ffmpeg", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []*media.Packet
	r := fmp4.NewReader(bytes.NewReader(out))
	for {
		p, err := r.ReadPacket(t.Context())
		if err != nil {
			return all
		}
		all = append(all, p)
	}
}

// unconfined is a Decoder that runs the program of that path as it is.
type unconfined string

func (u unconfined) Decode(ctx context.Context, _ media.Codec, mp4 []byte, _ int64, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, string(u), append(append([]string{"-v", "error", "-f", "mp4", "-i", "pipe:0"}, args...), "pipe:1")...)
	cmd.Stdin = bytes.NewReader(mp4)
	return cmd.Output()
}

// TestMissingFFmpeg: the doctor goes on without ears and eyes.
func TestMissingFFmpeg(t *testing.T) {
	cfg := DefaultConfig()
	cfg.FFmpeg = "no such program"
	var said bytes.Buffer
	d := New(cfg, event.NewBus(), slog.New(slog.NewTextHandler(&said, nil)), nil)
	d.SetDecoder(unconfined(""))
	if d.decoder != nil || !strings.Contains(said.String(), "doctor-ffmpeg") {
		t.Errorf("%v, %s", d.decoder, said.String())
	}
}

// TestFFmpeg looks at real media with the real program.
func TestFFmpeg(t *testing.T) {
	path := mediatest.Program(t, "ffmpeg")
	f, err := newFFmpeg(path, unconfined(path))
	if err != nil {
		t.Fatal(err)
	}
	listen := func(filter string, args ...string) sound {
		t.Helper()
		packets := made(t, append([]string{"-f", "lavfi", "-i", filter, "-t", "1.5"}, args...)...)
		s, err := f.listen(t.Context(), packets)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := listen("sine=frequency=440:sample_rate=48000,volume=4", "-c:a", "aac"); math.Abs(s.level+9) > 1 || len(s.channels) != 1 || s.clipped > 0 {
		t.Errorf("a tone of half amplitude is heard as %+v", s)
	}
	if s := listen("anullsrc=r=44100:cl=stereo", "-c:a", "aac"); s.level >= silentBelow {
		t.Errorf("silence is heard as %+v", s)
	}
	if s := listen("sine=frequency=440:sample_rate=48000,volume=4,pan=stereo|c0=c0|c1=0*c0", "-c:a", "libopus"); s.channels[0] < besidesAbove || s.channels[1] > aloneBelow {
		t.Errorf("the left alone is heard as %+v", s)
	}
	if s := listen("sine=frequency=440:sample_rate=48000,volume=34dB:precision=fixed,pan=stereo|c0=c0|c1=c0", "-c:a", "aac", "-b:a", "192k"); s.clipped <= clippedAbove {
		t.Errorf("clipped sound is heard as %+v", s)
	}
	look := func(filter string, args ...string) still {
		t.Helper()
		packets := made(t, append([]string{"-f", "lavfi", "-i", filter, "-frames:v", "1"}, args...)...)
		s, err := f.look(t.Context(), packets[0])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	h264 := []string{"-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2"}
	var l looks
	now := time.Now()
	l.seen(look("color=black:size=320x180", h264...), now)
	if l.blackSince.IsZero() {
		t.Errorf("black has brightness %g, %g of it dark", l.brightness, l.dark)
	}
	l.seen(look("testsrc2=size=320x180", h264...), now.Add(time.Second))
	if !l.blackSince.IsZero() || l.stillSince.Equal(now) {
		t.Errorf("a test picture has brightness %g", l.brightness)
	}
	var keys []still
	for _, p := range made(t, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25,loop=loop=-1:size=1:start=0", "-t", "3",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "300k", "-maxrate", "300k", "-bufsize", "300k") {
		if !p.Key {
			continue
		}
		s, err := f.look(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, s)
	}
	if len(keys) != 3 || !keys[0].same(keys[2]) {
		t.Errorf("of %d key frames of a frozen picture the last is another", len(keys))
	}
	if s := look("color=white:size=320x180", "-c:v", "libx265", "-x265-params", "log-level=none"); s[100] < 250 {
		t.Errorf("white of HEVC is %d", s[100])
	}
	// What is no media is a failure and nothing else.
	if _, err := f.look(t.Context(), &media.Packet{Track: mediatest.NewGenerator(mediatest.Options{}).Tracks()[0], Data: []byte{0, 0, 0, 2, 0x65, 0x88}, Key: true}); err == nil {
		t.Error("a picture out of nothing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.look(ctx, made(t, "-f", "lavfi", "-i", "color=red", "-frames:v", "1", "-c:v", "libx264")[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := newFFmpeg("no such program", nil); err == nil || !strings.Contains(err.Error(), "doctor-ffmpeg") {
		t.Errorf("a missing program: %v", err)
	}
}

func TestReadAU(t *testing.T) {
	head := func(offset, channels uint32) []byte {
		b := []byte(".snd")
		for _, v := range []uint32{offset, 0xffffffff, 3, 48000, channels} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	if pcm, channels, err := readAU(append(head(24, 2), 1, 2, 3, 4)); err != nil || channels != 2 || len(pcm) != 4 {
		t.Errorf("%v, %d, %v", pcm, channels, err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "another format": bytes.Repeat([]byte{1}, 40), "short": head(24, 2)[:20],
		"begins behind its end": head(1<<31, 2), "no channels": head(24, 0), "a thousand channels": head(24, 1000),
	} {
		if _, _, err := readAU(b); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func FuzzReadAU(f *testing.F) {
	f.Add([]byte(".snd\x00\x00\x00\x18\xff\xff\xff\xff\x00\x00\x00\x03\x00\x00\xbb\x80\x00\x00\x00\x02\x7f\xff\x80\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, channels, err := readAU(b)
		if err != nil {
			return
		}
		s := hear(pcm, channels)
		if len(s.channels) != channels || s.level > 0.1 || s.level < -100 || s.clipped < 0 || s.clipped > 1 {
			t.Fatalf("%+v", s)
		}
	})
}
