-- Names of categories, each written once.
CREATE TABLE diptych.category (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);
