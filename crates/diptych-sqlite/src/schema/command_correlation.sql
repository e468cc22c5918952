-- Finds the commands of one conversation.
CREATE INDEX command_correlation ON command (correlation) WHERE correlation IS NOT NULL;
