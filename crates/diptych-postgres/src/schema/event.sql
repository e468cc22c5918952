-- The log. Positions have no gaps; `occurred_at` is NULL when it is `recorded_at`. Metadata and payload are JSON text,
-- kept byte for byte.
CREATE TABLE diptych.event (
  position bigint PRIMARY KEY,
  stream bigint NOT NULL,
  version bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  occurred_at timestamptz,
  type integer NOT NULL,
  metadata text COLLATE "C" NOT NULL,
  payload text COLLATE "C" NOT NULL
);
