package flv

import (
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func seeds(f *testing.F, k media.Kind) {
	for _, o := range []mediatest.Options{{BFrames: 1}, {Video: media.HEVC}, {Video: media.AV1, Audio: media.Opus}, {Video: media.VP9}} {
		o.FrameSize, o.AudioSize, o.Duration = 20, 20, 100*time.Millisecond
		tracks, packets := source(o)
		var m Muxer
		for _, p := range packets {
			messages, err := m.Packet(p)
			if err != nil {
				f.Fatal(err)
			}
			for _, msg := range messages {
				if msg.Kind == k {
					f.Add(msg.Body(), msg.Body())
				}
			}
		}
		// The same tracks as further ones.
		for _, tr := range tracks {
			for index := range 2 {
				h, err := header(tr, &muxTrack{index: index}, 0)
				if err != nil {
					f.Fatal(err)
				}
				for _, msg := range h {
					if msg.Kind == k {
						f.Add(msg.Body(), []byte{})
					}
				}
			}
		}
	}
	for _, s := range []string{"\x97\x02\x00\x00\x07\x01avc1", "\x96\x11avc1\x00\x00\x00\x01A\x05\x00\x00\x02BC", "\xa6\x21avc1\x00\x00\x00\x01Ahvc1\x01\x00\x00\x00", "\x90fLaC", "\x2f", ac3Frame} {
		f.Add([]byte(s), []byte(s))
	}
}

// check looks at what every packet must be.
func check(t *testing.T, packets []*media.Packet, err error) {
	if err != nil && fault.KindOf(err) == fault.Internal {
		t.Fatalf("%v is no fault", err)
	}
	for _, p := range packets {
		if p.Track == nil || len(p.Data) == 0 || p.Track.Timescale != Timescale || p.Track.ID < 1 {
			t.Fatalf("%+v", p)
		}
	}
}

func FuzzFLVVideo(f *testing.F) {
	seeds(f, media.Video)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var d Demuxer
		for i, body := range [][]byte{a, b, a} {
			p, err := d.Video(uint32(i), body)
			check(t, p, err)
		}
	})
}

func FuzzFLVAudio(f *testing.F) {
	seeds(f, media.Audio)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var d Demuxer
		for i, body := range [][]byte{a, b, a} {
			p, err := d.Audio(uint32(i), body)
			check(t, p, err)
		}
	})
}

func FuzzTags(f *testing.F) {
	f.Add([]byte{9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 12})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for tag, err := range Tags(b) {
			n += len(tag.Body)
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
		}
		if n > len(b) {
			t.Fatalf("%d bytes of tags in %d", n, len(b))
		}
	})
}
