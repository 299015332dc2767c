package node

import (
	"context"
	"log/slog"

	"onair/internal/record"
	"onair/internal/record/bucket"
	"onair/internal/record/spool"
)

// ArchiveConfig says where recordings are; the flags are those of the server.
type ArchiveConfig struct {
	Data   string        `name:"data" default:"./onair-data" help:"Data folder of the server."`
	Record record.Config `embed:""`
	Bucket bucket.Config `embed:""`
	Spool  spool.Config  `embed:""`
}

// DefaultArchiveConfig returns the defaults of every part.
func DefaultArchiveConfig() ArchiveConfig {
	return ArchiveConfig{
		Data: DefaultConfig().Data, Record: record.DefaultConfig(), Bucket: bucket.DefaultConfig(), Spool: spool.DefaultConfig(),
	}
}

// Archive is recordings without a server.
type Archive struct {
	*record.Library
	folder *record.Folder
	bucket *bucket.Bucket
}

// OpenArchive opens the recordings of a server. To be changed, they are opened as a server does
// it: fault.Conflict while one runs. To be looked at they may be open in a server meanwhile.
func OpenArchive(ctx context.Context, cfg ArchiveConfig, change bool, log *slog.Logger) (_ *Archive, err error) {
	a := &Archive{}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	dir := Config{Data: cfg.Data}.recordings()
	if change {
		a.folder, err = record.NewFolder(dir)
	} else {
		a.folder, err = record.ReadFolder(dir)
	}
	if err != nil {
		return nil, err
	}
	var storage interface {
		record.Storage
		record.Journals
	} = a.folder
	if cfg.Bucket.Enabled() {
		if a.bucket, err = bucket.New(cfg.Bucket, log); err != nil {
			return nil, err
		}
		if storage, err = spool.New(cfg.Spool, a.folder, a.bucket, nil, log, nil); err != nil {
			return nil, err
		}
	}
	a.Library = record.New(cfg.Record, storage, storage, nil, log, nil)
	if change {
		return a, a.Load(ctx)
	}
	return a, a.Look()
}

// Close lets a server have them.
func (a *Archive) Close() {
	if a.bucket != nil {
		a.bucket.Close()
	}
	if a.folder != nil {
		_ = a.folder.Close() // its files are synced
	}
}
