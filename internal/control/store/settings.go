package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"
)

type settingRow struct {
	bun.BaseModel `bun:"table:settings"`

	Name      string `bun:",pk"`
	Value     string
	UpdatedAt int64
}

// Setting returns a value that the program keeps for itself, and whether there is one.
func (s *Store) Setting(ctx context.Context, name string) (value string, ok bool, err error) {
	row := new(settingRow)
	err = s.db.NewSelect().Model(row).Where("name = ?", name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, s.fail("read the setting", name, err)
	}
	return row.Value, true, nil
}

// SetSetting keeps a value in place of an older one.
func (s *Store) SetSetting(ctx context.Context, name, value string) error {
	row := &settingRow{Name: name, Value: value, UpdatedAt: micros(s.now())}
	_, err := s.db.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
		Set("value = EXCLUDED.value, updated_at = EXCLUDED.updated_at").Exec(ctx)
	return s.fail("keep the setting", name, err)
}

// InitSetting keeps value if the setting has none, and returns the value that it has
// then. made tells whether it is the one given here: of several processes that start
// on one database, one makes it.
func (s *Store) InitSetting(ctx context.Context, name, value string) (kept string, made bool, err error) {
	row := &settingRow{Name: name, Value: value, UpdatedAt: micros(s.now())}
	res, err := s.db.NewInsert().Model(row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
	if err != nil {
		return "", false, s.fail("keep the setting", name, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return "", false, s.fail("keep the setting", name, err)
	}
	if n == 1 {
		return value, true, nil
	}
	kept, _, err = s.Setting(ctx, name)
	return kept, false, err
}
