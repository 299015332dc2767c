package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// MaxTargets bounds the simulcast targets of one live stream.
const MaxTargets = 10

// MaxPulls bounds the streams that are fetched from elsewhere.
const MaxPulls = 1000

// SimulcastTarget is another service to which a live stream is passed on.
type SimulcastTarget struct {
	ID                   string
	CreatedAt, UpdatedAt time.Time // UTC, whole microseconds
	// URL is the service's server, StreamKey what it knows its customer by. Both may be
	// secrets.
	URL, StreamKey string
	// Passthrough belongs to the API's user.
	Passthrough string
	Disabled    bool
}

// Address is where to send the stream, with the key: behind the path of an RTMP
// server, as the stream id of an SRT address. It is a secret.
func (t SimulcastTarget) Address() string {
	if t.StreamKey == "" {
		return t.URL
	}
	if !strings.HasPrefix(strings.ToLower(t.URL), "srt:") {
		return strings.TrimRight(t.URL, "/") + "/" + t.StreamKey
	}
	sep := "?"
	if strings.Contains(t.URL, "?") {
		sep = "&"
	}
	return t.URL + sep + "streamid=" + url.QueryEscape(t.StreamKey)
}

type targetRow struct {
	bun.BaseModel `bun:"table:simulcast_targets,alias:t"`

	ID           string `bun:",pk"`
	LiveStreamID string
	CreatedAt    int64
	UpdatedAt    int64
	URL          string `bun:"url"`
	StreamKey    string
	Passthrough  string
	Disabled     bool
}

func (r *targetRow) target() SimulcastTarget {
	return SimulcastTarget{
		ID: r.ID, CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt),
		URL: r.URL, StreamKey: r.StreamKey, Passthrough: r.Passthrough, Disabled: r.Disabled,
	}
}

func newTarget(streamID string, at int64, t SimulcastTarget) *targetRow {
	return &targetRow{
		ID: newID(prefixTarget), LiveStreamID: streamID, CreatedAt: at, UpdatedAt: at,
		URL: t.URL, StreamKey: t.StreamKey, Passthrough: t.Passthrough, Disabled: t.Disabled,
	}
}

// newTargets makes the rows of a new stream's targets, a microsecond apart so that
// their order stays.
func newTargets(op, streamID string, at int64, targets []SimulcastTarget) ([]*targetRow, error) {
	rows := make([]*targetRow, len(targets))
	for i, t := range targets {
		if err := mayAdd(op, "", targets[:i], t); err != nil {
			return nil, err
		}
		rows[i] = newTarget(streamID, at+int64(i), t)
	}
	return rows, nil
}

// mayAdd refuses one target too many, and a second one to the same place.
func mayAdd(op, subject string, there []SimulcastTarget, t SimulcastTarget) error {
	if len(there) >= MaxTargets {
		return fault.New(fault.Conflict, op, subject, fmt.Sprintf("a live stream has at most %d simulcast targets", MaxTargets),
			"Remove one that is no longer needed.")
	}
	for _, other := range there {
		if other.Address() == t.Address() {
			return fault.New(fault.Conflict, op, subject, "two simulcast targets have the same address and key",
				"Two senders with one key push each other out; keep one of them.")
		}
	}
	return nil
}

// AddTarget gives a stream one more simulcast target; the id and the times are made
// here. It is a fault.Conflict when the stream has MaxTargets, or sends to the same
// address already.
func (s *Store) AddTarget(ctx context.Context, streamID string, t SimulcastTarget) (SimulcastTarget, error) {
	const op = "add a simulcast target to"
	var row *targetRow
	err := s.inTx(ctx, op, subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		l, err := s.load(ctx, tx, streamID, true)
		if err != nil {
			return err
		}
		if err := mayAdd(op, streamID, l.Targets, t); err != nil {
			return err
		}
		at := micros(s.now())
		if n := len(l.Targets); n > 0 {
			at = max(at, micros(l.Targets[n-1].CreatedAt)+1) // keeps the order in which they came
		}
		row = newTarget(streamID, at, t)
		_, err = tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		return SimulcastTarget{}, err
	}
	return row.target(), nil
}

// Target returns one simulcast target of a stream; fault.NotFound if it has no such.
func (s *Store) Target(ctx context.Context, streamID, id string) (SimulcastTarget, error) {
	const op = "look up the simulcast target"
	if _, err := s.load(ctx, s.db, streamID, false); err != nil {
		return SimulcastTarget{}, s.fail(op, subject(streamID), err)
	}
	row, err := s.loadTarget(ctx, s.db, op, streamID, id, false)
	if err != nil {
		return SimulcastTarget{}, s.fail(op, subject(id), err)
	}
	return row.target(), nil
}

// Targets returns the simulcast targets of a stream in the order in which they were
// made; none if there is no such stream.
func (s *Store) Targets(ctx context.Context, streamID string) ([]SimulcastTarget, error) {
	if !PlausibleID(streamID) {
		return nil, nil
	}
	var rows []*targetRow
	err := s.db.NewSelect().Model(&rows).Where("live_stream_id = ?", streamID).OrderExpr("created_at, id").Scan(ctx)
	if err != nil {
		return nil, s.fail("list the simulcast targets", subject(streamID), err)
	}
	out := make([]SimulcastTarget, len(rows))
	for i, r := range rows {
		out[i] = r.target()
	}
	return out, nil
}

// UpdateTarget changes what of a target may change: Passthrough and Disabled.
func (s *Store) UpdateTarget(ctx context.Context, streamID, id string, change func(*SimulcastTarget)) (SimulcastTarget, error) {
	const op = "update the simulcast target"
	var out SimulcastTarget
	err := s.inTx(ctx, op, subject(id), func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.load(ctx, tx, streamID, true); err != nil {
			return err
		}
		row, err := s.loadTarget(ctx, tx, op, streamID, id, true)
		if err != nil {
			return err
		}
		t := row.target()
		change(&t)
		row.Passthrough, row.Disabled = t.Passthrough, t.Disabled
		row.UpdatedAt = max(micros(s.now()), row.UpdatedAt)
		_, err = tx.NewUpdate().Model(row).Column("passthrough", "disabled", "updated_at").WherePK().Exec(ctx)
		out = row.target()
		return err
	})
	if err != nil {
		return SimulcastTarget{}, err
	}
	return out, nil
}

// RemoveTarget takes a simulcast target from a stream; fault.NotFound if it has no such.
func (s *Store) RemoveTarget(ctx context.Context, streamID, id string) error {
	const op = "remove the simulcast target"
	return s.inTx(ctx, op, subject(id), func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.load(ctx, tx, streamID, true); err != nil {
			return err
		}
		row, err := s.loadTarget(ctx, tx, op, streamID, id, true)
		if err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(row).WherePK().Exec(ctx)
		return err
	})
}

func (s *Store) loadTarget(ctx context.Context, db bun.IDB, op, streamID, id string, lock bool) (*targetRow, error) {
	if !PlausibleID(id) {
		return nil, notFound(op, "simulcast target", id)
	}
	row := new(targetRow)
	q := db.NewSelect().Model(row).Where("id = ? AND live_stream_id = ?", id, streamID)
	if lock {
		q = s.forUpdate(q)
	}
	err := q.Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(op, "simulcast target of this live stream", id)
	}
	return row, err
}

// Pull is a stream to be fetched from elsewhere.
type Pull struct {
	StreamID string
	Source   Source
}

// Pulls returns the streams with an enabled source that are not disabled, by id, at
// most MaxPulls.
func (s *Store) Pulls(ctx context.Context) ([]Pull, error) {
	var rows []*streamRow
	err := s.db.NewSelect().Model(&rows).Column("id", "source_url", "source_on_demand", "source_enabled").
		Where("source_enabled AND NOT disabled AND source_url <> ''").OrderExpr("id").Limit(MaxPulls).Scan(ctx)
	if err != nil {
		return nil, s.fail("list the sources", "", err)
	}
	out := make([]Pull, len(rows))
	for i, r := range rows {
		out[i] = Pull{r.ID, Source{r.SourceURL, r.SourceOnDemand, r.SourceEnabled}}
	}
	return out, nil
}
