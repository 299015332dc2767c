package mediatest

// HEVCVPS returns a video parameter set for HEVCSPS, as x265 writes it.
func HEVCVPS() []byte {
	return []byte{0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0, 0, 0x03, 0, 0x90, 0, 0, 0x03, 0, 0, 0x03, 0, 0x5d, 0x95, 0x98, 0x09}
}

// HEVCPPS returns a picture parameter set for HEVCSPS, as x265 writes it.
func HEVCPPS() []byte { return []byte{0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40} }

// HEVCSPS returns a sequence parameter set of Main profile for the size and the frame
// rate num/den; den 0 leaves the rate out.
func HEVCSPS(width, height, num, den int) []byte {
	var w bitWriter
	w.bits(0, 4)
	w.bits(0, 3) // sps_max_sub_layers_minus1
	w.flag(true)
	w.bits(1, 8) // Main
	w.bits(0x60000000, 32)
	w.bits(0x900000000000, 48)
	w.bits(uint64(hevcLevel(width*height)), 8)
	w.ue(0)
	w.ue(1) // 4:2:0
	codedW, codedH := (width+7)/8*8, (height+7)/8*8
	w.ue(uint64(codedW))
	w.ue(uint64(codedH))
	cropX, cropY := codedW-width, codedH-height
	w.flag(cropX|cropY != 0)
	if cropX|cropY != 0 {
		w.ue(0)
		w.ue(uint64(cropX / 2))
		w.ue(0)
		w.ue(uint64(cropY / 2))
	}
	w.ue(0)
	w.ue(0)
	w.ue(4) // log2_max_pic_order_cnt_lsb_minus4
	w.flag(true)
	w.ue(4) // sps_max_dec_pic_buffering_minus1
	w.ue(2)
	w.ue(0)
	for _, v := range []uint64{0, 3, 0, 3, 0, 0} { // coding and transform blocks
		w.ue(v)
	}
	w.flag(false) // scaling_list_enabled_flag
	w.flag(false)
	w.flag(true)
	w.flag(false)
	w.ue(0) // num_short_term_ref_pic_sets
	w.flag(false)
	w.flag(true)
	w.flag(true)
	w.flag(den > 0) // vui_parameters_present_flag
	if den > 0 {
		for range 8 {
			w.flag(false)
		}
		w.flag(true) // vui_timing_info_present_flag
		w.bits(uint64(den), 32)
		w.bits(uint64(num), 32)
		w.flag(false)
		w.flag(false)
		w.flag(false)
	}
	w.flag(false)
	w.trailing()
	return w.escaped(0x42, 0x01)
}

func hevcLevel(area int) int {
	switch {
	case area <= 983040:
		return 93
	case area <= 2228224:
		return 120
	default:
		return 153
	}
}
