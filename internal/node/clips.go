package node

import (
	"context"
	"time"

	"onair/internal/clip"
	"onair/internal/control/api"
	"onair/internal/control/store"
	"onair/internal/deliver/replay"
	"onair/internal/fault"
)

// clips plugs what cuts recordings into the API.
type clips struct {
	maker      *clip.Maker
	recordings recordings
}

// Times implements api.Clips.
func (c clips) Times(_ context.Context, assetID, start, end string) (from, to time.Time, err error) {
	s, ok := c.recordings.Snapshot(assetID)
	if !ok {
		return from, to, fault.New(fault.NotFound, "make the clip of", assetID, "there is nothing recorded of it yet", "")
	}
	from, to = s.Began, s.Ended
	for _, m := range []struct {
		text string
		time *time.Time
	}{{start, &from}, {end, &to}} {
		if m.text == "" {
			continue
		}
		moment, err := replay.ParseMoment(m.text)
		if err != nil {
			return from, to, err
		}
		*m.time = moment.In(s)
	}
	return from, to, nil
}

// Make implements api.Clips.
func (c clips) Make(_ context.Context, what api.Clip) error {
	return c.maker.Submit(clip.Request{ID: what.ID, Asset: what.Of, Start: what.Start, End: what.End})
}

// clipped writes down what became of a clip; it is a clip.Done.
func (b *broadcasts) clipped(ctx context.Context, r clip.Request, err error) {
	if ctx.Err() != nil {
		return // the server stops, and sees to it at the next start
	}
	if err != nil {
		b.keep(ctx, r.ID, store.Recorded{Status: store.AssetErrored, Error: err.Error()})
		return
	}
	b.keepSnapshot(ctx, r.ID)
}
