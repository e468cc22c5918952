-- What was known of who gave a command when it was accepted, a JSON object: it runs under these claims. None where nothing
-- was known, as for every command that was accepted before.
ALTER TABLE diptych.queued_command ADD COLUMN claims text COLLATE "C";
