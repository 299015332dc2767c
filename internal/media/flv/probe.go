package flv

import "onair/internal/media"

// learn takes the parameters of a codec without a sequence header from its frames: MP3,
// AC-3 and E-AC-3. A frame that is not well formed tells nothing.
func (d *Demuxer) learn(t *track, codec media.Codec, b []byte) error {
	next := &media.Track{Codec: codec}
	switch codec {
	case media.MP3:
		next.SampleRate, next.Channels = mp3Params(b)
	case media.AC3:
		next.Config, next.SampleRate, next.Channels = ac3Params(b)
	case media.EAC3:
		next.Config, next.SampleRate, next.Channels = eac3Params(b)
	default:
		return nil
	}
	if next.SampleRate == 0 {
		return nil
	}
	found := probed{rate: next.SampleRate, channels: next.Channels}
	if n := len(next.Config); n >= 3 {
		found.config = [3]byte(next.Config[n-3:])
	}
	if t.wire != nil && t.codec == codec && t.probed == found {
		return nil
	}
	t.header = nil
	if err := d.setConfig(t, next); err != nil {
		return err
	}
	t.probed = found
	return nil
}

// probed is what tells one set of learned parameters from the next. The data rate that
// a dec3 box tells is not in it: with a variable rate it differs from frame to frame.
type probed struct {
	rate, channels int
	config         [3]byte
}

// mp3Params reads rate and channels of an MPEG audio frame header (ISO/IEC 11172-3,
// 2.4.1.3); zeros if there is none.
func mp3Params(b []byte) (rate, channels int) {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe0 != 0xe0 || b[1]>>1&3 == 0 {
		return 0, 0
	}
	rates := [4]int{44100, 48000, 32000, 0}
	rate = rates[b[2]>>2&3]
	switch b[1] >> 3 & 3 {
	case 0:
		rate /= 4 // MPEG 2.5
	case 1:
		return 0, 0
	case 2:
		rate /= 2 // MPEG 2
	}
	if b[3]>>6 == 3 {
		return rate, 1
	}
	return rate, 2
}

// acRates are the sample rates of fscod (ETSI TS 102 366, 4.4.1.3).
func acRate(fscod byte) int { return [4]int{48000, 44100, 32000, 0}[fscod&3] }

// acChannels counts the channels of acmod (ETSI TS 102 366, 4.4.2.3).
func acChannels(acmod, lfe byte) int { return int([8]byte{2, 1, 2, 3, 3, 4, 4, 5}[acmod&7] + lfe) }

// ac3Params reads an AC-3 sync frame (ETSI TS 102 366, 4.3) and builds the content of
// its dac3 box (annex F.4).
func ac3Params(b []byte) (config []byte, rate, channels int) {
	if len(b) < 8 || b[0] != 0x0b || b[1] != 0x77 || b[5]>>3 > 8 {
		return nil, 0, 0
	}
	fscod, code := b[4]>>6, b[4]>>1&0x1f
	bsid, bsmod, acmod := b[5]>>3, b[5]&7, b[6]>>5
	at := 3 // bits of b[6] read so far
	if acmod&1 != 0 && acmod != 1 {
		at += 2
	}
	if acmod&4 != 0 {
		at += 2
	}
	if acmod == 2 {
		at += 2
	}
	lfe := byte((uint16(b[6])<<8|uint16(b[7]))>>(15-at)) & 1
	v := uint32(fscod)<<22 | uint32(bsid)<<17 | uint32(bsmod)<<14 | uint32(acmod)<<11 | uint32(lfe)<<10 | uint32(code)<<5
	return []byte{byte(v >> 16), byte(v >> 8), byte(v)}, acRate(fscod), acChannels(acmod, lfe)
}

// eac3Params reads an E-AC-3 sync frame of an independent substream (ETSI TS 102 366,
// annex E.1.2) and builds the content of a dec3 box for it alone (annex F.6). The data
// rate is that of this frame.
func eac3Params(b []byte) (config []byte, rate, channels int) {
	if len(b) < 6 || b[0] != 0x0b || b[1] != 0x77 || b[2]>>6 == 1 {
		return nil, 0, 0
	}
	bsid := b[5] >> 3
	if bsid < 11 || bsid > 16 {
		return nil, 0, 0
	}
	size := (int(b[2]&7)<<8 | int(b[3]) + 1) * 2
	fscod, blocks := b[4]>>6, int([4]byte{1, 2, 3, 6}[b[4]>>4&3])
	rate = acRate(fscod)
	if fscod == 3 { // half rates
		rate, blocks = acRate(b[4]>>4&3)/2, 6
		if rate == 0 {
			return nil, 0, 0
		}
	}
	acmod, lfe := b[4]>>1&7, b[4]&1
	kbps := uint64(size) * 8 * uint64(rate) / uint64(256*blocks) / 1000
	v := kbps&0x1fff<<27 | uint64(fscod)<<22 | uint64(bsid)<<17 | uint64(acmod)<<9 | uint64(lfe)<<8
	return []byte{byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}, rate, acChannels(acmod, lfe)
}
