-- For each bucket of a table: how many rows, and the sum of their hashes modulo 2^128.
CREATE TABLE diptych.digest (
  table_name text COLLATE "C" NOT NULL,
  bucket smallint NOT NULL,
  rows bigint NOT NULL,
  sum numeric(39, 0) NOT NULL,
  PRIMARY KEY (table_name, bucket)
) WITH (fillfactor = 70);
