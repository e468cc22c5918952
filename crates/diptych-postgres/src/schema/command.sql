-- The audit: one row for every command. Outcomes: 0 accepted, 1 rejected by the domain, 2 refused by a conflict,
-- 3 refused as not allowed. `version` is the stream's after it, `events` how many it appended, `position` its last
-- event's or the head's. `occurred_at` is NULL when it is `recorded_at`. `hash` is kept here for refusals only.
CREATE TABLE diptych.command (
  id bigint PRIMARY KEY,
  stream bigint NOT NULL,
  version bigint NOT NULL,
  position bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  occurred_at timestamptz,
  events integer NOT NULL,
  name integer NOT NULL,
  actor integer NOT NULL,
  policy integer,
  outcome smallint NOT NULL CHECK (outcome BETWEEN 0 AND 3),
  command_id text COLLATE "C" NOT NULL,
  correlation text COLLATE "C",
  causation text COLLATE "C",
  rejection text COLLATE "C",
  data text COLLATE "C",
  hash bytea
);
