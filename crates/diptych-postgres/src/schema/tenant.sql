-- Names of tenants, each written once.
CREATE TABLE diptych.tenant (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);
