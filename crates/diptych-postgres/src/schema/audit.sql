-- The audit in words, for people.
CREATE VIEW diptych.audit AS
SELECT command.command_id, tenant.name AS tenant, category.name || '-' || stream.key AS stream,
  command_name.name AS command, actor.name AS actor, policy.name AS policy,
  CASE command.outcome WHEN 0 THEN 'accepted' WHEN 1 THEN 'rejected' WHEN 2 THEN 'conflict' ELSE 'forbidden' END
    AS outcome,
  command.version, command.position, command.recorded_at, command.rejection, command.data
FROM diptych.command
JOIN diptych.stream ON stream.id = command.stream
JOIN diptych.tenant ON tenant.id = stream.tenant
JOIN diptych.category ON category.id = stream.category
JOIN diptych.command_name ON command_name.id = command.name
JOIN diptych.actor ON actor.id = command.actor
LEFT JOIN diptych.policy ON policy.id = command.policy;
