package bitstream

import "onair/internal/media"

// NAL unit types that tell how pictures depend on each other.
const (
	h264Slice    = 1
	h264SEI      = 6
	hevcRASLN    = 8 // pictures that are shown before a CRA and refer to what was before it
	hevcRASLR    = 9
	hevcCRA      = 21
	recoverySEI  = 6  // payloadType of the recovery point (H.264 section D.1.8)
	maxSEIBytes  = 64 // how much of an SEI unit is looked at; a recovery point comes early
	sliceHeadLen = 12 // first_mb_in_slice and slice_type have at most 63 and 7 bits
)

// PictureType is the kind of a picture's first slice.
type PictureType uint8

// The kinds of picture.
const (
	UnknownPicture PictureType = iota
	PictureI
	PictureP
	PictureB
)

// Picture is what the head of an access unit says of how it depends on others.
type Picture struct {
	// Type is told for H.264 only: HEVC has it behind fields whose size the PPS says.
	Type PictureType
	// Recovery is set where decoding can start though older pictures are still referred
	// to: a recovery point of H.264 that is no IDR picture, a CRA picture of HEVC. An
	// encoder that sends them makes open groups.
	Recovery bool
	// Leading is set for pictures of HEVC that are lost when decoding starts at the CRA
	// picture before them.
	Leading bool
}

// PictureOf reads the head of an access unit of the shape that media.Codec documents.
// It does not allocate. What cannot be read stays zero, and so does all of it for codecs
// other than H.264 and HEVC.
func PictureOf(c media.Codec, accessUnit []byte) Picture {
	switch c {
	case media.H264:
		return h264Picture(accessUnit)
	case media.HEVC:
		return hevcPicture(accessUnit)
	default:
		return Picture{}
	}
}

func h264Picture(accessUnit []byte) Picture {
	var p Picture
	recovery := false
	for nal, err := range NALUs(accessUnit) {
		if err != nil || len(nal) == 0 {
			return p
		}
		switch nal[0] & 0x1f {
		case h264SEI:
			recovery = recovery || hasRecoveryPoint(nal[1:])
		case h264Slice, h264IDR:
			p.Type = h264SliceType(nal[1:])
			p.Recovery = recovery && nal[0]&0x1f == h264Slice
			return p
		}
	}
	return p
}

// h264SliceType reads the start of a slice header (H.264 section 7.3.3).
func h264SliceType(slice []byte) PictureType {
	r := bitReader{data: slice[:min(len(slice), sliceHeadLen)]}
	r.ue() // first_mb_in_slice
	kind := r.ueMax(9)
	if r.bad {
		return UnknownPicture
	}
	switch kind % 5 {
	case 0, 3:
		return PictureP
	case 1:
		return PictureB
	default:
		return PictureI
	}
}

// hasRecoveryPoint walks the messages of an SEI unit (H.264 section 7.3.2.3.1).
func hasRecoveryPoint(sei []byte) bool {
	sei = sei[:min(len(sei), maxSEIBytes)]
	for len(sei) > 2 { // less is the trailing bits
		var kind, size int
		var ok bool
		if kind, sei, ok = seiNumber(sei); !ok {
			return false
		}
		if kind == recoverySEI {
			return true
		}
		if size, sei, ok = seiNumber(sei); !ok || size > len(sei) {
			return false
		}
		sei = sei[size:]
	}
	return false
}

// seiNumber reads a number that is coded as a sum of bytes, 255 meaning "and more".
func seiNumber(b []byte) (n int, rest []byte, ok bool) {
	for i, v := range b {
		n += int(v)
		if v != 0xff {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

func hevcPicture(accessUnit []byte) Picture {
	var p Picture
	for nal, err := range NALUs(accessUnit) {
		if err != nil || len(nal) == 0 {
			return p
		}
		switch kind := nal[0] >> 1 & 0x3f; {
		case kind == hevcRASLN || kind == hevcRASLR:
			p.Leading = true
			return p
		case kind >= hevcFirstKey && kind <= hevcLastKey:
			p.Type, p.Recovery = PictureI, kind == hevcCRA
			return p
		case kind < hevcVPS:
			return p
		}
	}
	return p
}

// Interlaced reports whether t's parameter sets allow fields (H.264 without
// frame_mbs_only_flag) or declare an interlaced source (HEVC).
func Interlaced(t *media.Track) bool {
	switch t.Codec {
	case media.H264:
		v, err := describeH264(t.Config)
		return err == nil && v.fields
	case media.HEVC:
		// general_progressive_source_flag and general_interlaced_source_flag.
		return len(t.Config) > 22 && t.Config[6]&0xc0 == 0x40
	default:
		return false
	}
}
