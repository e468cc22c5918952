-- Checkpoints of builds: one for each generation of a revision. While `filling` is not 0, rows are being loaded part by
-- part and the checkpoint does not cover them yet; whoever finds it so and is not the one who loads empties the tables.
DROP VIEW projection_checkpoint;
CREATE TABLE build_checkpoint (
  group_name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  shape TEXT NOT NULL,
  position INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  stopped_position INTEGER,
  stopped_reason TEXT,
  filling INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (group_name, revision, generation)
) STRICT, WITHOUT ROWID;
INSERT INTO build_checkpoint (group_name, revision, generation, shape, position, epoch, fingerprint, recorded_at,
  updated_at, stopped_position, stopped_reason)
SELECT group_name, revision, 1, shape, position, epoch, fingerprint, recorded_at, updated_at, stopped_position,
  stopped_reason
FROM checkpoint;
DROP TABLE checkpoint;
ALTER TABLE build_checkpoint RENAME TO checkpoint;
ALTER TABLE checkpoint_history ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;
