-- Which migrations made this file, with a checksum of their text.
CREATE TABLE migration (
  number INTEGER PRIMARY KEY,
  checksum TEXT NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT;
