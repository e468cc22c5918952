-- The log. Positions have no gaps; times are microseconds since 1970, UTC; `occurred_at` is NULL when it is `recorded_at`.
CREATE TABLE event (
  position INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  version INTEGER NOT NULL,
  type INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  occurred_at INTEGER,
  metadata TEXT NOT NULL,
  payload TEXT NOT NULL
) STRICT;
