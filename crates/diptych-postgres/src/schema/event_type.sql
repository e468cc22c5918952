-- Types of events within their category. A type tells the category, so that readers pass over facts they do not want.
CREATE TABLE diptych.event_type (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  category integer NOT NULL,
  schema_version bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  UNIQUE (category, name, schema_version)
);
