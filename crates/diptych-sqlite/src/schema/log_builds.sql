-- Counts the changes of `build`, so that the writer of every process sees at a glance that a pointer has moved.
ALTER TABLE log ADD COLUMN builds_changed INTEGER NOT NULL DEFAULT 0;
