package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// Usage is what the assets of a live stream take, clips among them and deleted ones not.
// One that is being recorded counts with what was kept of it last.
type Usage struct {
	LiveStreamID string
	Count        int
	Bytes        int64
	// Oldest is when the first one that is left began; zero without any.
	Oldest time.Time
}

// usageRow is a row of a sum over assets.
type usageRow struct {
	LiveStreamID     string
	Count, SizeBytes int64
	Oldest           int64
}

func (r usageRow) usage() Usage {
	out := Usage{LiveStreamID: r.LiveStreamID, Count: int(r.Count), Bytes: r.SizeBytes}
	if r.Count > 0 {
		out.Oldest = fromMicros(r.Oldest)
	}
	return out
}

// sumAssets selects a usageRow. PostgreSQL sums BIGINT as NUMERIC, hence the casts.
func (s *Store) sumAssets() *bun.SelectQuery {
	return s.db.NewSelect().TableExpr("assets").Where("status <> ?", string(AssetDeleted)).
		ColumnExpr("COUNT(*) AS count").ColumnExpr("CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS size_bytes").
		ColumnExpr("COALESCE(MIN(created_at), 0) AS oldest")
}

// Usage returns what all assets take; LiveStreamID is empty.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	var r usageRow
	if err := s.sumAssets().Scan(ctx, &r); err != nil {
		return Usage{}, s.fail("sum up the assets", "", err)
	}
	return r.usage(), nil
}

// StreamUsage returns what the assets of a live stream take, which may be deleted since.
func (s *Store) StreamUsage(ctx context.Context, streamID string) (Usage, error) {
	r := usageRow{LiveStreamID: streamID}
	if !PlausibleID(streamID) {
		return r.usage(), nil
	}
	if err := s.sumAssets().Where("live_stream_id = ?", streamID).Scan(ctx, &r); err != nil {
		return Usage{}, s.fail("sum up the assets of", subject(streamID), err)
	}
	return r.usage(), nil
}

// Usages returns what the assets of each live stream take, up to limit of them (at least
// 1), the largest first, from where cursor points on; an empty cursor begins. next is the
// cursor of the following page, empty at the end. A stream that grows meanwhile may come
// twice or not at all.
func (s *Store) Usages(ctx context.Context, limit int, cursor string) (page []Usage, next string, err error) {
	const op = "sum up the assets of live streams"
	limit = max(limit, 1)
	var rows []usageRow
	q := s.db.NewSelect().TableExpr("(?) AS u", s.sumAssets().Column("live_stream_id").Group("live_stream_id")).
		Column("live_stream_id", "count", "size_bytes", "oldest").
		OrderExpr("size_bytes DESC, live_stream_id DESC").Limit(int64(limit) + 1)
	if cursor != "" {
		at, err := parseCursor(cursor)
		if err != nil {
			return nil, "", err
		}
		q = q.Where("(size_bytes, live_stream_id) < (?, ?)", at.at, at.id)
	}
	if err := q.Scan(ctx, &rows); err != nil {
		return nil, "", s.fail(op, "", err)
	}
	rows, next = cut(rows, limit, func(r usageRow) position { return position{r.SizeBytes, r.LiveStreamID} })
	for _, r := range rows {
		page = append(page, r.usage())
	}
	return page, next, nil
}

// KeptAsset is what says whether an asset is to be kept.
type KeptAsset struct {
	ID        string
	CreatedAt time.Time
	Status    AssetStatus
	Duration  time.Duration
	Bytes     int64
	// Clip is set if it was cut from another one.
	Clip bool
}

// OldestAssets returns up to limit assets of a live stream, oldest first and without
// deleted ones.
func (s *Store) OldestAssets(ctx context.Context, streamID string, limit int) ([]KeptAsset, error) {
	if !PlausibleID(streamID) {
		return nil, nil
	}
	var rows []struct {
		ID, Status, ClipOf             string
		CreatedAt, Duration, SizeBytes int64
	}
	err := s.db.NewSelect().TableExpr("assets").Column("id", "status", "clip_of", "created_at", "duration", "size_bytes").
		Where("live_stream_id = ? AND status <> ?", streamID, string(AssetDeleted)).
		OrderExpr("created_at, id").Limit(int64(max(limit, 1))).Scan(ctx, &rows)
	if err != nil {
		return nil, s.fail("list the oldest assets of", subject(streamID), err)
	}
	out := make([]KeptAsset, len(rows))
	for i, r := range rows {
		out[i] = KeptAsset{r.ID, fromMicros(r.CreatedAt), AssetStatus(r.Status), time.Duration(r.Duration) * time.Microsecond, r.SizeBytes, r.ClipOf != ""}
	}
	return out, nil
}

// StreamRetention is the retention of a live stream.
type StreamRetention struct {
	LiveStreamID string
	Retention
}

// Retentions returns up to limit live streams that do not keep everything, with ids after
// the one given, sorted by id.
func (s *Store) Retentions(ctx context.Context, after string, limit int) ([]StreamRetention, error) {
	var rows []struct {
		ID             string
		RetentionDays  int
		RetentionBytes int64
	}
	err := s.db.NewSelect().TableExpr("live_streams").Column("id", "retention_days", "retention_bytes").
		Where("retention_days > 0 OR retention_bytes > 0").Where("id > ?", after).
		OrderExpr("id").Limit(int64(max(limit, 1))).Scan(ctx, &rows)
	if err != nil {
		return nil, s.fail("list the live streams that do not keep everything", "", err)
	}
	out := make([]StreamRetention, len(rows))
	for i, r := range rows {
		out[i] = StreamRetention{r.ID, Retention{r.RetentionDays, r.RetentionBytes}}
	}
	return out, nil
}

// DeletedAsset is an asset of which only the name is left.
type DeletedAsset struct {
	ID string
	At time.Time // when it was deleted
}

// DeletedAssets returns up to limit deleted assets that come after the one given, of which
// the zero value begins; those deleted first come first.
func (s *Store) DeletedAssets(ctx context.Context, after DeletedAsset, limit int) ([]DeletedAsset, error) {
	var rows []struct {
		ID        string
		UpdatedAt int64
	}
	q := s.db.NewSelect().TableExpr("assets").Column("id", "updated_at").Where("status = 'deleted'").
		OrderExpr("updated_at, id").Limit(int64(max(limit, 1)))
	if after.ID != "" {
		q = q.Where("(updated_at, id) > (?, ?)", micros(after.At), after.ID)
	}
	if err := q.Scan(ctx, &rows); err != nil {
		return nil, s.fail("list the deleted assets", "", err)
	}
	out := make([]DeletedAsset, len(rows))
	for i, r := range rows {
		out[i] = DeletedAsset{r.ID, fromMicros(r.UpdatedAt)}
	}
	return out, nil
}

// ForgetAsset removes what is known of an asset that was deleted, its name too. There being
// none is no error; one that is not deleted stays.
func (s *Store) ForgetAsset(ctx context.Context, id string) error {
	_, err := s.db.NewDelete().Model((*assetRow)(nil)).Where("id = ? AND status = ?", id, string(AssetDeleted)).Exec(ctx)
	return s.fail("forget the asset", subject(id), err)
}

// Replay is what is watched of a live stream after its broadcast.
type Replay struct {
	PlaybackID, AssetID string
	CreatedAt           time.Time
	Status              AssetStatus
	Duration            time.Duration
}

// LastReplay returns the newest recording of a live stream of which there is something to
// be seen, with its playback id of that policy; fault.NotFound if there is none.
func (s *Store) LastReplay(ctx context.Context, streamID string, policy Policy) (Replay, error) {
	const op = "look up the last recording of"
	missing := func() error {
		return fault.New(fault.NotFound, op, subject(streamID), "nothing was recorded that can be watched", "")
	}
	if !PlausibleID(streamID) {
		return Replay{}, missing()
	}
	var row struct {
		PlaybackID, ID, Status string
		CreatedAt, Duration    int64
	}
	err := s.db.NewSelect().TableExpr("assets AS a").ColumnExpr("p.id AS playback_id, a.id, a.status, a.created_at, a.duration").
		Join("JOIN playback_ids AS p ON p.asset_id = a.id AND p.policy = ?", string(policy)).
		Where("a.live_stream_id = ? AND a.clip_of = ''", streamID).
		Where("a.status IN ('recording', 'ready') OR (a.status = 'errored' AND a.duration > 0)").
		OrderExpr("a.created_at DESC, a.id DESC, p.created_at").Limit(1).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		return Replay{}, missing()
	}
	if err != nil {
		return Replay{}, s.fail(op, subject(streamID), err)
	}
	return Replay{row.PlaybackID, row.ID, fromMicros(row.CreatedAt), AssetStatus(row.Status), time.Duration(row.Duration) * time.Microsecond}, nil
}
