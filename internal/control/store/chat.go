package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"onair/internal/fault"
)

// ChatEvent is one thing that happened in a live stream's chat. Body is a JSON object, as
// clients see it.
type ChatEvent struct {
	// Seq counts the events of a room from 1 without gaps.
	Seq       int64
	ID        string
	CreatedAt time.Time
	// AuthorID is who wrote the message; empty for what is no message.
	AuthorID string
	Body     []byte
}

// ChatRoom is what is kept of a live stream's chat beside its events.
type ChatRoom struct {
	LiveStreamID string
	CreatedAt    time.Time
	// LastSeq is the number of the newest event; 0 before the first.
	LastSeq int64
	// Settings is a JSON object; "{}" in a room whose settings were never changed.
	Settings []byte
	// Pinned is a JSON object; empty without a pinned message.
	Pinned []byte
	Bans   []ChatBan
}

// ChatBan keeps somebody from writing.
type ChatBan struct {
	UserID    string
	Name      string // as the user was called then
	CreatedAt time.Time
	// Until is when it ends; zero: never.
	Until time.Time
}

// maxChatBans bounds the bans of a room that are kept.
const maxChatBans = 10_000

type (
	chatRoomRow struct {
		bun.BaseModel `bun:"table:chat_rooms"`

		LiveStreamID string `bun:",pk"`
		CreatedAt    int64
		LastSeq      int64
		Settings     string
		Pinned       string
	}
	chatEventRow struct {
		bun.BaseModel `bun:"table:chat_events"`

		LiveStreamID string `bun:",pk"`
		Seq          int64  `bun:",pk"`
		ID           string
		CreatedAt    int64
		AuthorID     string
		Body         string
	}
	chatBanRow struct {
		bun.BaseModel `bun:"table:chat_bans"`

		LiveStreamID string `bun:",pk"`
		UserID       string `bun:",pk"`
		Name         string
		CreatedAt    int64
		Until        int64
	}
)

func (r *chatEventRow) event() ChatEvent {
	return ChatEvent{Seq: r.Seq, ID: r.ID, CreatedAt: fromMicros(r.CreatedAt), AuthorID: r.AuthorID, Body: []byte(r.Body)}
}

// ChatRoom returns the room of a live stream, and makes it if there is none yet.
// fault.NotFound if there is no such stream.
func (s *Store) ChatRoom(ctx context.Context, streamID string) (ChatRoom, error) {
	const op = "open the chat of"
	if !PlausibleID(streamID) {
		return ChatRoom{}, notFound(op, "live stream", streamID)
	}
	var out ChatRoom
	err := s.inTx(ctx, op, subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		row := new(chatRoomRow)
		err := tx.NewSelect().Model(row).Where("live_stream_id = ?", streamID).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			if _, err = s.load(ctx, tx, streamID, true); err != nil {
				return err
			}
			row = &chatRoomRow{LiveStreamID: streamID, CreatedAt: micros(s.now()), Settings: "{}"}
			_, err = tx.NewInsert().Model(row).On("CONFLICT (live_stream_id) DO NOTHING").Exec(ctx)
		}
		if err != nil {
			return err
		}
		var bans []chatBanRow
		if err := tx.NewSelect().Model(&bans).Where("live_stream_id = ?", streamID).Where("until = 0 OR until > ?", micros(s.now())).
			OrderExpr("created_at, user_id").Limit(maxChatBans).Scan(ctx); err != nil {
			return err
		}
		out = ChatRoom{
			LiveStreamID: streamID, CreatedAt: fromMicros(row.CreatedAt), LastSeq: row.LastSeq,
			Settings: []byte(row.Settings), Pinned: []byte(row.Pinned),
		}
		for _, b := range bans {
			out.Bans = append(out.Bans, b.ban())
		}
		return nil
	})
	return out, err
}

func (r *chatBanRow) ban() ChatBan {
	b := ChatBan{UserID: r.UserID, Name: r.Name, CreatedAt: fromMicros(r.CreatedAt)}
	if r.Until != 0 {
		b.Until = fromMicros(r.Until)
	}
	return b
}

// AppendChat keeps an event of a room and returns its number: one more than that of the event
// before, whoever writes. fault.NotFound if there is no such room.
func (s *Store) AppendChat(ctx context.Context, streamID string, e ChatEvent) (seq int64, err error) {
	const op = "write into the chat of"
	err = s.inTx(ctx, op, subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		err := tx.NewRaw("UPDATE chat_rooms SET last_seq = last_seq + 1 WHERE live_stream_id = ? RETURNING last_seq", streamID).Scan(ctx, &seq)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound(op, "live stream", streamID)
		}
		if err != nil {
			return err
		}
		row := &chatEventRow{LiveStreamID: streamID, Seq: seq, ID: e.ID, CreatedAt: micros(e.CreatedAt), AuthorID: e.AuthorID, Body: string(e.Body)}
		_, err = tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	return seq, err
}

// ChatEvents returns up to limit of the newest events of a room before a number, oldest
// first; of the newest of all if before is 0.
func (s *Store) ChatEvents(ctx context.Context, streamID string, before int64, limit int) ([]ChatEvent, error) {
	var rows []chatEventRow
	q := s.db.NewSelect().Model(&rows).Where("live_stream_id = ?", streamID).OrderExpr("seq DESC").Limit(int64(max(limit, 1)))
	if before > 0 {
		q = q.Where("seq < ?", before)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, s.fail("read the chat of", subject(streamID), err)
	}
	out := make([]ChatEvent, len(rows))
	for i := range rows {
		out[len(rows)-1-i] = rows[i].event()
	}
	return out, nil
}

// ChatEvent returns the event of an id; fault.NotFound if there is none.
func (s *Store) ChatEvent(ctx context.Context, streamID, id string) (ChatEvent, error) {
	const op = "look up the message"
	row := new(chatEventRow)
	if !PlausibleID(id) {
		return ChatEvent{}, noMessage(op)
	}
	err := s.db.NewSelect().Model(row).Where("live_stream_id = ? AND id = ?", streamID, id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return ChatEvent{}, noMessage(op)
	}
	if err != nil {
		return ChatEvent{}, s.fail(op, "", err)
	}
	return row.event(), nil
}

func noMessage(op string) error {
	return fault.New(fault.NotFound, op, "", "there is no such message in this chat", "It may be older than what is kept.")
}

// RewriteChat replaces the bodies of events, of which those that are there are changed.
func (s *Store) RewriteChat(ctx context.Context, streamID string, bodies map[string][]byte) error {
	return s.inTx(ctx, "rewrite messages of", subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		for id, body := range bodies {
			if _, err := tx.NewUpdate().Model((*chatEventRow)(nil)).Set("body = ?", string(body)).
				Where("live_stream_id = ? AND id = ?", streamID, id).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChatBy returns up to limit of the newest messages of a user in a room, oldest first.
func (s *Store) ChatBy(ctx context.Context, streamID, userID string, limit int) ([]ChatEvent, error) {
	var rows []chatEventRow
	if err := s.db.NewSelect().Model(&rows).Where("live_stream_id = ? AND author_id = ?", streamID, userID).
		OrderExpr("seq DESC").Limit(int64(max(limit, 1))).Scan(ctx); err != nil {
		return nil, s.fail("read the chat of", subject(streamID), err)
	}
	out := make([]ChatEvent, len(rows))
	for i := range rows {
		out[len(rows)-1-i] = rows[i].event()
	}
	return out, nil
}

// SetChatSettings keeps the settings of a room.
func (s *Store) SetChatSettings(ctx context.Context, streamID string, settings []byte) error {
	_, err := s.db.NewUpdate().Model((*chatRoomRow)(nil)).Set("settings = ?", string(settings)).Where("live_stream_id = ?", streamID).Exec(ctx)
	return s.fail("keep the settings of the chat of", subject(streamID), err)
}

// SetChatPinned keeps the pinned message of a room; nil for none.
func (s *Store) SetChatPinned(ctx context.Context, streamID string, pinned []byte) error {
	_, err := s.db.NewUpdate().Model((*chatRoomRow)(nil)).Set("pinned = ?", string(pinned)).Where("live_stream_id = ?", streamID).Exec(ctx)
	return s.fail("keep the pinned message of", subject(streamID), err)
}

// BanFromChat keeps a ban, in place of an older one of the same user. fault.TooMany in a
// room that has as many as can be.
func (s *Store) BanFromChat(ctx context.Context, streamID string, b ChatBan) error {
	const op = "ban from the chat of"
	return s.inTx(ctx, op, subject(streamID), func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*chatBanRow)(nil)).Where("live_stream_id = ? AND until <> 0 AND until <= ?", streamID, micros(s.now())).Exec(ctx); err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*chatBanRow)(nil)).Where("live_stream_id = ?", streamID).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxChatBans {
			return fault.New(fault.TooMany, op, subject(streamID), "as many are banned as can be", "Let some of them back, or let only members write.")
		}
		row := &chatBanRow{LiveStreamID: streamID, UserID: b.UserID, Name: b.Name, CreatedAt: micros(b.CreatedAt)}
		if !b.Until.IsZero() {
			row.Until = micros(b.Until)
		}
		_, err = tx.NewInsert().Model(row).On("CONFLICT (live_stream_id, user_id) DO UPDATE").
			Set("name = EXCLUDED.name, created_at = EXCLUDED.created_at, until = EXCLUDED.until").Exec(ctx)
		return err
	})
}

// UnbanFromChat lets somebody write again. It is no error if nobody kept them from it.
func (s *Store) UnbanFromChat(ctx context.Context, streamID, userID string) error {
	_, err := s.db.NewDelete().Model((*chatBanRow)(nil)).Where("live_stream_id = ? AND user_id = ?", streamID, userID).Exec(ctx)
	return s.fail("unban from the chat of", subject(streamID), err)
}

// PruneChat removes up to limit events from before a moment, the oldest first, and returns how
// many. Numbers are not given again.
func (s *Store) PruneChat(ctx context.Context, before time.Time, limit int) (int, error) {
	const op = "remove old chat messages"
	res, err := s.db.NewRaw(`DELETE FROM chat_events WHERE (live_stream_id, seq) IN
		(SELECT live_stream_id, seq FROM chat_events WHERE created_at < ? ORDER BY created_at LIMIT ?)`, micros(before), limit).Exec(ctx)
	if err != nil {
		return 0, s.fail(op, "", err)
	}
	n, err := res.RowsAffected()
	return int(n), s.fail(op, "", err)
}
