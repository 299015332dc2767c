package transcode

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
)

// TestTap: what an encoder is given begins with a key, skips to one where media was missed,
// and ends with the version of the track.
func TestTap(t *testing.T) {
	h := hub.New(hub.Config{MaxFeedBytes: 1 << 20, MaxFeedDuration: 2 * time.Second, MaxTotalBytes: 1 << 20, MaxStreams: 1}, nil, nil, nil)
	pub, err := h.Publish("s", hub.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := videoTrack(640, 360, media.H264)
	speech := &media.Track{ID: 2, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2}
	music := &media.Track{ID: 3, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2}
	frame := 0
	write := func(n int) {
		t.Helper()
		for range n {
			for _, tr := range []*media.Track{v, speech, music} {
				at := tr.Ticks(time.Duration(frame) * frameTime)
				p := &media.Packet{Track: tr, DTS: at, PTS: at, Key: tr != v || frame%10 == 0, Data: []byte{1}}
				if err := pub.WritePacket(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			frame++
		}
	}
	write(15)
	quit, stop := context.WithCancel(t.Context())
	defer stop()
	pictures, sound := newTap(quit, pub.Stream().Feed(), media.Video, 0), newTap(quit, pub.Stream().Feed(), media.Audio, 0)
	defer pictures.close()
	defer sound.close()
	next := func(tp *tap) int {
		t.Helper()
		p, err := tp.ReadPacket(t.Context())
		if err != nil {
			return -1
		}
		if tp == sound && p.Track.ID != speech.ID || tp == pictures && p.Track.ID != v.ID {
			t.Errorf("a packet of track %d", p.Track.ID)
		}
		return int(p.Track.Duration(p.PTS) / frameTime)
	}
	for _, tp := range []*tap{pictures, sound} {
		if _, err := tp.begin(-1); err != nil {
			t.Fatal(err)
		}
		for want := 10; want < 15; want++ {
			if got := next(tp); got != want {
				t.Fatalf("frame %d, want %d", got, want)
			}
		}
	}
	if lag := pictures.lag(time.Now().Add(3 * time.Second)); lag < 3*time.Second || lag > 10*time.Second {
		t.Errorf("lag %v", lag)
	}
	write(500) // far more than is kept
	missed := next(pictures)
	if missed%10 != 0 || missed < 460 {
		t.Errorf("it goes on at frame %d, which is no key", missed)
	}
	for f := missed + 1; f < frame; f++ {
		if got := next(pictures); got != f {
			t.Fatalf("frame %d, want %d", got, f)
		}
	}
	// A new version ends it, and is what the next one begins with.
	v = videoTrack(320, 180, media.H264)
	frame = 520
	write(3)
	if got := next(pictures); got != -1 {
		t.Errorf("frame %d of another version", got)
	}
	if tr, err := pictures.begin(0); err != nil || tr != v || next(pictures) != 520 {
		t.Errorf("the next begins with %v, %v", tr, err)
	}
	// It must begin after what was written already.
	pictures.rewind()
	ctx, cancel := context.WithCancel(t.Context())
	pictures.quit = ctx
	cancel()
	if _, err := pictures.begin(520 * frameTime); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	pictures.quit = quit
	write(17)
	if _, err := pictures.begin(525 * frameTime); err != nil || next(pictures) != 530 {
		t.Error("it does not begin after what was written")
	}
	canceled, end := context.WithCancel(t.Context())
	end()
	if _, err := pictures.ReadPacket(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
	stop()
	if _, err := pictures.ReadPacket(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after it was to quit: %v", err)
	}
}

// TestManyAskAtOnce is for the race detector.
func TestManyAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := newFakeTool()
		var n int
		var mu sync.Mutex
		tool.packet = func(context.Context, ffmpeg.Job, *media.Packet) error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%101 == 0 {
				return ffmpeg.ErrDied
			}
			return nil
		}
		s := newStage(t, func(c *Config) { c.Idle, c.Cores = time.Second, 0.5 }, tool, nil)
		s.publish()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i, name := range []string{"480p", "360p", "opus", "realtime", "none"} {
			wg.Go(func() {
				for ctx.Err() == nil {
					_ = s.tr.Want("s", name)
					s.tr.Offers("s")
					s.tr.Renditions("s")
					s.tr.Reorders("s")
					s.tr.Budget()
					time.Sleep(time.Duration(100+i*700) * time.Millisecond)
				}
			})
		}
		s.live(10 * time.Second)
		s.video = videoTrack(1280, 720, media.HEVC)
		s.frame = 0
		s.live(10 * time.Second)
		s.pub.End(nil)
		synctest.Wait()
		s.clock += time.Second
		s.frame = 0
		s.publish()
		s.live(5 * time.Second)
		cancel()
		wg.Wait()
	})
}
