-- A stream in order, and no version twice.
CREATE UNIQUE INDEX event_stream ON diptych.event (stream, version);
