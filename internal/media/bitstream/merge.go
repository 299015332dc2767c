package bitstream

import (
	"bytes"

	"onair/internal/media"
)

// maxSets bounds the parameter sets of one kind in a configuration; more are not kept.
const maxSets = 32

// mergeSets makes the configuration that the in-band parameter sets of au ask for. New
// sequence parameter sets replace the old ones, and then the picture parameter sets
// that came with them replace the old ones too. Picture parameter sets alone replace
// those with the same id. It returns nil if there is nothing usable.
func mergeSets(t *media.Track, au []byte, size int) []byte {
	vpsKind, spsKind, ppsKind := byte(hevcVPS), byte(hevcSPS), byte(hevcPPS)
	if t.Codec == media.H264 {
		vpsKind, spsKind, ppsKind = 0, h264SPS, h264PPS
	}
	var vps, sps, pps, oldVPS, oldSPS, oldPPS [][]byte
	sort := func(kind byte, set []byte, v, s, p *[][]byte) {
		into := map[byte]*[][]byte{vpsKind: v, spsKind: s, ppsKind: p}[kind]
		if into != nil && len(*into) < maxSets {
			*into = append(*into, set)
		}
	}
	sets(t, func(kind byte, set []byte) bool {
		sort(kind, set, &oldVPS, &oldSPS, &oldPPS)
		return true
	})
	for rest := au; len(rest) > 0; {
		nal, r, err := nextNAL(rest, size)
		if err != nil {
			break
		}
		rest = r
		if what, kind := fateOf(t.Codec, nal); what == parameter {
			sort(kind, nal, &vps, &sps, &pps)
		}
	}
	id := h264PPSID
	if t.Codec == media.HEVC {
		id = hevcPPSID
	}
	newSPS := false
	for _, s := range sps {
		newSPS = newSPS || !contains(oldSPS, s)
	}
	switch {
	case !newSPS:
		sps = oldSPS
		pps = replace(oldPPS, pps, id)
	case len(pps) == 0:
		pps = oldPPS
	}
	if len(vps) == 0 {
		vps = oldVPS
	}
	if t.Codec == media.H264 {
		return AVCC(unique(sps), unique(pps))
	}
	return HVCC(unique(vps), unique(sps), unique(pps))
}

// replace returns old with each set of with put in the place of the one with its id.
func replace(old, with [][]byte, id func([]byte) uint32) [][]byte {
	out := append([][]byte(nil), old...)
	for _, w := range with {
		at := -1
		for i, o := range out {
			if id(o) == id(w) {
				at = i
			}
		}
		switch {
		case at >= 0:
			out[at] = w
		case len(out) < maxSets:
			out = append(out, w)
		}
	}
	return out
}

func contains(all [][]byte, set []byte) bool {
	for _, a := range all {
		if bytes.Equal(a, set) {
			return true
		}
	}
	return false
}

func unique(all [][]byte) [][]byte {
	var out [][]byte
	for _, a := range all {
		if !contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func h264PPSID(pps []byte) uint32 { return setID(pps, 1) }

func hevcPPSID(pps []byte) uint32 { return setID(pps, 2) }

func setID(set []byte, header int) uint32 {
	if len(set) <= header {
		return 0
	}
	r := bitReader{data: unescape(set[header:], 16)}
	return r.ue()
}
