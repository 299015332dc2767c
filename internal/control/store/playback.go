package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// Playback is what a viewer's request needs to know about a playback id.
type Playback struct {
	ID     string
	Policy Policy
	// StreamID is the live stream's, AssetID the asset's; one of them is empty.
	StreamID, AssetID string
	Title             string
	// What follows is of streams only.
	LatencyMode string
	Disabled    bool
	// SRTPassphrase is the stream's; a secret.
	SRTPassphrase string
	// RealtimeViewers is as in LiveStream.
	RealtimeViewers *int
}

// Playback returns what a playback id stands for; fault.NotFound if for nothing.
func (s *Store) Playback(ctx context.Context, playbackID string) (Playback, error) {
	const op = "look up the playback id"
	unknown := func() error {
		return fault.New(fault.NotFound, op, subject(playbackID), "there is no such playback id", "Check the address that you were given.")
	}
	if !PlausibleID(playbackID) {
		return Playback{}, unknown()
	}
	var row struct {
		ID, Policy, LiveStreamID, AssetID, Title, LatencyMode string
		Disabled                                              bool
		SRTPassphrase                                         string `bun:"srt_passphrase"`
		RealtimeViewers                                       *int
	}
	err := s.db.NewSelect().TableExpr("playback_ids AS p").
		ColumnExpr("p.id, p.policy, COALESCE(p.live_stream_id, '') AS live_stream_id, COALESCE(p.asset_id, '') AS asset_id").
		ColumnExpr("COALESCE(s.title, a.title) AS title, COALESCE(s.latency_mode, '') AS latency_mode").
		ColumnExpr("COALESCE(s.disabled, FALSE) AS disabled, COALESCE(s.srt_passphrase, '') AS srt_passphrase, s.realtime_viewers").
		Join("LEFT JOIN live_streams AS s ON s.id = p.live_stream_id").
		Join("LEFT JOIN assets AS a ON a.id = p.asset_id").
		Where("p.id = ?", playbackID).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		return Playback{}, unknown()
	}
	if err != nil {
		return Playback{}, s.fail(op, subject(playbackID), err)
	}
	return Playback{
		ID: row.ID, Policy: Policy(row.Policy), StreamID: row.LiveStreamID, AssetID: row.AssetID, Title: row.Title,
		LatencyMode: row.LatencyMode, Disabled: row.Disabled, SRTPassphrase: row.SRTPassphrase, RealtimeViewers: row.RealtimeViewers,
	}, nil
}

// AddPlaybackID gives a stream one more playback id; fault.Conflict when it has
// MaxPlaybackIDs.
func (s *Store) AddPlaybackID(ctx context.Context, streamID string, policy Policy) (PlaybackID, error) {
	const op = "add a playback id to"
	row := &playbackRow{ID: newID(prefixPlayback), LiveStreamID: streamID, Policy: string(policy), CreatedAt: micros(s.now())}
	err := s.inTx(ctx, op, subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		l, err := s.load(ctx, tx, streamID, true)
		if err != nil {
			return err
		}
		if len(l.PlaybackIDs) >= MaxPlaybackIDs {
			return tooManyPlaybackIDs(op, streamID)
		}
		_, err = tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		return PlaybackID{}, err
	}
	return PlaybackID{row.ID, policy}, nil
}

// RemovePlaybackID takes a playback id from a stream; fault.NotFound if the stream has
// no such id. The last one may go: then nobody can watch.
func (s *Store) RemovePlaybackID(ctx context.Context, streamID, playbackID string) error {
	const op = "remove the playback id"
	return s.inTx(ctx, op, subject(playbackID), func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.load(ctx, tx, streamID, true); err != nil {
			return err
		}
		if !PlausibleID(playbackID) {
			return notFound(op, "playback id", playbackID)
		}
		res, err := tx.NewDelete().Model((*playbackRow)(nil)).
			Where("id = ? AND live_stream_id = ?", playbackID, streamID).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound(op, "playback id of this live stream", playbackID)
		}
		return nil
	})
}

func tooManyPlaybackIDs(op, id string) error {
	return fault.New(fault.Conflict, op, id, fmt.Sprintf("a live stream has at most %d playback ids", MaxPlaybackIDs),
		"Remove one that is no longer needed.")
}
