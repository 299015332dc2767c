package golive

import (
	"strconv"
	"strings"
)

// keySeconds is the time between key frames, the same in all renditions so that they can
// be cut at the same places.
const keySeconds = 2

// encoder is a way to encode H.264 that OBS has.
type encoder struct {
	id string
	// tracks is how many renditions it makes at a time without harm to what else the
	// machine does.
	tracks int
	// budget bounds the work where the processor does it: rendition pixels a second, of
	// which 1 is 1280×720 at 30 frames a second; 0 for no bound.
	budget   float64
	settings func(s map[string]any)
}

// Vendors of graphics adapters (PCI).
const (
	vendorNVIDIA = 0x10de
	vendorAMD    = 0x1002
	vendorIntel  = 0x8086
	vendorApple  = 0x106b
)

// withoutEncoder are adapters of NVIDIA that have no encoder, as their names begin behind
// the maker's.
var withoutEncoder = [...]string{"GeForce MX", "GeForce GT 10", "GeForce GT 7", "GeForce 9", "GeForce 8"}

// chooseEncoder picks what the machine encodes with. B-frames are switched off
// everywhere: the renditions go to WebRTC viewers as they are, who cannot have any.
func chooseEncoder(r Request) encoder {
	vendor := 0
	if g := r.gpu(); g != nil {
		vendor = int(g.VendorID)
		for _, name := range withoutEncoder {
			if vendor == vendorNVIDIA && strings.Contains(g.Model, name) {
				vendor = 0
			}
		}
	}
	// OBS does not start with an encoder that its build lacks. On a Mac, VideoToolbox is
	// there whatever the adapter; on Linux, builds differ in all but NVENC.
	switch system := strings.ToLower(r.Capabilities.System.Name); {
	case strings.Contains(system, "mac"), strings.Contains(system, "darwin"):
		vendor = vendorApple
	case system != "" && !strings.Contains(system, "windows") && vendor != vendorNVIDIA:
		vendor = 0
	}
	switch vendor {
	case vendorNVIDIA:
		// OBS 31 brought encoders of its own for NVENC, with other names of settings.
		if major := r.Client.major(); major > 0 && major < 31 {
			return encoder{id: "jim_nvenc", tracks: 4, settings: func(s map[string]any) {
				s["preset2"], s["tune"], s["multipass"], s["bf"], s["lookahead"], s["psycho_aq"] = "p4", "ll", "disabled", 0, false, true
			}}
		}
		return encoder{id: "obs_nvenc_h264_tex", tracks: 4, settings: func(s map[string]any) {
			s["preset"], s["tune"], s["multipass"], s["bf"], s["lookahead"], s["adaptive_quantization"] = "p4", "ll", "disabled", 0, false, true
		}}
	case vendorAMD:
		return encoder{id: "h264_texture_amf", tracks: 3, settings: func(s map[string]any) { s["preset"], s["bf"] = "balanced", 0 }}
	case vendorIntel:
		return encoder{id: "obs_qsv11_v2", tracks: 3, settings: func(s map[string]any) { s["target_usage"], s["bframes"] = "TU4", 0 }}
	case vendorApple:
		return encoder{id: "com.apple.videotoolbox.videoencoder.ave.avc", tracks: 3, settings: func(s map[string]any) { s["bframes"] = false }}
	}
	cores := 4.0
	if c := r.Capabilities.CPU; c != nil && c.PhysicalCores >= 1 {
		cores = min(c.PhysicalCores, 256)
	}
	// Half of the processor is for what is broadcast.
	return encoder{id: "obs_x264", tracks: 3, budget: cores / 2, settings: func(s map[string]any) {
		s["preset"], s["bf"], s["x264opts"] = "veryfast", 0, "scenecut=0"
	}}
}

// settingsFor are what OBS hands to the encoder.
func (e encoder) settingsFor(kbps int) map[string]any {
	s := map[string]any{"rate_control": "CBR", "bitrate": kbps, "keyint_sec": keySeconds, "profile": "high"}
	e.settings(s)
	return s
}

// major is the first number of a version; 0 if it is not told.
func (c Client) major() int {
	first, _, _ := strings.Cut(strings.TrimPrefix(c.Version, "v"), ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return n
}
