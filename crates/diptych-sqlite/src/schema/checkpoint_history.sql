-- When a checkpoint moved over `after` and up to `position`; the oldest rows are dropped.
CREATE TABLE checkpoint_history (
  id INTEGER PRIMARY KEY,
  group_name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  after INTEGER NOT NULL,
  position INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
