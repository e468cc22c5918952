-- When a checkpoint moved over `after` and up to `position`; the oldest moves are dropped.
CREATE TABLE diptych.checkpoint_history (
  group_name text COLLATE "C" NOT NULL,
  revision integer NOT NULL,
  generation integer NOT NULL,
  move bigint NOT NULL,
  after bigint NOT NULL,
  position bigint NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (group_name, revision, generation, move)
);
