-- Which migrations made this schema, with a checksum of their text.
CREATE TABLE diptych.migration (
  number integer PRIMARY KEY,
  checksum text COLLATE "C" NOT NULL,
  applied_at timestamptz NOT NULL
);
