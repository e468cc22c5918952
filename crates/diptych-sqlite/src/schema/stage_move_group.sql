-- Finds the moves of one group.
CREATE INDEX stage_move_group ON stage_move (group_name, id);
