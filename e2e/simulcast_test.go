//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"onair/internal/media"
)

// TestSimulcastIsTheLadder publishes three layers of one picture over WHIP, as a browser
// does with simulcast: each is listed as a variant.
func TestSimulcastIsTheLadder(t *testing.T) {
	s := start(t)
	st := s.create("low")
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		t.Fatal(err)
	}
	if err := webrtc.ConfigureSimulcastExtensionHeaders(engine); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()

	ladder, all := ladderOf(t, 15*time.Second, 720, 360, 180)
	tracks, rids := rtcSink{}, map[*media.Track]string{}
	var packets []*media.Packet
	for _, p := range all {
		if p.Track.Kind() == media.Video {
			packets = append(packets, p)
		}
	}
	var sender *webrtc.RTPSender
	for i, rid := range []string{"f", "h", "q"} {
		r, err := newRTCTrack(ladder[i], webrtc.WithRTPStreamID(rid))
		if err != nil {
			t.Fatal(err)
		}
		tracks[ladder[i]], rids[ladder[i]] = r, rid
		if sender == nil {
			sender, err = pc.AddTrack(r.local)
		} else {
			err = sender.AddEncoding(r.local)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if _, err := whipOffer(ctx, pc, s.http+"/whip", st.StreamKey); err != nil {
		t.Fatal(err)
	}
	<-connected
	for track, r := range tracks {
		r.mark = layerMark(pc, sender, rids[track])
	}
	sent := make(chan error, 1)
	go func() { sent <- paced(ctx, tracks, packets) }()
	s.waitStatus(st, "active", 10*time.Second)
	list := s.waitVariants(st, 3, 15*time.Second)
	for _, size := range []string{"1280x720", "640x360", "320x180"} {
		if !strings.Contains(list, "RESOLUTION="+size) {
			t.Errorf("no layer of %s in\n%s", size, list)
		}
	}
	cancel()
	<-sent
}

// layerMark returns what tells the receiver which layer a packet belongs to (RFC 8852).
func layerMark(pc *webrtc.PeerConnection, sender *webrtc.RTPSender, rid string) func(*rtp.Packet) error {
	ids := map[string]uint8{}
	for _, e := range sender.GetParameters().HeaderExtensions {
		ids[e.URI] = uint8(e.ID)
	}
	mid := ""
	for _, tr := range pc.GetTransceivers() {
		if tr.Sender() == sender {
			mid = tr.Mid()
		}
	}
	return func(p *rtp.Packet) error {
		if err := p.SetExtension(ids[sdp.SDESMidURI], []byte(mid)); err != nil {
			return err
		}
		return p.SetExtension(ids[sdp.SDESRTPStreamIDURI], []byte(rid))
	}
}
