package bitstream_test

import (
	"encoding/hex"
	"testing"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func describe(t testing.TB, c media.Codec, config []byte) *media.Track {
	t.Helper()
	d, err := bitstream.Describe(&media.Track{ID: 1, Codec: c, Timescale: 90000, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func track(c media.Codec) *media.Track {
	if c.Kind() == media.Audio {
		return mediatest.NewGenerator(mediatest.Options{NoVideo: true, Audio: c}).Tracks()[0]
	}
	return mediatest.NewGenerator(mediatest.Options{NoAudio: true, Video: c}).Tracks()[0]
}

// bits writes values in so many bits: pairs of value and width. A width of 0 writes an
// Exp-Golomb code.
func bits(pairs ...uint64) []byte {
	var out []byte
	free := 0
	put := func(v uint64, n int) {
		for i := n - 1; i >= 0; i-- {
			if free == 0 {
				out, free = append(out, 0), 8
			}
			free--
			out[len(out)-1] |= byte(v>>i&1) << free
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		v, n := pairs[i], int(pairs[i+1])
		if n > 0 {
			put(v, n)
			continue
		}
		for n = 0; (v+1)>>(n+1) != 0; n++ {
		}
		put(0, n)
		put(v+1, n+1)
	}
	put(1, 1)
	return out
}

// units puts NAL units behind lengths of that size.
func units(size int, nals ...[]byte) []byte {
	var b []byte
	for _, n := range nals {
		for i := size - 1; i >= 0; i-- {
			b = append(b, byte(len(n)>>(8*i)))
		}
		b = append(b, n...)
	}
	return b
}
