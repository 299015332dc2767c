package flv

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"onair/internal/media"
)

func TestEnhancedHeaders(t *testing.T) {
	frame := []byte{0, 0, 0, 1, 0x65}
	for _, tt := range []struct {
		name string
		in   []byte
		want exMessage
		err  string
	}{
		{"ModEx", cat("\x97\x02\x00\x00\x07\x01avc1", frame), exMessage{1, 1, 7, true, false, []exTrack{{0, fourCC("avc1"), frame}}}, ""},
		{"ModEx with too many nanoseconds", cat("\x97\x02\xff\xff\xff\x01avc1", frame), exMessage{1, 1, 0, false, false, []exTrack{{0, fourCC("avc1"), frame}}}, ""},
		{"ModEx of an unknown kind", cat("\x97\x02\x00\x00\x07\x11avc1", frame), exMessage{1, 1, 0, false, false, []exTrack{{0, fourCC("avc1"), frame}}}, ""},
		{"two ModEx", cat("\x97\x02\x00\x00\x07\x07\x00\x00\x11avc1", frame), exMessage{1, 1, 7, true, false, []exTrack{{0, fourCC("avc1"), frame}}}, ""},
		{"ModEx of 256 bytes and more", cat("\x97\xff\x01\x00", string(make([]byte, 257)), "\x03avc1", frame), exMessage{3, 1, 0, true, false, []exTrack{{0, fourCC("avc1"), frame}}}, ""},
		{"ModEx before multitrack", cat("\x97\x00\x00\x06\x01avc1\x02", frame), exMessage{1, 1, 0, false, false, []exTrack{{2, fourCC("avc1"), frame}}}, ""},
		{"many tracks", cat("\x96\x11avc1", "\x00\x00\x00\x01A", "\x05\x00\x00\x02BC"), exMessage{1, 1, 0, false, false, []exTrack{{0, fourCC("avc1"), []byte("A")}, {5, fourCC("avc1"), []byte("BC")}}}, ""},
		{"many tracks and codecs", cat("\xa6\x21", "avc1\x00\x00\x00\x01A", "hvc1\x01\x00\x00\x00"), exMessage{1, 2, 0, false, false, []exTrack{{0, fourCC("avc1"), []byte("A")}, {1, fourCC("hvc1"), []byte{}}}}, ""},
		{"command", cat("\xd1\x00"), exMessage{1, 5, 0, false, true, nil}, ""},
		{"metadata in a command frame", cat("\xd4hvc1\x02"), exMessage{4, 5, 0, false, false, []exTrack{{0, fourCC("hvc1"), []byte{2}}}}, ""},
		{"multitrack in multitrack", cat("\x96\x06avc1"), exMessage{}, "inside a multitrack"},
		{"unknown multitrack type", cat("\x96\x31avc1"), exMessage{}, "not known"},
		{"a track too long", cat("\x96\x11avc1\x00\x00\x00\x09A"), exMessage{}, "a track of 9 bytes"},
		{"endless ModEx", append([]byte{0x97}, bytes.Repeat([]byte{0, 0, 7}, 100)...), exMessage{}, "ModEx prefixes"},
		{"short ModEx", cat("\x97\x05\x00"), exMessage{}, "inside its header"},
		{"no codec", cat("\x91avc"), exMessage{}, "inside its header"},
		{"a thousand tracks", append(cat("\x96\x11avc1"), make([]byte, 4000)...), exMessage{}, "more than 32 tracks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseEx(tt.in, media.Video)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("%+v %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(exMessage{}, exTrack{}), cmp.Comparer(bytes.Equal)); d != "" {
				t.Error(d)
			}
		})
	}
}

func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return b
}

func TestPlainAndTrackZeroAreTheSameTrack(t *testing.T) {
	track, header, key := h264(t)
	var d Demuxer
	if _, err := d.Video(0, cat("\x96\x00avc1\x00", track.Config)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Video(0, header); err != nil {
		t.Fatal(err)
	}
	got, err := d.Video(0, cat("\x96\x03avc1\x00", key[5:]))
	if err != nil || len(got) != 1 || got[0].Track.ID != 1 || got[0].Track.Version != 0 {
		t.Fatal(got, err)
	}
}
