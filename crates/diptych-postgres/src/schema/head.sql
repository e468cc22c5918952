-- One row: which log this is, and where it stands. Whoever appends locks it first, so that positions have no gaps
-- and commit in their order. `position`, `fingerprint` and `entry_recorded_at` are those of the last event;
-- `latest_at` is the latest time in log or audit; `stream` and `command` are the last ids given out; `keys_swept` is
-- the last command whose key was looked at for expiry; `system_identifier` and `timeline` are the server's as last seen.
CREATE TABLE diptych.head (
  id boolean PRIMARY KEY DEFAULT true CHECK (id),
  position bigint NOT NULL CHECK (position >= 0),
  epoch bigint NOT NULL,
  fingerprint bigint NOT NULL,
  entry_recorded_at timestamptz NOT NULL,
  latest_at timestamptz NOT NULL,
  stream bigint NOT NULL,
  command bigint NOT NULL,
  keys_swept bigint NOT NULL,
  timeline integer NOT NULL,
  system_identifier bigint NOT NULL,
  created_at timestamptz NOT NULL,
  identity text COLLATE "C" NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000);
