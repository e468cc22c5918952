-- For each bucket of a table: how many rows, and the sum of their hashes, 128 bits, big-endian.
CREATE TABLE digest (
  table_name TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  sum BLOB NOT NULL,
  PRIMARY KEY (table_name, bucket)
) STRICT, WITHOUT ROWID;
