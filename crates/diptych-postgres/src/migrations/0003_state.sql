-- The state of a stream as its decider had it at a version, as JSON text: at most one for a stream. `shape` tells whether
-- the code still reads it; where it does not, or where there is no row, the stream is folded.
CREATE TABLE diptych.state (
  stream bigint PRIMARY KEY,
  category integer NOT NULL,
  version bigint NOT NULL,
  shape bigint NOT NULL,
  state text COLLATE "C" NOT NULL
) WITH (fillfactor = 70);

-- For an operator who removes the states of a category.
CREATE INDEX state_category ON diptych.state (category);

-- A point in time with its offset, as states have it: such a text means the same in every session, so that an index may
-- hold it.
CREATE FUNCTION diptych.instant(value text) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN value::timestamptz;
