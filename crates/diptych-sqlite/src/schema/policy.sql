-- Versions of access policies, each written once.
CREATE TABLE policy (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
