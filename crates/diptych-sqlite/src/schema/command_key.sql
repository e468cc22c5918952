-- The ledger's keys: one row for every id that an accepted or rejected command has claimed, until it expires.
CREATE TABLE command_key (
  tenant INTEGER NOT NULL,
  command_id ANY NOT NULL,
  command INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (tenant, command_id)
) STRICT, WITHOUT ROWID;
