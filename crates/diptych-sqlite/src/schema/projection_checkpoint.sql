-- The checkpoints of this file under the names that operators know.
CREATE VIEW projection_checkpoint (projection_name, partition_id, last_position, updated_at) AS
SELECT group_name, 0, position, strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1e6, 'unixepoch')
FROM checkpoint AS this
WHERE revision = (SELECT max(revision) FROM checkpoint WHERE group_name = this.group_name);
