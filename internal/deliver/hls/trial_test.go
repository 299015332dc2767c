package hls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// trial: each playback id names a stream with other encoder flags
func TestTrial(t *testing.T) {
	addr := os.Getenv("TRIAL")
	if addr == "" {
		t.Skip()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, prometheus.NewRegistry())
	p := pack.New(pack.DefaultConfig(), h, log, prometheus.NewRegistry())
	go p.Run(t.Context())
	hd := NewHandler(DefaultConfig(), p, ident{}, log, nil)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/hls/", hd)
	mux.Handle("/", http.FileServer(http.Dir(os.Getenv("TRIAL_DIR"))))
	go http.Serve(l, mux)
	run := func(name string, mode media.LatencyMode, flags string, secs int, swap string) {
		var list []*media.Packet
		gen := func(flags string, off time.Duration) []*media.Packet {
			args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=440:r=48000", "-t", fmt.Sprint(secs), "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"}, strings.Fields(flags)...)
			args = append(args, "-f", "mp4", "-movflags", "frag_every_frame+empty_moov+default_base_moof+delay_moov", "-")
			out, err := exec.Command("ffmpeg", args...).Output()
			if err != nil {
				t.Error(err, flags)
			}
			var l []*media.Packet
			d := map[*media.Track]*media.Track{}
			r := fmp4.NewReader(bytes.NewReader(out))
			for {
				p, err := r.ReadPacket(context.Background())
				if errors.Is(err, io.EOF) {
					return l
				}
				if err != nil {
					t.Error(err)
					return l
				}
				if d[p.Track] == nil {
					d[p.Track] = describe(t, p.Track)
				}
				p.Track = d[p.Track]
				p.DTS += p.Track.Ticks(off)
				p.PTS += p.Track.Ticks(off)
				l = append(l, p)
			}
		}
		list = gen(flags, 0)
		if swap != "" {
			list = append(list, gen(swap, time.Duration(secs)*time.Second)...)
		}
		pub, err := h.Publish(name, hub.PublishOptions{LatencyMode: mode})
		if err != nil {
			t.Error(err)
			return
		}
		begin := time.Now()
		for _, p := range list {
			at := begin.Add(p.Track.Duration(p.DTS))
			time.Sleep(time.Until(at))
			p.Arrival = at
			pub.WritePacket(context.Background(), p)
		}
		pub.End(io.EOF)
	}
	go run("low", media.LatencyLow, "-g 50", 110, "")
	go run("bf", media.LatencyLow, "-g 50 -bf 2", 110, "")
	go run("ultra", media.LatencyUltra, "-g 50", 110, "")
	go run("gop10", media.LatencyLow, "-g 250 -sc_threshold 0", 110, "")
	go run("gop60", media.LatencyLow, "-g 1500 -sc_threshold 0", 110, "")
	go run("swap", media.LatencyLow, "-g 50", 30, "-g 50 -s 480x270 -ar 44100 -ac 1")
	go run("standard", media.LatencyStandard, "-g 50", 110, "")
	time.Sleep(115 * time.Second)
}

type ident struct{}

func (ident) StreamOf(_ context.Context, id string) (string, error) { return id, nil }
