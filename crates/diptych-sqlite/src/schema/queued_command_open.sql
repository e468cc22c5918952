-- The unfinished commands of each stream, in order.
CREATE INDEX queued_command_open ON queued_command (tenant, category, key, number) WHERE state < 2;
-- All of them, in order.
CREATE INDEX queued_command_waiting ON queued_command (number) WHERE state < 2;
-- When commands ended, for forgetting them.
CREATE INDEX queued_command_ended ON queued_command (ended_at) WHERE state >= 2;
-- Those that failed, which may be run again.
CREATE INDEX queued_command_failed ON queued_command (number) WHERE state = 4;
