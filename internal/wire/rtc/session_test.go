package rtc

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestLossOnTheWay loses one packet in twenty. With repetitions nothing is missing at the
// end; they come on a stream of their own (RFC 4588) or on the same one, as OBS sends them.
func TestLossOnTheWay(t *testing.T) {
	for name, codecs := range map[string]func(*webrtc.MediaEngine) error{
		"repetitions of their own": nil,
		"the same stream": func(m *webrtc.MediaEngine) error {
			return errors.Join(
				m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
					RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
				}, PayloadType: 96}, webrtc.RTPCodecTypeVideo),
				m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
				}, PayloadType: 111}, webrtc.RTPCodecTypeAudio))
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStation()
			h := serve(t, testConfig(), st)
			var mu sync.Mutex
			n, lost := 0, 0
			drop := func(p *rtp.Header) bool {
				mu.Lock()
				defer mu.Unlock()
				n++
				if p.PayloadType == 111 || n < 50 || n%20 != 0 {
					return false
				}
				lost++
				return true
			}
			s := newSender(t, senderOptions{drop: drop, codecs: codecs})
			stage := newStage(ordinary, s.track(webrtc.MimeTypeH264, "v"), s.track(webrtc.MimeTypeOpus, "a"))
			s.publish(h)
			begun := time.Now()
			stage.play(t, func() bool { return time.Since(begun) > 3*time.Second })
			st.wait(t, "the pictures", func(p []*media.Packet) bool { return len(of(p, 1)) >= 80 })
			packets := of(st.wait(t, "the pictures", func([]*media.Packet) bool { return true }), 1)
			for i := 1; i < len(packets); i++ {
				if step := packets[i].DTS - packets[i-1].DTS; step > 3200 {
					t.Errorf("%d ticks are missing before picture %d", step-3000, i)
				}
			}
			h.ask(t, http.MethodDelete, s.location, "", auth()...)
			if err := st.waitEnd(t); !errors.Is(err, io.EOF) {
				t.Errorf("ended with %v", err)
			}
			l := st.last.Link()
			if l.RTT == nil || *l.RTT <= 0 || *l.Retransmitted == 0 {
				t.Errorf("%d packets were lost: %+v", lost, l)
			}
			if got := h.count(t, "onair_webrtc_repaired_packets_total", ""); got == 0 {
				t.Error("nothing was counted as repaired")
			}
		})
	}
}

func TestSimulcastOverTheNetwork(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s := newSender(t, senderOptions{})
	audio := s.track(webrtc.MimeTypeOpus, "a")
	widths := map[string]int{"q": 320, "h": 640, "f": 1280}
	stages := map[string]*stage{}
	var first *webrtc.RTPSender
	for _, rid := range []string{"q", "h", "f"} {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "v", "stream", webrtc.WithRTPStreamID(rid))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			if first, err = s.pc.AddTrack(track); err != nil {
				t.Fatal(err)
			}
			s.readReports(first)
		} else if err := first.AddEncoding(track); err != nil {
			t.Fatal(err)
		}
		stages[rid] = newStage(mediatest.Options{NoAudio: true, Width: widths[rid], Height: widths[rid] / 2, GOP: 30, FrameSize: 600}, track, nil)
	}
	sound := newStage(mediatest.Options{NoVideo: true, Audio: media.Opus}, nil, audio)
	s.publish(h)
	if !strings.Contains(s.answer, "a=simulcast:recv") {
		t.Errorf("the answer has no simulcast:\n%s", s.answer)
	}
	extensions := map[string]uint8{}
	for _, e := range first.GetParameters().HeaderExtensions {
		extensions[e.URI] = uint8(e.ID)
	}
	var mid string
	for _, tr := range s.pc.GetTransceivers() {
		if tr.Sender() == first {
			mid = tr.Mid()
		}
	}
	begun := time.Now()
	frames := 0
	ticker := time.NewTicker(time.Second / 30)
	defer ticker.Stop()
	for time.Since(begun) < 3*time.Second {
		<-ticker.C
		for range 2 {
			sound.write(t, sound.gen.Next())
		}
		for rid, stage := range stages {
			p := stage.gen.Next()
			payloads := stage.pay.Payload(1100, annexB(t, p))
			for i, b := range payloads {
				q := &rtp.Packet{Header: rtp.Header{
					Version: 2, Marker: i == len(payloads)-1, SequenceNumber: stage.seqs[0].NextSequenceNumber(), Timestamp: uint32(p.PTS),
				}, Payload: b}
				if err := errors.Join(q.SetExtension(extensions[extMID], []byte(mid)), q.SetExtension(extensions[extRID], []byte(rid))); err != nil {
					t.Fatal(err)
				}
				if err := stage.video.WriteRTP(q); err != nil {
					t.Fatal(err)
				}
			}
		}
		frames++
	}
	packets := st.wait(t, "all layers", func(p []*media.Packet) bool {
		return len(of(p, 1)) > 40 && len(of(p, 3)) > 40 && len(of(p, 5)) > 40 && len(of(p, 2)) > 50
	})
	seen := map[int]bool{}
	for _, id := range []int{1, 3, 5} {
		seen[of(packets, id)[0].Track.Width] = true
	}
	if len(seen) != 3 || !seen[320] || !seen[640] || !seen[1280] {
		t.Errorf("layers of %v came", seen)
	}
	if n := len(st.last.Encoder()); n == 0 {
		t.Error("the encoder has no name")
	}
}

func TestOverTCP(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s := newSender(t, senderOptions{setting: func(set *webrtc.SettingEngine) {
		set.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		set.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	}})
	stage := newStage(ordinary, s.track(webrtc.MimeTypeH264, "v"), s.track(webrtc.MimeTypeOpus, "a"))
	s.publish(h)
	begun := time.Now()
	stage.play(t, func() bool { return time.Since(begun) > 1500*time.Millisecond })
	st.wait(t, "media over TCP", func(p []*media.Packet) bool { return len(of(p, 1)) > 20 })
	if h.count(t, "onair_webrtc_tcp_connections", "") == 0 {
		t.Error("no TCP connection is counted")
	}
}

func TestAClientThatLeavesAndOneThatIsLost(t *testing.T) {
	cfg := testConfig()
	cfg.LossTimeout = 2 * time.Second
	st := newStation()
	h := serve(t, cfg, st)
	s, _ := live(t, st, h, senderOptions{})
	if err := s.pc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.waitEnd(t); !errors.Is(err, io.EOF) {
		t.Errorf("a client that closed its connection ended with %v", err)
	}
	if a := h.ask(t, http.MethodGet, s.location, ""); a.status != http.StatusNotFound {
		t.Errorf("its session answers %d", a.status)
	}

	s, _ = live(t, st, h, senderOptions{})
	// Its datagrams do not come any more.
	begun := time.Now()
	s.cut.Store(true)
	err := st.waitEnd(t)
	if !fault.Is(err, fault.Unavailable) || time.Since(begun) > 6*time.Second {
		t.Errorf("a lost client ended with %v after %v", err, time.Since(begun))
	}
}

// TestManySessions connects and leaves again and again.
func TestManySessions(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	_, stage := live(t, st, h, senderOptions{})
	runtime.GC()
	before := runtime.NumGoroutine()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	memory := m.HeapAlloc
	const cycles = 40 // the program is held to 200
	for i := range cycles {
		s := newSender(t, senderOptions{})
		s.track(webrtc.MimeTypeH264, "v")
		s.track(webrtc.MimeTypeOpus, "a")
		s.publish(h)
		if i%2 == 0 {
			h.ask(t, http.MethodDelete, s.location, "", auth()...)
		}
		s.close()
		if err := st.waitEnd(t); !errors.Is(err, io.EOF) {
			t.Fatalf("session %d ended with %v", i, err)
		}
	}
	goesOn(t, st, stage)
	sessions := func() float64 { return h.count(t, "onair_webrtc_sessions", "") }
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+10 || sessions() > 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before; %v sessions are counted", runtime.NumGoroutine(), before, sessions())
		}
		<-time.NewTimer(20 * time.Millisecond).C
	}
	runtime.GC()
	runtime.ReadMemStats(&m)
	if more := int64(m.HeapAlloc) - int64(memory); more > 16<<20 {
		t.Errorf("%d bytes more are in use after %d sessions", more, cycles)
	}
	if n := sessions(); n != 1 {
		t.Errorf("%v sessions are counted", n)
	}
}
