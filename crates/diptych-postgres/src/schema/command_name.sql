-- Names of commands, each written once.
CREATE TABLE diptych.command_name (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);
