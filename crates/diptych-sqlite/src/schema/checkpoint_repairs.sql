-- How often rows were put right, parked or removed without moving the checkpoint.
ALTER TABLE checkpoint ADD COLUMN repairs INTEGER NOT NULL DEFAULT 0;
