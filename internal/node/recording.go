package node

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"onair/internal/control/api"
	"onair/internal/control/store"
	"onair/internal/deliver/hls"
	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/record"
)

// broadcasts records those of streams that ask for it: it plugs what pack makes into record,
// and what became of it into the store and the API.
type broadcasts struct {
	store   *store.Store
	library *record.Library
	pack    *pack.Packer
	hub     *hub.Hub
	bus     *event.Bus
	log     *slog.Logger
	replays *replays
	// late are the assets that settle could not write down, as the database was away.
	late []late
}

// late is what is still to be written down of an asset.
type late struct {
	id string
	is store.Recorded
}

// recordTime is how long a stop waits for the last segments of recordings to be stored. What
// is late is lost as by a crash: the assets are ended at the next start.
const recordTime = time.Second

// settle ends the recordings of an earlier server whose broadcasts do not go on. Call it once
// the streams that do are restored. It does not wait for a database that is away, or whose disk
// is full: what it is not told now, run tells it.
func (b *broadcasts) settle(ctx context.Context) {
	b.settleEarly(ctx)
	for _, id := range b.library.Unfinished() {
		asset, ok := b.library.Asset(id)
		if !ok {
			continue
		}
		if _, live := b.hub.Stream(asset.Snapshot().StreamID); !live && b.finish(ctx, id) {
			if asset, ok = b.library.Asset(id); ok {
				b.settled(ctx, id, recordedOf(asset.Snapshot()))
			}
		}
	}
	// And those of which there is nothing: their folder was removed, or is another one now.
	page, _, err := b.store.Assets(ctx, store.AssetFilter{Status: store.AssetRecording}, maxUnsettled, "")
	if err != nil {
		b.log.Error("the assets that were being recorded are not known", "error", err)
	}
	for _, a := range page {
		asset, ok := b.library.Asset(a.ID)
		if ok && asset.Snapshot().State != record.Recording {
			b.settled(ctx, a.ID, recordedOf(asset.Snapshot())) // it ended while the database was away
		}
		if !ok {
			why := "The server was killed, and what it had recorded is not in its folder."
			if a.Clip.Of != "" {
				why = "The server was stopped before the clip was made. Make it again."
			}
			b.settled(ctx, a.ID, store.Recorded{Status: store.AssetErrored, Error: why})
		}
	}
}

// settled writes down what became of an asset of an earlier server, now or later.
func (b *broadcasts) settled(ctx context.Context, id string, r store.Recorded) {
	a, err := b.store.KeepRecorded(ctx, id, r)
	switch {
	case err == nil:
		b.tell(a)
	case fault.Is(err, fault.Unavailable):
		b.late = append(b.late, late{id, r})
	case err != nil:
		b.log.Error("what became of a recording is not written down", "asset", id, "error", err)
	}
}

// maxUnsettled bounds the assets without a recording that a start looks at.
const maxUnsettled = 1000

// finish ends an asset of an earlier server, or drops it if there is nothing in it. It reports
// whether there is something that is to be written down.
func (b *broadcasts) finish(ctx context.Context, id string) bool {
	if err := b.library.Finish(ctx, id); err != nil {
		b.log.Error("a recording that the server was killed in is not ended", "asset", id, "error", err)
		return false
	}
	if _, ok := b.library.Asset(id); ok {
		return true
	}
	if err := b.store.DropAsset(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
		b.log.Error("a recording in which there is nothing is not dropped", "asset", id, "error", err)
	}
	return false
}

// run records until ctx ends or there are no more streams, and returns when all recordings
// are over.
func (b *broadcasts) run(ctx context.Context) error {
	watcher := b.pack.Watch()
	recording, stop := context.WithCancel(context.WithoutCancel(ctx)) // the ends of streams come after ctx's
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, a := range b.late {
			b.keep(recording, a.id, a.is)
		}
		b.settleLateEarly(recording)
	})
	for {
		s, err := watcher.Next(ctx)
		if err != nil {
			break
		}
		wg.Go(func() { b.record(recording, s) })
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(recordTime):
		stop()
		<-done
	}
	return nil
}

// record records one broadcast, if its stream asks for that.
func (b *broadcasts) record(ctx context.Context, s *pack.Stream) {
	b.replays.begin(s.Name())
	stream, err := kept(ctx, b.log, func() (store.LiveStream, error) { return b.store.LiveStream(ctx, s.Name()) })
	if err == nil && stream.Record {
		b.library.KeepEarly(ctx, s.Name(), s)
	}
	select {
	case <-s.Begun():
	case <-ctx.Done():
		return
	}
	id, resumed := b.library.Resume(s.Name(), s)
	if !resumed {
		b.settleStream(ctx, s.Name())
		if err != nil || !stream.Record || len(s.AllRenditions()) == 0 {
			b.library.DropEarly(s)
			b.replays.unset(s.Name())
			return
		}
		// Meanwhile nothing is lost but what leaves pack's window.
		asset, err := kept(ctx, b.log, func() (store.Asset, error) { return b.store.CreateAsset(ctx, s.Name()) })
		if err != nil {
			b.log.Error("a broadcast is not recorded", "stream", s.Name(), "error", err)
			b.library.DropEarly(s)
			b.replays.unset(s.Name())
			return
		}
		id = asset.ID
	}
	b.replays.set(s.Name(), id, stream.DVR)
	err = b.library.Record(ctx, id, s.Name(), s)
	if ctx.Err() != nil {
		return // the next start ends it
	}
	if _, ok := b.library.Asset(id); !ok && err != nil {
		b.keep(ctx, id, store.Recorded{Status: store.AssetErrored, Error: err.Error()})
		return
	}
	b.keepSnapshot(ctx, id)
}

// settleStream ends the recordings of an earlier server of a stream that goes on without them.
func (b *broadcasts) settleStream(ctx context.Context, streamID string) {
	for _, id := range b.library.Unfinished() {
		if asset, ok := b.library.Asset(id); ok && asset.Snapshot().StreamID == streamID && b.finish(ctx, id) {
			b.keepSnapshot(ctx, id)
		}
	}
}

// keepSnapshot writes down what became of an asset.
func (b *broadcasts) keepSnapshot(ctx context.Context, id string) {
	if asset, ok := b.library.Asset(id); ok {
		b.keep(ctx, id, recordedOf(asset.Snapshot()))
	}
}

func (b *broadcasts) keep(ctx context.Context, id string, r store.Recorded) {
	a, err := kept(ctx, b.log, func() (store.Asset, error) { return b.store.KeepRecorded(ctx, id, r) })
	if err != nil {
		b.log.Error("what became of a recording is not written down", "asset", id, "error", err)
		return
	}
	b.tell(a)
}

// tell says that an asset is ready, once it is written down: whoever hears of it finds it so.
func (b *broadcasts) tell(a store.Asset) {
	if a.Status != store.AssetReady {
		return
	}
	b.bus.Publish(event.AssetReady{
		StreamID: a.LiveStreamID, AssetID: a.ID, Duration: a.Duration.Seconds(), Bytes: a.Bytes, Gaps: a.GapCount,
	})
}

// The least and the greatest pause before a database that is away is asked again.
const (
	askFirst = 250 * time.Millisecond
	askLast  = 5 * time.Second
)

// kept asks the database, again and again while it is away, until ctx ends.
func kept[T any](ctx context.Context, log *slog.Logger, ask func() (T, error)) (T, error) {
	for wait := askFirst; ; wait = min(2*wait, askLast) {
		v, err := ask()
		if !fault.Is(err, fault.Unavailable) {
			return v, err
		}
		if wait == askFirst {
			log.Warn("recordings wait for the database", "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return v, err
		}
	}
}

// recordedOf puts what record knows into the store's words.
func recordedOf(s *record.Snapshot) store.Recorded {
	out := store.Recorded{Status: store.AssetStatus(s.State), Error: s.Error, Duration: s.Duration, Bytes: s.Bytes}
	for _, r := range s.Renditions {
		if len(r.Inits) == 0 {
			continue
		}
		t := r.Inits[len(r.Inits)-1].Track
		out.Tracks = append(out.Tracks, store.AssetTrack{
			Rendition: r.Name, Kind: t.Kind().String(), Codec: t.Codec.String(), CodecString: t.CodecString,
			Width: t.Width, Height: t.Height, FrameRate: t.FrameRate, SampleRate: t.SampleRate, Channels: t.Channels,
		})
	}
	for _, g := range s.Gaps {
		out.Gaps = append(out.Gaps, store.AssetGap{Start: g.Start, Duration: g.Duration})
	}
	return out
}

// assets plugs the library into the API.
type assets struct {
	library interface {
		Asset(id string) (*record.Asset, bool)
		Delete(ctx context.Context, id string) error
	}
	replays *replays
}

// Snapshot implements api.Assets.
func (a assets) Snapshot(id string) (store.Recorded, bool) {
	asset, ok := a.library.Asset(id)
	if !ok {
		return store.Recorded{}, false
	}
	return recordedOf(asset.Snapshot()), true
}

// Delete implements api.Assets.
func (a assets) Delete(ctx context.Context, id string) error {
	if err := a.library.Delete(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	a.replays.forget(id)
	return nil
}

// downloads says who may have the files of recordings: the administrator, and of what may be
// downloaded by anybody everybody.
type downloads struct {
	control *api.API
	store   *store.Store
}

// admit implements replay.Admit.
func (d downloads) admit(r *http.Request, id string) (title string, err error) {
	asset, missing := d.store.Asset(r.Context(), id)
	if missing == nil && asset.PublicDownload {
		return asset.Title, nil
	}
	if fault.Is(missing, fault.Unavailable) || fault.Is(missing, fault.Timeout) {
		return "", missing // it is not known who may have it
	}
	if err := d.control.AdmitAdmin(r); err != nil {
		return "", err
	}
	return asset.Title, missing
}

// directory is gate for HLS and DASH, which leave recordings to another handler.
type directory struct{ gate }

// StreamOf implements hls.Directory.
func (d directory) StreamOf(ctx context.Context, playbackID string) (string, error) {
	w, err := d.auth.Watch(ctx, playbackID)
	if err != nil {
		return "", err
	}
	if w.AssetID != "" {
		return "", hls.ErrElsewhere
	}
	d.wanted(w.StreamID)
	return w.StreamID, nil
}
