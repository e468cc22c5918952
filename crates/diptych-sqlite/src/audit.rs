//! The audit, newest first, by whatever holds of its rows. Writing a row is the writer's.

use crate::fault::OrFault;
use crate::ledger::{
    ACCEPTED, REFUSED_CONFLICT, REFUSED_FORBIDDEN, REJECTED, StoredId, StoredText, outcome_of, stream_of,
};
use diptych_command::{AuditEntry, AuditFilter, AuditOutcome, AuditPage, AuditPlace, AuditQuery};
use diptych_core::{
    Actor, Category, CausationId, CommandId, CorrelationId, Fault, PolicyVersion, Position, StreamKey,
    Tenant, Timestamp,
};
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

/// Where a command appended events, its times are those of the event at its position.
const SELECT_AUDIT: &str = "SELECT \
        command.command_id, tenant.name, category.name, stream.key, command_name.name, \
        actor.name, policy.name, \
        command.correlation, command.causation, command.outcome, command.version, \
        command.events, command.position, \
        coalesce(command.recorded_at, event.recorded_at), \
        coalesce(command.occurred_at, command.recorded_at, event.occurred_at, event.recorded_at), \
        command.rejection, command.data, command.id \
    FROM command \
    JOIN stream ON stream.id = command.stream \
    JOIN tenant ON tenant.id = stream.tenant \
    JOIN category ON category.id = stream.category \
    JOIN command_name ON command_name.id = command.name \
    JOIN actor ON actor.id = command.actor \
    LEFT JOIN policy ON policy.id = command.policy \
    LEFT JOIN event ON event.position = command.position AND command.events > 0 \
    WHERE tenant.name = ?";
const BEFORE: &str = " AND command.id < ?";
const BY_ID: &str = " AND command.command_id = ?";
const BY_ACTOR: &str = " AND command.actor = (SELECT id FROM actor WHERE name = ?)";
const BY_CATEGORY: &str = " AND stream.category = (SELECT id FROM category WHERE name = ?)";
const BY_KEY: &str = " AND stream.key = ?";
const BY_NAME: &str = " AND command.name = (SELECT id FROM command_name WHERE name = ?)";
const BY_OUTCOMES: &str = " AND command.outcome BETWEEN ? AND ?";
const SINCE: &str = " AND coalesce(command.recorded_at, event.recorded_at) >= ?";
const UNTIL: &str = " AND coalesce(command.recorded_at, event.recorded_at) < ?";
const BY_CORRELATION: &str = " AND command.correlation = ?";
const BY_CAUSATION: &str = " AND command.causation IN (";
const NEWEST_FIRST: &str = " ORDER BY command.id DESC LIMIT ?";

/// A statement in the making.
struct Draft<'a> {
    sql: String,
    values: Vec<Box<dyn ToSql + 'a>>,
}

impl<'a> Draft<'a> {
    fn add<T: ToSql + 'a>(&mut self, condition: &str, values: impl IntoIterator<Item = T>) {
        self.sql.push_str(condition);
        self.values.extend(values.into_iter().map(|value| Box::new(value) as Box<dyn ToSql>));
    }

    fn add_some<T: ToSql + 'a>(&mut self, condition: &str, value: Option<T>) {
        if let Some(value) = value {
            self.add(condition, [value]);
        }
    }
}

/// Rows of one tenant, newest first.
pub(crate) fn audited(connection: &Connection, query: &AuditQuery) -> Result<AuditPage, Fault> {
    let AuditQuery { tenant, filter, before, rows_max } = query;
    let Draft { sql, values } = draft(tenant, filter, *before, *rows_max);
    let mut statement = connection.prepare_cached(&sql).or_fault()?;
    let values: Vec<&dyn ToSql> = values.iter().map(|value| &**value).collect();
    let rows = statement.query_map(&values[..], entry).or_fault()?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>().or_fault()?;
    Ok(AuditPage::of(rows, *rows_max))
}

fn draft<'a>(
    tenant: &'a Tenant,
    filter: &'a AuditFilter,
    before: Option<AuditPlace>,
    rows_max: usize,
) -> Draft<'a> {
    let mut draft = Draft { sql: String::new(), values: Vec::new() };
    draft.add(SELECT_AUDIT, [tenant.as_str()]);
    draft.add_some(BEFORE, before.map(|place| place.0.cast_signed()));
    draft.add_some(BY_ID, filter.id.as_ref().map(|id| StoredId::of(id.as_str())));
    draft.add_some(BY_ACTOR, filter.actor.as_ref().map(Actor::as_str));
    draft.add_some(BY_CATEGORY, filter.category.as_ref().map(Category::as_str));
    draft.add_some(BY_KEY, filter.key.as_ref().map(StreamKey::as_str));
    draft.add_some(BY_NAME, filter.command.as_deref());
    if let Some(outcome) = filter.outcome {
        draft.add(BY_OUTCOMES, outcomes(outcome));
    }
    draft.add_some(SINCE, filter.since.map(Timestamp::as_micros));
    draft.add_some(UNTIL, filter.until.map(Timestamp::as_micros));
    draft.add_some(BY_CORRELATION, filter.correlation.as_ref().map(|id| StoredId::of(id.as_str())));
    if !filter.causation.is_empty() {
        draft.add(BY_CAUSATION, filter.causation.iter().map(|id| StoredId::of(id.as_str())));
        draft.sql.push_str(&vec!["?"; filter.causation.len()].join(", "));
        draft.sql.push(')');
    }
    draft.add(NEWEST_FIRST, [i64::try_from(rows_max.saturating_add(1)).unwrap_or(i64::MAX)]);
    draft
}

/// The first and the last number of an outcome.
fn outcomes(outcome: AuditOutcome) -> [i64; 2] {
    match outcome {
        AuditOutcome::Accepted => [ACCEPTED; 2],
        AuditOutcome::Rejected => [REJECTED; 2],
        AuditOutcome::Conflict => [REFUSED_CONFLICT; 2],
        AuditOutcome::Forbidden => [REFUSED_FORBIDDEN; 2],
        AuditOutcome::Refused => [REFUSED_CONFLICT, REFUSED_FORBIDDEN],
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(AuditPlace, AuditEntry)> {
    let text = |column: usize| row.get::<_, String>(column);
    let id = |column: usize| row.get::<_, Option<StoredText>>(column);
    let (outcome, version) = outcome_of(row)?;
    let entry = AuditEntry {
        id: CommandId::from_stored(row.get::<_, StoredText>(0)?.0),
        stream: stream_of(row)?,
        command: text(4)?,
        actor: Actor::from_stored(text(5)?),
        correlation: id(7)?.map(|id| CorrelationId::from_stored(id.0)),
        causation: id(8)?.map(|id| CausationId::from_stored(id.0)),
        policy: row.get::<_, Option<String>>(6)?.map(|version| PolicyVersion(version.into())),
        outcome,
        version,
        position: Position(row.get::<_, i64>(12)?.cast_unsigned()),
        occurred_at: Timestamp::from_stored(row.get(14)?),
        recorded_at: Timestamp::from_stored(row.get(13)?),
    };
    Ok((AuditPlace(row.get::<_, i64>(17)?.cast_unsigned()), entry))
}
