-- Every stream that a command named. Its version is that of its last event.
CREATE TABLE diptych.stream (
  id bigint PRIMARY KEY,
  tenant integer NOT NULL,
  category integer NOT NULL,
  key text COLLATE "C" NOT NULL,
  UNIQUE (key, category, tenant)
);
