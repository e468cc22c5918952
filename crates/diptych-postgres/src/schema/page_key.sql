-- One row: the key that signs page tokens, and the one before it. Those who read have no privilege on it.
CREATE TABLE diptych.page_key (
  id boolean PRIMARY KEY DEFAULT true CHECK (id),
  current bytea NOT NULL CHECK (length(current) = 32),
  previous bytea CHECK (length(previous) = 32)
);
