package ingest

import (
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// silence makes the packets that stand in for the sound of a track.
type silence struct {
	data    []byte
	samples int64 // in ticks of the track
}

// opusSilence is an Opus packet of 20 ms (CELT, full band, mono) that decodes to nothing.
var opusSilence = [...]byte{0xf8, 0xff, 0xfe}

const opusSilenceTicks = 960 // at 48 kHz

// silenceOf returns a silent packet for the track; like is a packet that the publisher
// sent, or nil. It reports false where none can be made: AC-3 and E-AC-3, whose silence
// takes an encoder, AAC with a channel layout or object type of its own, and MP3 and FLAC
// of which no packet came yet.
func silenceOf(t *media.Track, like []byte) (silence, bool) {
	s := silence{}
	switch t.Codec {
	case media.AAC:
		s.data = silentAAC(t.Config)
		s.samples = int64(bitstream.SamplesPerPacket(t))
	case media.Opus:
		s.data = silentOpus(t.Config)
		s.samples = media.Rescale(opusSilenceTicks, 48000, int64(t.Timescale))
	case media.MP3:
		s.data = silentMP3(like)
		s.samples = bitstream.Duration(t, s.data)
	case media.FLAC:
		s.data = silentFLAC(t, like)
		s.samples = bitstream.Duration(t, s.data)
	}
	return s, len(s.data) > 0 && s.samples > 0
}

// bitWriter packs bits, the highest first.
type bitWriter struct {
	b []byte
	n int // bits written
}

func (w *bitWriter) put(v uint64, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// silentAAC returns a raw_data_block without any coefficient (ISO/IEC 14496-3, section
// 4.4.2) in the channel configuration of an AudioSpecificConfig. For HE-AAC it is a block
// of the core without its extension, which decoders take at the full length and rate.
func silentAAC(config []byte) []byte {
	if len(config) < 2 {
		return nil
	}
	object, at := config[0]>>3, 5
	bits := func(n int) (v uint) {
		for range n {
			if at/8 < len(config) {
				v = v<<1 | uint(config[at/8]>>(7-at%8)&1)
			}
			at++
		}
		return v
	}
	switch object {
	case 1, 2, 3, 4, 5, 29: // Main, LC, SSR, LTP; SBR and PS over one of them
	default:
		return nil
	}
	if bits(4) == 15 {
		bits(24)
	}
	const (
		single, pair, low, end = 0, 1, 3, 7
	)
	layout := map[uint][]uint64{
		1: {single}, 2: {pair}, 3: {single, pair}, 4: {single, pair, single}, 5: {single, pair, pair},
		6: {single, pair, pair, low}, 7: {single, pair, pair, pair, low},
		11: {single, pair, pair, single, low}, 12: {single, pair, pair, pair, low},
	}[bits(4)]
	if layout == nil {
		return nil
	}
	w := &bitWriter{}
	var tags [4]uint64
	for _, id := range layout {
		w.put(id, 3)
		w.put(tags[id], 4)
		tags[id]++
		channels := 1
		if id == pair {
			channels = 2
			w.put(1, 1)  // both have the window below
			w.put(0, 11) // long window, no bands, no prediction
			w.put(0, 2)  // nothing is coded as middle and side
		}
		for range channels {
			w.put(0, 8) // gain
			if id != pair {
				w.put(0, 11)
			}
			w.put(0, 3) // no pulses, no noise shaping, no gain control
		}
	}
	w.put(end, 3)
	return w.b
}

// silentOpus returns a silent packet for each of the streams that a dOps tells of (RFC
// 7845, section 5.1.1); all but the last say their length (RFC 6716, appendix B).
func silentOpus(config []byte) []byte {
	const family, streams = 10, 11
	n := 1
	if len(config) > streams && config[family] != 0 {
		n = int(config[streams])
	}
	var out []byte
	for i := range n {
		out = append(out, opusSilence[0])
		if i < n-1 {
			out = append(out, byte(len(opusSilence)-1))
		}
		out = append(out, opusSilence[1:]...)
	}
	return out
}

// silentMP3 returns a frame with the header of like and nothing in it.
func silentMP3(like []byte) []byte {
	if len(like) < 4 || like[0] != 0xff || like[1]&0xe6 != 0xe2 {
		return nil // not layer III
	}
	out := make([]byte, len(like))
	copy(out, like[:4])
	out[1] |= 1 // no check sum
	return out
}

// silentFLAC returns a frame whose channels are constantly zero (RFC 9639, section 9),
// of the block size and sample size of like.
func silentFLAC(t *media.Track, like []byte) []byte {
	size := bitstream.Duration(t, like)
	if len(like) < 6 || like[0] != 0xff || like[1]&0xfc != 0xf8 || t.Channels < 1 || t.Channels > 8 || size <= 0 || size > 1<<16 {
		return nil
	}
	depth := map[byte]int{1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}[like[3]>>1&7]
	if depth == 0 {
		return nil
	}
	w := &bitWriter{}
	w.put(0xfff8, 16)            // blocks of one size
	w.put(7, 4)                  // their size stands below, in 16 bits
	w.put(uint64(like[2]&15), 4) // the sample rate, coded as in like
	if code := like[2] & 15; code >= 12 && code <= 14 {
		return nil // it stands in the header's end
	}
	w.put(uint64(t.Channels-1), 4)
	w.put(uint64(like[3]>>1&7), 3)
	w.put(0, 1)
	w.put(0, 8) // frame number
	w.put(uint64(size-1), 16)
	w.put(uint64(crc(w.b, 0x07, 8)), 8)
	for range t.Channels {
		w.put(0, 8)
		w.put(0, depth)
	}
	w.put(0, (8-w.n%8)%8)
	w.put(uint64(crc(w.b, 0x8005, 16)), 16)
	return w.b
}

// crc is FLAC's check sum of 8 or 16 bits.
func crc(b []byte, poly uint32, bits int) (sum uint32) {
	for _, v := range b {
		sum ^= uint32(v) << (bits - 8)
		for range 8 {
			high := sum >> (bits - 1) & 1
			sum = sum << 1 & (1<<bits - 1)
			if high == 1 {
				sum ^= poly
			}
		}
	}
	return sum
}
