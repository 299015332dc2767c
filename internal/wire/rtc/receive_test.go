package rtc

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// desk feeds a receiver with packets at times of its own.
type desk struct {
	t       testing.TB
	rx      *receiver
	now     time.Time
	drops   map[string]int
	nacked  []uint16
	plis    []time.Duration
	packets []*media.Packet
}

func newDesk(t testing.TB, expected int) *desk {
	d := &desk{t: t, now: epoch, drops: map[string]int{}}
	cfg := DefaultConfig()
	d.rx = &receiver{cfg: cfg, expected: expected, dropped: func(r string) { d.drops[r]++ }}
	return d
}

// lane starts a stream.
func (d *desk) lane(codec media.Codec, rid string, ssrc uint32) *lane {
	d.t.Helper()
	l := d.rx.lane(codec, rid)
	if l == nil {
		d.t.Fatal("no room for a lane")
	}
	l.begin(ssrc, codec, codec != media.Opus, d.now)
	return l
}

// until lets time go by in ticks.
func (d *desk) until(at time.Duration) {
	for d.now.Before(epoch.Add(at)) {
		d.now = d.now.Add(min(tickTime, epoch.Add(at).Sub(d.now)))
		d.rx.tick(d.now)
		d.look()
	}
}

func (d *desk) look() {
	for _, l := range d.rx.lanes {
		if l.active && l.nack {
			d.nacked = append(d.nacked, l.jitter.missing(d.now)...)
		}
	}
	for range d.rx.keyRequests(d.now) {
		d.plis = append(d.plis, d.now.Sub(epoch))
	}
	d.packets = append(d.packets, d.rx.queue...)
	d.rx.queue = nil
}

func (d *desk) push(l *lane, p *rtp.Packet) {
	d.rx.push(l, p, len(p.Payload)+12, d.now)
	d.look()
}

func ntpOf(at time.Time) uint64 {
	const era = 2208988800
	ns := uint64(at.Nanosecond())
	return uint64(at.Unix()+era)<<32 | ns<<32/1e9
}

// payloaderOf returns the sender's side of a codec.
func payloaderOf(c media.Codec) rtp.Payloader {
	switch c {
	case media.H264:
		return &codecs.H264Payloader{}
	case media.HEVC:
		return &codecs.H265Payloader{}
	case media.AV1:
		return &codecs.AV1Payloader{}
	case media.VP9:
		return &codecs.VP9Payloader{InitialPictureIDFn: func() uint16 { return 1 }}
	case media.VP8:
		return &codecs.VP8Payloader{EnablePictureID: true}
	default:
		return &codecs.OpusPayloader{}
	}
}

// wired is an access unit as it is sent, and as it must arrive.
type wired struct {
	ts      uint32
	key     bool
	packets []*rtp.Packet
	want    []byte
}

// wire packetises n access units of generated video.
func wire(t testing.TB, c media.Codec, n, gop int, seq uint16, ts uint32) []wired {
	t.Helper()
	gen := mediatest.NewGenerator(mediatest.Options{Video: c, NoAudio: true, Width: 640, Height: 360, GOP: gop, FrameSize: 3000})
	pay := payloaderOf(c)
	var out []wired
	for range n {
		p := gen.Next()
		raw := p.Data
		if c == media.H264 || c == media.HEVC {
			raw = annexB(t, p)
		}
		w := wired{ts: ts + uint32(p.PTS), key: p.Key, want: p.Data}
		payloads := pay.Payload(1100, raw)
		for i, b := range payloads {
			w.packets = append(w.packets, &rtp.Packet{
				Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: w.ts, Marker: i == len(payloads)-1, SSRC: 7},
				Payload: b,
			})
			seq++
		}
		out = append(out, w)
	}
	return out
}

func TestEveryCodecComesOutAsItWentIn(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		t.Run(c.String(), func(t *testing.T) {
			d := newDesk(t, 1)
			l := d.lane(c, "", 7)
			// Both counters wrap on the way.
			sent := wire(t, c, 60, 20, 65500, 0xffffffff-90000)
			for i, w := range sent {
				d.until(time.Duration(i) * time.Second / 30)
				for _, p := range w.packets {
					d.push(l, p)
				}
			}
			d.until(4 * time.Second)
			if len(d.packets) != len(sent) {
				t.Fatalf("%d of %d frames came out; dropped %v", len(d.packets), len(sent), d.drops)
			}
			for i, p := range d.packets {
				if !bytes.Equal(p.Data, sent[i].want) || p.Key != sent[i].key {
					t.Fatalf("frame %d differs: %d bytes for %d, key %v", i, len(p.Data), len(sent[i].want), p.Key)
				}
				if i > 0 && p.DTS-d.packets[i-1].DTS != 3000 {
					t.Errorf("frame %d comes %d ticks after the one before", i, p.DTS-d.packets[i-1].DTS)
				}
			}
			tr := d.packets[0].Track
			if tr.Width != 640 || tr.Height != 360 || tr.CodecString == "" || len(tr.Config) == 0 || tr.Version != 0 {
				t.Errorf("the track is %+v", tr)
			}
			if len(d.nacked) > 0 {
				t.Errorf("%v were asked for again, and nothing was lost", d.nacked)
			}
		})
	}
}

func TestVP8ComesOutAsItWentIn(t *testing.T) {
	d := newDesk(t, 1)
	l := d.lane(media.VP8, "", 7)
	frames := ivf(t, "elementary/vp8.ivf")
	pay := payloaderOf(media.VP8)
	seq := uint16(10)
	for i, f := range frames {
		d.until(time.Duration(i) * time.Second / 30)
		payloads := pay.Payload(500, f)
		for j, b := range payloads {
			d.push(l, &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(i * 3000), Marker: j == len(payloads)-1}, Payload: b})
			seq++
		}
	}
	d.until(3 * time.Second)
	if len(d.packets) != len(frames) {
		t.Fatalf("%d of %d frames came out; dropped %v", len(d.packets), len(frames), d.drops)
	}
	for i, p := range d.packets {
		if !bytes.Equal(p.Data, frames[i]) {
			t.Fatalf("frame %d differs", i)
		}
	}
	if tr := d.packets[0].Track; tr.Width != 320 || tr.Height != 180 || tr.CodecString == "" {
		t.Errorf("the track is %+v", tr)
	}
}

// TestLossNeverShowsBrokenFrames loses each packet of a GOP in turn, without repair.
func TestLossNeverShowsBrokenFrames(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		sent := wire(t, c, 30, 10, 100, 5000)
		total := 0
		for _, w := range sent[:20] {
			total += len(w.packets)
		}
		for lose := range total {
			d := newDesk(t, 1)
			l := d.lane(c, "", 7)
			n := 0
			for i, w := range sent {
				d.until(time.Duration(i) * time.Second / 30)
				for _, p := range w.packets {
					if n != lose {
						d.push(l, p)
					}
					n++
				}
			}
			d.until(3 * time.Second)
			checkDecodable(t, fmt.Sprintf("%v without packet %d", c, lose), sent, d.packets, 10)
			if len(d.plis) == 0 || lose > 0 && len(d.nacked) == 0 {
				t.Errorf("%v without packet %d: %d key frames and %d packets were asked for", c, lose, len(d.plis), len(d.nacked))
			}
			if len(d.packets) < 10 {
				t.Errorf("%v without packet %d: only %d frames came", c, lose, len(d.packets))
			}
		}
	}
}

// checkDecodable checks that every frame is whole and follows all frames of its GOP.
func checkDecodable(t *testing.T, what string, sent []wired, got []*media.Packet, gop int) {
	t.Helper()
	last := -1
	for _, p := range got {
		at := -1
		for i, w := range sent {
			if bytes.Equal(w.want, p.Data) {
				at = i
			}
		}
		switch {
		case at < 0:
			t.Fatalf("%s: a broken frame came out", what)
		case at%gop != 0 && at != last+1:
			t.Fatalf("%s: frame %d came after %d", what, at, last)
		}
		last = at
	}
}

func TestDisorderAndRepair(t *testing.T) {
	d := newDesk(t, 1)
	l := d.lane(media.H264, "", 7)
	sent := wire(t, media.H264, 60, 30, 65530, 1)
	var late []*rtp.Packet
	n := 0
	for i, w := range sent {
		d.until(time.Duration(i) * time.Second / 30)
		for _, p := range w.packets {
			n++
			switch {
			case n > 1 && n%7 == 0:
				late = append(late, p) // it is lost, and repeated
			case n%11 == 0 && len(w.packets) > 1:
				d.push(l, p)
				d.push(l, p) // it comes twice
			default:
				d.push(l, p)
			}
		}
		for len(late) > 1 {
			d.push(l, late[1]) // the later one first
			late = append(late[:1], late[2:]...)
		}
		if i%3 == 2 {
			for _, p := range late {
				d.push(l, p)
			}
			late = nil
		}
	}
	for _, p := range late {
		d.push(l, p)
	}
	d.until(3 * time.Second)
	if len(d.packets) != len(sent) {
		t.Fatalf("%d of %d frames came out; dropped %v", len(d.packets), len(sent), d.drops)
	}
	c, rtt := d.rx.counts()
	if c.lost != 0 || c.repaired == 0 || c.late == 0 || rtt <= 0 || rtt > 200*time.Millisecond {
		t.Errorf("counted %+v, round trip %v", c, rtt)
	}
}

func TestNewResolutionIsANewVersion(t *testing.T) {
	d := newDesk(t, 1)
	l := d.lane(media.H264, "", 7)
	seq := uint16(1)
	pay := payloaderOf(media.H264)
	for i, width := range []int{320, 640, 640, 1280} {
		gen := mediatest.NewGenerator(mediatest.Options{NoAudio: true, Width: width, Height: width / 2, GOP: 30})
		for j := range 30 {
			p := gen.Next()
			d.until(time.Duration(i*30+j) * time.Second / 30)
			payloads := pay.Payload(1100, annexB(t, p))
			for k, b := range payloads {
				d.push(l, &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32((i*30 + j) * 3000), Marker: k == len(payloads)-1}, Payload: b})
				seq++
			}
		}
	}
	type version struct{ Version, Width int }
	var got []version
	for _, p := range d.packets {
		v := version{p.Track.Version, p.Track.Width}
		if len(got) == 0 || got[len(got)-1] != v {
			got = append(got, v)
		}
	}
	if diff := cmp.Diff([]version{{0, 320}, {1, 640}, {2, 1280}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKeyFramesAreAskedFor(t *testing.T) {
	d := newDesk(t, 1)
	l := d.lane(media.H264, "", 7)
	sent := wire(t, media.H264, 300, 1000, 1, 1)
	for i, w := range sent {
		d.until(time.Duration(i) * time.Second / 30)
		for _, p := range w.packets {
			d.push(l, p)
		}
		if i == 100 {
			for range 1000 {
				d.rx.keyWanted = true
				d.look()
			}
		}
	}
	if len(d.plis) < 4 {
		t.Errorf("in 10 s key frames were asked for at %v only", d.plis)
	}
	for i := 1; i < len(d.plis); i++ {
		if d.plis[i]-d.plis[i-1] < minKeyRequest {
			t.Errorf("asked at %v and %v", d.plis[i-1], d.plis[i])
		}
	}
	if d.plis[0] != time.Second {
		t.Errorf("a stream that begins with a key frame is asked for the one that ends the first segment after %v", d.plis[0])
	}
}

func TestAStreamThatBeginsWithoutAKeyFrameIsAskedForOne(t *testing.T) {
	d := newDesk(t, 1)
	l := d.lane(media.H264, "", 7)
	for i, w := range wire(t, media.H264, 60, 1000, 1, 1)[1:] {
		d.until(time.Duration(i) * time.Second / 30)
		for _, p := range w.packets {
			d.push(l, p)
		}
	}
	if len(d.plis) < 2 || d.plis[0] > 50*time.Millisecond || len(d.packets) > 0 {
		t.Errorf("asked at %v; %d frames came out", d.plis, len(d.packets))
	}
}

func TestAnotherStreamInPlaceOfTheFirst(t *testing.T) {
	d := newDesk(t, 1)
	l := d.lane(media.H264, "", 7)
	for i, w := range wire(t, media.H264, 60, 30, 1, 5) {
		d.until(time.Duration(i) * time.Second / 30)
		for _, p := range w.packets {
			d.push(l, p)
		}
	}
	d.until(2100 * time.Millisecond)
	l.begin(8, media.H264, true, d.now)
	for i, w := range wire(t, media.H264, 60, 30, 40000, 0x80000000) {
		d.until(2100*time.Millisecond + time.Duration(i)*time.Second/30)
		for _, p := range w.packets {
			d.push(l, p)
		}
	}
	d.until(5 * time.Second)
	if len(d.packets) != 120 {
		t.Fatalf("%d of 120 frames came out; dropped %v", len(d.packets), d.drops)
	}
	if gap := d.packets[60].Track.Duration(d.packets[60].DTS - d.packets[59].DTS); gap < 100*time.Millisecond || gap > 170*time.Millisecond {
		t.Errorf("the second stream begins %v after the first", gap)
	}
}

func TestPicturesOutOfOrder(t *testing.T) {
	l := newLane(1, "", media.H264, time.Second, 2*time.Second, func(string) {})
	last := int64(-1)
	for i := range int64(10) {
		for _, pts := range []int64{i*9000 + 9000, i*9000 + 3000, i*9000 + 6000} {
			dts := l.decodeTime(pts)
			if i > 1 && (dts > pts || dts <= last) {
				t.Errorf("pts %d has dts %d after %d", pts, dts, last)
			}
			last = dts
		}
	}
}
