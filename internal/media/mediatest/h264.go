package mediatest

// H264SPS returns a sequence parameter set of High profile for the size and the frame
// rate num/den; den 0 leaves the rate out. It holds for frames with and without
// B-frames.
func H264SPS(width, height, num, den int) []byte {
	var w bitWriter
	w.bits(100, 8) // High
	w.bits(0, 8)
	w.bits(uint64(h264Level(width, height)), 8)
	w.ue(0) // seq_parameter_set_id
	w.ue(1) // 4:2:0
	w.ue(0)
	w.ue(0)
	w.flag(false)
	w.flag(false)
	w.ue(4) // log2_max_frame_num_minus4
	w.ue(0) // pic_order_cnt_type
	w.ue(4)
	w.ue(3) // max_num_ref_frames
	w.flag(false)
	mbW, mbH := (width+15)/16, (height+15)/16
	w.ue(uint64(mbW - 1))
	w.ue(uint64(mbH - 1))
	w.flag(true) // frame_mbs_only_flag
	w.flag(true) // direct_8x8_inference_flag
	cropX, cropY := mbW*16-width, mbH*16-height
	w.flag(cropX|cropY != 0)
	if cropX|cropY != 0 {
		w.ue(0)
		w.ue(uint64(cropX / 2))
		w.ue(0)
		w.ue(uint64(cropY / 2))
	}
	w.flag(den > 0) // vui_parameters_present_flag
	if den > 0 {
		w.flag(false)
		w.flag(false)
		w.flag(false)
		w.flag(false)
		w.flag(true) // timing_info_present_flag
		w.bits(uint64(den), 32)
		w.bits(uint64(2*num), 32)
		w.flag(true)
		w.flag(false)
		w.flag(false)
		w.flag(false)
		w.flag(true) // bitstream_restriction_flag
		w.flag(true)
		w.ue(0)
		w.ue(0)
		w.ue(11)
		w.ue(11)
		w.ue(2)
		w.ue(4)
	}
	w.trailing()
	return w.escaped(0x67)
}

// H264PPS returns a picture parameter set for H264SPS.
func H264PPS() []byte { return []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0} }

func h264Level(width, height int) int {
	switch mbs := (width + 15) / 16 * ((height + 15) / 16); {
	case mbs <= 1620:
		return 30
	case mbs <= 3600:
		return 31
	case mbs <= 8192:
		return 40
	case mbs <= 22080:
		return 50
	default:
		return 51
	}
}
