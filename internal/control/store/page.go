package store

import "github.com/uptrace/bun"

// newestFirst makes q select a page of limit rows, and one more to tell whether it is the
// last one, from where cursor points on.
func newestFirst(q *bun.SelectQuery, limit int, cursor string) (*bun.SelectQuery, error) {
	q = q.OrderExpr("created_at DESC, id DESC").Limit(int64(limit) + 1)
	if cursor == "" {
		return q, nil
	}
	at, err := parseCursor(cursor)
	if err != nil {
		return nil, err
	}
	return q.Where("(created_at, id) < (?, ?)", at.at, at.id), nil
}

// cut takes the row that tells of another page from rows, and returns that page's cursor.
func cut[R any](rows []R, limit int, at func(R) position) (page []R, next string) {
	if len(rows) <= limit {
		return rows, ""
	}
	return rows[:limit], at(rows[limit-1]).cursor()
}
