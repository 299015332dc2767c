package bitstream

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// NAL unit types of HEVC (ITU-T H.265, table 7-1).
const (
	hevcFirstKey  = 16 // BLA_W_LP
	hevcLastKey   = 21 // CRA_NUT
	hevcVPS       = 32
	hevcSPS       = 33
	hevcPPS       = 34
	hevcAUD       = 35
	hevcEndOfSeq  = 36
	hevcEndOfStrm = 37
	hevcFiller    = 38
)

// hevcSet is what hvcC needs to know of a sequence parameter set.
type hevcSet struct {
	videoInfo
	profileTierLevel [12]byte
	subLayers        byte // sps_max_sub_layers_minus1
	nested           bool
	chroma           byte
	luma, chromaBits byte // bit depths minus 8
}

// parseHEVCSPS reads a sequence parameter set (ITU-T H.265, section 7.3.2.2.1). It goes
// through sub-layers, scaling lists and long-term pictures, which the library's reader
// refuses although encoders send them. A tail that cannot be read costs the frame rate
// and nothing else.
func parseHEVCSPS(sps []byte) (hevcSet, error) {
	var s hevcSet
	if len(sps) < 3 || sps[0]>>1&0x3f != hevcSPS {
		return s, fmt.Errorf("not a sequence parameter set")
	}
	raw := unescape(sps[2:], maxParameterSet)
	if len(raw) < 13 {
		return s, fmt.Errorf("sequence parameter set is cut short")
	}
	r := bitReader{data: raw}
	r.skip(4)
	s.subLayers = byte(r.bits(3))
	s.nested = r.flag()
	copy(s.profileTierLevel[:], raw[1:13])
	r.skip(96)
	skipSubLayers(&r, int(s.subLayers))
	r.ueMax(15)
	s.chroma = byte(r.ueMax(3))
	separatePlanes := s.chroma == 3 && r.flag()
	w, h := uint64(r.ue()), uint64(r.ue())
	var crop [4]uint64
	if r.flag() {
		for i := range crop {
			crop[i] = uint64(r.ue())
		}
	}
	s.luma, s.chromaBits = byte(r.ueMax(8)), byte(r.ueMax(8))
	pocBits := int(r.ueMax(12)) + 4
	first := int(s.subLayers)
	if r.flag() {
		first = 0
	}
	for i := first; i <= int(s.subLayers); i++ {
		r.ueMax(maxReferences - 1)                  // sps_max_dec_pic_buffering_minus1
		s.reorder = int(r.ueMax(maxReferences - 1)) // sps_max_num_reorder_pics
		r.ue()
	}
	if r.bad || s.subLayers > 6 {
		return s, fmt.Errorf("sequence parameter set is cut short or out of range")
	}
	unitX, unitY := uint64(1), uint64(1)
	if !separatePlanes && (s.chroma == 1 || s.chroma == 2) {
		unitX = 2
	}
	if !separatePlanes && s.chroma == 1 {
		unitY = 2
	}
	w, h, err := cropped(w, h, unitX*(crop[0]+crop[1]), unitY*(crop[2]+crop[3]))
	if err != nil {
		return s, err
	}
	s.width, s.height = int(w), int(h)
	s.codec = hevcCodecString(s.profileTierLevel)
	s.reorderKnown = true
	if skipHEVCTools(&r, pocBits) && r.flag() {
		readHEVCVUI(&r, &s.videoInfo)
	}
	return s, nil
}

// skipSubLayers passes the sub-layer part of profile_tier_level (section 7.3.3).
func skipSubLayers(r *bitReader, n int) {
	if n == 0 {
		return
	}
	var profile, level [8]bool
	for i := range n {
		profile[i], level[i] = r.flag(), r.flag()
	}
	r.skip(2 * (8 - n))
	for i := range n {
		if profile[i] {
			r.skip(88)
		}
		if level[i] {
			r.skip(8)
		}
	}
}

// skipHEVCTools passes what stands between the sizes and the VUI; false if it cannot.
func skipHEVCTools(r *bitReader, pocBits int) bool {
	for range 6 {
		r.ueMax(8)
	}
	if enabled := r.flag(); enabled && r.flag() {
		skipHEVCScalingLists(r)
	}
	r.skip(2)
	if r.flag() { // pcm_enabled_flag
		r.skip(8)
		r.ue()
		r.ue()
		r.skip(1)
	}
	if !skipRefPicSets(r) {
		return false
	}
	if r.flag() { // long_term_ref_pics_present_flag
		for range r.ueMax(32) {
			r.skip(pocBits + 1)
		}
	}
	r.skip(2)
	return !r.bad
}

func skipHEVCScalingLists(r *bitReader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6 && !r.bad; matrix += step {
			if !r.flag() {
				r.ue()
				continue
			}
			if size > 1 {
				r.se()
			}
			for range min(64, 1<<(4+size*2)) {
				r.se()
			}
		}
	}
}

// skipRefPicSets passes the short-term reference picture sets (section 7.3.7). Of a set
// only the number of its pictures matters to the sets that are predicted from it.
func skipRefPicSets(r *bitReader) bool {
	sets := r.ueMax(64)
	last := uint32(0)
	for i := range sets {
		count := uint32(0)
		if i > 0 && r.flag() {
			r.skip(1)
			r.ue()
			for range last + 1 {
				if used := r.flag(); used || r.flag() {
					count++
				}
			}
		} else {
			before, after := r.ueMax(maxReferences), r.ueMax(maxReferences)
			count = before + after
			for range count {
				r.ue()
				r.skip(1)
			}
		}
		if r.bad || count > 2*maxReferences {
			return false
		}
		last = count
	}
	return !r.bad
}

// readHEVCVUI reads the start of vui_parameters (section E.2.1) up to the frame rate.
func readHEVCVUI(r *bitReader, v *videoInfo) {
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
	r.skip(1)
	fields := r.flag()
	r.skip(1)
	if r.flag() { // default_display_window_flag
		for range 4 {
			r.ue()
		}
	}
	if r.flag() {
		units, scale := r.bits(32), r.bits(32)
		if r.bad {
			return
		}
		if fields { // field_seq_flag: two pictures a frame
			scale /= 2
		}
		v.rate = frameRate(uint64(scale), uint64(units))
	}
}

// hevcCodecString builds the name of ISO/IEC 14496-15, annex E.3, from the general
// profile, tier and level.
func hevcCodecString(p [12]byte) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if space := p[0] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	tier := 'L'
	if p[0]>>5&1 == 1 {
		tier = 'H'
	}
	compatibility := bits.Reverse32(binary.BigEndian.Uint32(p[1:]))
	fmt.Fprintf(&b, "%d.%X.%c%d", p[0]&0x1f, compatibility, tier, p[11])
	constraints := p[5:11]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, c := range constraints {
		fmt.Fprintf(&b, ".%X", c)
	}
	return b.String()
}

// HVCC builds the content of an hvcC box (ISO/IEC 14496-15, section 8.3.3.1.2) for NAL
// units with 4-byte lengths; nil if there is no usable sequence parameter set.
func HVCC(vps, sps, pps [][]byte) []byte {
	if len(sps) == 0 {
		return nil
	}
	s, err := parseHEVCSPS(sps[0])
	if err != nil {
		return nil
	}
	b := append([]byte{1}, s.profileTierLevel[:]...)
	nested := byte(0)
	if s.nested {
		nested = 1
	}
	b = append(b, 0xf0, 0, 0xfc, 0xfc|s.chroma, 0xf8|s.luma, 0xf8|s.chromaBits, 0, 0, (s.subLayers+1)<<3|nested<<2|3)
	arrays := len(b)
	b = append(b, 0)
	for i, sets := range [][][]byte{vps, sps, pps} {
		if len(sets) == 0 {
			continue
		}
		b[arrays]++
		b = append(b, 0x80|byte(hevcVPS+i))
		b = binary.BigEndian.AppendUint16(b, uint16(len(sets)))
		for _, set := range sets {
			if len(set) < 2 || len(set) > 0xffff || len(sets) > 64 {
				return nil
			}
			b = binary.BigEndian.AppendUint16(b, uint16(len(set)))
			b = append(b, set...)
		}
	}
	return b
}

// hvcSets calls f for each NAL unit in an hvcC until f returns false. It reports whether
// the box content was well formed as far as it was read.
func hvcSets(config []byte, f func(kind byte, set []byte) bool) bool {
	return walkHVCC(config, nil, f)
}

// walkHVCC is hvcSets that also calls array, if not nil, with the position of each array.
func walkHVCC(config []byte, array func(pos int), f func(kind byte, set []byte) bool) bool {
	if len(config) < 23 || config[0] != 1 {
		return false
	}
	pos := 23
	for range config[22] {
		if len(config)-pos < 3 {
			return false
		}
		if array != nil {
			array(pos)
		}
		kind := config[pos] & 0x3f
		n := int(binary.BigEndian.Uint16(config[pos+1:]))
		pos += 3
		for range n {
			if len(config)-pos < 2 {
				return false
			}
			size := int(binary.BigEndian.Uint16(config[pos:]))
			pos += 2
			if size > len(config)-pos {
				return false
			}
			if !f(kind, config[pos:pos+size]) {
				return true
			}
			pos += size
		}
	}
	return true
}

func describeHEVC(config []byte) (videoInfo, error) {
	var v videoInfo
	if len(config) < 23 || config[0] != 1 {
		return v, fmt.Errorf("not an HEVCDecoderConfigurationRecord")
	}
	found, pps := false, false
	var err error
	ok := hvcSets(config, func(kind byte, set []byte) bool {
		switch kind {
		case hevcSPS:
			var x hevcSet
			if x, err = parseHEVCSPS(set); err == nil && !found {
				v, found = x.videoInfo, true
			}
		case hevcPPS:
			pps = pps || len(set) > 2
		}
		return err == nil
	})
	switch {
	case err != nil:
		return v, err
	case !ok:
		return v, fmt.Errorf("HEVCDecoderConfigurationRecord is cut short")
	case !found:
		return v, fmt.Errorf("no sequence parameter set")
	case !pps:
		return v, fmt.Errorf("no picture parameter set")
	}
	return v, nil
}
