package rtc

import (
	"net/http"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/wire/rtc/egress"
)

// chromium is the offer of a browser that watches, shortened.
const chromium = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 109 110 117 118 45 46 98 99\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n" +
	"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"a=setup:actpass\r\na=mid:0\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n" +
	"a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n" +
	"a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n" +
	"a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=rtpmap:103 H264/90000\r\na=rtcp-fb:103 nack\r\na=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n" +
	"a=rtpmap:104 rtx/90000\r\na=fmtp:104 apt=103\r\n" +
	"a=rtpmap:109 H264/90000\r\na=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n" +
	"a=rtpmap:110 rtx/90000\r\na=fmtp:110 apt=109\r\n" +
	"a=rtpmap:117 H264/90000\r\na=fmtp:117 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n" +
	"a=rtpmap:118 rtx/90000\r\na=fmtp:118 apt=117\r\n" +
	"a=rtpmap:45 AV1/90000\r\na=fmtp:45 level-idx=5;profile=0;tier=0\r\na=rtpmap:46 rtx/90000\r\na=fmtp:46 apt=45\r\n" +
	"a=rtpmap:98 H265/90000\r\na=fmtp:98 level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"a=setup:actpass\r\na=mid:1\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n" +
	"a=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n"

func TestFormatsFitTracks(t *testing.T) {
	o, err := parsePlayOffer([]byte(chromium))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		codec  media.Codec
		name   string
		pt, rt uint8
	}{
		{media.H264, "avc1.64001f", 117, 118}, // high
		{media.H264, "avc1.640c33", 117, 118}, // constrained high, and a higher level
		{media.H264, "avc1.42c01f", 109, 110}, // constrained baseline
		{media.H264, "avc1.42001f", 103, 104}, // baseline
		{media.H264, "avc1.4d401f", 117, 118}, // main is decoded as high
		{media.H264, "avc1.6e001f", 0, 0},     // High 10 is not
		{media.H264, "avc1.f4001f", 0, 0},     // nor is High 4:4:4
		{media.H264, "", 103, 104},
		{media.HEVC, "hvc1.1.6.L93.B0", 98, 99},
		{media.HEVC, "hvc1.1.6.L150.B0", 0, 0}, // above the level
		{media.HEVC, "hvc1.2.4.L93.B0", 0, 0},  // Main 10
		{media.AV1, "av01.0.08M.08", 45, 46},
		{media.AV1, "av01.1.08M.08", 0, 0},
		{media.VP8, "vp8", 96, 97},
		{media.VP9, "vp09.00.10.08", 0, 0},
		{media.Opus, "opus", 111, 0},
		{media.AAC, "mp4a.40.2", 0, 0},
	} {
		pt, rtx := o.choose(&media.Track{Codec: tt.codec, CodecString: tt.name})
		if pt != tt.pt || rtx != tt.rt {
			t.Errorf("%v %s goes as %d and %d, want %d and %d", tt.codec, tt.name, pt, rtx, tt.pt, tt.rt)
		}
	}
}

func TestAnswerToABrowser(t *testing.T) {
	o, err := parsePlayOffer([]byte(chromium))
	if err != nil {
		t.Fatal(err)
	}
	a := &playAnswer{ufrag: "ufrag", pwd: "password", fingerprint: "sha-256 AA", candidates: []string{"1 1 udp 1 192.0.2.1 8189 typ host"},
		cname: "cname", prefer: []media.Codec{media.H264, media.Opus},
		video: o.media(media.Video, 1, 2), audio: o.media(media.Audio, 4, 0)}
	text := a.text(o)
	for _, want := range []string{
		"a=ice-lite\r\n", "a=group:BUNDLE 0 1\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 103 109 117 ", "a=setup:passive\r\n", "a=sendonly\r\n",
		"a=ssrc-group:FID 1 2\r\n", "a=ssrc:4 cname:cname\r\n", "a=extmap:3 " + extTWCC, "a=rtcp-fb:96 transport-cc\r\n",
		"a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the answer has no %q:\n%s", want, text)
		}
	}
	a.audio = egress.Media{}
	if text := a.text(o); !strings.Contains(text, "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n") || !strings.Contains(text, "a=group:BUNDLE 0\r\n") {
		t.Errorf("sound was not rejected:\n%s", text)
	}
}

func TestOffersOfViewers(t *testing.T) {
	for name, tt := range map[string]struct {
		change []string
		kind   fault.Kind // empty if it is taken
	}{
		"as a browser has it":       {},
		"both ways":                 {change: []string{"a=recvonly", "a=sendrecv"}},
		"active":                    {change: []string{"a=setup:actpass", "a=setup:active"}},
		"with data":                 {change: []string{"m=audio 9 UDP/TLS/RTP/SAVPF 111 63", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63"}},
		"only sending":              {change: []string{"a=recvonly", "a=sendonly"}, kind: fault.Unsupported},
		"inactive":                  {change: []string{"a=recvonly", "a=inactive"}, kind: fault.Unsupported},
		"without RTCP beside":       {change: []string{"a=rtcp-mux", "a=x"}, kind: fault.Unsupported},
		"passive":                   {change: []string{"a=setup:actpass", "a=setup:passive"}, kind: fault.Unsupported},
		"without a fingerprint":     {change: []string{"a=fingerprint", "a=x"}, kind: fault.Invalid},
		"without ICE":               {change: []string{"a=ice-ufrag", "a=x"}, kind: fault.Invalid},
		"the same mid":              {change: []string{"a=mid:1", "a=mid:0"}, kind: fault.Invalid},
		"not RTP over DTLS":         {change: []string{"UDP/TLS/RTP/SAVPF", "RTP/AVP"}, kind: fault.Unsupported},
		"not bundled":               {change: []string{"a=group:BUNDLE 0 1", "a=x"}, kind: fault.Unsupported},
		"only codecs without place": {change: []string{"H264/90000", "H263/90000", "VP8/90000", "X/90000", "AV1/90000", "Y/90000", "H265/90000", "Z/90000", "opus", "speex"}, kind: fault.Unsupported},
		"control characters":        {change: []string{"s=-", "s=\x01"}, kind: fault.Invalid},
		"a bomb":                    {change: []string{"a=rtcp-mux\r\n", strings.Repeat("a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n", 100)}, kind: fault.TooLarge},
		"too large":                 {change: []string{"s=-", "s=" + strings.Repeat("x", maxOffer)}, kind: fault.TooLarge},
		"nothing":                   {change: []string{chromium, ""}, kind: fault.Invalid},
	} {
		text := strings.NewReplacer(tt.change...).Replace(chromium)
		o, err := parsePlayOffer([]byte(text))
		switch {
		case tt.kind == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.kind == "":
			a := &playAnswer{video: o.media(media.Video, 1, 2), audio: o.media(media.Audio, 4, 0)}
			if got, want := strings.Count(a.text(o), "\r\nm="), strings.Count(text, "\r\nm="); got != want {
				t.Errorf("%s: %d m-lines are answered with %d", name, want, got)
			}
		case err == nil || fault.KindOf(err) != tt.kind:
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPlayOffer(f *testing.F) {
	f.Add([]byte(chromium))
	f.Add([]byte(strings.ReplaceAll(chromium, "a=group:BUNDLE 0 1", "a=group:BUNDLE 1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parsePlayOffer(b)
		if err != nil {
			return
		}
		a := &playAnswer{ufrag: "u", pwd: "p", cname: "c", video: o.media(media.Video, 1, 2), audio: o.media(media.Audio, 4, 0)}
		for line := range strings.Lines(a.text(o)) {
			if len(line) < 4 || line[1] != '=' || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n\x00") {
				t.Fatalf("the answer has a line %q", line)
			}
		}
		for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP8, media.VP9, media.Opus} {
			if pt, _ := o.choose(&media.Track{Codec: c}); (pt != 0) && !o.accepts(c) {
				t.Fatalf("%v goes as %d and is not accepted", c, pt)
			}
		}
	})
}

func TestWHEPOverHTTP(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	good := func(header ...string) answer {
		return h.ask(t, http.MethodPost, "/whep/"+goodPlayback, chromium, append([]string{"Content-Type", typeSDP}, header...)...)
	}
	a := good("Authorization", "Bearer secret")
	location, etag := a.header.Get("Location"), a.header.Get("ETag")
	if a.status != http.StatusCreated || a.header.Get("Content-Type") != typeSDP || !strings.HasPrefix(location, playSessionPath) || etag == "" ||
		!strings.Contains(strings.Join(a.header.Values("Link"), ","), layerRel) || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("POST: %d %v\n%s", a.status, a.header, a.body)
	}
	if strings.Contains(a.body, "secret") || st.request(t).Token() != "secret" {
		t.Error("the token is not where it belongs")
	}
	restart := "a=ice-ufrag:wxyz\r\na=ice-pwd:abcdefghijklmnopqrstuvwxyz\r\n"
	auth := []string{"Authorization", "Bearer secret"}
	with := func(header ...string) []string { return append(header, auth...) }
	for _, tt := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{http.MethodOptions, "/whep/" + goodPlayback, "", nil, 204},
		{http.MethodHead, "/whep/" + goodPlayback, "", nil, 200},
		{http.MethodGet, location, "", nil, 204},
		{http.MethodGet, playSessionPath + "other", "", nil, 404},
		{http.MethodPut, "/whep/" + goodPlayback, "", nil, 405},
		{http.MethodPost, "/whep/", "", nil, 404},
		{http.MethodPost, "/whep/a/b", "", nil, 404},
		{http.MethodPost, "/whep/" + goodPlayback, chromium, []string{"Content-Type", "text/plain"}, 415},
		{http.MethodPost, "/whep/" + goodPlayback, "x", []string{"Content-Type", typeSDP}, 400},
		{http.MethodPost, "/whep/other", chromium, []string{"Content-Type", typeSDP}, 404},
		{http.MethodPost, "/whep/" + goodPlayback, strings.Repeat("x", maxOffer+1), []string{"Content-Type", typeSDP}, 413},
		{http.MethodPatch, location, restart, []string{"Content-Type", typeFragment, "If-Match", etag}, 401},
		{http.MethodPatch, location, restart, []string{"Content-Type", typeFragment, "If-Match", etag, "Authorization", "Bearer other"}, 403},
		{http.MethodPatch, location, restart, with("Content-Type", typeFragment), 428},
		{http.MethodPatch, location, restart, with("Content-Type", typeFragment, "If-Match", `"other"`), 412},
		{http.MethodPatch, location, "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n", with("Content-Type", typeFragment, "If-Match", etag), 204},
		{http.MethodPatch, location, "x", with("Content-Type", typeFragment, "If-Match", etag), 400},
		{http.MethodPatch, location, restart, with("Content-Type", typeFragment, "If-Match", "*"), 200},
		{http.MethodPatch, location, restart, with("Content-Type", typeFragment, "If-Match", etag), 412},
		{http.MethodPost, location + "/layer", `{"layer":"720p"}`, with("Content-Type", typeJSON), 204},
		{http.MethodPost, location + "/layer", `{"layer":"../x"}`, with("Content-Type", typeJSON), 400},
		{http.MethodPost, location + "/layer", `{"layer":"720p"}`, []string{"Content-Type", typeJSON}, 401},
		{http.MethodGet, location + "/layer", "", auth, 405},
		{http.MethodDelete, location, "", nil, 401},
		{http.MethodDelete, location, "", auth, 200},
		{http.MethodDelete, location, "", auth, 404},
	} {
		a := h.ask(t, tt.method, tt.path, tt.body, tt.header...)
		if a.status != tt.want {
			t.Errorf("%s %s %v: %d %s, want %d", tt.method, tt.path, tt.header, a.status, a.body, tt.want)
		}
		if tt.want == 200 && tt.method == http.MethodPatch && (!strings.Contains(a.body, "a=ice-ufrag:") || a.header.Get("ETag") == etag) {
			t.Errorf("the restart was answered with %v\n%s", a.header, a.body)
		}
	}
	if st.requests[0].Wish() != "720p" {
		t.Errorf("the wish is %q", st.requests[0].Wish())
	}
	<-st.requests[0].Done()
}
