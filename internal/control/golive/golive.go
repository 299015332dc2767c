// Package golive answers the question that OBS asks before it goes live with several
// tracks ("Multitrack Video", "Enhanced Broadcasting"): which renditions to encode, with
// which encoder and settings, and where to send them.
//
// Configure is the whole decision, a function of the request and of what the stream's
// owner allows. New makes the HTTP handler that OBS posts to, and Override the JSON to
// paste into versions of OBS that ask nobody.
package golive

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits are what a stream's owner allows.
type Limits struct {
	// Enabled says whether the stream takes several tracks at all.
	Enabled bool
	// MaxTracks is the most video tracks; 0 for no bound but that of OBS.
	MaxTracks int
	// MaxBitrate is the most that all video tracks have together, in kbit/s; 0 for no
	// bound.
	MaxBitrate int
}

// Stream is what the handler needs to know of a stream.
type Stream struct {
	Limits Limits
	// Endpoints are the addresses to publish to, the best first.
	Endpoints []Endpoint
}

// Endpoint is an address to publish to.
type Endpoint struct {
	// Protocol is "RTMP" or "RTMPS".
	Protocol string `json:"protocol"`
	// URLTemplate is the address with {stream_key} where the key goes, such as
	// rtmp://live.example.com/live/{stream_key}.
	URLTemplate string `json:"url_template"`
}

// Deps is what the handler works with.
type Deps struct {
	// Stream finds the stream of a key. The request is there for addresses that depend
	// on how the server was reached. The error is a fault that the broadcaster reads.
	Stream func(ctx context.Context, r *http.Request, key string) (Stream, error)
	Log    *slog.Logger
	Reg    prometheus.Registerer
}
