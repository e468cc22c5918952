-- The builds that there were before stages: those with a file, and those whose tables are in this one.
INSERT INTO build (group_name, revision, generation, mode, stage, shape, declared, created_at, moved_at)
SELECT group_name, revision, generation, mode, iif(serving = 1, 'serving', 'shadowing'), shape, '[]', created_at,
  created_at
FROM generation;
INSERT INTO build (group_name, revision, generation, mode, stage, shape, declared, created_at, moved_at)
SELECT group_name, revision, 1, 'inline', 'serving', shape, '[]', updated_at, updated_at
FROM checkpoint WHERE TRUE
ON CONFLICT DO UPDATE SET mode = excluded.mode, shape = excluded.shape;
DROP TABLE generation;
