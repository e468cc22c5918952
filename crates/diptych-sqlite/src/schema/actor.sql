-- Who acts, each name written once.
CREATE TABLE actor (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
