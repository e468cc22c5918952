-- The states of a category, for an operator who removes them.
CREATE INDEX state_category ON state (category);
