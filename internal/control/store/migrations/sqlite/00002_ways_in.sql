-- +goose Up
ALTER TABLE live_streams ADD COLUMN srt_passphrase         TEXT    NOT NULL DEFAULT '';
ALTER TABLE live_streams ADD COLUMN source_url             TEXT    NOT NULL DEFAULT '';
ALTER TABLE live_streams ADD COLUMN source_on_demand       BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE live_streams ADD COLUMN source_enabled         BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE live_streams ADD COLUMN multitrack_disabled    BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE live_streams ADD COLUMN multitrack_max_tracks  INTEGER NOT NULL DEFAULT 0; -- 0: the server's limit
ALTER TABLE live_streams ADD COLUMN multitrack_max_bitrate BIGINT  NOT NULL DEFAULT 0; -- bits a second
CREATE INDEX live_streams_pulled ON live_streams (id) WHERE source_enabled;

CREATE TABLE simulcast_targets (
  id             TEXT    NOT NULL PRIMARY KEY,
  live_stream_id TEXT    NOT NULL REFERENCES live_streams (id) ON DELETE CASCADE,
  created_at     BIGINT  NOT NULL,
  updated_at     BIGINT  NOT NULL,
  url            TEXT    NOT NULL,
  stream_key     TEXT    NOT NULL, -- readable: it is sent to the other service
  passthrough    TEXT    NOT NULL,
  disabled       BOOLEAN NOT NULL
);
CREATE INDEX simulcast_targets_of_stream ON simulcast_targets (live_stream_id, created_at, id);
