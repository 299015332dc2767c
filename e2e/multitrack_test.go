//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/wire/rtmp"
)

// ladderOf makes the packets of renditions of those heights with one sound, interleaved,
// as OBS sends them.
func ladderOf(t *testing.T, length time.Duration, heights ...int) (tracks []*media.Track, packets []*media.Packet) {
	t.Helper()
	var sources []*mediatest.Generator
	for i, h := range heights {
		sources = append(sources, mediatest.NewGenerator(mediatest.Options{NoAudio: true, Width: h * 16 / 9 &^ 1, Height: h, Seed: uint64(i + 1), FrameSize: h, Timescale: 1000, Duration: length}))
	}
	sources = append(sources, mediatest.NewGenerator(mediatest.Options{NoVideo: true, Timescale: 1000, Duration: length}))
	var rows [][]*media.Packet
	for i, g := range sources {
		tr := *g.Tracks()[0]
		if tr.ID = 2*i + 1; tr.Kind() == media.Audio {
			tr.ID = 2
		}
		var row []*media.Packet
		for {
			p, err := g.ReadPacket(t.Context())
			if err != nil {
				break
			}
			p.Track = &tr
			row = append(row, p)
		}
		tracks, rows = append(tracks, &tr), append(rows, row)
	}
	for {
		next := -1
		for i, row := range rows {
			if len(row) > 0 && (next < 0 || row[0].DTS < rows[next][0].DTS) {
				next = i
			}
		}
		if next < 0 {
			return tracks, packets
		}
		packets = append(packets, rows[next][0])
		rows[next] = rows[next][1:]
	}
}

// paced writes packets at their own pace until they or ctx end.
func paced(ctx context.Context, sink media.Sink, packets []*media.Packet) error {
	begin := time.Now()
	for _, p := range packets {
		if wait := time.Until(begin.Add(p.Track.Duration(p.DTS))); wait > 0 {
			pause(ctx, wait)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := sink.WritePacket(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// get returns the body of an address that answers 200.
func getText(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		return ""
	}
	return string(b)
}

// waitVariants polls the multivariant playlist until it lists so many pictures.
func (s *server) waitVariants(st stream, n int, limit time.Duration) string {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		list := getText(s.t, s.hlsURL(st))
		pictures := 0 // there is a variant of the sound alone, too
		for line := range strings.Lines(list) {
			if strings.HasPrefix(line, "#EXT-X-STREAM-INF:") && strings.Contains(line, "RESOLUTION=") {
				pictures++
			}
		}
		if pictures == n {
			return list
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no %d variants after %v in\n%s", n, limit, list)
		}
		pause(s.t.Context(), 200*time.Millisecond)
	}
}

// TestMultitrackIsTheLadder sends three renditions over one connection.
func TestMultitrackIsTheLadder(t *testing.T) {
	s := start(t)
	st := s.create("low")
	tracks, packets := ladderOf(t, 20*time.Second, 720, 480, 360)
	pub, err := rtmp.DialPublish(t.Context(), s.publishURL(st), tracks...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- paced(ctx, pub, packets) }()
	defer func() {
		cancel()
		if err := <-sent; err != nil {
			t.Errorf("publishing: %v", err)
		}
		pub.Close()
	}()
	s.waitStatus(st, "active", 10*time.Second)
	list := s.waitVariants(st, 3, 12*time.Second)
	base := s.hlsURL(st)[:strings.LastIndexByte(s.hlsURL(st), '/')+1]
	for _, size := range []string{"1280x720", "852x480", "640x360"} {
		found := false
		lines := strings.Split(list, "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, "#EXT-X-STREAM-INF:") || !strings.Contains(line, "RESOLUTION="+size) || i+1 == len(lines) {
				continue
			}
			found = true
			media := lines[i+1]
			deadline := time.Now().Add(10 * time.Second)
			for text := ""; !strings.Contains(text, "#EXT-X-PART:") && !strings.Contains(text, "#EXTINF:"); {
				if time.Now().After(deadline) {
					t.Fatalf("%s has no media:\n%s", size, text)
				}
				text = getText(t, base+media)
				pause(t.Context(), 200*time.Millisecond)
			}
		}
		if !found {
			t.Errorf("no variant of %s in\n%s", size, list)
		}
	}
}
