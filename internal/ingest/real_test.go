package ingest

import (
	"os"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/flv"
	"onair/internal/media/mediatest"
)

// What real encoders wrote comes out where they had it: pictures to the millisecond,
// sound within one packet.
func TestRealRecordings(t *testing.T) {
	for _, name := range []string{"bbb.flv", "bun33s_audio.flv", "testsrc.flv", "rotations.flv", "test_short.flv", "sample-with-key-frame-index.flv"} {
		t.Run(name, func(t *testing.T) {
			in := demux(t, name)
			if len(in) < 50 {
				t.Fatalf("only %d packets", len(in))
			}
			r := newRig(t)
			r.tl.begin(5*time.Second, in[:min(len(in), 40)])
			moved := time.Duration(r.tl.cur)
			for _, p := range in {
				q := r.put(p)
				if q == nil {
					t.Fatalf("a packet at %d was left out", p.DTS)
				}
				tolerance := time.Millisecond
				if p.Track.Kind() == media.Audio {
					tolerance = q.Track.Duration(q.Duration) + 3*time.Millisecond
				}
				if want := p.Track.Duration(p.DTS) + moved; !near(q.Track.Duration(q.DTS), want, tolerance) {
					t.Fatalf("%v packet of %v came out at %v: %v", p.Track.Kind(), want, q.Track.Duration(q.DTS), r.fixed.counts())
				}
				if composition := q.Track.Duration(q.PTS - q.DTS); !near(composition, p.Track.Duration(p.PTS-p.DTS), time.Millisecond) {
					t.Fatalf("composition %d became %v", p.PTS-p.DTS, composition)
				}
			}
			t.Logf("%d packets, repairs %v", len(in), r.fixed.counts())
		})
	}
}

func demux(t *testing.T, name string) (packets []*media.Packet) {
	b, err := os.ReadFile(mediatest.SharedFile(t, "flv-rtmp/"+name))
	if err != nil {
		t.Fatal(err)
	}
	var d flv.Demuxer
	const header = 9 + 4
	for tag, err := range flv.Tags(b[header:]) {
		if err != nil {
			break // recordings are cut off
		}
		var got []*media.Packet
		switch tag.Type {
		case 8:
			got, err = d.Audio(tag.Timestamp, tag.Body)
		case 9:
			got, err = d.Video(tag.Timestamp, tag.Body)
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, got...)
	}
	return packets
}
