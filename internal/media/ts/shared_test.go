package ts_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/media/ts"
)

// read reads everything.
func read(r *ts.Reader) (map[int][]*media.Packet, error) {
	got := map[int][]*media.Packet{}
	for {
		p, err := r.ReadPacket(context.Background())
		if err != nil {
			return got, err
		}
		got[p.Track.ID] = append(got[p.Track.ID], p)
	}
}

// probe counts the packets of picture and sound that ffprobe finds.
func probe(t *testing.T, file string) map[string][]int {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", file).Output()
	if err != nil {
		t.Skipf("ffprobe: %v", err)
	}
	var p struct {
		Streams []struct {
			Codec   string `json:"codec_name"`
			Packets string `json:"nb_read_packets"`
		}
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	counts := map[string][]int{}
	for _, s := range p.Streams {
		n, _ := strconv.Atoi(s.Packets)
		counts[s.Codec] = append(counts[s.Codec], n)
	}
	return counts
}

var probeNames = map[media.Codec][]string{
	media.H264: {"h264"}, media.HEVC: {"hevc"}, media.AAC: {"aac", "aac_latm"}, media.Opus: {"opus"},
	media.AC3: {"ac3"}, media.EAC3: {"eac3"}, media.MP3: {"mp3"},
}

// less is how many packets fewer than ffprobe's are right, and why.
var less = map[string]int{
	"kyrion_dirtystart.ts":                3,  // before the first picture parameter set
	"kyrion_mpeg2av_ac3.ts":               1,  // half a frame at the beginning
	"sample_ac3.ts":                       2,  // half a frame at either end
	"hls-ts-audio-muxed-in-video_main.ts": 1,  // cut in a frame
	"test-026.ts":                         36, // fields before parameter sets, and 12 pairs of fields
}

// refusals say what of a file is told when nothing in it can be used.
var refusals = map[string]string{
	"sample_h263.ts":   "MPEG-4 Visual",
	"sample_scte35.ts": "MPEG-2 video, MPEG-1 audio layer II, SCTE-35",
	"test-012.ts":      "before anything of it could be decoded; it carries H.264",
	"test-143.ts":      "programme map",
}

// Every sample is read like ffprobe reads it, or refused by name.
func TestSharedFiles(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(mediatest.SharedFile(t, "ts/bbb5s.ts")), "*.ts"))
	for _, f := range files {
		name := filepath.Base(f)
		t.Run(name, func(t *testing.T) {
			file, err := os.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			r := ts.NewReader(file)
			got, err := read(r)
			if want, ok := refusals[name]; ok {
				if fault.KindOf(err) == fault.Internal || !strings.Contains(err.Error(), want) {
					t.Errorf("refused with %v, not for %q", err, want)
				}
				return
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			counts := probe(t, f)
			for _, track := range r.Tracks() {
				want := 0
				for _, codec := range probeNames[track.Codec] {
					if n := counts[codec]; len(n) > 0 {
						want, counts[codec] = n[0], n[1:]
						break
					}
				}
				if n := len(got[track.ID]); n > want || n < want-less[name] {
					t.Errorf("%v: %d packets, want %d", track.Codec, n, want)
				}
				forward(t, got[track.ID])
			}
			if len(r.Tracks()) == 0 && name != "test-012.ts" { // which has 1 s of teletext only
				t.Error("no tracks")
			}
		})
	}
}

// forward checks that decoding times ascend, and that there is a key.
func forward(t *testing.T, packets []*media.Packet) {
	t.Helper()
	key := false
	for i, p := range packets {
		key = key || p.Key
		if i > 0 && p.DTS <= packets[i-1].DTS && p.Track.Kind() == media.Audio {
			t.Errorf("packet %d of %v: DTS %d after %d", i, p.Track.Codec, p.DTS, packets[i-1].DTS)
			return
		}
	}
	if !key {
		t.Errorf("%d packets and no key", len(packets))
	}
}

// The segments around the wrap of the counter are one stream without a step.
func TestWrap(t *testing.T) {
	first := mediatest.SharedFile(t, "ts/hls-ts-rollover_360p30_h264_48k_160_aac_ts-0000000027.ts")
	var parts []io.Reader
	for _, n := range []string{"27", "28", "29", "30", "31", "32"} {
		b, err := os.ReadFile(strings.Replace(first, "027", "0"+n, 1))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, strings.NewReader(string(b)))
	}
	got, err := read(ts.NewReader(io.MultiReader(parts...)))
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for id, packets := range got {
		for i := 1; i < len(packets); i++ {
			if d := packets[i].DTS - packets[i-1].DTS; d <= 0 || d > ts.Timescale/2 {
				t.Errorf("track %d: a step of %d at packet %d", id, d, i)
			}
		}
		if last := packets[len(packets)-1].DTS; last < 1<<33 {
			t.Errorf("track %d ends at %d, which is not behind the wrap", id, last)
		}
	}
}

// What ffmpeg makes of elementary streams and files is read with all its pictures.
func TestFromFFmpeg(t *testing.T) {
	for _, rel := range []string{
		"elementary/avatar.h264", "elementary/avatar.h265", "elementary/avatar.ogg", "elementary/BA_MW_D.264",
		"elementary/Cisco_Adobe_PDF_sample_a_1024x768_CAVLC_Bframe_9.264", "elementary/MR1_BT_A.h264", "elementary/NRF_MW_E.264",
		"elementary/CVFC1_Sony_C.jsv", "elementary/test_scalinglist_jm.264", "elementary/SVA_FM1_E.264", "elementary/BA_MW_D_IDR_LOST.264",
		"audio/audio.aac",
	} {
		t.Run(rel, func(t *testing.T) {
			in := mediatest.SharedFile(t, rel)
			out := filepath.Join(t.TempDir(), "out.ts")
			if b, err := exec.Command("ffmpeg", "-v", "error", "-fflags", "+genpts", "-i", in, "-c", "copy", "-f", "mpegts", out).CombinedOutput(); err != nil {
				t.Skipf("ffmpeg: %v %s", err, b)
			}
			file, err := os.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			r := ts.NewReader(file)
			got, err := read(r)
			if !errors.Is(err, io.EOF) || len(r.Tracks()) != 1 {
				t.Fatal(err, r.Tracks())
			}
			for _, n := range probe(t, out) {
				if id := r.Tracks()[0].ID; len(got[id]) != n[0] {
					t.Errorf("%d packets, want %d: %+v", len(got[id]), n[0], r.Stats())
				}
			}
		})
	}
}

// What is read and written again decodes to the same pictures and sound.
func TestRewrittenDecodesTheSame(t *testing.T) {
	for _, name := range []string{
		"bbb5s.ts", "hls-ts-aac_segment_0.ts", "sample_ac3.ts", "multi-channel-608-captions.ts",
	} {
		t.Run(name, func(t *testing.T) {
			in := mediatest.SharedFile(t, "ts/"+name)
			b, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			scout := ts.NewReader(strings.NewReader(string(b)))
			if _, err := read(scout); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out.ts")
			file, err := os.Create(out)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			w, err := ts.NewWriter(file, scout.Tracks())
			if err != nil {
				t.Fatal(err)
			}
			if err := media.Copy(t.Context(), w, ts.NewReader(strings.NewReader(string(b)))); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if name == "sample_ac3.ts" { // which begins and ends in a frame
				if n := probe(t, out)["ac3"]; len(n) != 1 || n[0] != 8 {
					t.Errorf("%v frames", n)
				}
				return
			}
			if was, is := decoded(t, in), decoded(t, out); was != is {
				t.Errorf("it decoded to\n%s, now to\n%s", was, is)
			}
		})
	}
}

// decoded is the hash of each stream's decoded frames.
func decoded(t *testing.T, file string) string {
	t.Helper()
	c := exec.Command("ffmpeg", "-v", "error", "-i", file, "-map", "0:v?", "-map", "0:a?", "-vsync", "passthrough", "-f", "streamhash", "-hash", "md5", "-")
	out, err := c.Output()
	if err != nil {
		t.Skipf("ffmpeg: %v", err)
	}
	return string(out)
}
