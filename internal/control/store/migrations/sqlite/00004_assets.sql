-- +goose Up
CREATE TABLE assets (
  id             TEXT    NOT NULL PRIMARY KEY,
  live_stream_id TEXT    NOT NULL, -- no reference: an asset outlives its stream
  created_at     BIGINT  NOT NULL,
  updated_at     BIGINT  NOT NULL,
  status         TEXT    NOT NULL,
  title          TEXT    NOT NULL,
  duration       BIGINT  NOT NULL, -- microseconds
  size_bytes     BIGINT  NOT NULL,
  error          TEXT    NOT NULL,
  tracks         TEXT    NOT NULL, -- a JSON list
  gaps           TEXT    NOT NULL, -- a JSON list, of the first ones
  gap_count      INTEGER NOT NULL,
  metadata       TEXT    NOT NULL  -- a JSON object of strings
);
CREATE INDEX assets_newest ON assets (created_at, id);
CREATE INDEX assets_of_stream ON assets (live_stream_id, created_at, id);
CREATE INDEX assets_being_recorded ON assets (created_at, id) WHERE status = 'recording';

-- A playback id is that of a stream or of an asset. SQLite cannot let a column be
-- NULL that could not, so the table is made anew.
CREATE TABLE playback_ids_4 (
  id             TEXT   NOT NULL PRIMARY KEY,
  live_stream_id TEXT   REFERENCES live_streams (id) ON DELETE CASCADE,
  asset_id       TEXT   REFERENCES assets (id) ON DELETE CASCADE,
  policy         TEXT   NOT NULL,
  created_at     BIGINT NOT NULL,
  CONSTRAINT playback_ids_of_one CHECK ((live_stream_id IS NULL) <> (asset_id IS NULL))
);
INSERT INTO playback_ids_4 (id, live_stream_id, policy, created_at)
  SELECT id, live_stream_id, policy, created_at FROM playback_ids;
DROP TABLE playback_ids;
ALTER TABLE playback_ids_4 RENAME TO playback_ids;
CREATE INDEX playback_ids_of_stream ON playback_ids (live_stream_id, created_at, id);
CREATE INDEX playback_ids_of_asset ON playback_ids (asset_id, created_at, id);
