package mediatest

// AV1SequenceHeader returns a sequence header OBU of Main profile, 8 bits, for the size
// and the frame rate num/den; den 0 leaves the rate out.
func AV1SequenceHeader(width, height, num, den int) []byte {
	var w bitWriter
	w.bits(0, 3)
	w.flag(false)
	w.flag(false)   // reduced_still_picture_header
	w.flag(den > 0) // timing_info_present_flag
	if den > 0 {
		w.bits(uint64(den), 32)
		w.bits(uint64(num), 32)
		w.flag(true)
		w.ue(0)
		w.flag(false)
	}
	w.flag(false)
	w.bits(0, 5+12)
	level := av1Level(width * height)
	w.bits(uint64(level), 5)
	if level > 7 {
		w.flag(false)
	}
	w.bits(15, 4)
	w.bits(15, 4)
	w.bits(uint64(width-1), 16)
	w.bits(uint64(height-1), 16)
	w.bits(0, 1+3+5)
	w.flag(true) // seq_choose_screen_content_tools
	w.flag(true)
	w.bits(0, 3)
	w.bits(0, 4+2) // color_config: 8 bits, colour, not described, limited, unknown position
	w.bits(0, 2)
	w.trailing()
	return append([]byte{0x0a, byte(len(w.data))}, w.data...)
}

func av1Level(area int) int {
	switch {
	case area <= 1065024:
		return 5
	case area <= 2359296:
		return 8
	default:
		return 12
	}
}

// obu returns a frame OBU with a size field.
func obu(payload []byte) []byte {
	b := []byte{0x32}
	for n := len(payload); ; n >>= 7 {
		if n < 0x80 {
			b = append(b, byte(n))
			break
		}
		b = append(b, byte(n)|0x80)
	}
	return append(b, payload...)
}

// vp9Key returns the uncompressed header of a VP9 key frame.
func vp9Key(width, height int) []byte {
	var w bitWriter
	w.bits(0x82498342, 32)
	w.bits(2, 3) // BT.709
	w.flag(false)
	w.bits(uint64(width-1), 16)
	w.bits(uint64(height-1), 16)
	w.bits(0, w.free)
	return w.data
}
