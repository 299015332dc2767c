package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// AssetStatus is the state of an asset.
type AssetStatus string

// The states of an asset. It begins as recording and becomes ready or errored; both can
// be deleted.
const (
	// AssetRecording assets grow. One that a crash left so is for whoever records to end.
	AssetRecording AssetStatus = "recording"
	AssetReady     AssetStatus = "ready"
	// AssetErrored assets could not be recorded to their end; what is there can be watched.
	AssetErrored AssetStatus = "errored"
	// AssetDeleted assets are known by name only.
	AssetDeleted AssetStatus = "deleted"
)

const (
	// MaxAssetTracks bounds the tracks that are kept of an asset, the first ones.
	MaxAssetTracks = 64
	// MaxAssetGaps bounds the gaps. The index beside the recording has them all.
	MaxAssetGaps = 1000
	// MaxRecentAssets bounds the assets that are told with their stream.
	MaxRecentAssets = 10
	// maxAssetError bounds what is kept of the reason why an asset is errored, in bytes.
	maxAssetError = 1000
)

// Asset is the recording of one broadcast of a live stream, or a clip of one. It stays when
// the stream is deleted.
type Asset struct {
	ID                   string
	LiveStreamID         string
	CreatedAt, UpdatedAt time.Time // UTC, whole microseconds
	Title                string
	Recorded
	// GapCount counts all gaps, of which Gaps has the first MaxAssetGaps.
	GapCount int
	// Clip is what it was cut from; the zero value for the recording of a broadcast.
	Clip Clip
	// PublicDownload lets anybody download it as a file; else only who administers may.
	PublicDownload bool
	// PlaybackIDs are in the order in which they were made; none once it is deleted.
	PlaybackIDs []PlaybackID
	// Metadata belongs to the API's user; never nil.
	Metadata map[string]string
}

// Recorded is what whoever records tells of an asset.
type Recorded struct {
	Status AssetStatus
	// Error says why Status is AssetErrored, in words and without secrets; otherwise empty.
	Error string
	// Duration is that of the recording with its gaps, Bytes what it takes in the storage.
	Duration time.Duration
	Bytes    int64
	Tracks   []AssetTrack
	Gaps     []AssetGap
}

// AssetTrack is a track of a recording.
type AssetTrack struct {
	// Rendition is the name of what the track belongs to, Kind video or audio.
	Rendition   string  `json:"rendition"`
	Kind        string  `json:"kind"`
	Codec       string  `json:"codec"`
	CodecString string  `json:"codec_string"` // RFC 6381
	Width       int     `json:"width,omitempty"`
	Height      int     `json:"height,omitempty"`
	FrameRate   float64 `json:"frame_rate,omitempty"` // 0 if it is not known
	SampleRate  int     `json:"sample_rate,omitempty"`
	Channels    int     `json:"channels,omitempty"`
}

// AssetGap is a time of the broadcast that is not in its recording.
type AssetGap struct {
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration"` // how much is missing
}

// CreateAsset makes the asset of a broadcast of a stream that begins, as recording. It
// has the stream's title and metadata, and one playback id for each policy that the
// stream's have; fault.NotFound if there is no such stream.
func (s *Store) CreateAsset(ctx context.Context, streamID string) (Asset, error) {
	const op = "create the asset of"
	var out Asset
	err := s.inTx(ctx, op, subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		l, err := s.load(ctx, tx, streamID, true)
		if err != nil {
			return err
		}
		now := fromMicros(micros(s.now()))
		out = Asset{
			ID: newID(prefixAsset), LiveStreamID: l.ID, CreatedAt: now, UpdatedAt: now, Title: l.Title,
			Recorded: Recorded{Status: AssetRecording}, Metadata: l.Metadata,
		}
		return insertAsset(ctx, tx, &out, policiesOf(l.PlaybackIDs))
	})
	if err != nil {
		return Asset{}, err
	}
	return out, nil
}

// policiesOf returns the policies that playback ids have, each once.
func policiesOf(ids []PlaybackID) []Policy {
	var out []Policy
	for _, p := range ids {
		if !slices.Contains(out, p.Policy) {
			out = append(out, p.Policy)
		}
	}
	return out
}

// insertAsset writes a new asset, and gives it a playback id for each policy.
func insertAsset(ctx context.Context, tx bun.Tx, a *Asset, policies []Policy) error {
	row, err := toAssetRow(*a)
	if err != nil {
		return err
	}
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return err
	}
	var ids []*playbackRow
	for i, p := range policies {
		// A microsecond apart, so that their order stays.
		r := &playbackRow{ID: newID(prefixPlayback), AssetID: a.ID, Policy: string(p), CreatedAt: row.CreatedAt + int64(i)}
		ids = append(ids, r)
		a.PlaybackIDs = append(a.PlaybackIDs, PlaybackID{r.ID, p})
	}
	if len(ids) == 0 {
		return nil
	}
	_, err = tx.NewInsert().Model(&ids).Exec(ctx)
	return err
}

// KeepRecorded keeps what is known of an asset that is being recorded: r.Status is
// AssetRecording while it goes on, AssetReady or AssetErrored when it is over. It is a
// fault.Conflict for an asset that is over already.
func (s *Store) KeepRecorded(ctx context.Context, id string, r Recorded) (Asset, error) {
	const op = "keep the recording of"
	switch r.Status {
	case AssetRecording, AssetReady, AssetErrored:
	default:
		return Asset{}, fault.New(fault.Internal, op, subject(id), "nothing is recorded to the state "+string(r.Status), "")
	}
	return s.changeAsset(ctx, op, id, func(a *Asset) error {
		if a.Status != AssetRecording {
			return fault.New(fault.Conflict, op, a.ID, "the asset is "+string(a.Status)+" already", "")
		}
		a.Recorded = r
		a.GapCount = len(r.Gaps)
		return nil
	})
}

// UpdateAsset changes the title, the metadata and PublicDownload of an asset by change, alone with it.
// Everything else stays whatever change does. An error of change is returned as it is;
// fault.Conflict for a deleted asset.
func (s *Store) UpdateAsset(ctx context.Context, id string, change func(*Asset) error) (Asset, error) {
	const op = "update the asset"
	return s.changeAsset(ctx, op, id, func(a *Asset) error {
		if a.Status == AssetDeleted {
			return fault.New(fault.Conflict, op, a.ID, "the asset was deleted", "")
		}
		given := *a
		given.Metadata = maps.Clone(a.Metadata)
		if err := change(&given); err != nil {
			return err
		}
		a.Title, a.Metadata, a.PublicDownload = given.Title, given.Metadata, given.PublicDownload
		return nil
	})
}

// DeleteAsset marks an asset as deleted, takes its playback ids, and returns what it
// was. It is a fault.Conflict while the asset is being recorded; deleting a deleted one
// changes nothing. The recording itself is for the caller to delete, afterwards.
func (s *Store) DeleteAsset(ctx context.Context, id string) (Asset, error) {
	const op = "delete the asset"
	var was Asset
	err := s.inTx(ctx, op, subject(id), func(ctx context.Context, tx bun.Tx) error {
		a, err := s.loadAsset(ctx, tx, op, id, true)
		if err != nil {
			return err
		}
		was = a
		switch a.Status {
		case AssetDeleted:
			return nil
		case AssetRecording:
			return fault.New(fault.Conflict, op, a.ID, "the asset is being recorded", "End the broadcast first.")
		}
		a.Status = AssetDeleted
		a.UpdatedAt = fromMicros(max(micros(s.now()), micros(a.UpdatedAt)))
		if err := s.writeAsset(ctx, tx, a); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model((*playbackRow)(nil)).Where("asset_id = ?", a.ID).Exec(ctx)
		return err
	})
	if err != nil {
		return Asset{}, err
	}
	return was, nil
}

// Asset returns an asset by its id, also a deleted one; fault.NotFound if there is none.
func (s *Store) Asset(ctx context.Context, id string) (Asset, error) {
	const op = "look up the asset"
	a, err := s.loadAsset(ctx, s.db, op, id, false)
	return a, s.fail(op, subject(id), err)
}

// AssetFilter says which assets a list has.
type AssetFilter struct {
	// LiveStreamID, Status and ClipOf must be the asset's unless they are empty. Deleted
	// assets are listed only if Status asks for them.
	LiveStreamID string
	Status       AssetStatus
	ClipOf       string
}

// Assets returns up to limit assets (at least 1), newest first, from where cursor points
// on; an empty cursor begins. next is the cursor of the following page, empty at the end.
func (s *Store) Assets(ctx context.Context, f AssetFilter, limit int, cursor string) (page []Asset, next string, err error) {
	const op = "list the assets"
	limit = max(limit, 1)
	var rows []*assetRow
	q, err := newestFirst(s.db.NewSelect().Model(&rows), limit, cursor)
	if err != nil {
		return nil, "", err
	}
	if f.LiveStreamID != "" {
		if !PlausibleID(f.LiveStreamID) {
			return nil, "", nil
		}
		q = q.Where("live_stream_id = ?", f.LiveStreamID)
	}
	if f.ClipOf != "" {
		if !PlausibleID(f.ClipOf) {
			return nil, "", nil
		}
		q = q.Where("clip_of = ?", f.ClipOf)
	}
	if f.Status != "" {
		q = q.Where("status = ?", string(f.Status))
	} else {
		q = q.Where("status <> ?", string(AssetDeleted))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", s.fail(op, "", err)
	}
	rows, next = cut(rows, limit, func(r *assetRow) position { return position{r.CreatedAt, r.ID} })
	page, err = s.completeAssets(ctx, s.db, rows)
	return page, next, s.fail(op, "", err)
}

// StreamAssets names the assets of a live stream.
type StreamAssets struct {
	// Active is being recorded; empty if none is.
	Active string
	// Recent are the newest, at most MaxRecentAssets, newest first, with the active one
	// and without deleted ones and clips.
	Recent []string
}

// StreamAssets returns which assets streams have. What has none is not in the map.
func (s *Store) StreamAssets(ctx context.Context, streamIDs ...string) (map[string]StreamAssets, error) {
	streamIDs = slices.DeleteFunc(slices.Clone(streamIDs), func(id string) bool { return !PlausibleID(id) })
	out := map[string]StreamAssets{}
	if len(streamIDs) == 0 {
		return out, nil
	}
	var rows []struct {
		ID, LiveStreamID, Status string
		N                        int
	}
	numbered := s.db.NewSelect().TableExpr("assets").
		ColumnExpr("id, live_stream_id, status").
		ColumnExpr("ROW_NUMBER() OVER (PARTITION BY live_stream_id ORDER BY created_at DESC, id DESC) AS n").
		Where("live_stream_id IN ?", bun.Tuple(streamIDs)).Where("status <> ? AND clip_of = ''", string(AssetDeleted))
	err := s.db.NewSelect().TableExpr("(?) AS a", numbered).ColumnExpr("id, live_stream_id, status, n").
		Where("n <= ? OR status = ?", MaxRecentAssets, string(AssetRecording)).OrderExpr("live_stream_id, n").Scan(ctx, &rows)
	if err != nil {
		return nil, s.fail("list the assets of live streams", "", err)
	}
	for _, r := range rows {
		a := out[r.LiveStreamID]
		if a.Active == "" && AssetStatus(r.Status) == AssetRecording {
			a.Active = r.ID
		}
		if r.N <= MaxRecentAssets {
			a.Recent = append(a.Recent, r.ID)
		}
		out[r.LiveStreamID] = a
	}
	return out, nil
}

// changeAsset changes an asset by change, alone with it. Who it is stays.
func (s *Store) changeAsset(ctx context.Context, op, id string, change func(*Asset) error) (Asset, error) {
	var out Asset
	err := s.inTx(ctx, op, subject(id), func(ctx context.Context, tx bun.Tx) error {
		a, err := s.loadAsset(ctx, tx, op, id, true)
		if err != nil {
			return err
		}
		if err := change(&a); err != nil {
			return err
		}
		a.UpdatedAt = fromMicros(max(micros(s.now()), micros(a.UpdatedAt)))
		a.tidy()
		out = a
		return s.writeAsset(ctx, tx, a)
	})
	if err != nil {
		return Asset{}, err
	}
	return out, nil
}

func (s *Store) writeAsset(ctx context.Context, tx bun.Tx, a Asset) error {
	row, err := toAssetRow(a)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model(row).ExcludeColumn("id", "live_stream_id", "created_at").WherePK().Exec(ctx)
	return err
}

// loadAsset reads one asset; lock keeps others from changing it until the transaction
// ends.
func (s *Store) loadAsset(ctx context.Context, db bun.IDB, op, id string, lock bool) (Asset, error) {
	unknown := func() error {
		return fault.New(fault.NotFound, op, subject(id), "there is no such asset", "List the assets to see which there are.")
	}
	if !PlausibleID(id) {
		return Asset{}, unknown()
	}
	row := new(assetRow)
	q := db.NewSelect().Model(row).Where("id = ?", id)
	if lock {
		q = s.forUpdate(q)
	}
	err := q.Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Asset{}, unknown()
	}
	if err != nil {
		return Asset{}, err
	}
	a, err := s.completeAssets(ctx, db, []*assetRow{row})
	if err != nil {
		return Asset{}, err
	}
	return a[0], nil
}

// completeAssets adds the playback ids to assets.
func (s *Store) completeAssets(ctx context.Context, db bun.IDB, rows []*assetRow) ([]Asset, error) {
	out := make([]Asset, len(rows))
	at := make(map[string]int, len(rows))
	ids := make([]string, len(rows))
	for i, r := range rows {
		a, err := r.asset()
		if err != nil {
			return nil, err
		}
		out[i], at[r.ID], ids[i] = a, i, r.ID
	}
	if len(rows) == 0 {
		return out, nil
	}
	var prs []*playbackRow
	err := db.NewSelect().Model(&prs).Where("asset_id IN ?", bun.Tuple(ids)).OrderExpr("created_at, id").Scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range prs {
		a := &out[at[p.AssetID]]
		a.PlaybackIDs = append(a.PlaybackIDs, PlaybackID{p.ID, Policy(p.Policy)})
	}
	return out, nil
}
