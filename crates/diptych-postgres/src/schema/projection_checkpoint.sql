-- The checkpoints of the builds that serve, under the names that operators know.
CREATE VIEW diptych.projection_checkpoint (projection_name, partition_id, last_position, updated_at) AS
SELECT checkpoint.group_name, 0, checkpoint.position, checkpoint.updated_at
FROM diptych.checkpoint
JOIN diptych.generation USING (group_name, revision, generation)
WHERE generation.serving AND checkpoint.revision =
  (SELECT max(revision) FROM diptych.checkpoint AS other WHERE other.group_name = checkpoint.group_name);
