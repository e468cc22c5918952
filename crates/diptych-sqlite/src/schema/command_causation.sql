-- Finds what a command or an event caused.
CREATE INDEX command_causation ON command (causation) WHERE causation IS NOT NULL;
