-- Commands that were accepted to be run later, in the order of `number`. Times are microseconds since 1970, UTC.
-- States: 0 accepted, 1 running, 2 succeeded, 3 rejected, 4 failed. Until it has ended, `due_at` is before when nobody
-- may claim it: its next attempt, or the end of its lease. `claim` counts the claims; whoever writes under an older one
-- is refused. `version`, `position`, `epoch`, `fingerprint` tell of a success; `rejection` and `data` of the domain's no;
-- `code` and `message` of what the last attempt met.
CREATE TABLE queued_command (
  number INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  command_id ANY NOT NULL,
  category TEXT NOT NULL,
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  hash BLOB NOT NULL,
  actor TEXT NOT NULL,
  expected INTEGER,
  correlation TEXT,
  causation TEXT,
  occurred_at INTEGER NOT NULL,
  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
  attempts INTEGER NOT NULL,
  changes INTEGER NOT NULL,
  claim INTEGER NOT NULL,
  holder TEXT,
  due_at INTEGER NOT NULL,
  accepted_at INTEGER NOT NULL,
  started_at INTEGER,
  next_attempt_at INTEGER,
  ended_at INTEGER,
  version INTEGER,
  position INTEGER,
  epoch INTEGER,
  fingerprint INTEGER,
  rejection TEXT,
  data TEXT,
  code TEXT,
  message TEXT,
  UNIQUE (tenant, command_id)
) STRICT;
