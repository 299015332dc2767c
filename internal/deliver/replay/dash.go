package replay

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// NewDASH returns what serves the playback ids of assets below /dash/. Its metrics are
// registered with reg (nil for none).
func NewDASH(cfg Config, lib Library, dir Directory, log *slog.Logger, reg prometheus.Registerer) http.Handler {
	return http.NotFoundHandler()
}
