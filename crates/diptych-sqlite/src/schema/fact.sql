-- The log in words, for people.
CREATE VIEW fact (position, tenant, stream, version, type, recorded_at, occurred_at, metadata, payload) AS
SELECT event.position, tenant.name, category.name || '-' || stream.key, event.version, event_type.name,
  strftime('%Y-%m-%dT%H:%M:%fZ', event.recorded_at / 1e6, 'unixepoch'),
  strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(event.occurred_at, event.recorded_at) / 1e6, 'unixepoch'),
  event.metadata, event.payload
FROM event
JOIN stream ON stream.id = event.stream
JOIN tenant ON tenant.id = stream.tenant
JOIN category ON category.id = stream.category
JOIN event_type ON event_type.id = event.type;
