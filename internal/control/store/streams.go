package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// Policy says who may watch under a playback id.
type Policy string

// The policies of a playback id.
const (
	// Public playback ids need nothing but the id.
	Public Policy = "public"
	// Signed playback ids need a token. Nothing makes or honours them yet.
	Signed Policy = "signed"
)

// MaxPlaybackIDs bounds the playback ids of one live stream.
const MaxPlaybackIDs = 32

// LiveStream is a place to publish to, under one secret key, again and again.
type LiveStream struct {
	ID                   string
	CreatedAt, UpdatedAt time.Time // UTC, whole microseconds
	Title                string
	// StreamKey is what an encoder publishes with. It is a secret; it is kept readable
	// because people copy it from the page whenever they set up an encoder.
	StreamKey string
	// LatencyMode is standard, low or ultra. A change applies to the next broadcast.
	LatencyMode string
	// ReconnectWindow is how long a lost publisher is waited for; whole seconds.
	ReconnectWindow time.Duration
	Record          bool
	// DVR is how far viewers may go back in a broadcast that is being recorded: 0 for not at
	// all, DVRWhole for to its beginning; whole seconds. A change applies to the next broadcast.
	DVR time.Duration
	// Retention says which of its assets are removed by themselves.
	Retention Retention
	Disabled  bool
	// SRTPassphrase encrypts SRT in both directions; a secret. Empty: SRT without encryption.
	SRTPassphrase string
	// Source is where the server fetches the stream from, in place of a publisher.
	Source Source
	// Multitrack is what OBS may send when it asks for its settings.
	Multitrack Multitrack
	// Ladder is in which renditions the stream can be watched.
	Ladder Ladder
	// RealtimeViewers is how many may watch over WebRTC at a time; nil leaves it to the server.
	RealtimeViewers *int
	// PlaybackIDs are in the order in which they were made, as are Targets.
	PlaybackIDs []PlaybackID
	Targets     []SimulcastTarget
	// Metadata belongs to the API's user; never nil.
	Metadata map[string]string
}

// PlaybackID is a public name under which a live stream or an asset is watched.
type PlaybackID struct {
	ID     string
	Policy Policy
}

// Source is an address to fetch a stream from; without a URL there is none.
type Source struct {
	// URL may hold credentials, and is a secret then.
	URL string
	// OnDemand fetches only while somebody watches; Enabled fetches at all.
	OnDemand, Enabled bool
}

// Multitrack limits what a publisher of several video tracks is told to send.
type Multitrack struct {
	Disabled bool
	// MaxVideoTracks counts video tracks, MaxBitrate is in bits a second for all of them
	// together; 0 leaves it to the server's own limit.
	MaxVideoTracks int
	MaxBitrate     int64
}

// DVRWhole is the LiveStream.DVR of a stream in which viewers may go back to the beginning.
const DVRWhole time.Duration = -1

// Retention is how long and how much of a stream's assets is kept; the zero value keeps
// everything.
type Retention struct {
	// Days is how long an asset is kept after it ended; 0 for ever.
	Days int
	// Bytes is what all of them may take together; 0 for any amount.
	Bytes int64
}

// IsZero tells whether everything is kept.
func (r Retention) IsZero() bool { return r == Retention{} }

type streamRow struct {
	bun.BaseModel `bun:"table:live_streams,alias:s"`

	ID              string `bun:",pk"`
	CreatedAt       int64
	UpdatedAt       int64
	Title           string
	StreamKey       string
	StreamKeyHash   []byte
	LatencyMode     string
	ReconnectWindow int64
	Record          bool
	Disabled        bool
	Metadata        string
	SRTPassphrase   string `bun:"srt_passphrase"`
	SourceURL       string `bun:"source_url"`
	SourceOnDemand  bool
	SourceEnabled   bool

	MultitrackDisabled   bool
	MultitrackMaxTracks  int
	MultitrackMaxBitrate int64

	LadderProfile   string
	LadderRungs     string
	LadderMode      string
	RealtimeViewers *int

	DVR            string `bun:"dvr"`
	DVRWindow      int64  `bun:"dvr_window"`
	RetentionDays  int
	RetentionBytes int64
}

type playbackRow struct {
	bun.BaseModel `bun:"table:playback_ids,alias:p"`

	ID           string `bun:",pk"`
	LiveStreamID string `bun:",nullzero"` // this or AssetID
	AssetID      string `bun:",nullzero"`
	Policy       string
	CreatedAt    int64
}

func toRow(l LiveStream) (*streamRow, error) {
	meta := []byte("{}")
	if len(l.Metadata) > 0 {
		var err error
		if meta, err = json.Marshal(l.Metadata); err != nil {
			return nil, err
		}
	}
	r := &streamRow{
		ID: l.ID, CreatedAt: micros(l.CreatedAt), UpdatedAt: micros(l.UpdatedAt), Title: l.Title,
		StreamKey: l.StreamKey, StreamKeyHash: hashKey(l.StreamKey), LatencyMode: l.LatencyMode,
		ReconnectWindow: int64(l.ReconnectWindow / time.Second), Record: l.Record, Disabled: l.Disabled,
		Metadata: string(meta), SRTPassphrase: l.SRTPassphrase,
		SourceURL: l.Source.URL, SourceOnDemand: l.Source.OnDemand, SourceEnabled: l.Source.Enabled,
		MultitrackDisabled: l.Multitrack.Disabled, MultitrackMaxTracks: l.Multitrack.MaxVideoTracks,
		MultitrackMaxBitrate: l.Multitrack.MaxBitrate, RealtimeViewers: l.RealtimeViewers,
		RetentionDays: l.Retention.Days, RetentionBytes: l.Retention.Bytes,
	}
	r.DVR, r.DVRWindow = dvrColumns(l.DVR)
	return r, l.Ladder.keep(r)
}

// The names of LiveStream.DVR in the database.
const (
	dvrOff    = "off"
	dvrWhole  = "whole"
	dvrWindow = "window"
)

func dvrColumns(d time.Duration) (mode string, seconds int64) {
	switch {
	case d < 0:
		return dvrWhole, 0
	case d >= time.Second:
		return dvrWindow, int64(d / time.Second)
	}
	return dvrOff, 0
}

func (r *streamRow) dvr() time.Duration {
	switch r.DVR {
	case dvrWhole:
		return DVRWhole
	case dvrWindow:
		return time.Duration(r.DVRWindow) * time.Second
	}
	return 0
}

func (r *streamRow) stream() (LiveStream, error) {
	l := LiveStream{
		ID: r.ID, CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt), Title: r.Title,
		StreamKey: r.StreamKey, LatencyMode: r.LatencyMode,
		ReconnectWindow: time.Duration(r.ReconnectWindow) * time.Second, Record: r.Record, Disabled: r.Disabled,
		Metadata: map[string]string{}, SRTPassphrase: r.SRTPassphrase,
		Source:     Source{r.SourceURL, r.SourceOnDemand, r.SourceEnabled},
		Multitrack: Multitrack{r.MultitrackDisabled, r.MultitrackMaxTracks, r.MultitrackMaxBitrate},

		RealtimeViewers: r.RealtimeViewers, DVR: r.dvr(), Retention: Retention{r.RetentionDays, r.RetentionBytes},
	}
	var err error
	if l.Ladder, err = r.ladder(); err != nil {
		return LiveStream{}, err
	}
	if err := json.Unmarshal([]byte(r.Metadata), &l.Metadata); err != nil {
		return LiveStream{}, err
	}
	return l, nil
}

// CreateLiveStream keeps a new stream. The id, the key, the times and one playback id
// for each of policies are made here and stand in what is returned, as do the ids of
// l.Targets; what l has in their place is ignored.
func (s *Store) CreateLiveStream(ctx context.Context, l LiveStream, policies []Policy) (LiveStream, error) {
	const op = "create the live stream"
	if len(policies) > MaxPlaybackIDs {
		return LiveStream{}, tooManyPlaybackIDs(op, "")
	}
	l.ID, l.StreamKey = newID(prefixStream), newID(prefixKey)
	l.CreatedAt = fromMicros(micros(s.now()))
	l.UpdatedAt = l.CreatedAt
	l.PlaybackIDs = nil
	if l.Metadata == nil {
		l.Metadata = map[string]string{}
	}
	row, err := toRow(l)
	if err != nil {
		return LiveStream{}, s.fail(op, "", err)
	}
	var ids []*playbackRow
	for i, p := range policies {
		// A microsecond apart, so that the order in which they were asked for stays.
		pr := &playbackRow{ID: newID(prefixPlayback), LiveStreamID: l.ID, Policy: string(p), CreatedAt: row.CreatedAt + int64(i)}
		ids = append(ids, pr)
		l.PlaybackIDs = append(l.PlaybackIDs, PlaybackID{pr.ID, p})
	}
	targets, err := newTargets(op, l.ID, row.CreatedAt, l.Targets)
	if err != nil {
		return LiveStream{}, err
	}
	l.Targets = nil
	for _, t := range targets {
		l.Targets = append(l.Targets, t.target())
	}
	err = s.inTx(ctx, op, "", func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		if len(targets) > 0 {
			if _, err := tx.NewInsert().Model(&targets).Exec(ctx); err != nil {
				return err
			}
		}
		if len(ids) == 0 {
			return nil
		}
		_, err := tx.NewInsert().Model(&ids).Exec(ctx)
		return err
	})
	if err != nil {
		return LiveStream{}, err
	}
	return l, nil
}

// LiveStream returns a stream by its id; fault.NotFound if there is none.
func (s *Store) LiveStream(ctx context.Context, id string) (LiveStream, error) {
	const op = "look up the live stream"
	l, err := s.load(ctx, s.db, id, false)
	return l, s.fail(op, subject(id), err)
}

// LiveStreamByKey returns the stream that is published to with a key; fault.NotFound
// if there is none. Neither the time it takes nor the error tells how much of a wrong
// key was right.
func (s *Store) LiveStreamByKey(ctx context.Context, key string) (LiveStream, error) {
	const op = "look up the stream key"
	unknown := fault.New(fault.NotFound, op, "", "the stream key is not known", "")
	if len(key) > maxIDLen {
		return LiveStream{}, unknown
	}
	row := new(streamRow)
	err := s.db.NewSelect().Model(row).Where("stream_key_hash = ?", hashKey(key)).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return LiveStream{}, unknown
	}
	if err != nil {
		return LiveStream{}, s.fail(op, "", err)
	}
	if subtle.ConstantTimeCompare([]byte(row.StreamKey), []byte(key)) != 1 {
		return LiveStream{}, unknown
	}
	l, err := s.complete(ctx, s.db, []*streamRow{row})
	if err != nil {
		return LiveStream{}, s.fail(op, row.ID, err)
	}
	return l[0], nil
}

// LiveStreams returns up to limit streams (at least 1), newest first, from where cursor points on;
// an empty cursor begins. next is the cursor of the following page, empty at the end.
func (s *Store) LiveStreams(ctx context.Context, limit int, cursor string) (page []LiveStream, next string, err error) {
	const op = "list the live streams"
	limit = max(limit, 1)
	var rows []*streamRow
	q, err := newestFirst(s.db.NewSelect().Model(&rows), limit, cursor)
	if err != nil {
		return nil, "", err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", s.fail(op, "", err)
	}
	rows, next = cut(rows, limit, func(r *streamRow) position { return position{r.CreatedAt, r.ID} })
	page, err = s.complete(ctx, s.db, rows)
	return page, next, s.fail(op, "", err)
}

// UpdateLiveStream changes a stream by change, alone with it: no other update comes
// between reading and writing. ID, CreatedAt, PlaybackIDs and Targets stay whatever
// change does to them. An error of change is returned as it is and nothing is written.
func (s *Store) UpdateLiveStream(ctx context.Context, id string, change func(*LiveStream) error) (LiveStream, error) {
	const op = "update the live stream"
	var out LiveStream
	err := s.inTx(ctx, op, subject(id), func(ctx context.Context, tx bun.Tx) error {
		l, err := s.load(ctx, tx, id, true)
		if err != nil {
			return err
		}
		old := l
		old.PlaybackIDs, old.Targets = slices.Clone(l.PlaybackIDs), slices.Clone(l.Targets)
		if err := change(&l); err != nil {
			return err
		}
		l.ID, l.CreatedAt, l.PlaybackIDs, l.Targets = old.ID, old.CreatedAt, old.PlaybackIDs, old.Targets
		l.UpdatedAt = fromMicros(max(micros(s.now()), micros(old.UpdatedAt)))
		row, err := toRow(l)
		if err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(row).ExcludeColumn("id", "created_at").WherePK().Exec(ctx)
		out = l
		return err
	})
	if err != nil {
		return LiveStream{}, err
	}
	return out, nil
}

// ResetStreamKey gives a stream a new key; the old one is unknown from then on.
func (s *Store) ResetStreamKey(ctx context.Context, id string) (LiveStream, error) {
	return s.UpdateLiveStream(ctx, id, func(l *LiveStream) error {
		l.StreamKey = newID(prefixKey)
		return nil
	})
}

// DeleteLiveStream removes a stream with its playback ids and returns what it was. Its
// assets stay.
func (s *Store) DeleteLiveStream(ctx context.Context, id string) (LiveStream, error) {
	var out LiveStream
	err := s.inTx(ctx, "delete the live stream", subject(id), func(ctx context.Context, tx bun.Tx) error {
		l, err := s.load(ctx, tx, id, true)
		if err != nil {
			return err
		}
		out = l
		_, err = tx.NewDelete().Model((*streamRow)(nil)).Where("id = ?", id).Exec(ctx)
		return err
	})
	if err != nil {
		return LiveStream{}, err
	}
	return out, nil
}

// load reads one stream; lock keeps others from changing it until the transaction ends.
func (s *Store) load(ctx context.Context, db bun.IDB, id string, lock bool) (LiveStream, error) {
	if !PlausibleID(id) {
		return LiveStream{}, notFound("look up", "live stream", id)
	}
	row := new(streamRow)
	q := db.NewSelect().Model(row).Where("id = ?", id)
	if lock {
		q = s.forUpdate(q)
	}
	err := q.Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return LiveStream{}, notFound("look up", "live stream", id)
	}
	if err != nil {
		return LiveStream{}, err
	}
	l, err := s.complete(ctx, db, []*streamRow{row})
	if err != nil {
		return LiveStream{}, err
	}
	return l[0], nil
}

// complete adds the playback ids and the simulcast targets to streams.
func (s *Store) complete(ctx context.Context, db bun.IDB, rows []*streamRow) ([]LiveStream, error) {
	out := make([]LiveStream, len(rows))
	at := make(map[string]int, len(rows))
	ids := make([]string, len(rows))
	for i, r := range rows {
		l, err := r.stream()
		if err != nil {
			return nil, err
		}
		out[i], at[r.ID], ids[i] = l, i, r.ID
	}
	if len(rows) == 0 {
		return out, nil
	}
	var prs []*playbackRow
	err := db.NewSelect().Model(&prs).Where("live_stream_id IN ?", bun.Tuple(ids)).OrderExpr("created_at, id").Scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range prs {
		l := &out[at[p.LiveStreamID]]
		l.PlaybackIDs = append(l.PlaybackIDs, PlaybackID{p.ID, Policy(p.Policy)})
	}
	var trs []*targetRow
	err = db.NewSelect().Model(&trs).Where("live_stream_id IN ?", bun.Tuple(ids)).OrderExpr("created_at, id").Scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range trs {
		l := &out[at[r.LiveStreamID]]
		l.Targets = append(l.Targets, r.target())
	}
	return out, nil
}
