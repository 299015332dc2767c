package rtc

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"onair/internal/fault"
	"onair/internal/media"
)

// obsOffer is as OBS offers: no candidates, no repetitions, one profile whatever is sent.
const obsOffer = "v=0\r\no=rtc 3767197920 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=group:LS 0 1\r\n" +
	"a=msid-semantic:WMS *\r\na=setup:actpass\r\na=ice-ufrag:Ulxy\r\na=ice-pwd:0123456789abcdefghijkl\r\na=ice-options:ice2,trickle\r\n" +
	"a=fingerprint:sha-256 6B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ssrc:11 cname:x\r\na=rtcp-mux\r\n" +
	"a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=ssrc:12 cname:x\r\na=rtcp-mux\r\n" +
	"a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n" +
	"a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n" +
	"a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n"

func auth(more ...string) []string {
	return append([]string{"Authorization", "Bearer " + goodKey}, more...)
}

func sdpWith(more ...string) []string { return auth(append(more, "Content-Type", typeSDP)...) }

func TestAnswer(t *testing.T) {
	cfg := testConfig()
	cfg.ICEServers = []string{"stun:stun.example.org:3478", "turn:u:p%3A@turn.example.org:3478?transport=udp"}
	cfg.Hosts = []string{"203.0.113.9", "2001:db8::1"}
	h := serve(t, cfg, newStation())
	a := h.ask(t, http.MethodPost, "/whip", obsOffer, sdpWith()...)
	if a.status != http.StatusCreated || a.header.Get("Content-Type") != typeSDP {
		t.Fatalf("%d %s", a.status, a.body)
	}
	location := a.header.Get("Location")
	if id := strings.TrimPrefix(location, "/whip/session/"); len(id) < 26 || strings.ContainsAny(id, "?/") {
		t.Errorf("the session is at %q", location)
	}
	if e := a.header.Get("ETag"); len(e) < 10 || e[0] != '"' {
		t.Errorf("the ETag is %q", e)
	}
	want := []string{
		`<stun:stun.example.org:3478>; rel="ice-server"`,
		`<turn:turn.example.org:3478?transport=udp>; rel="ice-server"; username="u"; credential="p:"; credential-type="password"`,
	}
	if got := a.header.Values("Link"); !slices.Equal(got, want) {
		t.Errorf("Link: %q", got)
	}
	for _, line := range []string{
		"a=ice-lite", "a=recvonly", "a=setup:passive", "a=rtcp-mux", "a=end-of-candidates", "a=rtpmap:96 H264/90000", "a=rtpmap:111 opus/48000/2",
		"a=rtcp-fb:96 nack pli", "stereo=1", "x-google-start-bitrate=2500", " 203.0.113.9 ", " 2001:db8::1 ", "tcptype passive",
	} {
		if !strings.Contains(a.body, line) {
			t.Errorf("the answer has no %q:\n%s", line, a.body)
		}
	}
	if strings.Contains(a.body, " 127.0.0.1 ") && strings.Contains(a.body, "a=candidate") && strings.Count(a.body, "typ host") != 8 {
		t.Errorf("the answer has other candidates:\n%s", a.body)
	}
	if strings.Contains(a.body, "sendrecv") || strings.Contains(a.body, "=sendonly") {
		t.Errorf("the answer sends:\n%s", a.body)
	}
}

func TestPreferredCodecComesFirst(t *testing.T) {
	engine := func(c *webrtc.MediaEngine) error { return c.RegisterDefaultCodecs() }
	for codec, want := range map[string]string{"h264": "H264/90000", "vp9": "VP9/90000", "av1": "AV1/90000", "vp8": "VP8/90000"} {
		cfg := testConfig()
		cfg.Codecs = append([]string{codec}, slices.DeleteFunc(slices.Clone(codecNames), func(n string) bool { return n == codec })...)
		h := serve(t, cfg, newStation())
		s := newSender(t, senderOptions{codecs: engine})
		s.track(webrtc.MimeTypeVP8, "v")
		s.post(h, s.offer())
		_, rest, _ := strings.Cut(s.answer, "m=video 9 UDP/TLS/RTP/SAVPF ")
		pt, _, _ := strings.Cut(rest, " ")
		if !strings.Contains(s.answer, "a=rtpmap:"+pt+" "+want) {
			t.Errorf("payload type %s is first, want %s:\n%s", pt, want, s.answer)
		}
	}
}

func TestOffersThatAreRefused(t *testing.T) {
	h := serve(t, testConfig(), newStation())
	swap := func(old, with string) string {
		if !strings.Contains(obsOffer, old) {
			t.Fatalf("no %q", old)
		}
		return strings.ReplaceAll(obsOffer, old, with)
	}
	video := obsOffer[strings.Index(obsOffer, "m=video"):]
	for _, c := range []struct {
		name, offer string
		status      int
		say         string
	}{
		{"nothing", "", 400, ""},
		{"no SDP", "hello", 400, ""},
		{"recvonly", swap("a=sendonly", "a=recvonly"), 422, "recvonly"},
		{"inactive", swap("a=sendonly", "a=inactive"), 422, "inactive"},
		{"two videos", swap("BUNDLE 0 1", "BUNDLE 0 1 2") + strings.ReplaceAll(video, "mid:1", "mid:2"), 422, "2 video"},
		{"the same mid", swap("a=mid:1", "a=mid:0"), 400, "mid"},
		{"not bundled", swap("a=group:BUNDLE 0 1\r\n", ""), 422, "bundle"},
		{"half bundled", swap("BUNDLE 0 1", "BUNDLE 0"), 422, "bundle"},
		{"no mux", swap("a=rtcp-mux\r\n", ""), 422, "rtcp-mux"},
		{"no mid", swap("a=mid:1\r\n", ""), 400, "mid"},
		{"switched off", swap("m=video 9", "m=video 0"), 422, "port 0"},
		{"no codec", swap("H264/90000", "H263/90000"), 422, "codec"},
		{"no sound codec", swap("opus/48000/2", "PCMU/8000"), 422, "Opus"},
		{"interleaved", swap("packetization-mode=1", "packetization-mode=2"), 422, "codec"},
		{"data", obsOffer + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n", 422, "application"},
		{"passive", swap("a=setup:actpass", "a=setup:passive"), 422, "setup"},
		{"no ufrag", swap("a=ice-ufrag:Ulxy\r\n", ""), 400, "ice"},
		{"short password", swap("0123456789abcdefghijkl", "0123"), 400, "short"},
		{"no fingerprint", swap("a=fingerprint:", "a=finger:"), 400, "fingerprint"},
		{"no DTLS", swap("UDP/TLS/RTP/SAVPF", "RTP/AVP"), 422, "SAVPF"},
		{"five layers", obsOffer + "a=rid:1 send\r\na=rid:2 send\r\na=rid:3 send\r\na=rid:4 send\r\na=rid:5 send\r\n", 413, "layers"},
		{"strange rid", obsOffer + "a=rid:<b> send\r\n", 400, "rid"},
		{"broken fingerprint", swap("sha-256 6B", "sha-257 6B"), 422, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.ask(t, http.MethodPost, "/whip", c.offer, sdpWith()...)
			if c.name == "broken fingerprint" && a.status == http.StatusCreated {
				return // the hash is looked at when the certificate comes
			}
			if a.status != c.status || !strings.Contains(a.body, c.say) || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s", a.status, a.body)
			}
			var p struct{ Type, Title, Detail, Code string }
			if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Detail == "" || p.Code == "" || p.Title == "" {
				t.Errorf("%v in %s", err, a.body)
			}
		})
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	h := serve(t, testConfig(), newStation())
	session := h.ask(t, http.MethodPost, "/whip", obsOffer, sdpWith()...).header.Get("Location")
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		wantHeader         string
		wantValue          string
	}{
		{"OPTIONS", "/whip", "", nil, 204, "Accept-Post", typeSDP},
		{"OPTIONS", "/whip", "", []string{"Origin", "http://a", "Access-Control-Request-Method", "POST"}, 204, "Access-Control-Allow-Methods", "POST, PATCH, DELETE, OPTIONS"},
		{"OPTIONS", "/whip/somebody", "", nil, 204, "Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match"},
		{"OPTIONS", session, "", nil, 204, "Accept-Patch", typeFragment},
		{"GET", "/whip", "", nil, 204, "", ""},
		{"HEAD", session, "", nil, 204, "", ""},
		{"GET", "/whip/session/nothing", "", nil, 404, "", ""},
		{"PUT", "/whip", "", nil, 405, "Allow", "OPTIONS, GET, HEAD, POST"},
		{"DELETE", "/whip", "", auth(), 405, "", ""},
		{"POST", session, obsOffer, sdpWith(), 405, "Allow", "OPTIONS, GET, HEAD, PATCH, DELETE"},
		{"POST", "/whip", obsOffer, auth("Content-Type", "text/plain"), 415, "Accept", typeSDP},
		{"POST", "/whip", obsOffer, auth(), 415, "", ""},
		{"POST", "/whip", obsOffer, auth("Content-Type", "Application/SDP; charset=utf-8"), 201, "Access-Control-Expose-Headers", "Location, ETag, Link, Retry-After"},
		{"POST", "/whip", obsOffer, []string{"Content-Type", typeSDP}, 401, "WWW-Authenticate", `Bearer realm="onair"`},
		{"POST", "/whip/" + goodKey, obsOffer, []string{"Content-Type", typeSDP}, 201, "Access-Control-Allow-Origin", "*"},
		{"POST", "/whip/backup", obsOffer, sdpWith(), 201, "", ""},
		{"POST", "/whip/backup/" + goodKey, obsOffer, []string{"Content-Type", typeSDP}, 201, "", ""},
		{"POST", "/whip/a/b/c", obsOffer, sdpWith(), 404, "", ""},
		{"POST", "/whipx", obsOffer, sdpWith(), 404, "", ""},
	} {
		a := h.ask(t, c.method, c.path, c.body, c.header...)
		if a.status != c.status || c.wantHeader != "" && a.header.Get(c.wantHeader) != c.wantValue {
			t.Errorf("%s %s: %d, %s %q: %s", c.method, c.path, a.status, c.wantHeader, a.header.Get(c.wantHeader), a.body)
		}
	}
}

func TestTargets(t *testing.T) {
	for path, want := range map[string]target{
		"/whip": {}, "/whip/": {}, "/whip/k": {key: "k"}, "/whip/backup": {backup: true}, "/whip/backup/k": {key: "k", backup: true},
		"/whip/session/i": {session: "i"}, "/whip/session": {key: "session"}, "/whip/a%2Fb": {key: "a/b"},
	} {
		if got, ok := targetOf(path); !ok || got != want {
			t.Errorf("%s is %+v, %v", path, got, ok)
		}
	}
}

func TestFaultsBecomeStatuses(t *testing.T) {
	for kind, want := range map[fault.Kind]int{
		fault.Unauthorized: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.Conflict: 409, fault.Disabled: 403, fault.Unsupported: 422,
		fault.TooMany: 429, fault.Unavailable: 503, fault.Internal: 500, fault.Timeout: 504,
	} {
		st := newStation()
		st.admit = func(*PublishRequest) error { return fault.New(kind, "publish", "", "a reason", "A hint") }
		h := serve(t, testConfig(), st)
		a := h.ask(t, http.MethodPost, "/whip", obsOffer, sdpWith()...)
		retry := want == 409 || want == 429 || want == 503 || want == 504
		if a.status != want || (a.header.Get("Retry-After") != "") != retry {
			t.Errorf("%s: %d, Retry-After %q", kind, a.status, a.header.Get("Retry-After"))
		}
		if strings.Contains(a.body, "a reason") == (kind == fault.Internal) {
			t.Errorf("%s: %s", kind, a.body)
		}
	}
}

const (
	trickle = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:Ulxy\r\na=ice-pwd:0123456789abcdefghijkl\r\n" +
		"a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host\r\na=candidate:2 1 udp 1 abc.local 5001 typ host\r\na=end-of-candidates\r\n"
	restart = "a=ice-ufrag:Wxyz\r\na=ice-pwd:ABCDEFGHIJKLMNOPQRSTUV\r\n"
)

func TestPatch(t *testing.T) {
	h := serve(t, testConfig(), newStation())
	made := h.ask(t, http.MethodPost, "/whip", obsOffer, sdpWith()...)
	path, tag := made.header.Get("Location"), made.header.Get("ETag")
	patch := func(body string, header ...string) answer {
		return h.ask(t, http.MethodPatch, path, body, auth(append([]string{"Content-Type", typeFragment}, header...)...)...)
	}
	for _, c := range []struct {
		name   string
		got    answer
		status int
	}{
		{"trickle", patch(trickle, "If-Match", tag), 204},
		{"no If-Match", patch(trickle), 428},
		{"stale", patch(trickle, "If-Match", `"stale"`), 412},
		{"wrong type", h.ask(t, http.MethodPatch, path, trickle, auth("Content-Type", typeSDP, "If-Match", tag)...), 415},
		{"nothing", patch("", "If-Match", tag), 400},
		{"garbage", patch("x", "If-Match", tag), 400},
		{"half a restart", patch("a=ice-ufrag:abcd\r\n", "If-Match", "*"), 400},
		{"no such session", h.ask(t, http.MethodPatch, "/whip/session/x", trickle, auth("Content-Type", typeFragment)...), 404},
	} {
		if c.got.status != c.status {
			t.Errorf("%s: %d %s", c.name, c.got.status, c.got.body)
		}
	}
	a := patch(restart, "If-Match", "*")
	next := a.header.Get("ETag")
	if a.status != http.StatusOK || next == "" || next == tag || a.header.Get("Content-Type") != typeFragment {
		t.Fatalf("the restart: %d, ETag %s, %s", a.status, next, a.body)
	}
	f, err := parseFragment([]byte(a.body))
	if err != nil || f.ufrag == "" || f.candidates == 0 || !f.end || strings.Contains(made.body, f.ufrag) {
		t.Errorf("%v: %+v in %s", err, f, a.body)
	}
	if a := patch(trickle, "If-Match", tag); a.status != http.StatusPreconditionFailed {
		t.Errorf("the old ETag: %d", a.status)
	}
}

func TestICERestartKeepsTheMedia(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	s := newSender(t, senderOptions{})
	stage := newStage(ordinary, s.track(webrtc.MimeTypeH264, "v"), s.track(webrtc.MimeTypeOpus, "a"))
	s.publish(h)
	begun := time.Now()
	stage.play(t, func() bool { return time.Since(begun) > 500*time.Millisecond })

	offer, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	ufrag, pwd := lineOf(offer.SDP, "a=ice-ufrag:"), lineOf(offer.SDP, "a=ice-pwd:")
	a := h.ask(t, http.MethodPatch, s.location, "a=ice-ufrag:"+ufrag+"\r\na=ice-pwd:"+pwd+"\r\n", auth("If-Match", "*", "Content-Type", typeFragment)...)
	f, err := parseFragment([]byte(a.body))
	if a.status != http.StatusOK || err != nil {
		t.Fatalf("%d %v %s", a.status, err, a.body)
	}
	next := strings.ReplaceAll(s.answer, lineOf(s.answer, "a=ice-ufrag:"), f.ufrag)
	next = strings.ReplaceAll(next, lineOf(s.answer, "a=ice-pwd:"), f.pwd)
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: next}); err != nil {
		t.Fatal(err)
	}
	before := len(st.wait(t, "media", func(p []*media.Packet) bool { return len(p) > 0 }))
	begun = time.Now()
	stage.play(t, func() bool { return time.Since(begun) > 2*time.Second })
	st.wait(t, "media after the restart", func(p []*media.Packet) bool { return len(of(p[before:], 1)) > 40 })
}

func TestSwitchedOff(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listen = Off
	s, err := New(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr() != nil {
		t.Error("it listens")
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/whip/k", strings.NewReader(obsOffer))
	s.WHIP().ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, newStation()); err != nil {
		t.Error(err)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Listen: "x", Hosts: []string{"a b"}, ICEServers: []string{"http://x"}, Codecs: []string{"theora"}, StartBitrate: -1}
	err := bad.Validate()
	for _, key := range []string{"webrtc ", "webrtc-hosts", "webrtc-ice-servers", "webrtc-codecs", "webrtc-key-interval", "webrtc-repair-time",
		"webrtc-connect-timeout", "webrtc-idle-timeout", "webrtc-loss-timeout", "webrtc-start-bitrate", "webrtc-max-sessions", "webrtc-max-per-address"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v says nothing of %s", err, key)
		}
	}
}
