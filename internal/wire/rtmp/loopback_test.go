package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// contents are the cases that go through the wire and come out the same.
func contents() map[string]mediatest.Options {
	return map[string]mediatest.Options{
		"H.264 and AAC":          {Timescale: 1000, Duration: 4 * time.Second},
		"H.264 with B-frames":    {Timescale: 1000, Duration: 4 * time.Second, BFrames: 2},
		"H.264 of variable rate": {Timescale: 1000, Duration: 4 * time.Second, VariableRate: true},
		"HEVC with B-frames":     {Timescale: 1000, Duration: 3 * time.Second, Video: media.HEVC, BFrames: 3},
		"AV1 and Opus":           {Timescale: 1000, Duration: 3 * time.Second, Video: media.AV1, Audio: media.Opus},
		"VP9 and Opus":           {Timescale: 1000, Duration: 3 * time.Second, Video: media.VP9, Audio: media.Opus},
		"sound only":             {Timescale: 1000, Duration: 3 * time.Second, NoVideo: true},
		"picture only":           {Timescale: 1000, Duration: 3 * time.Second, NoAudio: true},
		"sound begins later":     {Timescale: 1000, Duration: 4 * time.Second, AudioDelay: 2 * time.Second},
		"starts after 5 hours":   {Timescale: 1000, Duration: 2 * time.Second, Offset: 5 * time.Hour},
		"wraps after 49 days":    {Timescale: 1000, Duration: 3 * time.Second, Offset: (1<<32 - 1500) * time.Millisecond},
	}
}

var packetOptions = cmp.Options{
	cmpopts.IgnoreFields(media.Packet{}, "Arrival", "Track"),
	cmp.Comparer(bytes.Equal),
}

func collect(t *testing.T, src media.Source) []*media.Packet {
	t.Helper()
	var out []*media.Packet
	for {
		p, err := src.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

func comparePackets(t *testing.T, want, got []*media.Packet) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d packets went in, %d came out", len(want), len(got))
	}
	for i := range want {
		w := *want[i]
		w.Duration = 0 // RTMP does not tell it
		if d := cmp.Diff(&w, got[i], packetOptions); d != "" {
			t.Fatalf("packet %d differs (-want +got):\n%s", i, d)
		}
		compareTracks(t, want[i].Track, got[i].Track)
	}
}

func compareTracks(t *testing.T, want, got *media.Track) {
	t.Helper()
	w, g := *want, *got
	w.Version, g.Version = 0, 0
	if d := cmp.Diff(w, g); d != "" {
		t.Fatalf("track differs (-want +got):\n%s", d)
	}
}

func TestPublishLoopBack(t *testing.T) {
	for name, options := range contents() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStation()
			srv := serve(t, testConfig(), st)
			g := mediatest.NewGenerator(options)
			want := collect(t, g)
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
			if !errors.Is(st.ended, io.EOF) {
				t.Errorf("the publication ended with %v, want io.EOF", st.ended)
			}
			comparePackets(t, want, st.packets)
			if len(st.tracks) != len(g.Tracks()) || st.encoder != encoderName {
				t.Errorf("%d tracks of encoder %q", len(st.tracks), st.encoder)
			}
			for _, p := range st.packets {
				if p.Arrival.IsZero() {
					t.Fatal("a packet has no arrival")
				}
			}
		})
	}
}

func TestPlayLoopBack(t *testing.T) {
	for name, options := range contents() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := mediatest.NewGenerator(options)
			want := collect(t, g)
			st := newStation()
			st.source = func() ([]*media.Track, media.Source) { return g.Tracks(), &slice{want} }
			srv := serve(t, testConfig(), st)
			player, err := DialPlay(t.Context(), srv.url(goodKey))
			if err != nil {
				t.Fatal(err)
			}
			defer player.Close()
			got := collect(t, player)
			comparePackets(t, rebased(want), got)
			if player.Metadata().Number("width") == 0 && !options.NoVideo {
				t.Errorf("metadata %v", player.Metadata())
			}
		})
	}
}

// rebased is what a player gets: from the first key frame on, from time 0 on.
func rebased(in []*media.Packet) []*media.Packet {
	video := false
	for _, p := range in {
		video = video || p.Track.Kind() == media.Video
	}
	for len(in) > 0 && video && (in[0].Track.Kind() != media.Video || !in[0].Key) {
		in = in[1:]
	}
	var out []*media.Packet
	for _, p := range in {
		c := *p
		c.PTS -= in[0].DTS
		c.DTS = max(0, p.DTS-in[0].DTS)
		out = append(out, &c)
	}
	return out
}

type slice struct{ packets []*media.Packet }

func (s *slice) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if len(s.packets) == 0 {
		return nil, io.EOF
	}
	p := s.packets[0]
	s.packets = s.packets[1:]
	return p, nil
}

func TestRefusalReachesThePublisher(t *testing.T) {
	for _, tt := range []struct {
		kind fault.Kind
		code string
	}{
		{fault.Unauthorized, publishDenied},
		{fault.Disabled, publishDenied},
		{fault.Conflict, publishBadName},
		{fault.Unsupported, publishRejected},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			st := newStation()
			st.admit = func(string) error { return fault.New(tt.kind, "publish", "", "the cause", "Do this") }
			srv := serve(t, testConfig(), st)
			_, err := DialPublish(t.Context(), srv.url("sk_secret"))
			if err == nil || StatusCode(err) != tt.code {
				t.Fatalf("DialPublish returned %v with code %q, want %q", err, StatusCode(err), tt.code)
			}
			if !bytes.Contains([]byte(err.Error()), []byte("the cause. Do this")) {
				t.Errorf("%q does not say why", err)
			}
			if bytes.Contains([]byte(err.Error()), []byte("sk_secret")) {
				t.Errorf("%q tells the key", err)
			}
			srv.stop()
			if srv.rejected(t, reasonDenied) != 1 {
				t.Error("the refusal was not counted")
			}
		})
	}
}

func TestKickReachesThePublisher(t *testing.T) {
	st := newStation()
	srv := serve(t, testConfig(), st)
	g := mediatest.NewGenerator(mediatest.Options{})
	pub, err := DialPublish(t.Context(), srv.url(goodKey), g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	<-st.accepted
	st.kick <- fault.New(fault.Conflict, "publish", "", "another encoder took over", "Stop one of them")
	for err == nil {
		err = pub.WritePacket(t.Context(), g.Next())
	}
	if StatusCode(err) != publishBadName {
		t.Fatalf("WritePacket returned %v", err)
	}
}

func TestStopTellsThePublisher(t *testing.T) {
	st := newStation()
	srv := serve(t, testConfig(), st)
	g := mediatest.NewGenerator(mediatest.Options{})
	pub, err := DialPublish(t.Context(), srv.url(goodKey), g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	<-st.accepted
	go srv.stop()
	for err == nil {
		err = pub.WritePacket(t.Context(), g.Next())
	}
	if StatusCode(err) != connectionClosed || !fault.Is(err, fault.Unavailable) {
		t.Fatalf("WritePacket returned %v with code %q", err, StatusCode(err))
	}
	srv.stop()
}

func TestLostConnectionIsNoEnd(t *testing.T) {
	st := newStation()
	srv := serve(t, testConfig(), st)
	g := mediatest.NewGenerator(mediatest.Options{})
	pub, err := DialPublish(t.Context(), srv.url(goodKey), g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	if err := pub.WritePacket(t.Context(), g.Next()); err != nil {
		t.Fatal(err)
	}
	pub.on.client.socket.Close()
	st.wait(t)
	if errors.Is(st.ended, io.EOF) || !fault.Is(st.ended, fault.Unavailable) {
		t.Fatalf("the publication ended with %v", st.ended)
	}
}

func TestPlayOfAnUnknownStream(t *testing.T) {
	srv := serve(t, testConfig(), newStation())
	_, err := DialPlay(t.Context(), srv.url("nobody"))
	if StatusCode(err) != playNotFound || !fault.Is(err, fault.NotFound) {
		t.Fatalf("DialPlay returned %v", err)
	}
}

func TestPublishDolbyLoopBack(t *testing.T) {
	for codec, frame := range map[media.Codec]string{
		media.AC3:  "0b77b50b1e40ebf8403eff99ff0841fc",
		media.EAC3: "0b77017f3487c0002084210838008c06",
	} {
		t.Run(codec.String(), func(t *testing.T) {
			data := append(fromHex(t, frame), make([]byte, 500)...)
			track, err := bitstream.Probe(&media.Track{ID: 2, Codec: codec, Timescale: 1000}, data)
			if err != nil {
				t.Fatal(err)
			}
			st := newStation()
			srv := serve(t, testConfig(), st)
			// The publisher is not told of its tracks beforehand.
			pub, err := DialPublish(t.Context(), srv.url(goodKey))
			if err != nil {
				t.Fatal(err)
			}
			var want []*media.Packet
			for i := range int64(10) {
				want = append(want, &media.Packet{Track: track, DTS: 32 * i, PTS: 32 * i, Key: true, Data: data})
				if err := pub.WritePacket(t.Context(), want[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := pub.Close(); err != nil {
				t.Fatal(err)
			}
			st.wait(t)
			comparePackets(t, want, st.packets)
			if st.meta["audiosamplerate"] != 48000.0 {
				t.Errorf("metadata %v", st.meta)
			}
		})
	}
}
