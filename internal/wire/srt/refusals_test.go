package srt

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestRefusalsInTheLog: who has a cookie can be refused as often as it sends a packet. The
// log tells of it once in a while, and how many it did not tell of.
func TestRefusalsInTheLog(t *testing.T) {
	for name, query := range map[string]string{
		"a wrong stream id":  "streamid=nothing:key",
		"a wrong passphrase": "streamid=publish:key&passphrase=not the right one",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				var said bytes.Buffer
				s, err := listenOn(DefaultConfig(), n.socket("10.0.0.1:8890"), secret("the right passphrase"), slog.New(slog.NewTextHandler(&said, nil)), prometheus.NewRegistry())
				if err != nil {
					t.Fatal(err)
				}
				stop := serve(t, s, handler{publish: func(context.Context, *PublishRequest) { t.Error("it was not refused") }})
				var conclusion []byte
				n.drop = func(_, to netip.AddrPort, b []byte) bool {
					if to == serverAddr && len(b) > 36 && binary.BigEndian.Uint32(b[36:]) == hsConclusion {
						conclusion = bytes.Clone(b)
					}
					return false
				}
				if _, err := callIn(t.Context(), n, clientAddr.String(), query, false); err == nil {
					t.Error("it was not refused")
				}
				synctest.Wait() // it is forgotten
				again := func(times int) {
					for range times {
						s.ep.packet(bytes.Clone(conclusion), clientAddr, time.Now())
						synctest.Wait()
					}
				}
				again(500)
				time.Sleep(tellPause)
				again(500)
				stop()
				if lines := strings.Count(said.String(), "refused"); lines != 2 || !strings.Contains(said.String(), "untold=500") {
					t.Errorf("%d lines for 1001 refusals: %.2000s", lines, said.String())
				}
			})
		})
	}
}
