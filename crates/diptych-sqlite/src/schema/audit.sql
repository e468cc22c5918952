-- The audit in words, for people.
CREATE VIEW audit (command_id, tenant, stream, command, actor, policy, outcome, version, position, recorded_at,
  rejection, data) AS
SELECT
  CASE typeof(command.command_id)
    WHEN 'blob' THEN lower(
      substr(hex(command.command_id), 1, 8) || '-' || substr(hex(command.command_id), 9, 4) || '-' ||
      substr(hex(command.command_id), 13, 4) || '-' || substr(hex(command.command_id), 17, 4) || '-' ||
      substr(hex(command.command_id), 21))
    ELSE command.command_id
  END,
  tenant.name, category.name || '-' || stream.key, command_name.name, actor.name, policy.name,
  CASE command.outcome WHEN 0 THEN 'accepted' WHEN 1 THEN 'rejected' WHEN 2 THEN 'conflict' ELSE 'forbidden' END,
  command.version, command.position,
  strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(command.recorded_at, event.recorded_at) / 1e6, 'unixepoch'),
  command.rejection, command.data
FROM command
JOIN stream ON stream.id = command.stream
JOIN tenant ON tenant.id = stream.tenant
JOIN category ON category.id = stream.category
JOIN command_name ON command_name.id = command.name
JOIN actor ON actor.id = command.actor
LEFT JOIN policy ON policy.id = command.policy
LEFT JOIN event ON event.position = command.position;
