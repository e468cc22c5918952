-- Commands that were accepted to be run later, in the order of `number`; those of one stream are numbered under a lock
-- of that stream. States: 0 accepted, 1 running, 2 succeeded, 3 rejected, 4 failed. Until it has ended, `due_at` is
-- before when nobody may claim it: its next attempt, or the end of its lease. `claim` counts the claims; whoever writes
-- under an older one is refused. `version`, `position`, `epoch`, `fingerprint` tell of a success; `rejection` and `data`
-- of the domain's no; `code` and `message` of what the last attempt met.
CREATE SEQUENCE diptych.queued_command_number;

CREATE TABLE diptych.queued_command (
  number bigint PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,
  command_id text COLLATE "C" NOT NULL,
  category text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  body text COLLATE "C" NOT NULL,
  hash bytea NOT NULL,
  actor text COLLATE "C" NOT NULL,
  expected bigint,
  correlation text COLLATE "C",
  causation text COLLATE "C",
  occurred_at timestamptz NOT NULL,
  state smallint NOT NULL CHECK (state BETWEEN 0 AND 4),
  attempts integer NOT NULL,
  changes bigint NOT NULL,
  claim bigint NOT NULL,
  holder text COLLATE "C",
  due_at timestamptz NOT NULL,
  accepted_at timestamptz NOT NULL,
  started_at timestamptz,
  next_attempt_at timestamptz,
  ended_at timestamptz,
  version bigint,
  position bigint,
  epoch bigint,
  fingerprint bigint,
  rejection text COLLATE "C",
  data text COLLATE "C",
  code text COLLATE "C",
  message text COLLATE "C",
  UNIQUE (tenant, command_id)
) WITH (fillfactor = 70);

-- The unfinished commands of each stream, in order.
CREATE INDEX queued_command_open ON diptych.queued_command (tenant, category, key, number) WHERE state < 2;
-- All of them, in order.
CREATE INDEX queued_command_waiting ON diptych.queued_command (number) WHERE state < 2;
-- When commands ended, for forgetting them.
CREATE INDEX queued_command_ended ON diptych.queued_command (ended_at) WHERE state >= 2;
-- Those that failed, which may be run again.
CREATE INDEX queued_command_failed ON diptych.queued_command (number) WHERE state = 4;
