-- How often rows were put right, parked or removed without moving a checkpoint.
ALTER TABLE diptych.checkpoint ADD COLUMN repairs bigint NOT NULL DEFAULT 0;
