//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// clip is media of a few seconds that the matrix sends and looks for at the other end.
type clip struct {
	name         string
	tracks       []*media.Track // picture, sound
	packets      []*media.Packet
	video, audio media.Codec
}

// clipSpecs are the combinations of codecs that encoders send.
var clipSpecs = []struct {
	name         string
	video, audio media.Codec
	bframes      bool
	args         []string
}{
	{name: "H.264 and AAC 48 kHz stereo", video: media.H264, audio: media.AAC, args: []string{"-ar", "48000", "-ac", "2"}},
	{name: "H.264 and AAC 48 kHz mono", video: media.H264, audio: media.AAC, args: []string{"-ar", "48000", "-ac", "1"}},
	{name: "H.264 with B-frames and AAC 44.1 kHz stereo", video: media.H264, audio: media.AAC, bframes: true, args: []string{"-ar", "44100", "-ac", "2"}},
	{name: "H.264 and AAC 44.1 kHz mono", video: media.H264, audio: media.AAC, args: []string{"-ar", "44100", "-ac", "1"}},
	{name: "HEVC and AAC", video: media.HEVC, audio: media.AAC, args: []string{"-ar", "48000", "-ac", "2"}},
	{name: "AV1 and AAC", video: media.AV1, audio: media.AAC, args: []string{"-ar", "48000", "-ac", "2"}},
	{name: "H.264 and Opus", video: media.H264, audio: media.Opus, args: []string{"-ar", "48000", "-ac", "2"}},
	{name: "AV1 and Opus", video: media.AV1, audio: media.Opus, args: []string{"-ar", "48000", "-ac", "2"}},
}

const clipSeconds = "7"

// makeClips lets ffmpeg encode every clip.
func makeClips(t *testing.T) []*clip {
	t.Helper()
	dir := t.TempDir()
	var clips []*clip
	for i, spec := range clipSpecs {
		bframes := "0"
		if spec.bframes {
			bframes = "2"
		}
		coder := map[media.Codec][]string{
			media.H264: {"-c:v", "libx264", "-preset", "ultrafast", "-bf", bframes, "-g", "30", "-keyint_min", "30", "-sc_threshold", "0"},
			media.HEVC: {"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0:keyint=30:min-keyint=30:scenecut=0:open-gop=0"},
			media.AV1:  {"-c:v", "libsvtav1", "-preset", "12", "-g", "30", "-svtav1-params", "pred-struct=1"},
			media.AAC:  {"-c:a", "aac", "-b:a", "64k"},
			media.Opus: {"-c:a", "libopus", "-b:a", "64k"},
		}
		file := filepath.Join(dir, "clip"+string(rune('0'+i))+".mp4")
		args := []string{"-hide_banner", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=frequency=440", "-t", clipSeconds, "-pix_fmt", "yuv420p"}
		args = append(args, coder[spec.video]...)
		args = append(args, coder[spec.audio]...)
		args = append(args, spec.args...)
		args = append(args, "-f", "mp4", "-use_editlist", "0", "-movflags", "frag_keyframe+empty_moov+default_base_moof", file)
		cmd := exec.Command("ffmpeg", args...)
		cmd.Env = append(os.Environ(), "SVT_LOG=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", spec.name, err, out)
		}
		c := &clip{name: spec.name, video: spec.video, audio: spec.audio}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c.packets, c.tracks = readMP4(t, data)
		evenStart(c.of(media.Video))
		evenStart(c.of(media.Audio))
		slices.SortStableFunc(c.packets, func(a, b *media.Packet) int {
			return int(a.Track.Duration(a.DTS) - b.Track.Duration(b.DTS))
		})
		clips = append(clips, c)
	}
	return clips
}

// readMP4 returns every packet of a fragmented MP4.
func readMP4(t *testing.T, data []byte) ([]*media.Packet, []*media.Track) {
	t.Helper()
	r := fmp4.NewReader(bytes.NewReader(data))
	var packets []*media.Packet
	for {
		p, err := r.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			return packets, r.Tracks()
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
}

// of returns the clip's packets of a kind.
func (c *clip) of(kind media.Kind) []*media.Packet {
	var out []*media.Packet
	for _, p := range c.packets {
		if p.Track.Kind() == kind {
			out = append(out, p)
		}
	}
	return out
}

// evenStart takes back what ffmpeg does where it writes no edit list: it makes the first
// packet of each track longer until they begin together.
func evenStart(p []*media.Packet) {
	step := p[2].DTS - p[1].DTS
	shift := p[1].DTS - step - p[0].DTS
	p[0].DTS += shift
	p[0].PTS += shift
}
