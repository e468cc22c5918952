-- Partitions of a group, each with a checkpoint of its own, and the lease on it: `holder` may move it until
-- `held_until`; `fence` counts the leases, and whoever writes under an older one is refused. A lease is prolonged by
-- its holder however late, as long as nobody has followed it.
ALTER TABLE diptych.checkpoint
  ADD COLUMN partition smallint NOT NULL DEFAULT 0 CHECK (partition >= 0),
  ADD COLUMN fence bigint NOT NULL DEFAULT 0,
  ADD COLUMN holder text COLLATE "C",
  ADD COLUMN held_until timestamptz,
  DROP CONSTRAINT checkpoint_pkey,
  ADD PRIMARY KEY (group_name, revision, generation, partition);

ALTER TABLE diptych.checkpoint_history
  ADD COLUMN partition smallint NOT NULL DEFAULT 0,
  DROP CONSTRAINT checkpoint_history_pkey,
  ADD PRIMARY KEY (group_name, revision, generation, partition, move);

CREATE OR REPLACE VIEW diptych.projection_checkpoint (projection_name, partition_id, last_position, updated_at) AS
SELECT checkpoint.group_name, checkpoint.partition::integer, checkpoint.position, checkpoint.updated_at
FROM diptych.checkpoint
JOIN diptych.generation USING (group_name, revision, generation)
WHERE generation.serving AND checkpoint.revision =
  (SELECT max(revision) FROM diptych.checkpoint AS other WHERE other.group_name = checkpoint.group_name);

-- The processes that live and could move a group. A row is good until its time; the processes remove old ones.
CREATE TABLE diptych.worker (
  name text COLLATE "C" NOT NULL,
  group_name text COLLATE "C" NOT NULL,
  revision integer NOT NULL,
  until timestamptz NOT NULL,
  PRIMARY KEY (name, group_name, revision)
) WITH (fillfactor = 50);
