-- Every physical build of a group of read models, each with tables of its own.
CREATE TABLE diptych.generation (
  group_name text COLLATE "C" NOT NULL,
  revision integer NOT NULL,
  generation integer NOT NULL,
  mode text COLLATE "C" NOT NULL,
  shape text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL,
  serving boolean NOT NULL,
  PRIMARY KEY (group_name, revision, generation)
);
