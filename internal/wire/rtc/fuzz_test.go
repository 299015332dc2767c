package rtc

import (
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"onair/internal/media"
)

// FuzzSDP reads offers; what is taken is written anew as an SDP that says the same.
func FuzzSDP(f *testing.F) {
	f.Add(obsOffer)
	f.Add(obsOffer + "a=rid:1 send\r\na=rid:2 send\r\na=simulcast:send 1;2\r\na=extmap:4 " + extRID + "\r\n")
	f.Add(strings.ReplaceAll(obsOffer, "SAVPF 96", "SAVPF 96 97 98") + "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP9/90000\r\n")
	f.Add("v=0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOffer([]byte(text), codecNames)
		if err != nil {
			return
		}
		written := o.text(2500)
		if len(written) > 8*len(text)+4096 {
			t.Errorf("%d bytes became %d", len(text), len(written))
		}
		var d sdp.SessionDescription
		if err := d.UnmarshalString(written); err != nil {
			t.Fatalf("%v in %q", err, written)
		}
		if _, err := o.engine(2500); err != nil {
			t.Skip(err)
		}
	})
}

func FuzzFragment(f *testing.F) {
	f.Add(trickle)
	f.Add(restart)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFragment([]byte(text))
		if err != nil || got.ufrag == "" {
			return
		}
		again, err := parseFragment([]byte(got.text("video", []string{"0"}, nil)))
		if err != nil || again.ufrag != got.ufrag || again.pwd != got.pwd {
			t.Errorf("%v: %+v became %+v", err, got, again)
		}
	})
}

// FuzzPackets feeds payloads of any kind to the three stages of every codec.
func FuzzPackets(f *testing.F) {
	for i, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		for _, w := range wire(f, c, 2, 2, 1, 1) {
			for _, p := range w.packets[:1] {
				f.Add(uint8(i), p.Payload, uint16(1), uint32(1), true)
			}
		}
	}
	f.Add(uint8(5), sound, uint16(1), uint32(0x80000000), true)
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte, step uint16, leap uint32, marker bool) {
		all := []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9, media.VP8, media.Opus}
		d := newDesk(t, 1)
		l := d.lane(all[int(kind)%len(all)], "", 1)
		seq, ts := uint16(65530), uint32(0xfffffff0)
		for i := range 20 {
			d.push(l, &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: marker != (i%3 == 0)}, Payload: payload[:max(0, len(payload)-i)]})
			seq += step
			ts += leap
			d.until(time.Duration(i) * 50 * time.Millisecond)
		}
		d.until(3 * time.Second)
		last := int64(-1 << 62)
		for _, p := range d.packets {
			if p.DTS <= last || len(p.Data) == 0 {
				t.Fatalf("a packet of %d bytes at %d after %d", len(p.Data), p.DTS, last)
			}
			last = p.DTS
		}
	})
}
