-- Types of events within their category. A type tells the category, so that readers pass over facts they do not want.
CREATE TABLE event_type (
  id INTEGER PRIMARY KEY,
  category INTEGER NOT NULL,
  name TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  UNIQUE (category, name, schema_version)
) STRICT;
