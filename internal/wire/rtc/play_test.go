package rtc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

var shown = mediatest.Options{Audio: media.Opus, Width: 640, Height: 360, GOP: 30}

// pictures takes H.264 out of packets: Annex B, a picture an entry. All must be there.
func pictures(t *testing.T, packets []*rtp.Packet) (out [][]byte, times []uint32) {
	t.Helper()
	packets = slices.Clone(packets)
	slices.SortStableFunc(packets, func(a, b *rtp.Packet) int {
		return cmp.Compare(int16(a.SequenceNumber-packets[0].SequenceNumber), int16(b.SequenceNumber-packets[0].SequenceNumber))
	})
	packets = slices.CompactFunc(packets, func(a, b *rtp.Packet) bool { return a.SequenceNumber == b.SequenceNumber })
	d := &codecs.H264Packet{}
	var picture []byte
	for i, p := range packets {
		if i > 0 && p.SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("packet %d of %d has number %d after %d", i, len(packets), p.SequenceNumber, packets[i-1].SequenceNumber)
		}
		b, err := d.Unmarshal(p.Payload)
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		picture = append(picture, b...)
		if p.Marker {
			out, times = append(out, picture), append(times, p.Timestamp)
			picture = nil
		}
	}
	return out, times
}

func (w *watcher) packets() (video, audio []*rtp.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got["video"]), slices.Clone(w.got["audio"])
}

// inOrder checks that the times of pictures grow, by half a second at most.
func inOrder(t *testing.T, times []uint32) {
	t.Helper()
	for i := 1; i < len(times); i++ {
		if step := int32(times[i] - times[i-1]); step <= 0 || step > 45000 {
			t.Errorf("picture %d comes %d ticks after the one before", i, step)
		}
	}
}

func TestViewerSeesPictureAndSound(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, shown)
	w := newWatcher(t, watcherOptions{}).watch(h)
	w.wait("two seconds of media", func(v, a []*rtp.Packet) bool { return len(v) > 80 && len(a) > 100 })
	video, audio := w.packets()
	seen, times := pictures(t, video)
	if !bytes.Contains(seen[0], []byte{0, 0, 0, 1, 0x67}) {
		t.Errorf("the first picture has no parameter sets: %x", seen[0][:min(len(seen[0]), 40)])
	}
	inOrder(t, times)
	for i := 1; i < len(audio); i++ {
		if step := audio[i].Timestamp - audio[i-1].Timestamp; step == 0 || step%960 != 0 || audio[i].SequenceNumber != audio[i-1].SequenceNumber+1 {
			t.Errorf("sound %d comes %d ticks after the one before, as number %d after %d", i, step, audio[i].SequenceNumber, audio[i-1].SequenceNumber)
		}
	}
	r := st.request(t)
	if a := h.ask(t, http.MethodDelete, w.location, ""); a.status != http.StatusOK {
		t.Errorf("DELETE was answered with %d %s", a.status, a.body)
	}
	select {
	case <-w.closed:
	case <-time.NewTimer(15 * time.Second).C:
		t.Error("DELETE did not close the connection")
	}
	<-r.Done()
	if err := r.Err(); !errors.Is(err, io.EOF) {
		t.Errorf("the session ended with %v", err)
	}
	if l := r.Link(); l.Packets == nil || r.Protocol() != "whep" {
		t.Errorf("the link is %+v", l)
	}
	if a := h.ask(t, http.MethodDelete, w.location, ""); a.status != http.StatusNotFound {
		t.Errorf("a second DELETE was answered with %d", a.status)
	}
}

// Sound and picture of one moment carry timestamps that their reports put at one moment.
func TestReportsAlignSoundAndPicture(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, shown)
	w := newWatcher(t, watcherOptions{}).watch(h)
	w.wait("reports of both", func(v, _ []*rtp.Packet) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(v) > 0 && len(w.reports["video"]) > 0 && len(w.reports["audio"]) > 0
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	v, a := w.reports["video"][0], w.reports["audio"][0]
	// The wall clock that a timestamp of each stands for, in seconds.
	clock := func(sr *rtcp.SenderReport, ts uint32, rate float64) float64 {
		return float64(sr.NTPTime>>32) + float64(sr.NTPTime&0xffffffff)/(1<<32) + float64(int32(ts-sr.RTPTime))/rate
	}
	now := float64(time.Now().Unix() + 2208988800)
	for kind, at := range map[string]float64{
		"video": clock(v, w.got["video"][len(w.got["video"])-1].Timestamp, 90000),
		"audio": clock(a, w.got["audio"][len(w.got["audio"])-1].Timestamp, 48000),
	} {
		if d := now - at; d < -2 || d > 8 {
			t.Errorf("the newest %s is told to be %.3f s old", kind, d)
		}
	}
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	for name, rtx := range map[string]bool{"repetitions of their own": true, "as they were": false} {
		t.Run(name, func(t *testing.T) {
			st := newStation()
			h := serve(t, testConfig(), st)
			o := shown
			o.FrameSize = 4000
			show(t, h, st, o)
			var n, dropped atomic.Int32
			options := watcherOptions{drop: func(b []byte) bool {
				if len(b) < 300 || b[0]>>6 != 2 || n.Add(1)%10 != 5 {
					return false
				}
				dropped.Add(1)
				return true
			}}
			// As browsers have it; the library's own window is 64 packets.
			options.setting = func(s *webrtc.SettingEngine) { s.SetSRTPReplayProtectionWindow(1024) }
			if !rtx {
				options.codecs = func(m *webrtc.MediaEngine) error {
					return errors.Join(m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
						MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "packetization-mode=1;profile-level-id=42e01f",
						RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}}, PayloadType: 96}, webrtc.RTPCodecTypeVideo),
						m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
							MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, PayloadType: 111}, webrtc.RTPCodecTypeAudio))
				}
			}
			w := newWatcher(t, options).watch(h)
			if strings.Contains(w.answer, "FID") != rtx {
				t.Errorf("the answer is\n%s", w.answer)
			}
			w.wait("media", func(v, _ []*rtp.Packet) bool { return len(v) > 250 && dropped.Load() > 10 })
			w.wait("all packets", func(v, _ []*rtp.Packet) bool {
				have := map[uint16]bool{}
				for _, p := range v {
					have[p.SequenceNumber] = true
				}
				for i := range 200 {
					if !have[v[0].SequenceNumber+uint16(i)] {
						return false
					}
				}
				return true
			})
			video, _ := w.packets()
			_, times := pictures(t, slices.DeleteFunc(video, func(p *rtp.Packet) bool { return p.SequenceNumber-video[0].SequenceNumber >= 200 }))
			inOrder(t, times)
			if again := h.count(t, "onair_webrtc_play_repaired_packets_total", ""); again == 0 {
				t.Error("nothing was sent again")
			}
		})
	}
}

// A viewer that comes in the middle of a group of pictures begins with its beginning.
func TestLateViewerBeginsAtOnce(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	o := shown
	o.GOP = 100000 // only one key frame
	show(t, h, st, o)
	first := newWatcher(t, watcherOptions{}).watch(h)
	first.wait("a second of media", func(v, _ []*rtp.Packet) bool { return len(v) > 40 })
	w := newWatcher(t, watcherOptions{}).watch(h)
	w.wait("media", func(v, _ []*rtp.Packet) bool { return len(v) > 80 })
	video, _ := w.packets()
	seen, times := pictures(t, video)
	if !bytes.Contains(seen[0], []byte{0, 0, 0, 1, 0x67}) {
		t.Errorf("the first picture is no key frame: %x", seen[0][:min(len(seen[0]), 40)])
	}
	inOrder(t, times)
	replayed := 0
	for i := 1; i < len(times); i++ {
		if times[i]-times[i-1] == 90 {
			replayed++
		}
	}
	if replayed < 20 {
		t.Errorf("%d pictures were replayed", replayed)
	}
}

func TestChangeOfFeedGoesOn(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, shown)
	small := shown
	small.Width, small.Height = 320, 180
	other := h.NewFan(FanOptions{})
	feed(t, st, small, other, nil)
	w := newWatcher(t, watcherOptions{}).watch(h)
	r := st.request(t)
	next := 40
	for i := range 4 {
		w.wait("media", func(v, _ []*rtp.Packet) bool { return len(v) > next })
		if i%2 == 0 {
			r.Watch(other, st.audio)
		} else {
			r.Watch(st.video, st.audio)
		}
		next += 80
	}
	w.wait("media", func(v, _ []*rtp.Packet) bool { return len(v) > next })
	video, audio := w.packets()
	seen, times := pictures(t, video)
	inOrder(t, times)
	sets := map[string]bool{}
	for _, p := range seen {
		if i := bytes.Index(p, []byte{0, 0, 0, 1, 0x67}); i >= 0 {
			sets[string(p[i:i+24])] = true
		}
	}
	if len(sets) != 2 {
		t.Errorf("parameter sets of %d feeds came", len(sets))
	}
	for i := 1; i < len(audio); i++ {
		if audio[i].SequenceNumber != audio[i-1].SequenceNumber+1 {
			t.Errorf("sound %d has number %d after %d", i, audio[i].SequenceNumber, audio[i-1].SequenceNumber)
		}
	}
}

func TestViewerOverTCP(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, shown)
	w := newWatcher(t, watcherOptions{setting: func(s *webrtc.SettingEngine) {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}}).watch(h)
	w.wait("media", func(v, a []*rtp.Packet) bool { return len(v) > 80 && len(a) > 80 })
	video, _ := w.packets()
	_, times := pictures(t, video)
	inOrder(t, times)
	if n := h.count(t, "onair_webrtc_tcp_connections", ""); n < 1 {
		t.Errorf("there are %v TCP connections", n)
	}
}

func TestViewerWaitsForTheStream(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	w := newWatcher(t, watcherOptions{}).watch(h)
	show(t, h, st, shown)
	r := st.request(t)
	r.Watch(st.video, st.audio)
	w.wait("media", func(v, a []*rtp.Packet) bool { return len(v) > 20 && len(a) > 20 })
	r.Close(fault.New(fault.Unavailable, "watch", "", "enough", ""))
	select {
	case <-w.closed:
	case <-time.NewTimer(15 * time.Second).C:
		t.Error("Close did not close the connection")
	}
	<-r.Done()
	if err := r.Err(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "enough") {
		t.Errorf("the session ended with %v", err)
	}
}

// Feedback that comes in storms (W13) asks for few key frames, and repeats little.
func TestW13FeedbackOfViewers(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	o := shown
	o.GOP = 100000
	show(t, h, st, o)
	w := newWatcher(t, watcherOptions{}).watch(h)
	w.wait("media", func(v, _ []*rtp.Packet) bool { return len(v) > 10 })
	w.mu.Lock()
	ssrc := uint32(w.tracks["video"].SSRC())
	newest := w.got["video"][len(w.got["video"])-1].SequenceNumber
	w.mu.Unlock()
	var all []rtcp.NackPair
	for i := range 60 {
		all = append(all, rtcp.NackPair{PacketID: newest - uint16(i*17), LostPackets: 0xffff})
	}
	begun := time.Now()
	for range 500 {
		if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc},
			&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: all}}); err != nil {
			t.Fatal(err)
		}
	}
	video, _ := w.packets()
	w.wait("media afterwards", func(v, _ []*rtp.Packet) bool { return len(v) > len(video)+30 })
	seconds := time.Since(begun).Seconds()
	if n := float64(st.keys.Load()); n > seconds+2 {
		t.Errorf("%v key frames were asked for in %.1f s", n, seconds)
	}
	if n, most := h.count(t, "onair_webrtc_play_repaired_packets_total", ""), 400+seconds*200; n > most {
		t.Errorf("%v packets were repeated in %.1f s", n, seconds)
	}
}

func TestW2CertificateOfViewers(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, shown)
	w := newWatcher(t, watcherOptions{})
	offer := w.offer()
	i := strings.Index(offer, "a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
	flipped := "00"
	if offer[i:i+2] == "00" {
		flipped = "FF"
	}
	offer = offer[:i] + flipped + offer[i+2:]
	w.post(h, offer)
	r := st.request(t)
	select {
	case <-r.Done():
	case <-time.NewTimer(15 * time.Second).C:
		t.Fatal("the session goes on")
	}
	if err := r.Err(); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("the session ended with %v", err)
	}
	if video, _ := w.packets(); len(video) > 0 {
		t.Errorf("%d packets came", len(video))
	}
}

// forged makes a check with the right name and the wrong password.
func forged(ufrag string) []byte {
	name := ufrag + ":remote"
	b := make([]byte, 20, 64)
	binary.BigEndian.PutUint16(b, 1)
	binary.BigEndian.PutUint32(b[4:], 0x2112a442)
	b = binary.BigEndian.AppendUint16(b, 6)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 8), 20), make([]byte, 20)...)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 0x25), 0)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	return b
}

func TestW1ForgedChecksOfViewers(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, shown)
	w := newWatcher(t, watcherOptions{}).watch(h)
	c := stranger(t, h)
	if _, err := c.Write(forged(lineOf(w.answer, "a=ice-ufrag:"))); err != nil {
		t.Fatal(err)
	}
	video, _ := w.packets()
	w.wait("media afterwards", func(v, _ []*rtp.Packet) bool { return len(v) > len(video)+30 })
	if n := h.count(t, "onair_webrtc_play_bad_checks_total", ""); n != 1 {
		t.Errorf("%v checks were not authentic", n)
	}
	if n := hears(t, c); n > 0 {
		t.Errorf("%d bytes were sent to a stranger", n)
	}
}

// Viewers that never connect cost little, and not for long (W7).
func TestW7AbandonedViewers(t *testing.T) {
	st := newStation()
	cfg := testConfig()
	cfg.ConnectTimeout = 3 * time.Second
	cfg.MaxViewersPerAddress = 20
	h := serve(t, cfg, st)
	offer := newWatcher(t, watcherOptions{}).offer()
	refused := 0
	for range 30 {
		switch a := h.ask(t, http.MethodPost, "/whep/"+goodPlayback, offer, "Content-Type", typeSDP); a.status {
		case http.StatusCreated:
		case http.StatusTooManyRequests:
			refused++
		default:
			t.Fatalf("answered with %d %s", a.status, a.body)
		}
	}
	if refused == 0 {
		t.Error("30 viewers of one address were let in")
	}
	st.mu.Lock()
	requests := slices.Clone(st.requests)
	st.mu.Unlock()
	for _, r := range requests {
		select {
		case <-r.Done():
		case <-time.NewTimer(15 * time.Second).C:
			t.Fatal("a session that nobody connected to goes on")
		}
		if err := r.Err(); fault.KindOf(err) != fault.Timeout {
			t.Errorf("it ended with %v", err)
		}
	}
}
