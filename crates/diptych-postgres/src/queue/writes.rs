//! What changes the queue: each change is one statement, and so one transaction, which waits for no other
//! writer but those of its own row, or of its own stream.

use super::{entry, rows};
use crate::PostgresStore;
use crate::fault::{OrFault, is_lost, storage};
use crate::log::Parameter;
use crate::time::Stamp;
use diptych_command::{
    Claim, ClaimError, ClaimedCommand, CommandRef, Ending, EnqueueError, Enqueued, Holder, QueueState,
    QueueStatus, QueuedCommand, Revived, Trouble,
};
use diptych_core::{ExpectedVersion, Fault, StreamRef};
use std::time::Duration;
use tokio_postgres::types::Type;

/// The number is drawn under the lock of the stream, which ends with the commit: of two commands of one
/// stream the one with the lower number is seen first. The reach of the numbers is at least the count of
/// what is unfinished, so that nothing is counted while there is plenty of room.
const ENQUEUE: &str = "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended($14, 0))), \
    room AS MATERIALIZED (SELECT CASE WHEN coalesce( \
            (SELECT max(number) FROM diptych.queued_command) \
            - (SELECT min(number) FROM diptych.queued_command WHERE state < 2) + 1, 0) < $13 THEN true \
        ELSE (SELECT count(*) FROM (SELECT 1 FROM diptych.queued_command WHERE state < 2 LIMIT $13) AS \
        open) < $13 \
        END AS is_left FROM locked) \
    INSERT INTO diptych.queued_command (number, tenant, command_id, category, key, name, body, hash, actor, \
        expected, correlation, causation, occurred_at, state, attempts, changes, claim, due_at, accepted_at, \
        claims) \
    SELECT nextval('diptych.queued_command_number'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
        0, 0, 1, 0, now, now, $15 \
    FROM room, clock_timestamp() AS now WHERE is_left \
    ON CONFLICT (tenant, command_id) DO NOTHING";

pub(super) async fn enqueue(
    store: &PostgresStore,
    command: &QueuedCommand,
    commands_max: u64,
) -> Result<Enqueued, EnqueueError> {
    let fault = EnqueueError::Fault;
    let client = store.queue.get().await.map_err(fault)?;
    let (stream, lock) = (&command.stream, lock_of(store, &command.stream));
    let expected = match command.expected {
        ExpectedVersion::Any => None,
        ExpectedVersion::Exactly(version) => Some(version.0.cast_signed()),
    };
    let most = i64::try_from(commands_max).unwrap_or(i64::MAX);
    let row: [Parameter<'_>; 15] = [
        (&stream.tenant.as_str(), Type::TEXT),
        (&command.id.as_str(), Type::TEXT),
        (&stream.stream.category.as_str(), Type::TEXT),
        (&stream.stream.key.as_str(), Type::TEXT),
        (&command.command.name, Type::TEXT),
        (&command.command.body, Type::TEXT),
        (&command.hash.0.as_slice(), Type::BYTEA),
        (&command.actor.as_str(), Type::TEXT),
        (&expected, Type::INT8),
        (&command.correlation.as_ref().map(|id| id.as_str()), Type::TEXT),
        (&command.causation.as_ref().map(|id| id.as_str()), Type::TEXT),
        (&Stamp(command.occurred_at), Type::TIMESTAMPTZ),
        (&most, Type::INT8),
        (&lock, Type::TEXT),
        (&command.claims.to_stored(), Type::TEXT),
    ];
    let sql = rows::returning(ENQUEUE);
    let inserted = match client.query_typed_opt(&store.shared.sql(&sql), &row).await {
        Ok(inserted) => inserted,
        // It may have been committed before the connection went.
        Err(error) if is_lost(&error) => return Err(EnqueueError::Indeterminate),
        Err(error) => return Err(fault(storage(error))),
    };
    if let Some(row) = inserted {
        return rows::entry(&row).map(Enqueued::New).map_err(fault);
    }
    match entry(&client, store, &command.reference()).await.map_err(fault)? {
        Some(known) if known.command.hash == command.hash => Ok(Enqueued::Known(known)),
        Some(_) => Err(EnqueueError::KeyReused),
        None => Err(EnqueueError::Full),
    }
}

/// What is locked for a stream. Two streams whose texts hash alike wait for each other, and that is all.
fn lock_of(store: &PostgresStore, stream: &StreamRef) -> String {
    format!("diptych queue {}\n{}\n{}", store.shared.schema.name(), stream.tenant, stream.stream)
}

/// The first unfinished command of each stream, of those that nobody holds and whose time has come. One
/// that was claimed since the statement began is held against what it has become, and passed over.
const CLAIM: &str = "WITH due AS MATERIALIZED (SELECT number FROM diptych.queued_command \
        WHERE state < 2 AND due_at <= clock_timestamp() AND number IN (SELECT min(number) \
            FROM diptych.queued_command WHERE state < 2 GROUP BY tenant, category, key) \
        ORDER BY number LIMIT $3 FOR UPDATE SKIP LOCKED) \
    UPDATE diptych.queued_command SET state = 1, claim = claim + 1, attempts = attempts + 1, \
        changes = changes + 1, holder = $1, started_at = clock_timestamp(), next_attempt_at = NULL, \
        due_at = clock_timestamp() + make_interval(secs => $2) \
    FROM due WHERE queued_command.number = due.number";

pub(super) async fn claim(
    store: &PostgresStore,
    holder: &Holder,
    lasting: Duration,
    most: i64,
) -> Result<Vec<ClaimedCommand>, Fault> {
    let (holder, seconds) = (holder.as_str(), lasting.as_secs_f64());
    let asked: [Parameter<'_>; 3] = [(&holder, Type::TEXT), (&seconds, Type::FLOAT8), (&most, Type::INT8)];
    let client = store.queue.get().await?;
    let sql = rows::returning(CLAIM);
    let claimed = client.query_typed(&store.shared.sql(&sql), &asked).await.or_fault()?;
    let mut claimed = claimed.iter().map(rows::claimed).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by_key(|(number, _)| *number);
    Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
}

/// What a claim still holds.
const HELD: &str = "WHERE tenant = $1 AND command_id = $2 AND claim = $3 AND state = 1";
const FINISH: &str = "UPDATE diptych.queued_command SET state = $4, changes = changes + 1, holder = NULL, \
    next_attempt_at = NULL, ended_at = clock_timestamp(), version = $5, position = $6, epoch = $7, \
    fingerprint = $8, rejection = $9, data = $10, code = $11, message = $12";
const RETRY: &str = "UPDATE diptych.queued_command SET state = 0, changes = changes + 1, holder = NULL, \
    due_at = clock_timestamp() + make_interval(secs => $4), \
    next_attempt_at = clock_timestamp() + make_interval(secs => $4), code = $5, message = $6";

/// Changes what a claim holds.
async fn change_held(
    store: &PostgresStore,
    change: &str,
    claim: &Claim,
    values: &[Parameter<'_>],
) -> Result<(), ClaimError> {
    let (tenant, id) = (claim.command.tenant.as_str(), claim.command.id.as_str());
    let number = claim.number.0.cast_signed();
    let mut row: Vec<Parameter<'_>> = vec![(&tenant, Type::TEXT), (&id, Type::TEXT), (&number, Type::INT8)];
    row.extend_from_slice(values);
    let client = store.queue.get().await?;
    let sql = format!("{change} {HELD}");
    let changed = client.execute_typed(&store.shared.sql(&sql), &row).await.or_fault()?;
    if changed == 0 { Err(ClaimError::Fenced) } else { Ok(()) }
}

pub(super) async fn finish(store: &PostgresStore, claim: &Claim, ending: &Ending) -> Result<(), ClaimError> {
    let (mut version, mut token, mut rejection, mut trouble) = (None, None, None, None);
    match ending {
        Ending::Succeeded { version: at, token: of } => {
            (version, token) = (Some(at.0.cast_signed()), Some(of));
        }
        Ending::Rejected { name, data } => rejection = Some((name, data)),
        Ending::Failed(of) => trouble = Some(of),
    }
    let state = QueueState::Ended(ending.clone()).status().number();
    let values: [Parameter<'_>; 9] = [
        (&state, Type::INT2),
        (&version, Type::INT8),
        (&token.map(|token| token.position.0.cast_signed()), Type::INT8),
        (&token.map(|token| i64::from(token.epoch.0)), Type::INT8),
        (&token.map(|token| i64::from(token.fingerprint.0)), Type::INT8),
        (&rejection.map(|(name, _)| name), Type::TEXT),
        (&rejection.map(|(_, data)| data), Type::TEXT),
        (&trouble.map(|trouble| trouble.code.as_str()), Type::TEXT),
        (&trouble.map(|trouble| &trouble.message), Type::TEXT),
    ];
    change_held(store, FINISH, claim, &values).await
}

pub(super) async fn retry(
    store: &PostgresStore,
    claim: &Claim,
    trouble: &Trouble,
    pause: Duration,
) -> Result<(), ClaimError> {
    let values: [Parameter<'_>; 3] = [
        (&pause.as_secs_f64(), Type::FLOAT8),
        (&trouble.code.as_str(), Type::TEXT),
        (&trouble.message, Type::TEXT),
    ];
    change_held(store, RETRY, claim, &values).await
}

/// The claims that come as three arrays, and what they still hold.
const CLAIMS: &str = "FROM unnest($1, $2, $3) AS held (tenant, command_id, claim) \
    WHERE queued_command.tenant = held.tenant AND queued_command.command_id = held.command_id \
        AND queued_command.claim = held.claim AND state = 1";
const PROLONG: &str = "UPDATE diptych.queued_command \
    SET due_at = clock_timestamp() + make_interval(secs => $4)";
const PROLONGED: &str = "RETURNING queued_command.tenant, queued_command.command_id, queued_command.claim";
const RELEASE: &str = "UPDATE diptych.queued_command SET state = 0, changes = changes + 1, holder = NULL, \
    due_at = clock_timestamp(), attempts = attempts - 1";

pub(super) async fn prolong(
    store: &PostgresStore,
    claims: &[Claim],
    lasting: Duration,
) -> Result<Vec<Claim>, Fault> {
    let sql = format!("{PROLONG} {CLAIMS} {PROLONGED}");
    let (tenants, ids, numbers) = arrays(claims);
    let asked: [Parameter<'_>; 4] = [
        (&tenants, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&lasting.as_secs_f64(), Type::FLOAT8),
    ];
    let client = store.queue.get().await?;
    let held = client.query_typed(&store.shared.sql(&sql), &asked).await.or_fault()?;
    let held: Result<Vec<(String, String, _)>, Fault> = held
        .iter()
        .map(|row| Ok((row.try_get(0).or_fault()?, row.try_get(1).or_fault()?, rows::number(row, 2)?)))
        .collect();
    let held = held?;
    let still = |claim: &&Claim| {
        let CommandRef { tenant, id } = &claim.command;
        held.iter().any(|(of, held_id, number)| {
            (of.as_str(), held_id.as_str(), *number) == (tenant.as_str(), id.as_str(), claim.number)
        })
    };
    Ok(claims.iter().filter(still).cloned().collect())
}

pub(super) async fn release(store: &PostgresStore, claims: &[Claim]) -> Result<(), Fault> {
    let sql = format!("{RELEASE} {CLAIMS}");
    let (tenants, ids, numbers) = arrays(claims);
    let asked: [Parameter<'_>; 3] =
        [(&tenants, Type::TEXT_ARRAY), (&ids, Type::TEXT_ARRAY), (&numbers, Type::INT8_ARRAY)];
    let client = store.queue.get().await?;
    client.execute_typed(&store.shared.sql(&sql), &asked).await.or_fault().map(drop)
}

fn arrays(claims: &[Claim]) -> (Vec<&str>, Vec<&str>, Vec<i64>) {
    let tenants = claims.iter().map(|claim| claim.command.tenant.as_str()).collect();
    let ids = claims.iter().map(|claim| claim.command.id.as_str()).collect();
    (tenants, ids, claims.iter().map(|claim| claim.number.0.cast_signed()).collect())
}

/// Behind everything that was accepted meanwhile, under the lock of the stream as if it came now.
const REVIVE: &str = "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended($3, 0))) \
    UPDATE diptych.queued_command SET number = nextval('diptych.queued_command_number'), state = 0, \
        attempts = 0, changes = changes + 1, ended_at = NULL, due_at = clock_timestamp(), code = NULL, \
        message = NULL \
    FROM locked WHERE tenant = $1 AND command_id = $2 AND state = 4";

pub(super) async fn revive(store: &PostgresStore, command: &CommandRef) -> Result<Revived, Fault> {
    let client = store.queue.get().await?;
    let Some(found) = entry(&client, store, command).await? else {
        return Ok(Revived::Unknown);
    };
    if found.status() != QueueStatus::Failed {
        return Ok(Revived::NotFailed(found.status()));
    }
    let lock = lock_of(store, &found.command.stream);
    let (tenant, id) = (command.tenant.as_str(), command.id.as_str());
    let asked: [Parameter<'_>; 3] = [(&tenant, Type::TEXT), (&id, Type::TEXT), (&lock, Type::TEXT)];
    let revived = client.execute_typed(&store.shared.sql(REVIVE), &asked).await.or_fault()?;
    // Another operator may have been faster, which comes to the same.
    if revived == 0 { Ok(Revived::NotFailed(QueueStatus::Accepted)) } else { Ok(Revived::Accepted) }
}

const SWEEP: &str = "WITH old AS MATERIALIZED (SELECT number FROM diptych.queued_command \
        WHERE state >= 2 AND ended_at < clock_timestamp() - make_interval(secs => $1) \
        ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
    DELETE FROM diptych.queued_command USING old WHERE queued_command.number = old.number";

pub(super) async fn sweep(store: &PostgresStore, kept_for: Duration, most: i64) -> Result<usize, Fault> {
    let asked: [Parameter<'_>; 2] = [(&kept_for.as_secs_f64(), Type::FLOAT8), (&most, Type::INT8)];
    let client = store.queue.get().await?;
    let swept = client.execute_typed(&store.shared.sql(SWEEP), &asked).await.or_fault()?;
    Ok(usize::try_from(swept).unwrap_or(usize::MAX))
}
