package bitstream

import (
	"encoding/binary"
	"fmt"
)

// NAL unit types of H.264 (table 7-1).
const (
	h264IDR       = 5
	h264SPS       = 7
	h264PPS       = 8
	h264AUD       = 9
	h264EndOfSeq  = 10
	h264EndOfStrm = 11
	h264Filler    = 12
)

// videoInfo is what a parameter set says about pictures.
type videoInfo struct {
	width, height int
	rate          float64
	sarW, sarH    int  // sample aspect ratio; 0, 0 if not told
	fields        bool // H.264: pictures may be coded as fields
	reorder       int  // pictures that may be decoded before one that is shown earlier
	reorderKnown  bool
	codec         string
}

// parseH264SPS reads a sequence parameter set (section 7.3.2.1.1). What it refuses is
// what the specification forbids and a decoder would have to pay for: sizes over the
// bound, crops larger than the picture, more than 16 reference frames. VUI that cannot
// be read is taken as absent: it does not matter to decoding.
func parseH264SPS(sps []byte) (videoInfo, error) {
	var v videoInfo
	if len(sps) < 4 || sps[0]&0x1f != h264SPS {
		return v, fmt.Errorf("not a sequence parameter set")
	}
	profile := sps[1]
	v.codec = fmt.Sprintf("avc1.%02x%02x%02x", sps[1], sps[2], sps[3])
	r := bitReader{data: unescape(sps[4:], maxParameterSet)}
	r.ueMax(31) // seq_parameter_set_id
	chroma := uint32(1)
	separatePlanes := false
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = r.ueMax(3)
		if chroma == 3 {
			separatePlanes = r.flag()
		}
		r.ueMax(6) // bit_depth_luma_minus8
		r.ueMax(6)
		r.skip(1)
		if r.flag() {
			skipH264ScalingLists(&r, chroma)
		}
	}
	r.ueMax(12) // log2_max_frame_num_minus4
	orderCount := r.ueMax(2)
	switch orderCount {
	case 0:
		r.ueMax(12)
	case 1:
		r.skip(1)
		r.se()
		r.se()
		for range r.ueMax(255) {
			r.se()
			if r.bad {
				break
			}
		}
	}
	r.ueMax(maxReferences)
	r.skip(1)
	w := (uint64(r.ue()) + 1) * 16
	h := (uint64(r.ue()) + 1) * 16
	frameOnly := r.flag()
	v.fields = !frameOnly
	if !frameOnly {
		h *= 2
		r.skip(1)
	}
	r.skip(1)
	if r.bad {
		return v, fmt.Errorf("sequence parameter set is cut short or out of range")
	}
	if r.flag() {
		unitX, unitY := uint64(1), uint64(1)
		if !separatePlanes {
			if chroma == 1 || chroma == 2 {
				unitX = 2
			}
			if chroma == 1 {
				unitY = 2
			}
		}
		if !frameOnly {
			unitY *= 2
		}
		crop := [4]uint64{uint64(r.ue()), uint64(r.ue()), uint64(r.ue()), uint64(r.ue())}
		if r.bad {
			return v, fmt.Errorf("sequence parameter set is cut short or out of range")
		}
		var err error
		if w, h, err = cropped(w, h, unitX*(crop[0]+crop[1]), unitY*(crop[2]+crop[3])); err != nil {
			return v, err
		}
	} else if err := checkSize(w, h); err != nil {
		return v, err
	}
	v.width, v.height = int(w), int(h)
	if r.flag() {
		readH264VUI(&r, &v)
	}
	if !v.reorderKnown {
		v.reorderKnown = neverReorders(profile, sps[2], orderCount)
	}
	return v, nil
}

func skipH264ScalingLists(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se()%256 + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
}

// readH264VUI reads vui_parameters (section E.1.1) up to the bitstream restrictions.
func readH264VUI(r *bitReader, v *videoInfo) {
	sarW, sarH := readAspect(r)
	if r.flag() {
		r.skip(1)
	}
	skipVideoSignal(r)
	if r.flag() {
		r.ue()
		r.ue()
	}
	if r.bad {
		return
	}
	v.sarW, v.sarH = sarW, sarH
	if r.flag() {
		units, scale := r.bits(32), r.bits(32)
		if !r.bad {
			v.rate = frameRate(uint64(scale), 2*uint64(units))
		}
		r.skip(1) // fixed_frame_rate_flag
	}
	readH264Restriction(r, v)
}

// readAspect reads the aspect ratio at the head of the VUI of H.264 and HEVC.
func readAspect(r *bitReader) (w, h int) {
	if !r.flag() {
		return 0, 0
	}
	idc := r.bits(8)
	if idc == 255 {
		w, h = int(r.bits(16)), int(r.bits(16))
		if w == 0 || h == 0 {
			return 0, 0
		}
		return w, h
	}
	ratios := [...][2]int{{0, 0}, {1, 1}, {12, 11}, {10, 11}, {16, 11}, {40, 33}, {24, 11}, {20, 11}, {32, 11},
		{80, 33}, {18, 11}, {15, 11}, {64, 33}, {160, 99}, {4, 3}, {3, 2}, {2, 1}}
	if int(idc) < len(ratios) {
		return ratios[idc][0], ratios[idc][1]
	}
	return 0, 0
}

func skipVideoSignal(r *bitReader) {
	if r.flag() {
		r.skip(4)
		if r.flag() {
			r.skip(24)
		}
	}
}

// AVCC builds the content of an avcC box (ISO/IEC 14496-15, section 5.3.3.1.2) for NAL
// units with 4-byte lengths; nil if there is no usable parameter set or too many.
func AVCC(sps, pps [][]byte) []byte {
	if len(sps) == 0 || len(sps) > 31 || len(sps[0]) < 4 || len(pps) > 255 {
		return nil
	}
	b := []byte{1, sps[0][1], sps[0][2], sps[0][3], 0xff, 0xe0 | byte(len(sps))}
	ok := true
	put := func(sets [][]byte) {
		for _, s := range sets {
			ok = ok && len(s) > 0 && len(s) <= 0xffff
			b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
			b = append(b, s...)
		}
	}
	put(sps)
	b = append(b, byte(len(pps)))
	put(pps)
	if !ok {
		return nil
	}
	switch sps[0][1] {
	case 100, 110, 122, 144:
		r := bitReader{data: unescape(sps[0][4:], 64)}
		r.ue()
		chroma := r.ueMax(3)
		if chroma == 3 {
			r.skip(1)
		}
		luma, chromaDepth := r.ueMax(6), r.ueMax(6)
		if r.bad {
			return nil
		}
		b = append(b, 0xfc|byte(chroma), 0xf8|byte(luma), 0xf8|byte(chromaDepth), 0)
	}
	return b
}

// avcSets calls f for each parameter set in an avcC until f returns false.
// It reports whether the box content was well formed as far as it was read.
func avcSets(config []byte, f func(kind byte, set []byte) bool) bool {
	if len(config) < 7 || config[0] != 1 {
		return false
	}
	rest := config[5:]
	for i, kind := range [2]byte{h264SPS, h264PPS} {
		if len(rest) < 1 {
			return false
		}
		n := int(rest[0])
		if i == 0 {
			n &= 0x1f
		}
		rest = rest[1:]
		for range n {
			if len(rest) < 2 {
				return false
			}
			size := int(binary.BigEndian.Uint16(rest))
			if size > len(rest)-2 {
				return false
			}
			if !f(kind, rest[2:2+size]) {
				return true
			}
			rest = rest[2+size:]
		}
	}
	return true
}

func describeH264(config []byte) (videoInfo, error) {
	var v videoInfo
	if len(config) < 7 || config[0] != 1 {
		return v, fmt.Errorf("not an AVCDecoderConfigurationRecord")
	}
	found, pps := false, false
	var err error
	ok := avcSets(config, func(kind byte, set []byte) bool {
		switch {
		case kind == h264SPS:
			// Every set is checked; the first one is what the stream begins with.
			var x videoInfo
			if x, err = parseH264SPS(set); err == nil && !found {
				v, found = x, true
			}
		case len(set) > 0 && set[0]&0x1f == h264PPS:
			pps = true
		}
		return err == nil
	})
	switch {
	case err != nil:
		return v, err
	case !ok:
		return v, fmt.Errorf("AVCDecoderConfigurationRecord is cut short")
	case !found:
		return v, fmt.Errorf("no sequence parameter set")
	case !pps:
		return v, fmt.Errorf("no picture parameter set")
	}
	return v, nil
}
