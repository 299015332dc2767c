package node

import (
	"context"

	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/record"
)

// settleEarly makes assets of what an earlier server had kept of broadcasts before they had
// begun, but for those that go on. What needs a database that is away is left for run.
func (b *broadcasts) settleEarly(ctx context.Context) {
	for _, name := range b.library.Early() {
		id, err := b.settleOneEarly(ctx, name, func(e *record.Earlier) (store.Asset, error) { return b.assetFor(ctx, e) })
		if asset, ok := b.library.Asset(id); ok {
			b.settled(ctx, id, recordedOf(asset.Snapshot()))
		}
		if err != nil && !fault.Is(err, fault.Unavailable) {
			b.log.Error("what was kept of the beginning of a broadcast is not made an asset", "journal", name, "error", err)
		}
	}
}

// settleLateEarly is settleEarly for what is left. It waits for the database.
func (b *broadcasts) settleLateEarly(ctx context.Context) {
	for _, name := range b.library.Early() {
		id, err := b.settleOneEarly(ctx, name, func(e *record.Earlier) (store.Asset, error) {
			return kept(ctx, b.log, func() (store.Asset, error) { return b.assetFor(ctx, e) })
		})
		b.keepSnapshot(ctx, id)
		if err != nil && ctx.Err() == nil {
			b.log.Error("what was kept of the beginning of a broadcast is not made an asset", "journal", name, "error", err)
		}
	}
}

// settleOneEarly returns the id of the asset that it has made; none if there is nothing to make.
func (b *broadcasts) settleOneEarly(ctx context.Context, name string, assetFor func(*record.Earlier) (store.Asset, error)) (id string, err error) {
	e, err := b.library.OpenEarly(ctx, name, b.pack)
	if err != nil || e == nil {
		return "", err
	}
	if s, ok := b.pack.Stream(e.StreamID); ok && e.GoesOnIn(s) {
		return "", nil
	}
	a, err := assetFor(e)
	if fault.Is(err, fault.NotFound) || err == nil && a.Status == store.AssetDeleted {
		e.Drop() // its stream or it was deleted
		return "", nil
	}
	if err == nil {
		err = b.library.RecordEarly(ctx, a.ID, e)
	}
	if err != nil {
		return "", err
	}
	return a.ID, nil
}

// assetFor returns what the store knows of the asset that a broadcast becomes: the one that it
// was about to become when the server was killed, or a new one.
func (b *broadcasts) assetFor(ctx context.Context, e *record.Earlier) (store.Asset, error) {
	if e.AssetID != "" {
		return b.store.Asset(ctx, e.AssetID)
	}
	page, _, err := b.store.Assets(ctx, store.AssetFilter{LiveStreamID: e.StreamID, Status: store.AssetRecording}, maxUnsettled, "")
	if err != nil {
		return store.Asset{}, err
	}
	for _, a := range page {
		if _, ok := b.library.Asset(a.ID); !ok && a.Clip.Of == "" && !a.CreatedAt.Before(e.Began()) {
			return a, nil
		}
	}
	return b.store.CreateAsset(ctx, e.StreamID)
}
