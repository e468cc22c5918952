-- How far the read models of this file have come, in the transaction of their rows.
CREATE TABLE checkpoint (
  group_name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  shape TEXT NOT NULL,
  position INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  stopped_position INTEGER,
  stopped_reason TEXT,
  PRIMARY KEY (group_name, revision)
) STRICT, WITHOUT ROWID;
