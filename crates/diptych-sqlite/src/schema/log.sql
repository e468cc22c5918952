-- One row: which log this is. `keys_swept` is the last command whose key was looked at for expiry.
CREATE TABLE log (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  identity TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  keys_swept INTEGER NOT NULL
) STRICT;
