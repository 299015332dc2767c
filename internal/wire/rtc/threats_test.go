package rtc

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"onair/internal/fault"
	"onair/internal/media"
)

// The tests TestW… are rows of a list of threats. W10 (TURN as a relay into the network)
// cannot happen: there is no TURN server, and an ICE-lite agent sends nothing to an
// address that it was not asked from. Those of viewers are in play_test.go.

// stranger is a socket beside the session.
func stranger(t *testing.T, h *host) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, h.Addr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hears counts the bytes that come back within a moment.
func hears(t *testing.T, c *net.UDPConn) int {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	total := 0
	for {
		n, err := c.Read(buf)
		if err != nil {
			return total
		}
		total += n
	}
}

// live publishes and returns once media came, with the stage to go on with.
func live(t *testing.T, st *station, h *host, o senderOptions) (*sender, *stage) {
	t.Helper()
	s := newSender(t, o)
	stage := newStage(ordinary, s.track(webrtc.MimeTypeH264, "v"), s.track(webrtc.MimeTypeOpus, "a"))
	s.publish(h)
	begun := time.Now()
	stage.play(t, func() bool { return time.Since(begun) > 1300*time.Millisecond })
	st.wait(t, "media", func(p []*media.Packet) bool { return len(of(p, 1)) > 10 })
	return s, stage
}

// goesOn fails unless media still comes.
func goesOn(t *testing.T, st *station, stage *stage) {
	t.Helper()
	before := len(st.wait(t, "media", func(p []*media.Packet) bool { return len(p) > 0 }))
	begun := time.Now()
	stage.gen = newStage(ordinary, nil, nil).gen
	stage.play(t, func() bool { return time.Since(begun) > 700*time.Millisecond })
	st.wait(t, "media to go on", func(p []*media.Packet) bool { return len(of(p[before:], 2)) > 10 })
}

func TestW1ForgedChecksAreIgnored(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s, stage := live(t, st, h, senderOptions{})
	user := lineOf(s.answer, "a=ice-ufrag:") + ":" + "abcd"
	c := stranger(t, h)
	for _, integrity := range []string{"", "wrong-password-wrong-password"} {
		attributes := []stun.Setter{stun.BindingRequest, stun.TransactionID, stun.NewUsername(user), stun.RawAttribute{Type: stun.AttrUseCandidate}}
		if integrity != "" {
			attributes = append(attributes, stun.NewShortTermIntegrity(integrity))
		}
		m, err := stun.Build(append(attributes, stun.Fingerprint)...)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := c.Write(m.Raw); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := hears(t, c); n > 0 {
		t.Errorf("%d bytes were answered", n)
	}
	goesOn(t, st, stage)
}

func TestW2OtherCertificateThanAnnounced(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s := newSender(t, senderOptions{})
	stage := newStage(ordinary, s.track(webrtc.MimeTypeH264, "v"), s.track(webrtc.MimeTypeOpus, "a"))
	offer := s.offer()
	announced := lineOf(offer, "a=fingerprint:")
	other := announced[:len(announced)-2] + map[bool]string{true: "00", false: "01"}[!strings.HasSuffix(announced, "00")]
	begun := time.Now()
	s.post(h, strings.ReplaceAll(offer, announced, other))
	stage.play(t, func() bool { return time.Since(begun) > time.Second })
	if err := st.waitEnd(t); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("ended with %v after %v", err, time.Since(begun))
	}
	if len(st.packets) > 0 {
		t.Errorf("%d packets came of a stranger", len(st.packets))
	}
}

// hello is the beginning of a DTLS ClientHello.
var hello = append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 28, 0xfe, 0xfd}, make([]byte, 26)...)

func TestW3ForeignClientHellosDisturbNobody(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	c := stranger(t, h)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := c.Write(hello); err != nil {
					return
				}
				<-time.NewTimer(200 * time.Microsecond).C
			}
		}
	}()
	for range 5 {
		s := newSender(t, senderOptions{})
		s.track(webrtc.MimeTypeOpus, "a")
		s.publish(h)
		s.close()
		if err := st.waitEnd(t); err == nil {
			t.Error("the session goes on")
		}
	}
	close(stop)
	<-done
}

// garbage are datagrams that look like something.
func garbage() [][]byte {
	out := [][]byte{{}, {0}, hello, hello[:13], hello[:20], []byte("GET / HTTP/1.1\r\n\r\n")}
	m := stun.MustBuild(stun.BindingRequest, stun.TransactionID, stun.NewUsername("nobody:here"))
	out = append(out, m.Raw, m.Raw[:20], m.Raw[:len(m.Raw)-1])
	long := append([]byte(nil), m.Raw...)
	long[2], long[3] = 0xff, 0xfc
	out = append(out, long)
	for _, first := range []byte{0, 1, 3, 20, 22, 23, 63, 64, 128, 191, 255} {
		for _, n := range []int{4, 12, 20, 100, 1400} {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(i*31) ^ first
			}
			b[0] = first
			out = append(out, b)
		}
	}
	return out
}

func TestW4GarbageOnThePort(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	_, stage := live(t, st, h, senderOptions{})
	before := runtime.NumGoroutine()
	udp := stranger(t, h)
	for range 200 {
		for _, b := range garbage() {
			// The kernel may drop some, which is the network's right.
			_, _ = udp.Write(b)
		}
	}
	for _, b := range garbage() {
		c, err := net.Dial("tcp", h.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
		c.Close()
	}
	if n := hears(t, udp); n > 0 {
		t.Errorf("%d bytes were answered", n)
	}
	goesOn(t, st, stage)
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+5; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		<-time.NewTimer(20 * time.Millisecond).C
	}
}

func TestW5MalformedRTPIsDropped(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	_, stage := live(t, st, h, senderOptions{})
	payloads := [][]byte{{}, {0}, {28}, {28, 0x80}, {28, 0x40, 1}, {24, 0xff, 0xff, 1}, {24, 0}, {25, 1, 2}, {31}, {0x7c, 0x85}, make([]byte, 1100)}
	for i := range 300 {
		_ = stage.video.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, Marker: i%3 == 0, SequenceNumber: stage.seqs[0].NextSequenceNumber(), Timestamp: uint32(i * 900),
				Padding: i%4 == 0, PaddingSize: byte(i)},
			Payload: payloads[i%len(payloads)],
		})
		_ = stage.audio.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: stage.seqs[1].NextSequenceNumber(), Timestamp: uint32(i * 777777)},
			Payload: payloads[(i+3)%len(payloads)],
		})
	}
	goesOn(t, st, stage)
}

func TestW6MediaOfStrangersIsNoMedia(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s, stage := live(t, st, h, senderOptions{})
	ssrc := uint32(s.pc.GetSenders()[0].GetParameters().Encodings[0].SSRC)
	c := stranger(t, h)
	before := *st.last.Link().Packets
	for i := range 200 {
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 102, SSRC: ssrc, SequenceNumber: uint16(i)}, Payload: make([]byte, 200)}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if n := hears(t, c); n > 0 {
		t.Errorf("%d bytes were answered", n)
	}
	if after := *st.last.Link().Packets; after > before+100 {
		t.Errorf("%d packets were counted before, %d after", before, after)
	}
	goesOn(t, st, stage)
}

func TestW7AbandonedOffers(t *testing.T) {
	cfg := testConfig()
	cfg.ConnectTimeout = 6 * time.Second // in which there are as many at a time as may be
	cfg.MaxPerAddress = 50
	st := newStation()
	h := serve(t, cfg, st)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	memory, goroutines := m.HeapAlloc, runtime.NumGoroutine()
	taken, refused := 0, 0
	for range 200 {
		switch a := h.ask(t, http.MethodPost, "/whip", obsOffer, sdpWith()...); a.status {
		case http.StatusCreated:
			taken++
		case http.StatusTooManyRequests:
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			refused++
		default:
			t.Fatalf("%d %s", a.status, a.body)
		}
		if taken == 50 && refused == 1 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			if each := (int64(m.HeapAlloc) - int64(memory)) / 50; each > 400<<10 {
				t.Errorf("an abandoned offer costs %d bytes", each)
			} else {
				t.Logf("an abandoned offer costs %d bytes", each)
			}
		}
	}
	if refused == 0 || h.count(t, "onair_webrtc_rejected_total", reasonAddress) != float64(refused) {
		t.Errorf("%d taken, %d refused", taken, refused)
	}
	for range taken {
		if err := st.waitEnd(t); !fault.Is(err, fault.Timeout) {
			t.Fatalf("an abandoned session ended with %v", err)
		}
	}
	begun := time.Now()
	for h.count(t, "onair_webrtc_sessions", "") > 0 || runtime.NumGoroutine() > goroutines+10 {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
		<-time.NewTimer(20 * time.Millisecond).C
	}
}

func TestW8Bombs(t *testing.T) {
	h := serve(t, testConfig(), newStation())
	section := obsOffer[strings.Index(obsOffer, "m=video"):]
	many := func(n int, line string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, line, i)
		}
		return b.String()
	}
	for name, offer := range map[string]string{
		"64 MB":           obsOffer + strings.Repeat("a=x:yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 1<<20),
		"1000 m-lines":    obsOffer + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 1000),
		"100 m-lines":     obsOffer + strings.Repeat(section, 100),
		"10000 candidate": obsOffer + many(10000, "a=candidate:%d 1 udp 1 192.0.2.1 5000 typ host\r\n"),
		"500 candidates":  obsOffer + many(500, "a=candidate:%d 1 udp 1 192.0.2.1 5000 typ host\r\n"),
		"10000 rids":      obsOffer + many(10000, "a=rid:%d send\r\n"),
		"1000 rids":       obsOffer + many(1000, "a=rid:%d send\r\n"),
		"a lone CR":       strings.ReplaceAll(obsOffer, "a=mid:1", "a=mid:1\ra=evil:1"),
		"NUL":             strings.ReplaceAll(obsOffer, "a=mid:1", "a=mid:1\x00"),
		"many formats":    strings.ReplaceAll(obsOffer, "SAVPF 96", "SAVPF 96"+many(15000, " %d")),
		"one long line":   obsOffer + "a=fmtp:96 " + strings.Repeat("x", 70000),
	} {
		begun := time.Now()
		a := h.ask(t, http.MethodPost, "/whip", offer, sdpWith()...)
		if a.status != http.StatusRequestEntityTooLarge && a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %d after %v", name, a.status, time.Since(begun))
		}
	}
	if n := h.count(t, "onair_webrtc_sessions", ""); n != 0 {
		t.Errorf("%v sessions are left", n)
	}
}

func TestW9NoAmplification(t *testing.T) {
	h := serve(t, testConfig(), newStation())
	// Whoever is named as a candidate hears nothing, nor does who knows no password.
	victim, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	offer := obsOffer + fmt.Sprintf("a=candidate:1 1 udp 2130706431 127.0.0.1 %d typ host\r\na=end-of-candidates\r\n", victim.LocalAddr().(*net.UDPAddr).Port)
	a := h.ask(t, http.MethodPost, "/whip", offer, sdpWith()...)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	c := stranger(t, h)
	m := stun.MustBuild(stun.BindingRequest, stun.TransactionID, stun.NewUsername(lineOf(a.body, "a=ice-ufrag:")+":Ulxy"), stun.Fingerprint)
	for range 50 {
		_, _ = c.Write(m.Raw)
		_, _ = c.Write(hello)
	}
	if n := hears(t, c); n > 0 {
		t.Errorf("a stranger was answered with %d bytes", n)
	}
	if n := hears(t, victim); n > 0 {
		t.Errorf("a third one was sent %d bytes", n)
	}
}

func TestW11SessionsBelongToTheirMaker(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	one := h.ask(t, http.MethodPost, "/whip", obsOffer, sdpWith()...).header.Get("Location")
	two := h.ask(t, http.MethodPost, "/whip/"+goodKey, obsOffer, "Content-Type", typeSDP).header.Get("Location")
	if one == two || len(one) < len(sessionPath)+26 {
		t.Errorf("sessions at %s and %s", one, two)
	}
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"DELETE", one, nil, 401},
		{"DELETE", one, []string{"Authorization", "Bearer other"}, 403},
		{"DELETE", one, []string{"Authorization", "Basic a2V5"}, 401},
		{"PATCH", one, []string{"Content-Type", typeFragment, "If-Match", "*"}, 401},
		{"PATCH", one, []string{"Content-Type", typeFragment, "If-Match", "*", "Authorization", "Bearer other"}, 403},
		{"DELETE", two, []string{"Authorization", "Bearer other"}, 403},
		{"DELETE", sessionPath + strings.Repeat("a", 26), auth(), 404},
		{"DELETE", one, auth(), 200},
		{"DELETE", two, nil, 200},
		{"DELETE", two, nil, 404},
	} {
		if a := h.ask(t, c.method, c.path, restart, c.header...); a.status != c.status {
			t.Errorf("%s %s %v: %d %s", c.method, c.path, c.header, a.status, a.body)
		}
	}
}

func TestW12EveryWayInAsksForTheKey(t *testing.T) {
	h := serve(t, testConfig(), newStation())
	for _, path := range []string{"/whip", "/whip/", "/whip/backup", "/whip/wrong", "/whip/backup/wrong", "/whip/session"} {
		for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Bearer"}, {"Authorization", "Bearer " + strings.Repeat("x", 600)}} {
			a := h.ask(t, http.MethodPost, path, obsOffer, append([]string{"Content-Type", typeSDP}, header...)...)
			if a.status != http.StatusUnauthorized {
				t.Errorf("POST %s %v: %d", path, header, a.status)
			}
		}
	}
}

func TestW13StormsOfKeyRequests(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s, stage := live(t, st, h, senderOptions{})
	before := s.asked()
	begun := time.Now()
	stage.play(t, func() bool {
		for range 100 {
			st.last.RequestKey()
		}
		return time.Since(begun) > 2*time.Second
	})
	took := time.Since(begun) // longer where the machine is busy
	if n := s.asked() - before; n < 1 || n > 2+int(took/minKeyRequest) {
		t.Errorf("in %v %d key frames were asked for", took, n)
	}
}
