package rtmp

import (
	"bytes"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
	"onair/internal/media/mediatest"
)

// ladder makes the packets of three renditions and two sounds, interleaved.
func ladder(t *testing.T) (tracks []*media.Track, packets []*media.Packet) {
	t.Helper()
	var rows [][]*media.Packet
	for i, o := range []mediatest.Options{
		{NoAudio: true, Width: 1280, Height: 720, BFrames: 2}, {NoAudio: true, Width: 640, Height: 360, Seed: 2},
		{NoAudio: true, Width: 320, Height: 180, Video: media.HEVC}, {NoVideo: true}, {NoVideo: true, Audio: media.Opus},
	} {
		o.Timescale, o.Duration = 1000, 2*time.Second
		g := mediatest.NewGenerator(o)
		row := collect(t, g)
		tr := *g.Tracks()[0]
		if tr.ID = 2*i + 1; tr.Kind() == media.Audio {
			tr.ID = 2*i - 4
		}
		for _, p := range row {
			p.Track = &tr
		}
		tracks, rows = append(tracks, &tr), append(rows, row)
	}
	for i := range 60 {
		for _, row := range rows {
			packets = append(packets, row[i])
		}
	}
	return tracks, packets
}

func firstOfEach(packets []*media.Packet) (out []*media.Packet) {
	for _, p := range packets {
		if p.Track.ID <= 2 {
			out = append(out, p)
		}
	}
	return out
}

func TestMultitrackLoopBack(t *testing.T) {
	tracks, packets := ladder(t)
	st := newStation()
	st.source = func() ([]*media.Track, media.Source) { return tracks, &slice{packets} }
	srv := serve(t, testConfig(), st)
	pub, err := DialPublish(t.Context(), srv.url(goodKey), tracks...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	st.wait(t)
	comparePackets(t, packets, st.packets)
	if len(st.tracks) != 5 {
		t.Errorf("%d tracks", len(st.tracks))
	}
	for _, key := range []string{"videoTrackIdInfoMap", "audioTrackIdInfoMap"} {
		if m, ok := st.meta[key].(flv.Metadata); !ok || len(m) == 0 {
			t.Errorf("%s is %v", key, st.meta[key])
		}
	}
	player, err := DialPlay(t.Context(), srv.url(goodKey))
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	comparePackets(t, rebased(packets), collect(t, player))
}

// TestOneTrackForThoseWhoKnowNoMore plays to a client, and publishes to a server, that
// say nothing of multitrack.
func TestOneTrackForThoseWhoKnowNoMore(t *testing.T) {
	tracks, packets := ladder(t)
	t.Run("player", func(t *testing.T) {
		st := newStation()
		st.source = func() ([]*media.Track, media.Source) { return tracks, &slice{packets} }
		srv := serve(t, testConfig(), st)
		player, err := Dialer{}.play(t.Context(), srv.url(goodKey), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer player.Close()
		comparePackets(t, rebased(firstOfEach(packets)), collect(t, player))
	})
	t.Run("server", func(t *testing.T) {
		st := newStation()
		srv := serve(t, testConfig(), st)
		pub, err := DialPublish(t.Context(), srv.url(goodKey))
		if err != nil {
			t.Fatal(err)
		}
		pub.on.client.server = capabilities{}
		for _, p := range packets {
			if err := pub.WritePacket(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if err := pub.Close(); err != nil {
			t.Fatal(err)
		}
		st.wait(t)
		comparePackets(t, firstOfEach(packets), st.packets)
	})
}

func TestNanosecondsLoopBack(t *testing.T) {
	g := mediatest.NewGenerator(mediatest.Options{Duration: 3 * time.Second, RateNum: 30000, RateDen: 1001, BFrames: 2})
	want := collect(t, g)
	st := newStation()
	st.source = func() ([]*media.Track, media.Source) { return g.Tracks(), &slice{want} }
	srv := serve(t, testConfig(), st)
	pub, err := DialPublish(t.Context(), srv.url(goodKey), g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range want {
		if err := pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	st.wait(t)
	player, err := DialPlay(t.Context(), srv.url(goodKey))
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	for name, got := range map[string][]*media.Packet{"published": st.packets, "played": collect(t, player)} {
		if len(got) != len(want) {
			t.Fatalf("%s: %d packets of %d", name, len(got), len(want))
		}
		for i, p := range got {
			if off := want[i].Track.Duration(want[i].DTS) - p.Track.Duration(p.DTS); p.Track.Timescale != flv.FineTimescale || off > 1 || off < -1 || !bytes.Equal(p.Data, want[i].Data) {
				t.Fatalf("%s: packet %d of timescale %d is off by %v", name, i, p.Track.Timescale, off)
			}
		}
	}
}

// TestReconnectRequestIsFollowed moves a publisher from one server to another. What the
// two got together is what was sent, and the second begins with a key frame.
func TestReconnectRequestIsFollowed(t *testing.T) {
	first, second := newStation(), newStation()
	a, b := serve(t, testConfig(), first), serve(t, testConfig(), second)
	g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, GOP: 5})
	pub, err := DialPublish(t.Context(), a.url(goodKey)+"?token=x", g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	var want []*media.Packet
	write := func() {
		t.Helper()
		p := g.Next()
		want = append(want, p)
		if err := pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	write()
	<-first.accepted
	if n := a.Reconnect("rtmp://" + b.Addr().String() + "/live"); n != 1 {
		t.Fatalf("%d were asked", n)
	}
	late := time.After(20 * time.Second)
	for moved := false; !moved; {
		write()
		select {
		case <-first.done: // it is fed until the switch
			moved = true
		case <-late:
			t.Fatal("the publisher did not move")
		case <-time.After(time.Millisecond):
		}
	}
	for range 20 {
		write()
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	second.wait(t)
	comparePackets(t, want, append(first.packets, second.packets...))
	if len(second.packets) == 0 || !second.packets[0].Key || second.keys[0] != goodKey || second.queries[0] != "token=x" {
		t.Errorf("%d packets, key %q, query %q", len(second.packets), second.keys, second.queries)
	}
	for a.open() > 0 {
		runtime.Gosched() // until the first server has seen that its publisher left
	}
	if n := a.Reconnect(""); n != 0 {
		t.Errorf("%d are still asked", n)
	}
}

func TestElsewhere(t *testing.T) {
	for _, tt := range []struct{ now, to, want string }{
		{"rtmp://a/live/key?x=1", "", "rtmp://a/live/key?x=1"},
		{"rtmp://a/live/key", "rtmp://b:1936/app", "rtmp://b:1936/app/key"},
		{"rtmp://a/live/key", "rtmps://b/app/", "rtmps://b/app/key"},
		{"rtmp://a/live/key?x=1", "/other", "rtmp://a/other/key?x=1"},
		{"rtmp://a/live/key?x=1", "rtmp://b/live?y=2", "rtmp://b/live/key?x=1&y=2"},
		{"rtmps://a/live/key", "rtmp://b/live", ""}, // the key would go in the clear
		{"rtmp://a/live/key", "http://b/live", ""},
		{"rtmp://a/live/key", "rtmp://", ""},
		{"rtmp://a/live/key", "%zz", ""},
	} {
		p := &Publisher{address: tt.now}
		if got, ok := p.elsewhere(tt.to); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s to %q: %q", tt.now, tt.to, got)
		}
	}
}

// TestStopAsksToReconnect ends a publication by stopping the server, and by saying first
// that it is unavailable.
func TestStopAsksToReconnect(t *testing.T) {
	for i, caps := range []float64{0, 1, 1} {
		st := newStation()
		srv := serve(t, testConfig(), st)
		nc, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		properties := append(connectProperties("rtmp://localhost/live"), amf0.ObjectEntry{Key: "capsEx", Value: caps})
		s := newScript(t).command(0, "connect", 1.0, properties).command(0, "createStream", 2.0, nil).command(1, "publish", 3.0, nil, goodKey, "live")
		if _, err := nc.Write(s.bytes()); err != nil {
			t.Fatal(err)
		}
		said := make(chan []byte)
		go func() {
			var b bytes.Buffer
			_, _ = b.ReadFrom(nc)
			said <- b.Bytes()
		}()
		<-st.accepted
		if i == 2 {
			st.kick <- fault.New(fault.Unavailable, "publish", "", "the server is stopping", "Connect again in a moment.")
			st.wait(t)
		}
		srv.stop()
		if b := <-said; contains(b, reconnectRequest) != (caps == 1) || !contains(b, connectionClosed) {
			t.Errorf("capsEx %v: %q", caps, b)
		}
	}
}

// TestDialerRefusesAddresses plugs a guard in.
func TestDialerRefusesAddresses(t *testing.T) {
	srv := serve(t, testConfig(), newStation())
	refused := fault.New(fault.Forbidden, "connect to", "a private address", "it is not allowed", "")
	d := Dialer{Net: net.Dialer{Control: func(string, string, syscall.RawConn) error { return refused }}}
	if _, err := d.Publish(t.Context(), srv.url(goodKey)); !fault.Is(err, fault.Unavailable) || !bytes.Contains([]byte(err.Error()), []byte("it is not allowed")) {
		t.Errorf("%v", err)
	}
}
