-- Finds what a command or an event caused, and the commands of one conversation.
CREATE INDEX command_causation ON diptych.command (causation) WHERE causation IS NOT NULL;
CREATE INDEX command_correlation ON diptych.command (correlation) WHERE correlation IS NOT NULL;
