-- +goose Up
ALTER TABLE live_streams ADD COLUMN ladder_profile   TEXT    NOT NULL DEFAULT ''; -- empty: the server's default
ALTER TABLE live_streams ADD COLUMN ladder_rungs     TEXT    NOT NULL DEFAULT '[]'; -- a JSON list of strings
ALTER TABLE live_streams ADD COLUMN ladder_mode      TEXT    NOT NULL DEFAULT '';
ALTER TABLE live_streams ADD COLUMN realtime_viewers INTEGER; -- NULL: the server's default
