package bitstream

import "onair/internal/media"

// Reorder tells how many pictures may at most be decoded before one that is shown earlier
// than them; known is false where the track does not say. 0 is a track without B-frames in
// the common sense: its pictures are decoded in the order in which they are shown, which
// is what WebRTC needs.
//
// H.264 says it in the bitstream restrictions of the VUI (section E.2.1,
// max_num_reorder_frames), and by profiles and order counts that leave no choice; HEVC in
// the sequence parameter set (sps_max_num_reorder_pics). The other codecs have packets in
// the order of display.
func Reorder(t *media.Track) (frames int, known bool) {
	switch t.Codec {
	case media.H264, media.HEVC:
		v, err := describeVideo(t)
		if err != nil {
			return 0, false
		}
		return v.reorder, v.reorderKnown
	default:
		return 0, t.Kind() == media.Video
	}
}

// neverReorders reports whether a sequence parameter set of H.264 rules out that pictures
// are decoded in another order than that of display, without a word in the VUI: by its
// order count (section 8.2.1.3), by a profile of key pictures only (E.2.1), or as
// Constrained Baseline, which has no B slices (A.2.1.1).
func neverReorders(profile, constraints byte, orderCountType uint32) bool {
	if orderCountType == 2 {
		return true
	}
	switch profile {
	case 66:
		return true
	case 44, 86, 100, 110, 122, 244:
		return constraints&0x10 != 0
	}
	return false
}

// readH264Restriction reads what comes after the timing in vui_parameters, up to
// max_num_reorder_frames.
func readH264Restriction(r *bitReader, v *videoInfo) {
	nal := skipH264HRD(r)
	if vcl := skipH264HRD(r); nal || vcl {
		r.skip(1) // low_delay_hrd_flag
	}
	r.skip(1) // pic_struct_present_flag
	if !r.flag() {
		return
	}
	r.skip(1)
	for range 4 {
		r.ue()
	}
	if frames := r.ueMax(maxReferences); !r.bad {
		v.reorder, v.reorderKnown = int(frames), true
	}
}

// skipH264HRD passes hrd_parameters (section E.1.2) and reports whether they are there.
func skipH264HRD(r *bitReader) bool {
	if !r.flag() {
		return false
	}
	count := r.ueMax(31) + 1
	r.skip(8)
	for range count {
		r.ue()
		r.ue()
		r.skip(1)
	}
	r.skip(20)
	return true
}
