package play

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestViewersWaitAndStay: they may come before the publisher, begin by themselves, and stay
// for the next broadcast.
func TestViewersWaitAndStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		v := newRTViewer()
		end := th.serve(v)
		time.Sleep(20 * time.Second)
		if th.Viewers("ls_1") != 1 || !slices.Equal(v.got(), []media.Codec{media.H264, media.Opus}) {
			t.Errorf("%d viewers, accepted with %v", th.Viewers("ls_1"), v.got())
		}
		for range 2 {
			th.broadcast(t.Context(), camera(8*time.Second), nil)
			time.Sleep(5 * time.Second)
			video, audio := v.sees()
			if video == nil || audio == nil {
				t.Fatal("it is sent nothing")
			}
			if p := video.list(); len(p) < 100 || !p[0].Key || p[0].Track.Kind() != media.Video {
				t.Errorf("%d packets of video, the first %+v", len(p), p[0])
			}
			if p := audio.list(); len(p) < 200 || p[0].Track.Codec != media.Opus {
				t.Errorf("%d packets of audio", len(p))
			}
			time.Sleep(10 * time.Second)
			if video, audio := v.sees(); video != nil || audio != nil {
				t.Error("it is sent something when the stream is over")
			}
		}
		v.leave()
		if err := <-end; err != nil || !v.closed || v.misused != "" {
			t.Errorf("it ended with %v; %s", err, v.misused)
		}
		if th.Viewers("ls_1") != 0 {
			t.Error("it is still counted")
		}
		th.finish()
	})
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		v := newRTViewer()
		if err := th.Serve(t.Context(), v); !fault.Is(err, fault.Timeout) || !errors.Is(v.reason, err) {
			t.Errorf("it ended with %v, and was told %v", err, v.reason)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := th.Serve(ctx, newRTViewer()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("when the server stops: %v", err)
		}
		th.finish()
	})
}

// moody is a gate whose mood changes.
type moody struct{ err atomic.Pointer[fault.Error] }

func (m *moody) AdmitPlay(context.Context, string) (string, error) {
	if err := m.err.Load(); err != nil {
		return "", err
	}
	return "ls_1", nil
}

// TestWaitingIsForAStreamThatThereIs: who waits is let go when the stream was deleted, and
// not because a database is slow.
func TestWaitingIsForAStreamThatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		m := &moody{}
		th.gate = m
		v := newRTViewer()
		end := th.serve(v)
		time.Sleep(time.Second)
		m.err.Store(fault.New(fault.Timeout, "play", "", "the database is slow", ""))
		time.Sleep(time.Minute)
		select {
		case err := <-end:
			t.Errorf("it was let go: %v", err)
		default:
		}
		m.err.Store(fault.New(fault.NotFound, "play", "", "there is no such playback id", ""))
		if err := <-end; !fault.Is(err, fault.NotFound) {
			t.Errorf("it ended with %v", err)
		}
		th.finish()
	})
}

// TestManyViewersOneFan: what is watched is read once, and only while it is watched.
func TestManyViewersOneFan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		th.broadcast(t.Context(), camera(20*time.Second), nil)
		time.Sleep(3100 * time.Millisecond)
		var all []*rtViewer
		for range 10 {
			v := newRTViewer()
			th.serve(v)
			all = append(all, v)
		}
		time.Sleep(2 * time.Second)
		if len(th.made()) != 2 {
			t.Errorf("%d fans for one picture and one sound", len(th.made()))
		}
		// Whoever joins gets the group of pictures at once, and no old sound.
		video, audio := all[0].sees()
		if p := video.list()[0]; !p.Key || p.Track.Duration(p.DTS) != 2*time.Second {
			t.Errorf("the picture begins at %v", p.Track.Duration(p.DTS))
		}
		if p := audio.list()[0]; p.Track.Duration(p.DTS) < 2700*time.Millisecond {
			t.Errorf("the sound begins at %v", p.Track.Duration(p.DTS))
		}
		for _, v := range all {
			v.leave()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if s, _ := th.hub.Stream("ls_1"); s.Snapshot().Readers != 0 {
			t.Error("somebody still reads")
		}
		th.finish()
	})
}

// TestConversion: what WebRTC cannot carry is made of it, and nothing more.
func TestConversion(t *testing.T) {
	opus := offer(media.RenditionOpus, media.Opus, 0, 96_000)
	realtime := offer(media.RenditionRealtime, media.H264, 720, 1_000_000)
	for _, tt := range []struct {
		name         string
		source       mediatest.Options
		reorders     bool
		viewer       *rtViewer
		video, audio string // rendition names
		codec        media.Codec
	}{
		{"as it comes", camera(0), false, newRTViewer(), "", "", media.H264},
		{"B-frames", camera(0), true, newRTViewer(), "realtime", "", media.H264},
		{"AAC", mediatest.Options{}, false, newRTViewer(), "", "opus", media.H264},
		{"HEVC to one who has none", mediatest.Options{Video: media.HEVC}, false, newRTViewer(), "realtime", "opus", media.H264},
		{"HEVC to one who has it", mediatest.Options{Video: media.HEVC}, false, newRTViewer(media.H264, media.HEVC, media.Opus), "", "opus", media.HEVC},
		{"VP9 to one who has it", mediatest.Options{Video: media.VP9, Audio: media.Opus}, false, newRTViewer(media.H264, media.VP9, media.Opus), "", "", media.VP9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.viewer.done = make(chan struct{}) // of this bubble
				th := newTheatre(t, opus, realtime)
				th.ladder.reorders = tt.reorders
				tt.source.Duration = 30 * time.Second
				th.broadcast(t.Context(), tt.source, nil)
				time.Sleep(7 * time.Second)
				end := th.serve(tt.viewer)
				time.Sleep(5 * time.Second)
				video, audio := tt.viewer.sees()
				if tt.viewer.got()[0] != tt.codec || video == nil || audio == nil || video.rendition() != tt.video || audio.rendition() != tt.audio {
					t.Errorf("%v: picture %q, sound %q", tt.viewer.got(), tt.viewer.picture(), audio.rendition())
				}
				wants := th.ladder.wanted("realtime") + th.ladder.wanted("opus")
				if none := tt.video == "" && tt.audio == ""; none != (wants == 0) {
					t.Errorf("%d wishes", wants)
				}
				tt.viewer.leave()
				t.Log(<-end)
				wants = th.ladder.wanted("realtime") + th.ladder.wanted("opus")
				time.Sleep(5 * time.Second)
				if th.ladder.wanted("realtime")+th.ladder.wanted("opus") != wants {
					t.Error("it is wanted still when nobody watches")
				}
				th.finish()
			})
		})
	}
}

// TestLayersFollowTheWay: down when the way is too narrow, up when it has been calm.
func TestLayersFollowTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, offer("480p", media.H264, 480, 500_000), offer("360p", media.H264, 360, 200_000))
		th.broadcast(t.Context(), camera(2*time.Minute), nil)
		time.Sleep(7 * time.Second)
		v := newRTViewer()
		end := th.serve(v)
		time.Sleep(5 * time.Second)
		if v.picture() != "" {
			t.Fatalf("it begins with %q", v.picture())
		}
		source, _ := v.sees()
		v.set(func(v *rtViewer) { v.estimate = Estimate{Bitrate: 700_000} })
		time.Sleep(1700 * time.Millisecond)
		narrow, _ := v.sees()
		if narrow == source {
			t.Fatal("it was not taken to a smaller picture")
		}
		// The picture before goes on until the next one has begun.
		if source.isClosed() {
			t.Error("the picture before ended at once")
		}
		time.Sleep(4 * time.Second)
		if v.picture() != "480p" || !source.isClosed() {
			t.Errorf("it is sent %q, the source's fan is closed: %v", v.picture(), source.isClosed())
		}
		before := th.ladder.wanted("480p")
		time.Sleep(4 * time.Second)
		if n := th.ladder.wanted("480p") - before; n < 6 || n > 10 {
			t.Errorf("it was wanted %d times in 4 s", n)
		}
		v.set(func(v *rtViewer) { v.estimate = Estimate{Bitrate: 3_000_000} })
		time.Sleep(9 * time.Second)
		if v.picture() != "" {
			t.Errorf("after calm it is sent %q", v.picture())
		}
		v.set(func(v *rtViewer) { v.estimate = Estimate{Loss: 0.3} })
		time.Sleep(10 * time.Second)
		v.set(func(v *rtViewer) { v.estimate = Estimate{} })
		if v.picture() != "360p" {
			t.Errorf("with loss it is sent %q", v.picture())
		}
		v.leave()
		t.Log(<-end)
		if v.misused != "" {
			t.Error(v.misused)
		}
		time.Sleep(2 * time.Minute)
		th.finish()
	})
}

// TestWishes: a viewer may ask for less, for no picture, and for what it had again.
func TestWishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, offer("480p", media.H264, 480, 500_000), offer("360p", media.H264, 360, 200_000), offer("full", media.H264, 540, 600_000))
		th.ladder.refuses["full"] = fault.New(fault.TooMany, "encode", "", "all cores are busy", "")
		th.broadcast(t.Context(), camera(time.Minute), nil)
		time.Sleep(3 * time.Second)
		v := newRTViewer()
		end := th.serve(v)
		for _, tt := range []struct{ wish, picture string }{
			{"480p", "480p"}, {"source", ""}, {"480p", "480p"}, {"audio", "none"}, {"", ""}, {"what", ""}, {"360p", "360p"},
			{"full", "480p"}, // the next that can be had
		} {
			v.set(func(v *rtViewer) { v.wish = tt.wish })
			time.Sleep(5 * time.Second)
			if v.picture() != tt.picture {
				t.Errorf("who wishes %q sees %q", tt.wish, v.picture())
			}
			if _, audio := v.sees(); audio == nil {
				t.Errorf("who wishes %q hears nothing", tt.wish)
			}
		}
		v.leave()
		t.Log(<-end)
		time.Sleep(time.Minute)
		th.finish()
	})
}

// TestWhatCannotBeHad: the reason is told, at the door or later, if there is no other way.
func TestWhatCannotBeHad(t *testing.T) {
	full := fault.New(fault.TooMany, "encode", "realtime", "all cores that may encode are busy", "")
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, offer("realtime", media.H264, 720, 1_000_000), offer("480p", media.H264, 480, 500_000))
		th.ladder.reorders = true
		th.broadcast(t.Context(), camera(2*time.Minute), nil)
		time.Sleep(7 * time.Second)
		th.ladder.change(func(l *ladder) { l.refuses["realtime"], l.refuses["480p"] = full, full })
		v := newRTViewer()
		if err := th.Serve(t.Context(), v); !fault.Is(err, fault.TooMany) || !errors.Is(err, full) || !errors.Is(v.rejected, full) {
			t.Errorf("refused with %v", err)
		}
		// What is smaller runs.
		th.ladder.change(func(l *ladder) { delete(l.refuses, "480p") })
		v = newRTViewer()
		end := th.serve(v)
		time.Sleep(5 * time.Second)
		if v.picture() != "480p" {
			t.Errorf("it is sent %q", v.picture())
		}
		// Then nothing does any more.
		th.ladder.change(func(l *ladder) { l.refuses["480p"] = full })
		if err := <-end; !errors.Is(err, full) || !errors.Is(v.reason, full) {
			t.Errorf("it ended with %v", err)
		}
		// A player that takes nothing of it is told so at the door.
		th.ladder.change(func(l *ladder) { l.offers = nil })
		time.Sleep(time.Second)
		for _, v := range []*rtViewer{newRTViewer(media.VP8, media.Opus), newRTViewer(media.H264), newRTViewer(media.AAC)} {
			if err := th.Serve(t.Context(), v); !fault.Is(err, fault.Unsupported) || v.rejected == nil {
				t.Errorf("a player of %v: %v", v.codecs, err)
			}
		}
		if err := th.Serve(t.Context(), &rtViewer{id: "pb_none"}); !fault.Is(err, fault.NotFound) {
			t.Errorf("an unknown playback id: %v", err)
		}
		time.Sleep(2 * time.Minute)
		th.finish()
	})
}

// TestNothingComes: an encoder that makes nothing is as good as none.
func TestNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, offer("realtime", media.H264, 720, 1_000_000))
		th.ladder.reorders, th.ladder.running["realtime"] = true, true // so they say
		th.broadcast(t.Context(), camera(2*time.Minute), nil)
		time.Sleep(7 * time.Second)
		v, begun := newRTViewer(), time.Now()
		if err := th.Serve(t.Context(), v); !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "no picture came") {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(begun); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(2 * time.Minute)
		th.finish()
	})
}

// TestSlowServer: viewers of a feed that falls behind go to a smaller one, and are let go
// when there is none.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		th.pause = 60 * time.Millisecond
		th.broadcast(t.Context(), camera(2*time.Minute), nil)
		time.Sleep(7 * time.Second)
		v := newRTViewer()
		if err := th.Serve(t.Context(), v); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cannot keep up") {
			t.Errorf("it ended with %v", err)
		}
		time.Sleep(2 * time.Minute)
		th.finish()
	})
}

// TestBursts: who publishes over a way that stops and goes is no reason to let viewers go.
func TestBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		th.bursts, th.pause = 2*time.Second, time.Millisecond // which lets a whole burst come before the next is read
		o := camera(time.Minute)
		o.GOP = 10
		th.broadcast(t.Context(), o, nil)
		time.Sleep(3 * time.Second)
		v := newRTViewer()
		end := th.serve(v)
		time.Sleep(time.Minute)
		if v.closed {
			t.Errorf("it was let go: %v", v.reason)
		}
		if n := testutil.ToFloat64(th.lagged); n < 10 {
			t.Errorf("the reader jumped %v times, which proves nothing", n)
		}
		v.leave()
		t.Log(<-end)
		th.finish()
	})
}

// TestPublishersChange: viewers stay with one who sends the same codec, and are told why
// they cannot with one who does not.
func TestPublishersChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		v := newRTViewer()
		end := th.serve(v)
		next := func(o mediatest.Options) {
			pub, err := th.hub.Publish("ls_1", hub.PublishOptions{})
			if err != nil {
				t.Fatal(err)
			}
			th.wait.Go(func() { th.send(t.Context(), pub, o, nil) })
			time.Sleep(7 * time.Second)
		}
		next(camera(time.Minute))
		first, _ := v.sees()
		next(camera(time.Minute))
		if second, _ := v.sees(); second != first || second == nil {
			t.Error("the fan was changed by a takeover")
		}
		n := len(first.list())
		next(mediatest.Options{Duration: 20 * time.Second, Video: media.HEVC, Audio: media.Opus})
		if err := <-end; !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "HEVC") {
			t.Errorf("it ended with %v", err)
		}
		for _, p := range first.list()[n:] {
			if p.Track.Codec != media.H264 {
				t.Fatal("it was sent HEVC")
			}
		}
		th.hub.Close(nil)
		th.finish()
	})
}
