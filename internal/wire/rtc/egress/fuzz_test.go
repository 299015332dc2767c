package egress

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// watching is an engine whose loop is called by the test, with one viewer that watches
// some generated frames.
func watching(t testing.TB) (*Engine, *viewer) {
	t.Helper()
	e, err := New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{engine: e, batch: &batch{metrics: e.metrics, scratch: make([]byte, scratchBytes), msgs: make([]message, 0, maxMessages)},
		viewers: map[*Session]*viewer{}, groups: map[*Fan]*group{}, signal: make(chan struct{}, 1)}
	e.loops = []*loop{l}
	s, err := e.NewSession(Params{Ufrag: "ours", Pwd: "password of ours", Video: Media{SSRC: 1, RTX: 2, Transport: 3}, Audio: Media{SSRC: 4},
		Choose: func(*media.Track) (pt, rtx uint8) { return 96, 97 }, CNAME: "c", ConnectTimeout: time.Second, LossTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	const profile = srtp.ProtectionProfileAeadAes128Gcm
	key, salt := make([]byte, 16), make([]byte, 12)
	seal, err := newSealer(profile, key, salt)
	if err != nil {
		t.Fatal(err)
	}
	out, err := srtp.CreateContext(key, salt, profile)
	if err != nil {
		t.Fatal(err)
	}
	s.path.Store(&path{addr: netip.MustParseAddrPort("192.0.2.1:9"), stream: &stream{closed: true}})
	l.now = time.Now()
	l.keep = l.now.Add(time.Hour)
	l.add(s, seal, nil, out)
	return e, l.viewers[s]
}

// fill writes frames to a fan.
func fill(t testing.TB, f *Fan, g *mediatest.Generator, n int) {
	t.Helper()
	for range n {
		p := g.Next()
		p.Arrival = time.Now()
		if err := f.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzFeedback(f *testing.F) {
	for _, p := range []rtcp.Packet{
		&rtcp.TransportLayerNack{MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: 9, LostPackets: 0xffff}}},
		&rtcp.PictureLossIndication{MediaSSRC: 1},
		&rtcp.FullIntraRequest{MediaSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: 1}}},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: 9, LastSenderReport: 7}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{1}},
		&rtcp.TransportLayerCC{MediaSSRC: 1, PacketStatusCount: 3, PacketChunks: []rtcp.PacketStatusChunk{
			&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 3}},
			RecvDeltas: []*rtcp.RecvDelta{{Type: 1, Delta: 250}, {Type: 1, Delta: 250}, {Type: 1, Delta: 250}}},
	} {
		b, err := rtcp.Marshal([]rtcp.Packet{p})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, v := watching(t)
		fan := e.NewFan(FanOptions{})
		fill(t, fan, mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 3000}), 20)
		v.video.watch(fan, v.loop.now)
		v.react(b, v.loop.now)
		v.est.settle(v.loop.now.Add(time.Second))
		if r := v.est.bitrate(v.loop.now); r < 0 {
			t.Fatalf("the estimate is %d", r)
		}
	})
}

func FuzzReceive(f *testing.F) {
	check, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("ours:theirs"),
		stun.NewShortTermIntegrity("another password"), stun.Fingerprint)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(check.Raw)
	f.Add([]byte{22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Add([]byte{128, 200, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, v := watching(t)
		e.locate(v.session, netip.MustParseAddrPort("192.0.2.1:9"))
		before := v.session.path.Load()
		e.Receive(b, netip.MustParseAddrPort("192.0.2.1:9"))
		e.Receive(b, netip.MustParseAddrPort("192.0.2.2:9"))
		if v.session.path.Load() != before {
			t.Fatal("a check that is not authentic moved a session")
		}
		Ufrag(b)
	})
}
