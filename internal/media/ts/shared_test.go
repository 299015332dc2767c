package ts_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/media/ts"
)

// read reads everything.
func read(t *testing.T, r *ts.Reader) (map[int][]*media.Packet, error) {
	t.Helper()
	got := map[int][]*media.Packet{}
	for {
		p, err := r.ReadPacket(context.Background())
		if err != nil {
			return got, err
		}
		got[p.Track.ID] = append(got[p.Track.ID], p)
	}
}

type probed struct {
	Kind    string `json:"codec_type"`
	Codec   string `json:"codec_name"`
	Packets string `json:"nb_read_packets"`
}

func probe(t *testing.T, file string) []probed {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", file).Output()
	if err != nil {
		t.Skip("no ffprobe")
	}
	var p struct{ Streams []probed }
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p.Streams
}

func TestDump(t *testing.T) {
	for _, f := range all(t) {
		file, _ := os.Open(f)
		r := ts.NewReader(file)
		got, err := read(t, r)
		file.Close()
		t.Logf("%s: %v %+v", filepath.Base(f), err, r.Stats())
		for _, tr := range r.Tracks() {
			keys := 0
			for _, p := range got[tr.ID] {
				if p.Key {
					keys++
				}
			}
			t.Logf("   %d v%d %v %s %dx%d %.2f %d/%d %q: %d packets, %d keys", tr.ID, tr.Version, tr.Codec, tr.CodecString, tr.Width, tr.Height, tr.FrameRate, tr.SampleRate, tr.Channels, tr.Language, len(got[tr.ID]), keys)
		}
		for _, s := range probe(t, f) {
			t.Logf("   ffprobe %s %s %s", s.Kind, s.Codec, s.Packets)
		}
		_ = errors.Is(err, io.EOF)
		_ = strings.ToLower
	}
}

func all(t *testing.T) []string {
	dir := filepath.Dir(mediatest.SharedFile(t, "ts/bbb5s.ts"))
	files, _ := filepath.Glob(dir + "/*.ts")
	return files
}
