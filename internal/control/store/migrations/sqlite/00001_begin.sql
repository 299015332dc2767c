-- +goose Up
CREATE TABLE live_streams (
  id               TEXT    NOT NULL PRIMARY KEY,
  created_at       BIGINT  NOT NULL, -- microseconds since 1970, as all times here
  updated_at       BIGINT  NOT NULL,
  title            TEXT    NOT NULL,
  stream_key       TEXT    NOT NULL,
  stream_key_hash  BLOB    NOT NULL UNIQUE, -- SHA-256; what is looked up
  latency_mode     TEXT    NOT NULL,
  reconnect_window BIGINT  NOT NULL, -- seconds
  record           BOOLEAN NOT NULL,
  disabled         BOOLEAN NOT NULL,
  metadata         TEXT    NOT NULL  -- a JSON object of strings
);
CREATE INDEX live_streams_newest ON live_streams (created_at, id);

CREATE TABLE playback_ids (
  id             TEXT   NOT NULL PRIMARY KEY,
  live_stream_id TEXT   NOT NULL REFERENCES live_streams (id) ON DELETE CASCADE,
  policy         TEXT   NOT NULL,
  created_at     BIGINT NOT NULL
);
CREATE INDEX playback_ids_of_stream ON playback_ids (live_stream_id, created_at, id);

CREATE TABLE settings (
  name       TEXT   NOT NULL PRIMARY KEY,
  value      TEXT   NOT NULL,
  updated_at BIGINT NOT NULL
);

CREATE TABLE idempotency_keys (
  name         TEXT    NOT NULL PRIMARY KEY,
  fingerprint  BLOB    NOT NULL,
  created_at   BIGINT  NOT NULL,
  status       INTEGER NOT NULL, -- 0 while the first request is being answered
  content_type TEXT    NOT NULL,
  body         BLOB    NOT NULL
);
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created_at);
