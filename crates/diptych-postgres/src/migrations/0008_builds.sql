-- Builds of read models and where each stands: `stage` is a word of the stage table, `declared` says in JSON what its
-- tables were declared as, an empty list where nobody wrote that down yet. The tables of a retired build may be gone.
ALTER TABLE diptych.generation
  ADD COLUMN stage text COLLATE "C",
  ADD COLUMN declared text COLLATE "C" NOT NULL DEFAULT '[]',
  ADD COLUMN moved_at timestamptz;

UPDATE diptych.generation
SET stage = CASE WHEN serving THEN 'serving' ELSE 'retired' END, moved_at = created_at;

ALTER TABLE diptych.generation
  ALTER COLUMN stage SET NOT NULL,
  ALTER COLUMN moved_at SET NOT NULL,
  ADD CONSTRAINT generation_stage CHECK
    (stage IN ('designed', 'building', 'shadowing', 'serving', 'rebuilding', 'deprecated', 'retired'));

-- The checkpoints of the builds that answer: of each group, those of the newest revision that does.
CREATE OR REPLACE VIEW diptych.projection_checkpoint (projection_name, partition_id, last_position, updated_at) AS
SELECT checkpoint.group_name, checkpoint.partition::integer, checkpoint.position, checkpoint.updated_at
FROM diptych.checkpoint
JOIN diptych.generation USING (group_name, revision, generation)
WHERE generation.stage IN ('serving', 'rebuilding', 'deprecated') AND checkpoint.revision =
  (SELECT max(other.revision) FROM diptych.generation AS other
   WHERE other.group_name = checkpoint.group_name AND other.stage IN ('serving', 'rebuilding', 'deprecated'));

ALTER TABLE diptych.generation DROP COLUMN serving;

-- Every move of a build from stage to stage, in the order they were made, with who ordered it and why.
CREATE TABLE diptych.stage_move (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  group_name text COLLATE "C" NOT NULL,
  revision integer NOT NULL,
  generation integer NOT NULL,
  from_stage text COLLATE "C" NOT NULL,
  to_stage text COLLATE "C" NOT NULL,
  actor text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  at timestamptz NOT NULL
);

-- The moves of one group.
CREATE INDEX stage_move_group ON diptych.stage_move (group_name, number);

-- What the hinge remembers, as JSON text. `version` counts how often it was written; who has not seen the last one
-- does not write.
CREATE TABLE diptych.record (
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  version bigint NOT NULL CHECK (version > 0),
  body text COLLATE "C" NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (kind, name)
) WITH (fillfactor = 50);

-- Keys that are held back in a build from the fact at `position` on. `key` is a JSON array of the key's values.
CREATE TABLE diptych.parked (
  group_name text COLLATE "C" NOT NULL,
  revision integer NOT NULL,
  generation integer NOT NULL,
  model text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  event text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  parked_at timestamptz NOT NULL,
  PRIMARY KEY (group_name, revision, generation, model, tenant, key)
);

-- Where fences come from: no two leases, of whatever builds, have the same one, so that a lease on one build of a group
-- is never taken for one on another.
CREATE SEQUENCE diptych.lease_fence;
SELECT setval('diptych.lease_fence', (SELECT coalesce(max(fence), 0) + 1 FROM diptych.checkpoint));

-- Who could move which build. The rows are signs of life, given again every second.
DELETE FROM diptych.worker;
ALTER TABLE diptych.worker
  ADD COLUMN generation integer NOT NULL,
  DROP CONSTRAINT worker_pkey,
  ADD PRIMARY KEY (name, group_name, revision, generation);
