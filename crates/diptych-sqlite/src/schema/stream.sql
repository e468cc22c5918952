-- Every stream that a command named. Its version is that of its last event.
CREATE TABLE stream (
  id INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  category INTEGER NOT NULL,
  key TEXT NOT NULL,
  UNIQUE (tenant, category, key)
) STRICT;
