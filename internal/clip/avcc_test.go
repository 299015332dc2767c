package clip

import (
	"bytes"
	"testing"

	"onair/internal/media"
)

// config is an avcC with an SPS and a PPS of a number.
func config(profile byte, id byte, tail ...byte) []byte {
	code := []byte{0x80, 0x40, 0x60, 0x20}[id] // Exp-Golomb: 1, 010, 011, 00100
	b := append([]byte{1, profile, 0, 30, 0xff, 0xe1, 0, 6, 0x67, profile, 0, 30, code, 1}, 1, 0, 4, 0x68, code, 1, 2)
	return append(b, tail...)
}

func TestMerge(t *testing.T) {
	track := func(config []byte) *media.Track {
		return &media.Track{Codec: media.H264, Width: 320, Height: 180, Config: config}
	}
	high := []byte{0xfd, 0xf8, 0xf8, 0}
	both, ok := merge(track(config(100, 0, high...)), track(config(100, 1)))
	if !ok {
		t.Fatal("of two numbers")
	}
	c, ok := parseAVCC(both.Config)
	if !ok || len(c.sps) != 2 || len(c.pps) != 2 || !bytes.Equal(c.tail, high) || idOf(c.sps[1][4:]) != 1 || idOf(c.pps[0][1:]) != 0 {
		t.Errorf("%x", both.Config)
	}
	if _, ok := merge(both, track(config(100, 3))); !ok {
		t.Error("of three numbers")
	}
	for name, made := range map[string]*media.Track{
		"the same number": track(config(100, 0)), "another depth": track(config(100, 1, 0xfd, 0xfa, 0xfa, 0)), "nothing": track(nil),
		"another size": {Codec: media.H264, Width: 640, Height: 360, Config: config(100, 1)},
	} {
		if _, ok := merge(track(config(100, 0)), made); ok {
			t.Error(name)
		}
	}
	whole := config(100, 2, high...)
	for n := range len(whole) - len(high) {
		if _, ok := parseAVCC(whole[:n]); ok {
			t.Errorf("cut at %d", n)
		}
	}
}
