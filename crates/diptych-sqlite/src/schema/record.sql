-- What the hinge and its operators remember beside the rows, as JSON: a rebuild under way, an incident, how far a patrol
-- has come. `version` counts the writes, so that nobody overwrites what he has not seen.
CREATE TABLE record (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  body TEXT NOT NULL CHECK (json_valid(body)),
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
