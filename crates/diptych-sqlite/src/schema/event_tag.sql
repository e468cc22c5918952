-- Which events carry a tag, in order of position. Tags are written once, with their event, and never changed.
CREATE TABLE event_tag (
  tenant INTEGER NOT NULL,
  tag TEXT NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (tenant, tag, position)
) STRICT, WITHOUT ROWID;
