package api

import (
	"context"
	"net/http"
	"time"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

// Rendition is what the API sees of a rendition that the server makes of a stream, or
// could make.
type Rendition struct {
	Offer media.Offer
	// State is idle, starting, running, failed, refused or shed, Since when it began; zero
	// if that is not known. Reason says why it is not running.
	State, Reason string
	Since         time.Time
	// Encoder is the encoder's name; empty before one was chosen.
	Encoder string
	// CPU is what its encoder used in this broadcast, Lag how far it is behind the source;
	// nil where that is not known. An encoder that makes several renditions counts for each.
	CPU, Lag *time.Duration
	// Restarts counts how often its encoder was started anew after it failed.
	Restarts int
}

// Ladder is what the API sees of the encoding.
type Ladder interface {
	// Renditions lists what the server makes of a live stream or could make, best picture
	// first.
	Renditions(streamID string) []Rendition
}

// sourceName is what the publisher's main rendition is called, which has no name.
const sourceName = "source"

type (
	rendition struct {
		Name        string            `json:"name" doc:"source is what the publisher sends; two of them when it sends picture and sound." example:"720p"`
		MadeBy      string            `json:"made_by" enum:"publisher,server"`
		Kind        string            `json:"kind" enum:"video,audio"`
		Codec       string            `json:"codec" example:"H.264"`
		CodecString string            `json:"codec_string" doc:"As in RFC 6381." example:"avc1.64001f"`
		Width       orNull[int]       `json:"width" doc:"Null where the rendition has no such thing, here and below."`
		Height      orNull[int]       `json:"height"`
		FrameRate   orNull[float64]   `json:"frame_rate"`
		SampleRate  orNull[int]       `json:"sample_rate"`
		Channels    orNull[int]       `json:"channels"`
		Bitrate     orNull[int64]     `json:"bitrate" doc:"Bits a second: measured over the last seconds of what the publisher sends, expected on average of what the server makes."`
		PeakBitrate orNull[int64]     `json:"peak_bitrate" doc:"What the server's encoder is held to."`
		Listed      bool              `json:"listed" doc:"It is in playlists. What is not is made for WebRTC only."`
		State       string            `json:"state" enum:"idle,starting,running,failed,refused,shed" doc:"idle: nobody watches it. failed: its encoder does not work; it is tried again. refused: the encoding budget is full. shed: the machine was too slow for it."`
		Reason      string            `json:"reason" doc:"Why it is not running; empty if there is nothing to say."`
		Encoder     orNull[string]    `json:"encoder"`
		Since       orNull[time.Time] `json:"since" doc:"When the state began."`
		CPUSeconds  orNull[float64]   `json:"cpu_seconds" doc:"What its encoder used in this broadcast. An encoder of several renditions is told at each."`
		LagSeconds  orNull[float64]   `json:"lag_seconds" doc:"How far it is behind the source."`
		Restarts    orNull[int]       `json:"restarts" doc:"How often its encoder was started anew after it failed."`
	}
	renditionsOutput struct {
		Body struct {
			Data       []rendition `json:"data" nullable:"false"`
			NextCursor null        `json:"next_cursor" doc:"Always null: a stream has few."`
		}
	}
)

func (a *API) renditionRoute(op describeOp) {
	register(a, op("list-renditions", http.MethodGet, "/v1/live-streams/{id}/renditions", tagStreams, "List the renditions",
		"What the publisher sends and what the server makes of it or could make, with the state of each encoder and why it is so. Empty while there is no broadcast.", http.StatusOK),
		[]fault.Kind{fault.NotFound}, a.listRenditions)
}

func (a *API) listRenditions(ctx context.Context, in *streamInput) (*renditionsOutput, error) {
	l, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := new(renditionsOutput)
	out.Body.Data = []rendition{}
	snap, there := a.deps.Streams.Snapshot(l.ID)
	if !there {
		return out, nil
	}
	for _, t := range snap.Tracks {
		out.Body.Data = append(out.Body.Data, sentRendition(snap, t))
	}
	if a.deps.Ladder != nil {
		for _, r := range a.deps.Ladder.Renditions(l.ID) {
			if r.Offer.Track != nil {
				out.Body.Data = append(out.Body.Data, madeRendition(r))
			}
		}
	}
	return out, nil
}

// sentRendition is a track of the publisher.
func sentRendition(s hub.Snapshot, t hub.TrackSnapshot) rendition {
	out := rendition{
		Name: t.Rendition, MadeBy: "publisher", Kind: t.Kind.String(), Codec: t.Codec.String(), CodecString: t.CodecString,
		Width: unlessZero(t.Width), Height: unlessZero(t.Height), FrameRate: unlessZero(finite(t.FrameRate)),
		SampleRate: unlessZero(t.SampleRate), Channels: unlessZero(t.Channels), Bitrate: unlessZero(int64(finite(t.Bitrate))),
		Listed: true, State: "running", Since: unlessZero(s.Since.UTC()),
	}
	if out.Name == "" {
		out.Name = sourceName
	}
	if p := s.Publisher; p != nil {
		out.Since = unlessZero(p.Since.UTC())
	} else {
		out.State, out.Reason, out.Since = "idle", "The publisher was lost and is being waited for.", orNull[time.Time]{}
	}
	return out
}

// madeRendition is one of the server's.
func madeRendition(r Rendition) rendition {
	t := r.Offer.Track
	out := rendition{
		Name: t.Rendition, MadeBy: "server", Kind: t.Kind().String(), Codec: t.Codec.String(), CodecString: t.CodecString,
		Width: unlessZero(t.Width), Height: unlessZero(t.Height), FrameRate: unlessZero(finite(t.FrameRate)),
		SampleRate: unlessZero(t.SampleRate), Channels: unlessZero(t.Channels),
		Bitrate: unlessZero(r.Offer.Average), PeakBitrate: unlessZero(r.Offer.Peak), Listed: r.Offer.Listed,
		State: r.State, Reason: r.Reason, Encoder: unlessZero(r.Encoder), Restarts: some(r.Restarts),
		CPUSeconds: secondsOf(r.CPU), LagSeconds: secondsOf(r.Lag),
	}
	if !r.Since.IsZero() {
		out.Since = some(r.Since.UTC())
	}
	return out
}

func secondsOf(d *time.Duration) (out orNull[float64]) {
	if d != nil {
		out = some(finite(d.Seconds()))
	}
	return out
}
