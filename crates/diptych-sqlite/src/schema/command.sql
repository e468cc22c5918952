-- The audit: one row for every command. Ids that are canonical UUIDs are 16-byte blobs, others are text.
-- Outcomes: 0 accepted, 1 rejected by the domain, 2 refused by a conflict, 3 refused as not allowed.
-- `version` is the stream's after it, `events` how many it appended, `position` its last event's or the head's.
-- Where it appended events, its times are NULL: they are those of the event at `position`.
-- `occurred_at` is NULL, too, when it is `recorded_at`. `hash` is kept here for refusals only.
CREATE TABLE command (
  id INTEGER PRIMARY KEY,
  command_id ANY NOT NULL,
  stream INTEGER NOT NULL,
  name INTEGER NOT NULL,
  actor INTEGER NOT NULL,
  outcome INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 3),
  version INTEGER NOT NULL,
  events INTEGER NOT NULL,
  position INTEGER NOT NULL,
  recorded_at INTEGER CHECK (events > 0 OR recorded_at IS NOT NULL),
  occurred_at INTEGER,
  policy INTEGER,
  correlation ANY,
  causation ANY,
  rejection TEXT,
  data TEXT,
  hash BLOB
) STRICT;
