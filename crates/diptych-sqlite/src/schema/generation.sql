-- Every physical build of a read model. An asynchronous one has a file of its own under `models`.
CREATE TABLE generation (
  group_name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  mode TEXT NOT NULL,
  shape TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  serving INTEGER NOT NULL CHECK (serving IN (0, 1)),
  PRIMARY KEY (group_name, revision, generation)
) STRICT, WITHOUT ROWID;
