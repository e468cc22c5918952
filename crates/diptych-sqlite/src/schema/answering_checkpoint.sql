-- The checkpoints of this file under the names that operators know: for each model that of the build that answers, or else
-- of the one that will.
CREATE VIEW projection_checkpoint (projection_name, partition_id, last_position, updated_at) AS
SELECT group_name, 0, position, strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1e6, 'unixepoch')
FROM checkpoint AS this
WHERE (revision, generation) = (
  SELECT build.revision, build.generation FROM build
  JOIN checkpoint USING (group_name, revision, generation)
  WHERE build.group_name = this.group_name AND build.stage <> 'retired'
  ORDER BY build.stage IN ('serving', 'rebuilding', 'deprecated') DESC, build.stage = 'shadowing' DESC,
    build.revision DESC, iif(build.stage = 'building', -build.generation, build.generation) DESC
  LIMIT 1);
