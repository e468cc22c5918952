-- Where every build stands, in words, for people: who moved it there, why and since when.
CREATE VIEW stage (model, revision, generation, mode, stage, since, actor, reason) AS
SELECT build.group_name, build.revision, build.generation, build.mode, build.stage,
  strftime('%Y-%m-%dT%H:%M:%fZ', build.moved_at / 1e6, 'unixepoch'), stage_move.actor, stage_move.reason
FROM build
LEFT JOIN stage_move ON stage_move.id = (
  SELECT max(id) FROM stage_move AS last
  WHERE last.group_name = build.group_name AND last.revision = build.revision AND last.generation = build.generation);
