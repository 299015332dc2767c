package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLink provokes what the transport tells.
func TestLink(t *testing.T) {
	for _, tt := range []struct {
		name string
		link func(seconds uint64) media.Link
		want []string
	}{
		{"unknown", func(uint64) media.Link { return media.Link{} }, nil},
		{"good", func(n uint64) media.Link {
			return media.Link{RTT: value(30 * time.Millisecond), Jitter: value(3 * time.Millisecond),
				Packets: value(1000 * n), Lost: value(5 * n), Retransmitted: value(5 * n), Dropped: value(uint64(0))}
		}, nil},
		{"loss", func(n uint64) media.Link { return media.Link{Packets: value(1000 * n), Lost: value(50 * n)} }, []string{"uplink_loss"}},
		{"loss before the publisher was watched", func(n uint64) media.Link {
			return media.Link{Packets: value(1000 * n), Lost: value(uint64(90000))}
		}, nil},
		{"long way", func(uint64) media.Link { return media.Link{RTT: value(300 * time.Millisecond)} }, []string{"uplink_rtt_high"}},
		{"jitter", func(uint64) media.Link { return media.Link{Jitter: value(80 * time.Millisecond)} }, []string{"jitter_high"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var begin time.Time
			s := Session{Protocol: "srt", Link: func() media.Link { return tt.link(uint64(time.Since(begin).Seconds()) + 1) }}
			admit(t, s, mediatest.Options{}, func(p *patient) {
				begin = p.begin
				p.send(25 * time.Second)
				p.has(tt.want...)
				l := p.report().Sources[0].Link
				if got := tt.link(1); (got.RTT == nil) != (l.RTT == nil) || (got.Lost == nil) != (l.Loss == nil) || (got.Dropped == nil) != (l.Dropped == nil) {
					t.Errorf("the report's link is %+v of %+v", l, got)
				}
				if tt.name == "loss" {
					if v := *l.Loss; v < 0.045 || v > 0.05 {
						t.Errorf("loss %g", v)
					}
				}
			})
		})
	}
}

// TestSevereLossIsCritical tells much loss from some.
func TestSevereLossIsCritical(t *testing.T) {
	begin := time.Time{}
	s := Session{Link: func() media.Link {
		n := uint64(time.Since(begin).Seconds()) + 1
		return media.Link{Packets: value(800 * n), Lost: value(200 * n), Retransmitted: value(100 * n), Dropped: value(100 * n)}
	}}
	admit(t, s, mediatest.Options{}, func(p *patient) {
		begin = p.begin
		p.send(20 * time.Second)
		f := p.finding("uplink_loss")
		if r := p.report(); f.Severity != Critical || r.Status != Bad || *r.Score != 60 || f.Evidence["retransmission"] != 0.125 {
			t.Errorf("%s, %d: %+v", r.Status, *r.Score, f)
		}
	})
}

// TestHysteresis raises after a while, clears after a while, and tells both.
func TestHysteresis(t *testing.T) {
	admit(t, Session{}, mediatest.Options{NoAudio: true}, func(p *patient) {
		p.send(11 * time.Second)
		p.has() // ten seconds without sound, and not yet for two more
		p.send(4 * time.Second)
		p.has("audio_missing")
		told := p.told()
		if len(told) != 2 || told[0].Status != "good" || *told[0].Score != 100 || told[1].Status != "degraded" || *told[1].Score != 85 || told[1].Raised[0] != "audio_missing" {
			t.Fatalf("told %+v", told)
		}
		since := p.finding("audio_missing").Since
		sound := mediatest.NewGenerator(mediatest.Options{NoVideo: true, Start: p.begin.Add(15 * time.Second)})
		p.change = func(v *media.Packet) []*media.Packet {
			s := sound.Next()
			return []*media.Packet{v, {Track: s.Track, DTS: v.DTS * 8 / 15, PTS: v.DTS * 8 / 15, Key: true, Data: s.Data, Arrival: v.Arrival}}
		}
		p.send(4 * time.Second)
		if f := p.finding("audio_missing"); !f.Since.Equal(since) || f.Count != 1 {
			t.Errorf("it goes on as %+v", f)
		}
		p.send(5 * time.Second)
		if told := p.told(); len(told) == 0 || told[0].Cleared[0] != "audio_missing" {
			t.Errorf("told %+v", told)
		}
	})
}

// TestStale keeps the last readings when the publisher is lost, and takes new ones when
// it is back.
func TestStale(t *testing.T) {
	admit(t, Session{Protocol: "srt"}, mediatest.Options{GOP: 300}, func(p *patient) {
		p.send(20 * time.Second)
		p.has("keyframe_interval_long")
		p.tap.Ended(errors.New("the network is gone"))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		r := p.report()
		s := r.Sources[0]
		if r.Status != NoData || r.Score != nil || !r.Stale || !s.Stale || s.Ended == nil || s.EndReason != "the network is gone" {
			t.Errorf("report %+v", r)
		}
		if v := s.Tracks[0]; v.Bitrate == nil || *v.Bitrate < 400e3 || v.KeyframeInterval == nil || len(r.Findings) != 1 {
			t.Errorf("the last readings are gone: %+v", v)
		}
		if r.MeasuredAt == nil || time.Since(*r.MeasuredAt) < 29*time.Second {
			t.Errorf("measured at %v, it is %v", r.MeasuredAt, time.Now())
		}
		h := r.History
		if last := h[len(h)-1]; !last.Offline || last.Bitrate != nil || h[3].Offline {
			t.Errorf("the graph ends with %+v", last)
		}
		// It comes back with the right setting.
		p.tap = p.d.Watch(Session{StreamID: "ls_1", Session: "in_2", Since: time.Now()})
		p.gen = mediatest.NewGenerator(mediatest.Options{Start: time.Now(), Width: 640, Height: 360})
		p.send(20 * time.Second)
		p.has()
		if r := p.report(); r.Stale || r.Status != Good || len(r.Sources) != 1 || r.Sources[0].Session != "in_2" {
			t.Errorf("report %+v", r)
		}
	})
}

// TestForgets drops what nobody needs any more.
func TestForgets(t *testing.T) {
	admit(t, Session{}, mediatest.Options{}, func(p *patient) {
		p.send(5 * time.Second)
		p.tap.Ended(nil)
		time.Sleep(14 * time.Minute)
		if _, ok := p.d.Health("ls_1"); !ok {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Minute)
		r, ok := p.d.Health("ls_1")
		if ok || r.Status != NoData || r.Findings == nil || r.Sources == nil || r.History == nil {
			t.Errorf("%v, %+v", ok, r)
		}
	})
}

// TestBackup shows both publishers, and whose findings count.
func TestBackup(t *testing.T) {
	admit(t, Session{}, mediatest.Options{}, func(p *patient) {
		backup := p.d.Watch(Session{StreamID: "ls_1", Session: "in_b", Backup: true})
		other := mediatest.NewGenerator(mediatest.Options{GOP: 30, Width: 640, Height: 360, Start: p.begin})
		n := 0
		p.change = func(m *media.Packet) []*media.Packet {
			b := other.Next()
			if n++; !isVideo(b) || b.Key {
				backup.Received(b)
			}
			return []*media.Packet{m}
		}
		p.send(20 * time.Second)
		f := p.finding("only_keyframes")
		if r := p.report(); f.Source != "backup" || f.Severity != Warning || r.Status != Degraded || len(r.Sources) != 2 || !r.Sources[1].Backup {
			t.Errorf("standing by: %+v %s", f, r.Status)
		}
		p.tap.Ended(errors.New("gone"))
		time.Sleep(time.Second)
		synctest.Wait()
		if f, r := p.finding("only_keyframes"), p.report(); f.Severity != Critical || r.Status != Bad || r.Stale {
			t.Errorf("on the air: %+v %s", f, r.Status)
		}
	})
}

// TestResolution follows a publisher that changes its picture.
func TestResolution(t *testing.T) {
	for _, tt := range []struct {
		protocol, want string
		w, h           int
		severity       Severity
	}{
		{"rtmp", "resolution_changed", 320, 180, Warning},
		{"whip", "resolution_changed", 320, 180, Info},
		{"rtmp", "rotation_changed", 360, 640, Warning},
	} {
		t.Run(tt.protocol+" "+tt.want, func(t *testing.T) {
			admit(t, Session{Protocol: tt.protocol}, mediatest.Options{}, func(p *patient) {
				p.send(10 * time.Second)
				o := mediatest.Options{Width: tt.w, Height: tt.h, RateNum: 30, RateDen: 1}
				next, err := bitstream.Describe(mediatest.VideoTrack(o))
				if err != nil {
					t.Fatal(err)
				}
				next.ID, next.Timescale, next.Version = mediatest.VideoID, 90000, 1
				p.change = func(v *media.Packet) []*media.Packet {
					q := *v
					if isVideo(v) {
						q.Track = next
					}
					return []*media.Packet{&q}
				}
				p.send(5 * time.Second)
				p.has(tt.want)
				f := p.finding(tt.want)
				if f.Severity != tt.severity || f.Evidence["from"] != "640x360" || f.Evidence["to"] != fmt.Sprintf("%dx%d", tt.w, tt.h) {
					t.Errorf("%+v", f)
				}
				p.send(65 * time.Second)
				p.has()
			})
		})
	}
}

// TestFormats provokes what parameter sets tell.
func TestFormats(t *testing.T) {
	track := func(c media.Codec, codecString string) *media.Track {
		return &media.Track{ID: 1, Codec: c, Timescale: 90000, Width: 1280, Height: 720, FrameRate: 30, CodecString: codecString}
	}
	hevc := make([]byte, 23)
	hevc[6] = 0x40
	fields := track(media.HEVC, "hvc1.1.6.L93")
	fields.Config = hevc
	for name, tt := range map[string]struct {
		t    *media.Track
		want string
	}{
		"10 bit":         {track(media.H264, "avc1.6e001f"), "profile_unsupported"},
		"4:4:4":          {track(media.H264, "avc1.f4001f"), "profile_unsupported"},
		"range extended": {track(media.HEVC, "hvc1.4.10.L93"), "profile_unsupported"},
		"AV1 High":       {track(media.AV1, "av01.1.04M.08"), "profile_unsupported"},
		"VP9 profile 2":  {track(media.VP9, "vp09.02.10.10"), "profile_unsupported"},
		"VP8":            {track(media.VP8, "vp8"), "codec_unsupported_for_mode"},
		"interlaced":     {fields, "interlaced"},
	} {
		e := &exam{video: []reading{{id: 1, track: tt.t, interlaced: bitstream.Interlaced(tt.t)}}}
		found := false
		for _, entry := range formatEntries() {
			if v := entry.check(e); v.is == yes {
				found = found || entry.code == tt.want
				if v.title == "" || v.evidence["codec"] == "" {
					t.Errorf("%s: %+v", name, v)
				}
			}
		}
		if !found {
			t.Errorf("%s does not raise %s", name, tt.want)
		}
	}
	for _, good := range []string{"avc1.42c01f", "avc1.4d401f", "avc1.64001f", "hvc1.1.6.L93", "hvc1.2.4.L93", "av01.0.04M.08", "vp09.00.10.08", "vp8", ""} {
		if tooRich(good) {
			t.Errorf("%s is called too much", good)
		}
	}
	for _, c := range []media.Codec{media.AC3, media.EAC3, media.MP3, media.FLAC} {
		e := &exam{audio: []reading{{id: 2, track: track(c, "")}}}
		if v := checkCodec(e); v.is != yes {
			t.Errorf("%s is not told", c)
		}
	}
}

// TestRefusals tells of encoders that were not let in.
func TestRefusals(t *testing.T) {
	admit(t, Session{StreamID: "other"}, mediatest.Options{}, func(p *patient) {
		if _, ok := p.d.Health("ls_1"); ok {
			t.Fatal("something is known before anything happened")
		}
		for range 2 {
			p.bus.Publish(event.IngestRefused{Protocol: "rtmp", Peer: "203.0.113.77:5000", Code: "unauthorized", Reason: "the stream key is not known"})
		}
		synctest.Wait()
		f := p.finding("key_wrong")
		if f.Count != 2 || f.Severity != Warning || f.Evidence["peer"] != "203.0.113.0/24" || strings.Contains(f.Title, ".77") || f.Fix.FFmpeg == "" {
			t.Errorf("%+v", f)
		}
		if r := p.report(); r.Status != NoData || !strings.Contains(r.Summary, "203.0.113.0/24") {
			t.Errorf("summary %q", r.Summary)
		}
		time.Sleep(3 * time.Minute)
		if _, ok := p.d.Health("ls_1"); ok {
			t.Error("a wrong key is told for too long")
		}
		p.bus.Publish(event.IngestRefused{StreamID: "ls_1", Protocol: "rtmp", Peer: "[2001:db8::1]:1", Code: "unsupported", Reason: "VP6 cannot be used"})
		p.bus.Publish(event.IngestRefused{StreamID: "ls_1", Protocol: "rtmp", Code: "unavailable", Reason: "the server is stopping"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if f := p.finding("tracks_refused"); !strings.Contains(f.Title, "VP6") || f.Evidence["attempts"] != 1 {
			t.Errorf("%+v", f)
		}
		if told := p.told(); len(told) != 1 || told[0].Status != "no_data" || told[0].Score != nil || told[0].Raised[0] != "tracks_refused" {
			t.Errorf("told %+v", told)
		}
		p.bus.Publish(event.StreamActive{StreamID: "ls_1"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		p.has()
	})
}

// TestFlapping tells of encoders that take the stream from each other, and of one that
// comes and goes.
func TestFlapping(t *testing.T) {
	admit(t, Session{}, mediatest.Options{}, func(p *patient) {
		p.send(2 * time.Second)
		for range 3 {
			p.bus.Publish(event.StreamActive{StreamID: "ls_1", TookOver: true})
			p.send(5 * time.Second)
		}
		p.has("publisher_conflict")
		for range 3 {
			p.bus.Publish(event.StreamActive{StreamID: "ls_1", Resumed: true})
			p.send(30 * time.Second)
		}
		p.has("reconnects_often")
		p.bus.Publish(event.StreamIdle{StreamID: "ls_1"})
		p.tap.Ended(nil)
		synctest.Wait()
		p.tap = p.d.Watch(Session{StreamID: "ls_1", Session: "in_9"})
		p.gen = mediatest.NewGenerator(mediatest.Options{Start: time.Now(), Width: 640, Height: 360})
		p.send(5 * time.Second)
		p.has() // another broadcast begins with nothing
	})
}

// TestBounds lets more streams, tracks and strangers come than are watched.
func TestBounds(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := DefaultConfig()
	cfg.MaxStreams, cfg.SampleInterval = 2, 0
	d := New(cfg, event.NewBus(), nil, reg)
	p := &media.Packet{Track: &media.Track{ID: 1, Codec: media.H264, Timescale: 1000}, Data: []byte{1}}
	for i := range 5 {
		tap := d.Watch(Session{StreamID: fmt.Sprint(i)})
		tap.Received(p)
		tap.Ended(nil)
	}
	if n := testutil.ToFloat64(d.metrics.unwatched); n != 3 {
		t.Errorf("%g were not watched, want 3", n)
	}
	if _, ok := d.Health("4"); ok {
		t.Error("the fifth is watched")
	}
	tap := d.Watch(Session{StreamID: "0"})
	for i := range 3 * maxTracks {
		tap.Received(&media.Packet{Track: &media.Track{ID: i, Codec: media.AAC, Timescale: 1000}})
	}
	if tap.count != maxTracks {
		t.Errorf("%d tracks are measured", tap.count)
	}
	for i := range 1000 {
		d.refused(event.IngestRefused{Peer: fmt.Sprintf("10.%d.%d.1:1", i/250, i%250), Code: "unauthorized"})
	}
	if n, ok := d.latestStranger(time.Now()); !ok || n.attempts != 1 {
		t.Errorf("%+v", n)
	}
	tap.Received(nil)
	tap.Received(&media.Packet{})
	tap.Received(&media.Packet{Track: &media.Track{Codec: media.H264}})
}

func TestMasked(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.77:80": "203.0.113.0/24", "[2001:db8:1:2::3]:80": "2001:db8:1::/48", "[fe80::1%eth0]:80": "fe80::/48",
		"[::ffff:203.0.113.7]:1": "203.0.113.0/24", "": "unknown", "nonsense": "unknown",
	} {
		if got := masked(in); got != want {
			t.Errorf("masked(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestReceivedDoesNotAllocate: it stands in the way of every packet.
func TestReceivedDoesNotAllocate(t *testing.T) {
	d := New(Config{MaxStreams: 1, Keep: time.Minute}, event.NewBus(), nil, nil)
	tap := d.Watch(Session{StreamID: "ls_1"})
	g := mediatest.NewGenerator(mediatest.Options{BFrames: 2})
	packets := make([]*media.Packet, 500)
	for i := range packets {
		packets[i] = g.Next()
		tap.Received(packets[i])
	}
	i := 0
	tap.sample.want(time.Now())
	if n := testing.AllocsPerRun(1000, func() { tap.Received(packets[i%500]); i++ }); n != 0 {
		t.Errorf("%g allocations a packet", n)
	}
}

// TestReportOverTheWire pins the JSON names of a report without readings.
func TestReportOverTheWire(t *testing.T) {
	d := New(Config{MaxStreams: 1}, event.NewBus(), nil, nil)
	r, ok := d.Health("ls_1")
	got, err := json.Marshal(r)
	want := `{"live_stream_id":"ls_1","status":"no_data","score":null,"summary":"No publisher is connected.","since":null,"stale":false,"measured_at":null,"findings":[],"sources":[],"history":[]}`
	if err != nil || ok || string(got) != want {
		t.Errorf("%v, %s", ok, got)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{SampleInterval: time.Millisecond}.Validate()
	for _, key := range []string{"max-streams", "keep", "sample-interval", "sample-timeout", "samplers"} {
		if err == nil || !strings.Contains(err.Error(), "doctor-"+key) {
			t.Errorf("%s is not complained about: %v", key, err)
		}
	}
}

// TestWithoutPackets is a publisher that was admitted and sends nothing yet.
func TestWithoutPackets(t *testing.T) {
	admit(t, Session{}, mediatest.Options{}, func(p *patient) {
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if r := p.report(); r.Status != NoData || r.Score != nil || len(r.Sources) != 1 || r.MeasuredAt != nil {
			t.Errorf("%+v", r)
		}
	})
}

// BenchmarkReceived is the cost of a packet.
func BenchmarkReceived(b *testing.B) {
	d := New(Config{MaxStreams: 1}, event.NewBus(), nil, nil)
	tap := d.Watch(Session{StreamID: "ls_1"})
	g := mediatest.NewGenerator(mediatest.Options{})
	packets := make([]*media.Packet, 1000)
	for i := range packets {
		packets[i] = g.Next()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tap.Received(packets[i%len(packets)])
	}
}

// BenchmarkExamine is the cost of a stream each second.
func BenchmarkExamine(b *testing.B) {
	d := New(Config{MaxStreams: 1}, event.NewBus(), nil, nil)
	tap := d.Watch(Session{StreamID: "ls_1"})
	g := mediatest.NewGenerator(mediatest.Options{})
	for range 5000 {
		tap.Received(g.Next())
	}
	s, now := d.find("ls_1"), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		s.examine(d.rules, now, 15*time.Second)
	}
}
