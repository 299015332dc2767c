package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

const (
	// idempotencyTTL is how long an answer is given again.
	idempotencyTTL = 24 * time.Hour
	// claimTTL is how long a key stays claimed by a request that never finished,
	// because the process died under it.
	claimTTL = 2 * time.Minute
)

// Answer is an HTTP response that is given again to a repeated request.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
}

type answerRow struct {
	bun.BaseModel `bun:"table:idempotency_keys"`

	Name        string `bun:",pk"`
	Fingerprint []byte
	CreatedAt   int64
	Status      int
	ContentType string
	Body        []byte
}

// ClaimKey claims an idempotency key for one request, told apart by fingerprint.
// Without an error either answer is nil and the caller must answer the request and
// then call FinishKey or ReleaseKey, or answer is what was answered before. It is a
// fault.Invalid when the key was used for another request, and a fault.Conflict while
// the first request is still being answered. evicted counts the answers that had to
// go before their time because there are too many.
func (s *Store) ClaimKey(ctx context.Context, key string, fingerprint []byte) (answer *Answer, evicted int, err error) {
	const op = "use the idempotency key"
	now := s.now()
	row := &answerRow{Name: key, Fingerprint: fingerprint, CreatedAt: micros(now), Body: []byte{}}
	err = s.inTx(ctx, op, "", func(ctx context.Context, tx bun.Tx) error {
		answer, evicted = nil, 0
		_, err := tx.NewDelete().Model((*answerRow)(nil)).
			Where("created_at < ?", micros(now.Add(-idempotencyTTL))).
			WhereOr("status = 0 AND created_at < ?", micros(now.Add(-claimTTL))).Exec(ctx)
		if err != nil {
			return err
		}
		res, err := tx.NewInsert().Model(row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 1 {
			evicted, err = s.evictKeys(ctx, tx, key)
			return err
		}
		old := new(answerRow)
		err = tx.NewSelect().Model(old).Where("name = ?", key).Scan(ctx)
		switch {
		case errors.Is(err, sql.ErrNoRows): // the other request gave up in this moment
			return inFlight(op)
		case err != nil:
			return err
		case !bytes.Equal(old.Fingerprint, fingerprint):
			return fault.New(fault.Invalid, op, "", "the key was used for another request",
				"Make a new Idempotency-Key for each request, and repeat it only with the same body.")
		case old.Status == 0:
			return inFlight(op)
		}
		answer = &Answer{old.Status, old.ContentType, old.Body}
		return nil
	})
	return answer, evicted, err
}

func inFlight(op string) error {
	return fault.New(fault.Conflict, op, "", "the first request with this key is still being answered",
		"Wait a moment and repeat the request.")
}

// evictKeys removes the oldest finished answers above the bound, but not keep.
func (s *Store) evictKeys(ctx context.Context, tx bun.Tx, keep string) (int, error) {
	n, err := tx.NewSelect().Model((*answerRow)(nil)).Count(ctx)
	if err != nil || int(n) <= s.keepKeys {
		return 0, err
	}
	oldest := tx.NewSelect().Model((*answerRow)(nil)).Column("name").
		Where("name <> ?", keep).OrderExpr("created_at, name").Limit(n - int64(s.keepKeys))
	res, err := tx.NewDelete().Model((*answerRow)(nil)).Where("name IN (?)", oldest).Exec(ctx)
	if err != nil {
		return 0, err
	}
	gone, err := res.RowsAffected()
	return int(gone), err
}

// FinishKey keeps the answer to the request that claimed the key.
func (s *Store) FinishKey(ctx context.Context, key string, a Answer) error {
	if a.Body == nil {
		a.Body = []byte{}
	}
	_, err := s.db.NewUpdate().Model((*answerRow)(nil)).
		Set("status = ?, content_type = ?, body = ?", a.Status, a.ContentType, a.Body).
		Where("name = ? AND status = 0", key).Exec(ctx)
	return s.fail("keep the answer", "", err)
}

// ReleaseKey gives up a claim, so that the request can be tried again.
func (s *Store) ReleaseKey(ctx context.Context, key string) error {
	_, err := s.db.NewDelete().Model((*answerRow)(nil)).Where("name = ? AND status = 0", key).Exec(ctx)
	return s.fail("release the idempotency key", "", err)
}
