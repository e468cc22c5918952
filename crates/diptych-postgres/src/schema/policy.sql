-- Versions of access policies, each written once.
CREATE TABLE diptych.policy (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);
