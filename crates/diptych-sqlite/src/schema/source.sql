-- How far each source of facts from elsewhere has been taken into the log: its last entry, and what stood there.
CREATE TABLE source (
  name TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  print INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
