package rtc

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func readShared(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(mediatest.SharedFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// annexB writes an access unit as a byte stream, with its parameter sets if it is a key.
func annexB(t testing.TB, p *media.Packet) []byte {
	t.Helper()
	var out []byte
	unit := func(n []byte) { out = append(append(out, 0, 0, 0, 1), n...) }
	if p.Key {
		for _, n := range parameterSets(t, p.Track) {
			unit(n)
		}
	}
	for n, err := range bitstream.NALUs(p.Data) {
		if err != nil {
			t.Fatal(err)
		}
		unit(n)
	}
	return out
}

func parameterSets(t testing.TB, track *media.Track) [][]byte {
	t.Helper()
	if track.Codec == media.HEVC {
		return [][]byte{mediatest.HEVCVPS(), mediatest.HEVCSPS(track.Width, track.Height, 30, 1), mediatest.HEVCPPS()}
	}
	// avcC: one SPS behind a 2-byte length at 6, then one PPS behind a count.
	c := track.Config
	n := int(binary.BigEndian.Uint16(c[6:]))
	sps := c[8 : 8+n]
	rest := c[8+n+1:]
	m := int(binary.BigEndian.Uint16(rest))
	return [][]byte{sps, rest[2 : 2+m]}
}

// ivf reads the frames of a shared file.
func ivf(t testing.TB, name string) [][]byte {
	t.Helper()
	b := readShared(t, name)
	r, _, err := ivfreader.NewWith(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for {
		f, _, err := r.ParseNextFrame()
		if err != nil {
			return out
		}
		out = append(out, f)
	}
}
