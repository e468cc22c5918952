-- Names of commands, each written once.
CREATE TABLE command_name (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
