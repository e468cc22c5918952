-- Every physical build of a group of read models, and where it stands. An asynchronous one has a file of its own under
-- `models`, an inline one its tables here. `declared` is what its tables were declared as, in JSON.
CREATE TABLE build (
  group_name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  mode TEXT NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN
    ('designed', 'building', 'shadowing', 'serving', 'rebuilding', 'deprecated', 'retired')),
  shape TEXT NOT NULL,
  declared TEXT NOT NULL CHECK (json_valid(declared)),
  created_at INTEGER NOT NULL,
  moved_at INTEGER NOT NULL,
  PRIMARY KEY (group_name, revision, generation)
) STRICT, WITHOUT ROWID;
