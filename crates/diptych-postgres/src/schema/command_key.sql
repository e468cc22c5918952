-- The ledger's keys: one row for every id that an accepted or rejected command has claimed, until it expires.
CREATE TABLE diptych.command_key (
  command bigint NOT NULL,
  tenant integer NOT NULL,
  command_id text COLLATE "C" NOT NULL,
  hash bytea NOT NULL,
  PRIMARY KEY (tenant, command_id)
);
