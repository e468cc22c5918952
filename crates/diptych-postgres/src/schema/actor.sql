-- Who acts, each written once.
CREATE TABLE diptych.actor (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);
