package bitstream

import "fmt"

// audioInfo is what a configuration says about sound.
type audioInfo struct {
	rate, channels int
	codec          string
	// frame is the number of output samples a packet decodes to; 0 if it varies.
	frame int
}

// Audio object types (ISO/IEC 14496-3, table 1.17).
const (
	aotMain   = 1
	aotLC     = 2
	aotLTP    = 4
	aotSBR    = 5
	aotERLC   = 17
	aotERLD   = 23
	aotPS     = 29
	aotERELD  = 39
	aotUSAC   = 42
	aotEscape = 31
)

// parseASC reads an AudioSpecificConfig (ISO/IEC 14496-3, section 1.6.2.1) with the
// signalling of SBR and PS both in front and at the end (section 1.6.5). The library's
// reader knows neither the latter, nor xHE-AAC, nor channel layouts in the config.
func parseASC(config []byte) (audioInfo, error) {
	var a audioInfo
	r := bitReader{data: config}
	aot := readAOT(&r)
	rate := readRate(&r)
	layout := r.bits(4)
	out, ext := rate, aot
	if aot == aotSBR || aot == aotPS {
		out = readRate(&r)
		aot = readAOT(&r)
	}
	switch aot {
	case aotMain, aotLC, aotLTP, aotERLC, aotERLD, aotERELD, aotUSAC:
	default:
		return a, fmt.Errorf("audio object type %d is not supported", aot)
	}
	a.frame = 1024
	a.channels = channelsOf(layout)
	switch aot {
	case aotMain, aotLC, aotLTP, aotERLC, aotERLD:
		short := r.flag()
		if short {
			a.frame = 960
		}
		if aot == aotERLD {
			a.frame /= 2
		}
		if r.flag() {
			r.skip(14)
		}
		r.skip(1)
		if layout == 0 {
			a.channels = readPCE(&r)
		}
	case aotERELD:
		a.frame = 512
		if r.flag() {
			a.frame = 480
		}
	case aotUSAC:
		a.frame, a.channels = readUSAC(&r, a.channels)
	}
	if r.bad {
		return a, fmt.Errorf("AudioSpecificConfig is cut short")
	}
	// Backward compatible signalling: a sync word behind a plain AAC-LC config.
	if ext == aotLC && r.left() >= 16 && r.bits(11) == 0x2b7 && readAOT(&r) == aotSBR && r.flag() {
		if v := readRate(&r); !r.bad && v > 0 {
			out, ext = v, aotSBR
			if r.left() >= 12 && r.bits(11) == 0x548 && r.flag() {
				ext = aotPS
			}
		}
	}
	if rate <= 0 || out <= 0 || out > maxSampleRate {
		return a, fmt.Errorf("the sample rate is out of range")
	}
	if a.channels <= 0 || a.channels > maxChannels {
		return a, fmt.Errorf("the channel layout is not supported")
	}
	if ext == aotPS {
		a.channels = 2
	}
	// A packet decodes to twice the samples at twice the core's rate.
	a.frame = a.frame * out / rate
	a.rate = out
	a.codec = fmt.Sprintf("mp4a.40.%d", ext)
	return a, nil
}

func readAOT(r *bitReader) uint32 {
	v := r.bits(5)
	if v == aotEscape {
		v = 32 + r.bits(6)
	}
	return v
}

// readRate returns 0 for a reserved index.
func readRate(r *bitReader) int {
	rates := [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
	i := r.bits(4)
	if i == 15 {
		return int(r.bits(24))
	}
	if int(i) < len(rates) {
		return rates[i]
	}
	return 0
}

// channelsOf maps a channelConfiguration (table 1.19) to a count; 0 if it does not tell.
func channelsOf(layout uint32) int {
	counts := [...]int{0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8}
	if int(layout) < len(counts) {
		return counts[layout]
	}
	return 0
}

// readPCE counts the channels of a program_config_element (section 4.4.1.1).
func readPCE(r *bitReader) int {
	r.skip(4 + 2 + 4)
	front, side, back := r.bits(4), r.bits(4), r.bits(4)
	lfe := r.bits(2)
	r.skip(3 + 4)
	if r.flag() {
		r.skip(4)
	}
	if r.flag() {
		r.skip(4)
	}
	if r.flag() {
		r.skip(3)
	}
	n := int(lfe)
	for range front + side + back {
		if r.flag() {
			n++
		}
		n++
		r.skip(4)
	}
	return n
}

// readUSAC reads the head of UsacConfig (ISO/IEC 23003-3, section 5.2): the frame's
// length and, where the index says it, the channels.
func readUSAC(r *bitReader, channels int) (frame, count int) {
	if r.bits(5) == 31 {
		r.skip(24)
	}
	lengths := [...]int{768, 1024, 2048, 2048, 4096}
	i := r.bits(3)
	if int(i) < len(lengths) {
		frame = lengths[i]
	}
	if c := channelsOf(r.bits(5)); c > 0 {
		channels = c
	}
	return frame, channels
}
