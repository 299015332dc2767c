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

-- A playback id is that of a stream or of an asset.
ALTER TABLE playback_ids ALTER COLUMN live_stream_id DROP NOT NULL;
ALTER TABLE playback_ids ADD COLUMN asset_id TEXT REFERENCES assets (id) ON DELETE CASCADE;
ALTER TABLE playback_ids ADD CONSTRAINT playback_ids_of_one CHECK ((live_stream_id IS NULL) <> (asset_id IS NULL));
CREATE INDEX playback_ids_of_asset ON playback_ids (asset_id, created_at, id);
