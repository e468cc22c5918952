-- How far each source of facts from elsewhere has been taken into the log: its last entry, and what stood there.
CREATE TABLE diptych.source (
  name text COLLATE "C" PRIMARY KEY,
  position bigint NOT NULL,
  print bigint NOT NULL,
  updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Facts that applications record in their own transactions, one row for each event, until they are in the log.
-- An application needs INSERT on this table, USAGE on the schema, and nothing else.
CREATE TABLE diptych.outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  schema_version bigint NOT NULL DEFAULT 1 CHECK (schema_version BETWEEN 1 AND 4294967295),
  tenant text COLLATE "C" NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 200),
  category text COLLATE "C" NOT NULL CHECK (category ~ '^[a-z0-9_]{1,200}$'),
  key text COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 200),
  type text COLLATE "C" NOT NULL CHECK (type <> ''),
  payload text COLLATE "C" NOT NULL CHECK (payload::json IS NOT NULL),
  actor text COLLATE "C" NOT NULL CHECK (octet_length(actor) BETWEEN 1 AND 200),
  command text COLLATE "C" NOT NULL DEFAULT 'outbox' CHECK (octet_length(command) BETWEEN 1 AND 200),
  command_id text COLLATE "C" CHECK (octet_length(command_id) BETWEEN 1 AND 200),
  correlation text COLLATE "C" CHECK (octet_length(correlation) BETWEEN 1 AND 200),
  causation text COLLATE "C" CHECK (octet_length(causation) BETWEEN 1 AND 200)
);
