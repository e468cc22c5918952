-- Which events carry a tag, in order of position. Tags are written once, with their event, and never changed.
CREATE TABLE diptych.event_tag (
  tenant integer NOT NULL,
  tag text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (tenant, tag, position)
);
