-- +goose Up
ALTER TABLE live_streams ADD COLUMN dvr             TEXT   NOT NULL DEFAULT 'off'; -- off, whole or window
ALTER TABLE live_streams ADD COLUMN dvr_window      BIGINT NOT NULL DEFAULT 0; -- seconds, of window
ALTER TABLE live_streams ADD COLUMN retention_days  BIGINT NOT NULL DEFAULT 0; -- 0: no limit
ALTER TABLE live_streams ADD COLUMN retention_bytes BIGINT NOT NULL DEFAULT 0; -- 0: no limit

-- A clip is an asset, too. What it was cut from may be gone.
ALTER TABLE assets ADD COLUMN clip_of         TEXT    NOT NULL DEFAULT ''; -- empty: the recording of a broadcast
ALTER TABLE assets ADD COLUMN clip_start      BIGINT  NOT NULL DEFAULT 0; -- microseconds, wall clock
ALTER TABLE assets ADD COLUMN clip_end        BIGINT  NOT NULL DEFAULT 0;
ALTER TABLE assets ADD COLUMN public_download BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX assets_deleted ON assets (updated_at, id) WHERE status = 'deleted';
CREATE INDEX assets_clips ON assets (clip_of, created_at, id) WHERE clip_of <> '';
