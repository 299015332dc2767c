package bitstream

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/ac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/eac3"
)

// channelsOfMode counts the channels of acmod (ETSI TS 102 366, table 4.3).
func channelsOfMode(acmod uint32, lfe bool) int {
	n := [...]int{2, 1, 2, 3, 3, 4, 4, 5}[acmod&7]
	if lfe {
		n++
	}
	return n
}

func dolbyRate(fscod uint32) (int, error) {
	if fscod > 2 {
		return 0, fmt.Errorf("the sample rate code is reserved")
	}
	return [...]int{48000, 44100, 32000}[fscod], nil
}

// describeAC3 reads a dac3 (ETSI TS 102 366, section F.4).
func describeAC3(config []byte) (audioInfo, error) {
	r := bitReader{data: config}
	fscod := r.bits(2)
	r.skip(5 + 3)
	acmod, lfe := r.bits(3), r.flag()
	r.skip(5)
	if r.bad {
		return audioInfo{}, fmt.Errorf("AC3SpecificBox is cut short")
	}
	rate, err := dolbyRate(fscod)
	return audioInfo{rate: rate, channels: channelsOfMode(acmod, lfe), codec: "ac-3", frame: 1536}, err
}

// describeEAC3 reads a dec3 (ETSI TS 102 366, section F.6). The channels are those of the
// first independent substream and what its dependent ones add.
func describeEAC3(config []byte) (audioInfo, error) {
	r := bitReader{data: config}
	r.skip(13 + 3)
	fscod := r.bits(2)
	r.skip(5 + 1 + 1 + 3)
	acmod, lfe := r.bits(3), r.flag()
	r.skip(3)
	channels := channelsOfMode(acmod, lfe)
	if r.bits(4) > 0 { // num_dep_sub; table F.6.1 counts from the lowest bit
		locations := r.bits(9)
		for i := range 9 {
			if locations>>i&1 == 1 {
				channels += [...]int{2, 2, 1, 1, 2, 2, 2, 1, 1}[i]
			}
		}
	}
	if r.bad {
		return audioInfo{}, fmt.Errorf("EC3SpecificBox is cut short")
	}
	if fscod == 3 {
		fscod = 0 // a half rate, which the box does not tell
	}
	rate, err := dolbyRate(fscod)
	return audioInfo{rate: rate, channels: channels, codec: "ec-3"}, err
}

// dac3 makes the content of a dac3 box from a sync frame; nil if it is none.
func dac3(frame []byte) []byte {
	var s ac3.SyncInfo
	var b ac3.BSI
	if len(frame) < 8 || s.Unmarshal(frame) != nil || b.Unmarshal(frame[5:]) != nil {
		return nil
	}
	v := uint32(s.Fscod)<<22 | uint32(b.Bsid)<<17 | uint32(b.Bsmod)<<14 | uint32(b.Acmod)<<11 | uint32(s.Frmsizecod>>1)<<5
	if b.LfeOn {
		v |= 1 << 10
	}
	return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
}

// dec3 makes the content of a dec3 box with one independent substream from a sync frame
// and what follows it in the packet; nil if it is none.
func dec3(packet []byte) []byte {
	var s eac3.SyncInfo
	if s.Unmarshal(packet) != nil || s.Strmtyp == 1 || s.Fscod == 3 {
		return nil
	}
	bitrate := uint64(s.FrameSize()) * 8 * uint64(s.SampleRate()) / uint64(s.NumBlocks()*256) / 1000
	v := min(bitrate, 1<<13-1)<<27 | uint64(s.Fscod)<<22 | uint64(s.Bsid)<<17 | uint64(s.Acmod)<<9
	if s.Lfeon {
		v |= 1 << 8
	}
	return []byte{byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}
