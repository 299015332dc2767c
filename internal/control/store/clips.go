package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// Clip is what an asset was cut from: the asset Of, from Start to before End by the wall
// clock. Of may be deleted since.
type Clip struct {
	Of         string
	Start, End time.Time // UTC, whole microseconds
}

// NewClip describes a clip that begins to be made.
type NewClip struct {
	Clip
	// Title and Metadata are those of the asset that it is cut from where they are nil.
	Title    *string
	Metadata map[string]string
	// Policies are those of its playback ids; nil: one of each that the asset's have.
	Policies []Policy
	// PublicDownload is that of the asset that it is cut from where it is nil.
	PublicDownload *bool
}

// CreateClip makes the asset of a clip, as recording, of the live stream of the asset that
// it is cut from. fault.NotFound if there is no such asset, fault.Conflict if it was deleted.
func (s *Store) CreateClip(ctx context.Context, c NewClip) (Asset, error) {
	const op = "create the clip of"
	var out Asset
	err := s.inTx(ctx, op, subject(c.Of), func(ctx context.Context, tx bun.Tx) error {
		of, err := s.loadAsset(ctx, tx, op, c.Of, true)
		if err != nil {
			return err
		}
		if of.Status == AssetDeleted {
			return fault.New(fault.Conflict, op, of.ID, "the asset was deleted", "")
		}
		now := fromMicros(micros(s.now()))
		out = Asset{
			ID: newID(prefixAsset), LiveStreamID: of.LiveStreamID, CreatedAt: now, UpdatedAt: now, Title: of.Title,
			Recorded: Recorded{Status: AssetRecording}, Metadata: of.Metadata, PublicDownload: of.PublicDownload,
			Clip: Clip{of.ID, fromMicros(micros(c.Start)), fromMicros(micros(c.End))},
		}
		if c.PublicDownload != nil {
			out.PublicDownload = *c.PublicDownload
		}
		if c.Title != nil {
			out.Title = *c.Title
		}
		if c.Metadata != nil {
			out.Metadata = c.Metadata
		}
		if c.Policies == nil {
			c.Policies = policiesOf(of.PlaybackIDs)
		}
		return insertAsset(ctx, tx, &out, c.Policies)
	})
	if err != nil {
		return Asset{}, err
	}
	return out, nil
}

// DropAsset removes an asset that is recording and of which nothing will ever be recorded,
// as if it had never been made. fault.Conflict if it is over already, for then somebody
// may have watched it.
func (s *Store) DropAsset(ctx context.Context, id string) error {
	const op = "drop the asset"
	return s.inTx(ctx, op, subject(id), func(ctx context.Context, tx bun.Tx) error {
		a, err := s.loadAsset(ctx, tx, op, id, true)
		if err != nil {
			return err
		}
		if a.Status != AssetRecording {
			return fault.New(fault.Conflict, op, a.ID, "the asset is "+string(a.Status)+" already", "")
		}
		_, err = tx.NewDelete().Model((*assetRow)(nil)).Where("id = ?", a.ID).Exec(ctx)
		return err
	})
}
