package ffmpeg

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestContentOpensNothing gives ffmpeg files that make it open others, with its network and
// its user as they are here, so that the arguments alone must prevent it.
func TestContentOpensNothing(t *testing.T) {
	tool := *realTool(t)
	tool.box = sandbox{}
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	secret := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(secret, []byte("confidential"), 0o600); err != nil {
		t.Fatal(err)
	}
	playlist := func(url string) string {
		return "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\n" + url + "\n#EXT-X-ENDLIST\n"
	}
	clip := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), tool.path, append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x36:r=5", "-t", "1"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for name, data := range map[string]string{
		"HLS to HTTP":       playlist(server.URL + "/x.ts"),
		"HLS to a file":     playlist("file://" + secret),
		"HLS to concat":     playlist("concat:" + server.URL + "/x|file://" + secret),
		"a list of files":   fmt.Sprintf("ffconcat version 1.0\nfile '%s'\n", secret),
		"a list of URLs":    fmt.Sprintf("ffconcat version 1.0\nfile '%s/x'\n", server.URL),
		"DASH":              fmt.Sprintf(`<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>%s/x.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>`, server.URL),
		"SDP":               "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video " + port(t, server.Listener.Addr()) + " RTP/AVP 96\n",
		"FLV":               clip("-c:v", "flv1", "-f", "flv", "pipe:1"),
		"transport stream":  clip("-c:v", "mpeg2video", "-f", "mpegts", "pipe:1"),
		"AVI with MagicYUV": clip("-c:v", "magicyuv", "-f", "avi", "pipe:1"),
		"MP4 with MPEG-4":   clip("-c:v", "mpeg4", "-f", "mp4", "-movflags", "empty_moov", "pipe:1"),
		"MOV with ProRes":   clip("-c:v", "prores_ks", "-f", "mov", "-movflags", "empty_moov", "pipe:1"),
		"text":              "confidential",
	} {
		codecs := []media.Codec{media.H264, media.VP8}
		if name != "HLS to HTTP" {
			codecs = codecs[:1] // each container once is enough
		}
		for _, codec := range codecs {
			track := &media.Track{Codec: codec, Timescale: 90000, Width: 64, Height: 36}
			args := tool.pictureArguments(track, 1, PictureOptions{Format: JPEG, Width: 64, Height: 36})
			out, err := tool.once(t.Context(), args, []byte(data), maxPicture, false)
			if err == nil {
				t.Errorf("%s as %v: %d bytes came out", name, codec, len(out))
			}
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests were made", hits.Load())
	}
}

func port(t *testing.T, a net.Addr) string {
	t.Helper()
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDamageIsSurvived feeds frames that are no frames: what remains comes out, or the
// error says that ffmpeg ended; nothing hangs.
func TestDamageIsSurvived(t *testing.T) {
	tool := realTool(t)
	in := testPicture(t, 100, "320x180", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30")
	random := mediatest.NewGenerator(mediatest.Options{Width: 320, Height: 180, NoAudio: true})
	var packets []*media.Packet
	for i, p := range in {
		q := *p
		if i%7 == 3 {
			q.Data = random.Next().Data
		}
		packets = append(packets, &q)
	}
	var out taker
	v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, MaxBitrate: 300_000}
	err := tool.Run(t.Context(), Job{Stream: "s", Source: in[0].Track, Outputs: []Output{{Name: "90p", Sink: &out, Video: &v}}}, &list{packets: packets}, nil)
	if err != nil || len(out.all()) < len(in)/2 {
		t.Errorf("%d of %d frames: %v", len(out.all()), len(in), err)
	}
}
