-- Every move of a build from stage to stage: who ordered it, why and when. One that is begun comes from `designed`.
CREATE TABLE stage_move (
  id INTEGER PRIMARY KEY,
  group_name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  from_stage TEXT NOT NULL,
  to_stage TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
