-- How far each build of a read model's group has come, in the transaction of its rows. `moves` counts its moves.
CREATE TABLE diptych.checkpoint (
  group_name text COLLATE "C" NOT NULL,
  revision integer NOT NULL,
  generation integer NOT NULL,
  shape text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  epoch bigint NOT NULL,
  fingerprint bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  stopped_position bigint,
  stopped_reason text COLLATE "C",
  moves bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (group_name, revision, generation)
) WITH (fillfactor = 50);
