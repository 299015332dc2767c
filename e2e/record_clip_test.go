//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The pictures of a numbered movie are a row of boxes, each a bit of the picture's number.
const (
	numberBits, numberBox = 10, 32
	numberWidth           = numberBits * numberBox
	numberHeight          = 64
	numberRate            = 30
)

var programDateTime = regexp.MustCompile(`#EXT-X-PROGRAM-DATE-TIME:(\S+)`)

// numbered publishes a movie of numbered pictures with a tone, as it is coded, at the pace of
// the clock.
func numbered(t *testing.T, s *server, st stream, seconds int, coder ...string) *publisher {
	t.Helper()
	file := filepath.Join(t.TempDir(), "numbered.mp4")
	const picture = "color=black:s=320x64:r=30,format=yuv420p,geq=lum='if(gte(mod(floor(N/pow(2,floor(X/32))),2),1),235,16)+0.02*mod(X*Y+N*7,19)':cb=128:cr=128"
	args := append([]string{
		"-hide_banner", "-v", "error", "-nostdin", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", fmt.Sprint(seconds),
		"-c:a", "aac", "-b:a", "64k",
	}, coder...)
	if _, errOut, err := run(t, time.Minute, "ffmpeg", append(args, file)...); err != nil {
		t.Fatalf("make a movie: %v %s", err, errOut)
	}
	return encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-re", "-i", file, "-c", "copy", "-f", "flv", s.publishURL(st))
}

// numberedPicture is a decoded picture of such a movie.
type numberedPicture struct {
	number int
	luma   string
}

// numbersOf decodes all pictures.
func numbersOf(t *testing.T, input string) (out []numberedPicture) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-nostdin", "-i", input, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	raw, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("decode %s: %v\n%s", input, err, said.String())
	}
	const size = numberWidth * numberHeight
	for ; len(raw) >= size; raw = raw[size:] {
		p := numberedPicture{luma: string(raw[:size])}
		for i := range numberBits {
			if p.luma[numberHeight/2*numberWidth+i*numberBox+numberBox/2] > 125 {
				p.number |= 1 << i
			}
		}
		out = append(out, p)
	}
	return out
}

// clip makes a clip and waits until it is ready.
func (s *server) clip(body map[string]any) asset {
	s.t.Helper()
	var a asset
	body["public_download"] = true
	if code := s.call(http.MethodPost, "/v1/clips", body, &a); code != http.StatusCreated {
		s.t.Fatalf("make a clip of %v: %d", body, code)
	}
	for deadline := time.Now().Add(30 * time.Second); a.Status == "recording"; {
		if time.Now().After(deadline) {
			s.t.Fatalf("the clip of %v is not made", body)
		}
		pause(s.t.Context(), 100*time.Millisecond)
		if code := s.call(http.MethodGet, "/v1/assets/"+a.ID, nil, &a); code != http.StatusOK {
			s.t.Fatalf("read the clip: %d", code)
		}
	}
	if a.Status != "ready" {
		s.t.Fatalf("the clip of %v: %s", body, a.Error)
	}
	return a
}

// TestClips cuts clips out of broadcasts that are recorded and of what they have become:
// their first and last pictures are those that were asked for, those between the edges are the
// recording's bit by bit, and they stay when the recording is deleted.
func TestClips(t *testing.T) {
	beside(t)
	const gop = 60
	s := start(t)
	for _, coder := range []struct {
		name string
		args []string
	}{
		{"without B-frames", []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", fmt.Sprint(gop), "-sc_threshold", "0"}},
		{"with B-frames", []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b-pyramid", "normal", "-g", fmt.Sprint(gop), "-sc_threshold", "0"}},
	} {
		t.Run(coder.name, func(t *testing.T) {
			st := s.createWith(map[string]any{"latency_mode": "low", "record": true, "reconnect_window": 1})
			numbered(t, s, st, 16, coder.args...)
			s.waitPlayable(st, 20*time.Second)
			a := s.assetOf(st, 20*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 7 })
			type cut struct {
				asset
				from, to float64 // seconds from the beginning
			}
			var clips []cut
			// While it is recorded: from what is there, and the last seconds up to now.
			clips = append(clips, cut{s.clip(map[string]any{"asset_id": a.ID, "start": "1.42", "end": "6.78"}), 1.42, 6.78})
			m := programDateTime.FindStringSubmatch(s.firstMedia(s.http + "/hls/" + a.PlaybackIDs[0].ID + "/index.m3u8"))
			if m == nil {
				t.Fatal("the playlist tells no time")
			}
			began, err := time.Parse(time.RFC3339Nano, m[1])
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			last := now.Add(-4300 * time.Millisecond)
			clips = append(clips, cut{
				s.clip(map[string]any{"live_stream_id": st.ID, "start": last.Format(time.RFC3339Nano), "end": now.Format(time.RFC3339Nano)}),
				last.Sub(began).Seconds(), now.Sub(began).Seconds(),
			})
			a = s.assetOf(st, 40*time.Second, func(x asset) bool { return x.ID == a.ID && recorded(x) }) // and not a clip
			clips = append(clips,
				cut{s.clip(map[string]any{"playback_id": a.PlaybackIDs[0].ID, "start": "5.31", "end": "5.97"}), 5.31, 5.97},
				cut{s.clip(map[string]any{"asset_id": a.ID, "start": 2.5, "end": "11.5"}), 2.5, 11.5})

			all := numbersOf(t, s.http+"/hls/"+a.PlaybackIDs[0].ID+"/index.m3u8")
			luma := map[int]string{}
			for _, p := range all {
				luma[p.number] = p.luma
			}
			check := func(where string, c cut, got []numberedPicture) {
				t.Helper()
				// The first picture that is not before the start, the last before the end.
				first, last := all[0].number+int(c.from*numberRate+0.97), all[0].number+int(c.to*numberRate+0.97)-1
				if len(got) == 0 || got[0].number < first-1 || got[0].number > first+1 || got[len(got)-1].number < last-1 || got[len(got)-1].number > last+1 {
					t.Errorf("%s of %.2f to %.2f: not pictures %d to %d: %d", where, c.from, c.to, first, last, len(got))
					return
				}
				t.Logf("%s of %.2f to %.2f: pictures %d to %d, of %d to %d", where, c.from, c.to, got[0].number, got[len(got)-1].number, first, last)
				same, longest := 0, 0
				for i, p := range got {
					if i > 0 && p.number != got[i-1].number+1 {
						t.Errorf("%s: picture %d after %d", where, p.number, got[i-1].number)
					}
					if same++; p.luma != luma[p.number] {
						same = 0
					}
					longest = max(longest, same)
				}
				if least := len(got) - 2*gop; longest < least {
					t.Errorf("%s: %d pictures in the middle of %d are the recording's", where, longest, len(got))
				}
			}
			checkAll := func() {
				t.Helper()
				for _, c := range clips {
					check("the playlist", c, numbersOf(t, s.http+"/hls/"+c.PlaybackIDs[0].ID+"/index.m3u8"))
					code, file := s.download(c.asset, "")
					if code != http.StatusOK {
						t.Errorf("download: %d %s", code, file)
						continue
					}
					name := filepath.Join(t.TempDir(), "clip.mp4")
					if err := os.WriteFile(name, file, 0o600); err != nil {
						t.Fatal(err)
					}
					check("the file", c, numbersOf(t, name))
				}
			}
			checkAll()
			w := play(t, "hls", s.http+"/hls/"+clips[3].PlaybackIDs[0].ID+"/index.m3u8", 4)
			w.advances(t, "hls.js", 4)

			if code := s.call(http.MethodDelete, "/v1/assets/"+a.ID, nil, nil); code != http.StatusNoContent {
				t.Errorf("delete the recording: %d", code)
			}
			checkAll()
			for _, c := range clips {
				if code := s.call(http.MethodDelete, "/v1/assets/"+c.ID, nil, nil); code != http.StatusNoContent {
					t.Errorf("delete a clip: %d", code)
				}
			}
		})
	}
	var problem struct {
		Detail string `json:"detail"`
	}
	st := s.createWith(map[string]any{"record": false})
	if code := s.call(http.MethodPost, "/v1/clips", map[string]any{"live_stream_id": st.ID, "start": "1", "end": "2"}, &problem); code != http.StatusConflict {
		t.Errorf("of a stream that is not recorded: %d %s", code, strings.TrimSpace(problem.Detail))
	}
}
