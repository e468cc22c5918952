//! The ledger's rows put together again, and the expiry of keys. Writing a row is the writer's.

use crate::fault::{OrFault, damaged, unsigned};
use crate::log::{Parameter, mark_at};
use crate::shared::Shared;
use crate::time::Stamp;
use diptych_command::{CommandHeader, CommandRecord, InputHash, Outcome, RefusedFor};
use diptych_core::{
    Actor, Category, CausationId, CommandId, CorrelationId, Fault, PolicyVersion, Position, StreamId,
    StreamKey, StreamRef, Tenant, Timestamp, Version,
};
use diptych_query::Mark;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// The numbers of outcomes as stored.
pub(crate) const ACCEPTED: i16 = 0;
pub(crate) const REJECTED: i16 = 1;
pub(crate) const REFUSED_CONFLICT: i16 = 2;
pub(crate) const REFUSED_FORBIDDEN: i16 = 3;

const SELECT_CLAIM: &str = "SELECT \
        command.command_id, tenant.name, category.name, stream.key, command_name.name, \
        actor.name, policy.name, command.correlation, command.causation, command.outcome, \
        command.version, command.events, command.position, command.recorded_at, \
        coalesce(command.occurred_at, command.recorded_at), command.rejection, command.data, \
        command_key.hash \
    FROM diptych.command_key \
    JOIN diptych.command ON command.id = command_key.command \
    JOIN diptych.stream ON stream.id = command.stream \
    JOIN diptych.tenant ON tenant.id = stream.tenant \
    JOIN diptych.category ON category.id = stream.category \
    JOIN diptych.command_name ON command_name.id = command.name \
    JOIN diptych.actor ON actor.id = command.actor \
    LEFT JOIN diptych.policy ON policy.id = command.policy \
    WHERE command_key.tenant = (SELECT id FROM diptych.tenant WHERE name = $1) \
        AND command_key.command_id = $2";

const SELECT_REFUSAL: &str = "SELECT \
        command.command_id, tenant.name, category.name, stream.key, command_name.name, \
        actor.name, policy.name, command.correlation, command.causation, command.outcome, \
        command.version, command.events, command.position, command.recorded_at, \
        coalesce(command.occurred_at, command.recorded_at), command.rejection, command.data, \
        command.hash \
    FROM diptych.command \
    JOIN diptych.stream ON stream.id = command.stream \
    JOIN diptych.tenant ON tenant.id = stream.tenant \
    JOIN diptych.category ON category.id = stream.category \
    JOIN diptych.command_name ON command_name.id = command.name \
    JOIN diptych.actor ON actor.id = command.actor \
    LEFT JOIN diptych.policy ON policy.id = command.policy \
    WHERE command.command_id = $2 AND command.outcome >= 2 AND tenant.name = $1 \
    ORDER BY command.id DESC LIMIT 1";

/// The final row under a key, or the latest refusal where there is none.
pub(crate) async fn recorded(
    client: &Client,
    shared: &Shared,
    tenant: &Tenant,
    id: &CommandId,
) -> Result<Option<CommandRecord>, Fault> {
    match claimed(client, shared, tenant, id).await? {
        Some(record) => Ok(Some(record)),
        None => select(client, SELECT_REFUSAL, shared, tenant, id).await,
    }
}

/// The final row under a key.
pub(crate) async fn claimed(
    client: &Client,
    shared: &Shared,
    tenant: &Tenant,
    id: &CommandId,
) -> Result<Option<CommandRecord>, Fault> {
    select(client, SELECT_CLAIM, shared, tenant, id).await
}

async fn select(
    client: &Client,
    sql: &str,
    shared: &Shared,
    tenant: &Tenant,
    id: &CommandId,
) -> Result<Option<CommandRecord>, Fault> {
    let asked: [Parameter<'_>; 2] = [(&tenant.as_str(), Type::TEXT), (&id.as_str(), Type::TEXT)];
    let Some(row) = client.query_typed_opt(&shared.sql(sql), &asked).await.or_fault()? else {
        return Ok(None);
    };
    let mark = mark_at(client, shared, Position(unsigned(&row, 12)?)).await?;
    let mark = mark.ok_or_else(|| damaged("the ledger knows a position that the log has not"))?;
    record(&row, mark).map(Some)
}

fn record(row: &Row, mark: Mark) -> Result<CommandRecord, Fault> {
    let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
    let some = |column: usize| row.try_get::<_, Option<&str>>(column).or_fault();
    let (outcome, version) = outcome_of(row)?;
    let hash = row.try_get::<_, &[u8]>(17).or_fault()?;
    let hash = hash.try_into().map_err(|_| damaged("a key has no hash of 128 bits"))?;
    let Stamp(recorded_at) = row.try_get(13).or_fault()?;
    let Stamp(occurred_at) = row.try_get(14).or_fault()?;
    let header = CommandHeader {
        id: CommandId::from_stored(text(0)?),
        stream: stream_of(row)?,
        name: text(4)?.to_owned(),
        hash: InputHash(hash),
        actor: Actor::from_stored(text(5)?),
        correlation: some(7)?.map(CorrelationId::from_stored),
        causation: some(8)?.map(CausationId::from_stored),
        policy: some(6)?.map(|version| PolicyVersion(version.to_owned().into())),
        occurred_at,
    };
    Ok(CommandRecord { header, outcome, version, token: mark.token, recorded_at })
}

/// What became of a command, and the version after it. Ledger and audit read these columns in one order.
pub(crate) fn outcome_of(row: &Row) -> Result<(Outcome, Version), Fault> {
    let some = |column: usize| row.try_get::<_, Option<&str>>(column).or_fault();
    let missing = || damaged("a rejection has lost its name or its data");
    let (version, events) = (unsigned(row, 10)?, row.try_get::<_, i32>(11).or_fault()?);
    let outcome = match row.try_get::<_, i16>(9).or_fault()? {
        ACCEPTED => {
            Outcome::Accepted { base: Version(version.saturating_sub(u64::from(events.unsigned_abs()))) }
        }
        REJECTED => Outcome::Rejected {
            name: some(15)?.ok_or_else(missing)?.to_owned(),
            data: some(16)?.ok_or_else(missing)?.to_owned(),
        },
        REFUSED_CONFLICT => Outcome::Refused(RefusedFor::Conflict),
        _ => Outcome::Refused(RefusedFor::Forbidden),
    };
    Ok((outcome, Version(version)))
}

/// The stream that a command was for.
pub(crate) fn stream_of(row: &Row) -> Result<StreamRef, Fault> {
    let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
    let stream =
        StreamId { category: Category::from_stored(text(2)?), key: StreamKey::from_stored(text(3)?) };
    Ok(StreamRef { tenant: Tenant::from_stored(text(1)?), stream })
}

/// Under the lock of the head, so that two sweeps do not meet.
const SELECT_SWEPT: &str = "SELECT keys_swept FROM diptych.head FOR UPDATE";
/// Refusals among the old commands claim nothing; they are passed over. The sweep waits at a key that the
/// queue still needs.
const DELETE_KEYS: &str = "WITH old AS (\
        SELECT command.id, command.command_id, stream.tenant FROM diptych.command \
        JOIN diptych.stream ON stream.id = command.stream \
        WHERE command.id > $1 AND command.recorded_at < $2 AND command.id < coalesce(( \
            SELECT min(command_key.command) FROM diptych.queued_command \
            JOIN diptych.tenant ON tenant.name = queued_command.tenant \
            JOIN diptych.command_key ON command_key.tenant = tenant.id \
                AND command_key.command_id = queued_command.command_id \
            WHERE queued_command.state < 2 OR queued_command.state = 4), 9223372036854775807) \
        ORDER BY command.id LIMIT $3), \
    freed AS (DELETE FROM diptych.command_key USING old \
        WHERE command_key.tenant = old.tenant AND command_key.command_id = old.command_id \
            AND command_key.command = old.id \
        RETURNING 1), \
    swept AS (UPDATE diptych.head SET keys_swept = (SELECT max(id) FROM old) \
        WHERE EXISTS (SELECT 1 FROM old)) \
    SELECT (SELECT count(*) FROM freed), (SELECT count(*) FROM old)";

/// Frees the oldest keys claimed before a time, at most so many. Commands are in order of time, so the
/// sweep goes on where the last one ended.
pub(crate) async fn expire(shared: &Shared, before: Timestamp, keys_max: usize) -> Result<usize, Fault> {
    let mut freed = 0;
    loop {
        let left = keys_max - freed;
        let mut connection = shared.models().await?;
        let transaction = connection.transaction().await.or_fault()?;
        transaction.batch_execute(&shared.limits.settings()).await.or_fault()?;
        let swept = transaction.query_typed_one(&shared.sql(SELECT_SWEPT), &[]).await.or_fault()?;
        let swept: i64 = swept.try_get(0).or_fault()?;
        let limit = i64::try_from(left).unwrap_or(i64::MAX);
        let asked: [Parameter<'_>; 3] =
            [(&swept, Type::INT8), (&Stamp(before), Type::TIMESTAMPTZ), (&limit, Type::INT8)];
        let row = transaction.query_typed_one(&shared.sql(DELETE_KEYS), &asked).await.or_fault()?;
        transaction.commit().await.or_fault()?;
        let (gone, seen) = (unsigned(&row, 0)?, unsigned(&row, 1)?);
        freed += usize::try_from(gone).unwrap_or(left).min(left);
        if freed == keys_max || seen < left as u64 {
            return Ok(freed);
        }
    }
}
