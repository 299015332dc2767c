package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/ffmpeg"
)

// TestFormatsWaitNoLongerThanWhoAsks: ffmpeg may take long to be found, and who asked for a
// picture is gone meanwhile.
func TestFormatsWaitNoLongerThanWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newToolbox(ffmpeg.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		b.find = func(ctx context.Context) (*ffmpeg.Tool, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		running, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- b.run(running) }()
		asks, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		if formats, err := b.Formats(asks); !errors.Is(err, context.DeadlineExceeded) || formats != nil {
			t.Errorf("%v, %v", formats, err)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		// There is none: nothing can be made, and nobody waits.
		if formats, err := b.Formats(t.Context()); err != nil || formats != nil {
			t.Errorf("%v, %v", formats, err)
		}
	})
}
