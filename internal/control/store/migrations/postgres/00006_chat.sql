-- +goose Up
CREATE TABLE chat_rooms (
  live_stream_id TEXT   NOT NULL PRIMARY KEY REFERENCES live_streams (id) ON DELETE CASCADE,
  created_at     BIGINT NOT NULL,
  last_seq       BIGINT NOT NULL, -- of the newest event; 0 before the first
  settings       TEXT   NOT NULL, -- a JSON object
  pinned         TEXT   NOT NULL  -- a JSON object; empty without a pinned message
);

CREATE TABLE chat_events (
  live_stream_id TEXT   NOT NULL REFERENCES chat_rooms (live_stream_id) ON DELETE CASCADE,
  seq            BIGINT NOT NULL, -- from 1, without gaps
  id             TEXT   NOT NULL,
  created_at     BIGINT NOT NULL,
  author_id      TEXT   NOT NULL, -- empty for what is no message
  body           TEXT   NOT NULL, -- a JSON object, as clients see it
  PRIMARY KEY (live_stream_id, seq)
);
CREATE UNIQUE INDEX chat_events_by_id ON chat_events (live_stream_id, id);
CREATE INDEX chat_events_by_author ON chat_events (live_stream_id, author_id, seq) WHERE author_id <> '';
CREATE INDEX chat_events_oldest ON chat_events (created_at);

CREATE TABLE chat_bans (
  live_stream_id TEXT   NOT NULL REFERENCES chat_rooms (live_stream_id) ON DELETE CASCADE,
  user_id        TEXT   NOT NULL,
  name           TEXT   NOT NULL, -- as the user was called then
  created_at     BIGINT NOT NULL,
  until          BIGINT NOT NULL, -- 0: for good
  PRIMARY KEY (live_stream_id, user_id)
);
