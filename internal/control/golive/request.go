package golive

import (
	"encoding/json"
	"errors"
	"math"
	"strings"

	"onair/internal/fault"
)

const (
	// maxBody bounds a request, in bytes. OBS sends about 2 KiB.
	maxBody = 64 << 10
	// maxGPUs and maxCanvases bound what is looked at of a request.
	maxGPUs     = 8
	maxCanvases = 4
	// The pictures that make sense, in pixels a side and frames a second.
	minSide = 64
	maxSide = 8192
	maxRate = 240
)

// Request is what is used of the question of OBS; everything else in it is ignored. The
// numbers are of type float64 because JSON knows no other, and a sender may write 30.0.
type Request struct {
	SchemaVersion string `json:"schema_version"`
	// Authentication is the stream key. It is a secret.
	Authentication string       `json:"authentication"`
	Client         Client       `json:"client"`
	Capabilities   Capabilities `json:"capabilities"`
	Preferences    Preferences  `json:"preferences"`
}

// Client is the program that asks.
type Client struct {
	Name            string   `json:"name"`
	Version         string   `json:"version"`
	SupportedCodecs []string `json:"supported_codecs"`
}

// Capabilities are what the machine has.
type Capabilities struct {
	CPU    *CPU   `json:"cpu"`
	GPU    []GPU  `json:"gpu"`
	System System `json:"system"`
}

// System is the operating system.
type System struct {
	Name string `json:"name"`
}

// CPU is the processor.
type CPU struct {
	PhysicalCores float64 `json:"physical_cores"`
}

// GPU is one graphics adapter.
type GPU struct {
	Model    string  `json:"model"`
	VendorID float64 `json:"vendor_id"`
}

// Preferences are what the broadcaster chose. Before schema 2025-01-25 the picture stood
// in them, since then it is a canvas.
type Preferences struct {
	// MaximumAggregateBitrate is in kbit/s; nil for no wish.
	MaximumAggregateBitrate *float64 `json:"maximum_aggregate_bitrate"`
	MaximumVideoTracks      *float64 `json:"maximum_video_tracks"`
	VODTrackAudio           bool     `json:"vod_track_audio"`
	CompositionGPUIndex     *float64 `json:"composition_gpu_index"`
	AudioChannels           float64  `json:"audio_channels"`
	Canvases                []Canvas `json:"canvases"`
	Canvas
}

// Canvas is one picture that is composed.
type Canvas struct {
	// Width and Height are what is sent out, in pixels.
	Width     float64   `json:"width"`
	Height    float64   `json:"height"`
	Framerate Framerate `json:"framerate"`
}

// Framerate is in frames a second, as a fraction.
type Framerate struct {
	Numerator   float64 `json:"numerator"`
	Denominator float64 `json:"denominator"`
}

// Parse reads a request. What is not known in it is passed over.
func Parse(body []byte) (Request, error) {
	const op, hint = "read", "Update OBS, or switch Multitrack Video off there"
	var r Request
	if len(body) > maxBody {
		return r, fault.New(fault.TooLarge, op, "the request", "it has more than 64 KiB", hint)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		cause := "it is no JSON"
		if errors.As(err, &wrong) {
			cause = "the value of " + wrong.Field + " is of another type than OBS sends"
		}
		return r, fault.New(fault.Invalid, op, "the request", cause, hint)
	}
	if len(r.Capabilities.GPU) > maxGPUs {
		r.Capabilities.GPU = r.Capabilities.GPU[:maxGPUs]
	}
	if len(r.Preferences.Canvases) > maxCanvases {
		r.Preferences.Canvases = r.Preferences.Canvases[:maxCanvases]
	}
	return r, nil
}

// picture is a size and a rate that were checked.
type picture struct {
	width, height int
	num, den      int
}

// lines is the shorter side, which names a picture: 1080 for 1920×1080 and 1080×1920.
func (p picture) lines() int       { return min(p.width, p.height) }
func (p picture) fps() float64     { return float64(p.num) / float64(p.den) }
func (p picture) pixels() float64  { return float64(p.width) * float64(p.height) }
func (p picture) keyInterval() int { return keySeconds * p.num / p.den }

// source is the picture that is sent out: the first canvas, and what stands for it in
// older requests.
func (r Request) source() (picture, error) {
	c := r.Preferences.Canvas
	if len(r.Preferences.Canvases) > 0 {
		c = r.Preferences.Canvases[0]
	}
	const op, hint = "choose renditions for", "Set the output resolution and the frame rate in OBS, under Settings, Video"
	if !(c.Width >= minSide && c.Width <= maxSide && c.Height >= minSide && c.Height <= maxSide) {
		return picture{}, fault.New(fault.Invalid, op, "the picture", "its size is missing or out of range", hint)
	}
	f := c.Framerate
	const maxTerm = 1 << 24
	if !(f.Numerator >= 1 && f.Numerator <= maxTerm && f.Denominator >= 1 && f.Denominator <= maxTerm) {
		return picture{}, fault.New(fault.Invalid, op, "the picture", "its frame rate is missing or out of range", hint)
	}
	p := picture{width: even(c.Width), height: even(c.Height), num: int(f.Numerator), den: int(f.Denominator)}
	if p.fps() < 1 || p.fps() > maxRate {
		return picture{}, fault.New(fault.Invalid, op, "the picture", "its frame rate is out of range", hint)
	}
	return p, nil
}

// even rounds down to what encoders take, so that nothing is ever made larger.
func even(v float64) int { return int(v) &^ 1 }

// wish reads a bound that the broadcaster may have set: 0 for none.
func wish(v *float64) int {
	if v == nil || !(*v >= 1) {
		return 0
	}
	return int(math.Min(*v, 1<<24))
}

// speaksH264 tells whether the client said that it can encode H.264. One that says
// nothing is taken to.
func (r Request) speaksH264() bool {
	for _, c := range r.Client.SupportedCodecs {
		if strings.EqualFold(c, "h264") {
			return true
		}
	}
	return len(r.Client.SupportedCodecs) == 0
}

// gpu is the adapter that composes the picture; encoders work on that one. nil if there
// is none.
func (r Request) gpu() *GPU {
	all := r.Capabilities.GPU
	if len(all) == 0 {
		return nil
	}
	i := 0
	if at := r.Preferences.CompositionGPUIndex; at != nil && *at >= 0 && *at < float64(len(all)) {
		i = int(*at)
	}
	return &all[i]
}
