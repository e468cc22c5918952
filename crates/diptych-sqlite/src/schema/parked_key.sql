-- Keys that are held back from a fact on, because their rows could not take it. `key` is canonical, `key_json` for people.
CREATE TABLE parked_key (
  table_name TEXT NOT NULL,
  tenant TEXT NOT NULL,
  key BLOB NOT NULL,
  key_json TEXT NOT NULL,
  position INTEGER NOT NULL,
  event TEXT NOT NULL,
  reason TEXT NOT NULL,
  parked_at INTEGER NOT NULL,
  PRIMARY KEY (table_name, tenant, key)
) STRICT, WITHOUT ROWID;
