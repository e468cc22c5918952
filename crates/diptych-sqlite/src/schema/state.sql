-- The state of a stream as its decider had it at a version, as JSON text: at most one for a stream. `shape` tells whether
-- the code still reads it; where it does not, or where there is no row, the stream is folded.
CREATE TABLE state (
  stream INTEGER PRIMARY KEY,
  category INTEGER NOT NULL,
  version INTEGER NOT NULL,
  shape INTEGER NOT NULL,
  state TEXT NOT NULL
) STRICT;
