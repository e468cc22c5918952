-- The only index of the log: a stream in order, and no version twice.
CREATE UNIQUE INDEX event_stream ON event (stream, version);
