-- Facts that an application records in its own transactions, one row for each event, until they are in the log.
-- Times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS diptych_outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  occurred_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
  schema_version INTEGER NOT NULL DEFAULT 1 CHECK (schema_version BETWEEN 1 AND 4294967295),
  tenant TEXT NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 200),
  category TEXT NOT NULL CHECK (octet_length(category) BETWEEN 1 AND 200 AND category NOT GLOB '*[^a-z0-9_]*'),
  key TEXT NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 200),
  type TEXT NOT NULL CHECK (type <> ''),
  payload TEXT NOT NULL CHECK (json_valid(payload)),
  actor TEXT NOT NULL CHECK (octet_length(actor) BETWEEN 1 AND 200),
  command TEXT NOT NULL DEFAULT 'outbox' CHECK (octet_length(command) BETWEEN 1 AND 200),
  command_id TEXT CHECK (octet_length(command_id) BETWEEN 1 AND 200),
  correlation TEXT CHECK (octet_length(correlation) BETWEEN 1 AND 200),
  causation TEXT CHECK (octet_length(causation) BETWEEN 1 AND 200)
) STRICT;
-- Which outbox this is: the log counts the rows of each by itself.
CREATE TABLE IF NOT EXISTS diptych_outbox_identity (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  identity TEXT NOT NULL
) STRICT;
INSERT OR IGNORE INTO diptych_outbox_identity (id, identity) VALUES (1, lower(hex(randomblob(16))));
