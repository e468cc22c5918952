-- The log in words, for people.
CREATE VIEW diptych.fact AS
SELECT event.position, tenant.name AS tenant, category.name || '-' || stream.key AS stream, event.version,
  event_type.name AS type, event.recorded_at, coalesce(event.occurred_at, event.recorded_at) AS occurred_at,
  event.metadata, event.payload
FROM diptych.event
JOIN diptych.stream ON stream.id = event.stream
JOIN diptych.tenant ON tenant.id = stream.tenant
JOIN diptych.category ON category.id = stream.category
JOIN diptych.event_type ON event_type.id = event.type;
