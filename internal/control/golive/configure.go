package golive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"

	"onair/internal/fault"
)

const (
	service = "onair"
	// schemaCanvases and schemaFlat are the versions of the schema that OBS speaks.
	schemaCanvases = "2025-01-25"
	schemaFlat     = "2024-06-04"
	// audioKbps is the bitrate of a sound track.
	audioKbps = 160
)

// Response is what OBS is told, and the form of the JSON that is pasted into it.
type Response struct {
	Meta            *Meta        `json:"meta,omitempty"`
	Status          *Status      `json:"status,omitempty"`
	IngestEndpoints []Endpoint   `json:"ingest_endpoints,omitempty"`
	Encoders        []Encoder    `json:"encoder_configurations,omitempty"`
	Audio           *AudioTracks `json:"audio_configurations,omitempty"`
}

// Meta identifies a response. OBS publishes with clientConfigId=CONFIG_ID in the query;
// equal configurations have equal ids.
type Meta struct {
	Service       string `json:"service"`
	SchemaVersion string `json:"schema_version"`
	ConfigID      string `json:"config_id"`
}

// The results of a Status.
const (
	Success = "success"
	Warning = "warning"
	Failure = "error"
)

// Status is shown to the broadcaster if it is not a success.
type Status struct {
	Result string `json:"result"`
	HTML   string `json:"html_en_us,omitempty"`
}

// Encoder is one video track. Track 0 is the first.
type Encoder struct {
	// Type is an encoder of OBS.
	Type        string        `json:"type"`
	Width       int           `json:"width"`
	Height      int           `json:"height"`
	Framerate   *RateFraction `json:"framerate"`
	ScaleType   string        `json:"gpu_scale_type"`
	CanvasIndex int           `json:"canvas_index"`
	// Settings are handed to the encoder.
	Settings map[string]any `json:"settings"`
}

// RateFraction is a frame rate.
type RateFraction struct {
	Numerator   int `json:"numerator"`
	Denominator int `json:"denominator"`
}

// AudioTracks are the sound tracks.
type AudioTracks struct {
	Live []AudioTrack `json:"live"`
	VOD  []AudioTrack `json:"vod,omitempty"`
}

// AudioTrack is one sound track.
type AudioTrack struct {
	Codec    string         `json:"codec"`
	TrackID  int            `json:"track_id"`
	Channels int            `json:"channels"`
	Settings map[string]any `json:"settings"`
}

// Configure decides what is encoded. The renditions are H.264, which every viewer takes
// without transcoding: the source's size first, smaller ones below, within what the
// machine, the broadcaster and the stream's owner allow. The error is a fault that says
// what to change, for Response's status.
func Configure(r Request, l Limits) (Response, error) {
	const op = "configure multitrack video for"
	if !l.Enabled {
		return Response{}, fault.New(fault.Disabled, op, "this stream", "it is switched off",
			"Switch it on in the stream's settings, or switch Multitrack Video off in OBS")
	}
	if !r.speaksH264() {
		return Response{}, fault.New(fault.Unsupported, op, "this OBS", "it cannot encode H.264", "Switch Multitrack Video off in OBS")
	}
	source, err := r.source()
	if err != nil {
		return Response{}, err
	}
	e := chooseEncoder(r)
	tracks := tightest(e.tracks, wish(r.Preferences.MaximumVideoTracks), l.MaxTracks)
	sounds := 1
	if r.Preferences.VODTrackAudio {
		sounds = 2
	}
	// The broadcaster's bound is for everything that is sent, the owner's for pictures.
	kbps := wish(r.Preferences.MaximumAggregateBitrate)
	if kbps > 0 {
		kbps = max(1, kbps-sounds*audioKbps)
	}
	kbps = tightest(kbps, l.MaxBitrate)
	chosen := ladder(source, tracks, kbps, e.budget)
	if len(chosen) == 0 {
		return Response{}, fault.New(fault.Invalid, op, "this stream", fmt.Sprintf("%d kbit/s are too few for a picture", kbps),
			"Raise the maximum bitrate in OBS or in the stream's settings")
	}
	out := Response{Status: &Status{Result: Success}, Audio: soundTracks(r, sounds)}
	for _, c := range chosen {
		out.Encoders = append(out.Encoders, Encoder{
			Type: e.id, Width: c.width, Height: c.height,
			Framerate: &RateFraction{c.num, c.den}, ScaleType: "OBS_SCALE_BICUBIC", Settings: e.settingsFor(c.kbps),
		})
	}
	if len(r.Preferences.Canvases) > 1 {
		out.Status = &Status{Result: Warning, HTML: "The second canvas is not sent: this server takes one picture a stream."}
	}
	out.Meta = &Meta{Service: service, SchemaVersion: schemaOf(r), ConfigID: out.id()}
	return out, nil
}

// tightest is the smallest of the bounds that are set.
func tightest(bounds ...int) (out int) {
	for _, b := range bounds {
		if b > 0 && (out == 0 || b < out) {
			out = b
		}
	}
	return out
}

func soundTracks(r Request, n int) *AudioTracks {
	channels := 2
	if c := r.Preferences.AudioChannels; c >= 1 && c <= 8 {
		channels = int(c)
	}
	track := func(id int) []AudioTrack {
		return []AudioTrack{{Codec: "ffmpeg_aac", TrackID: id, Channels: channels, Settings: map[string]any{"bitrate": audioKbps}}}
	}
	out := &AudioTracks{Live: track(1)}
	if n > 1 {
		out.VOD = track(2)
	}
	return out
}

func schemaOf(r Request) string {
	if r.SchemaVersion == schemaFlat {
		return schemaFlat
	}
	return schemaCanvases
}

// id names what is configured, the same for the same configuration.
func (r Response) id() string {
	b, err := json.Marshal([]any{r.Encoders, r.Audio})
	if err != nil {
		return "" // there is nothing in them that cannot be JSON
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// failed is the answer that OBS shows.
func failed(r Request, err error) Response {
	text := err.Error()
	if fault.KindOf(err) == fault.Internal {
		text = "The server failed; its log says why."
	}
	return Response{
		Meta:   &Meta{Service: service, SchemaVersion: schemaOf(r), ConfigID: "none"},
		Status: &Status{Result: Failure, HTML: html.EscapeString(text)},
	}
}

// Machine is the hardware that the JSON to paste is for.
type Machine struct {
	// GPU is nvidia, amd, intel, apple or none.
	GPU string
	// Cores counts the processor's; 0 if unknown.
	Cores int
	// Width, Height and FPS are those of the picture that OBS puts out.
	Width, Height, FPS int
}

// Override makes the JSON to paste into versions of OBS that ask nobody, for the machine
// that its user states.
func Override(m Machine, l Limits, endpoints []Endpoint) (Response, error) {
	vendors := map[string]float64{"nvidia": vendorNVIDIA, "amd": vendorAMD, "intel": vendorIntel, "apple": vendorApple, "none": 0, "": 0}
	vendor, ok := vendors[m.GPU]
	if !ok {
		return Response{}, fault.New(fault.Invalid, "configure multitrack video for", "gpu", "it is none of nvidia, amd, intel, apple and none", "Name one of them")
	}
	var r Request
	r.Preferences.Canvas = Canvas{float64(m.Width), float64(m.Height), Framerate{float64(m.FPS), 1}}
	if vendor != 0 {
		r.Capabilities.GPU = []GPU{{VendorID: vendor}}
	}
	if m.Cores > 0 {
		r.Capabilities.CPU = &CPU{PhysicalCores: float64(m.Cores)}
	}
	out, err := Configure(r, l)
	if err != nil {
		return out, err
	}
	out.Status = nil
	out.IngestEndpoints = endpoints
	return out, nil
}
