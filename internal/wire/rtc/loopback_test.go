package rtc

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// stage writes generated media to the tracks of a sender, at the pace of the clock.
type stage struct {
	gen   *mediatest.Generator
	video *webrtc.TrackLocalStaticRTP
	audio *webrtc.TrackLocalStaticRTP
	seqs  [2]rtp.Sequencer
	pay   rtp.Payloader
	clock *punctual // is moved on by what is written, if there is one
}

// punctual is the clock of one who is never late with a packet, however busy the machine is:
// it stands at the one that was written last.
type punctual struct{ at atomic.Int64 }

func (c *punctual) set(at time.Time) { c.at.Store(at.UnixNano()) }
func (c *punctual) now() time.Time   { return time.Unix(0, c.at.Load()) }

func newStage(o mediatest.Options, video, audio *webrtc.TrackLocalStaticRTP) *stage {
	return &stage{gen: mediatest.NewGenerator(o), video: video, audio: audio,
		seqs: [2]rtp.Sequencer{rtp.NewFixedSequencer(65000), rtp.NewFixedSequencer(1)}, pay: &codecs.H264Payloader{}}
}

// play writes media until stop says so.
func (s *stage) play(t testing.TB, stop func() bool) {
	t.Helper()
	start := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !stop() {
		<-ticker.C
		for {
			p := s.gen.Next()
			at := time.Duration(p.DTS) * time.Second / time.Duration(p.Track.Timescale)
			if s.clock != nil {
				s.clock.set(start.Add(at))
			}
			s.write(t, p)
			if at > time.Since(start) {
				break
			}
		}
	}
}

func (s *stage) write(t testing.TB, p *media.Packet) {
	t.Helper()
	if p.Track.Kind() == media.Audio {
		s.send(t, s.audio, 1, uint32(p.DTS)+4000, [][]byte{p.Data})
		return
	}
	s.send(t, s.video, 0, uint32(p.PTS)+0xfffff000, s.pay.Payload(1180, annexB(t, p)))
}

func (s *stage) send(t testing.TB, track *webrtc.TrackLocalStaticRTP, n int, ts uint32, payloads [][]byte) {
	t.Helper()
	if track == nil {
		return
	}
	for i, b := range payloads {
		err := track.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: i == len(payloads)-1, SequenceNumber: s.seqs[n].NextSequenceNumber(), Timestamp: ts},
			Payload: b,
		})
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}
}

var ordinary = mediatest.Options{Audio: media.Opus, Width: 640, Height: 360, GOP: 30}

func TestBrowserLikePublisher(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	clock := new(punctual)
	s := newSender(t, senderOptions{now: clock.now})
	stage := newStage(ordinary, s.track(webrtc.MimeTypeH264, "v"), s.track(webrtc.MimeTypeOpus, "a"))
	stage.clock = clock
	s.publish(h)
	begun := time.Now()
	stage.play(t, func() bool { return time.Since(begun) > 2500*time.Millisecond })
	packets := st.wait(t, "video", func(p []*media.Packet) bool { return len(of(p, 1)) > 60 && len(of(p, 2)) > 100 })

	v, a := of(packets, 1)[0], of(packets, 2)[0]
	if !v.Key || v.Track.Width != 640 || v.Track.Height != 360 || v.Track.Codec != media.H264 || len(v.Track.Config) == 0 {
		t.Errorf("the first picture is %+v of %+v", v, v.Track)
	}
	if a.Track.CodecString == "" || a.Track.Channels != 2 || a.Duration != 960 {
		t.Errorf("the first sound is %+v of %+v", a, a.Track)
	}
	if skew := v.Track.Duration(v.PTS) - a.Track.Duration(a.PTS); skew > 20*time.Millisecond || skew < -20*time.Millisecond {
		t.Errorf("the first picture comes %v after the first sound", skew)
	}
	for _, id := range []int{1, 2} {
		q := of(packets, id)
		for i := 1; i < len(q); i++ {
			step := q[i].Track.Duration(q[i].DTS - q[i-1].DTS)
			if step < time.Millisecond || step > 60*time.Millisecond {
				t.Errorf("track %d steps by %v at %d", id, step, i)
			}
		}
	}
	if a := h.ask(t, http.MethodDelete, s.location, "", "Authorization", "Bearer "+goodKey); a.status != http.StatusOK {
		t.Errorf("DELETE was answered with %d %s", a.status, a.body)
	}
	if err := st.waitEnd(t); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	if a := h.ask(t, http.MethodDelete, s.location, "", "Authorization", "Bearer "+goodKey); a.status != http.StatusNotFound {
		t.Errorf("a second DELETE was answered with %d", a.status)
	}
	l := st.last.Link()
	if l.Packets == nil || *l.Packets == 0 || l.Jitter == nil || l.Bitrate == nil || l.RTT != nil {
		t.Errorf("the link is %+v", l)
	}
}
