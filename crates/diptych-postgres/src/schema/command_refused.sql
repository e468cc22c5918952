-- Finds refusals by id. They claim no key, so `command_key` does not know them.
CREATE INDEX command_refused ON diptych.command (command_id) WHERE outcome >= 2;
