//! The audit, newest first, by whatever holds of its rows. Writing a row is the writer's.

use crate::fault::{OrFault, unsigned};
use crate::ledger::{ACCEPTED, REFUSED_CONFLICT, REFUSED_FORBIDDEN, REJECTED, outcome_of, stream_of};
use crate::log::Parameter;
use crate::shared::Shared;
use crate::time::Stamp;
use diptych_command::{AuditEntry, AuditFilter, AuditOutcome, AuditPage, AuditPlace, AuditQuery};
use diptych_core::{
    Actor, Category, CausationId, CommandId, CorrelationId, Fault, PolicyVersion, Position, StreamKey,
};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

const SELECT_AUDIT: &str = "SELECT \
        command.command_id, tenant.name, category.name, stream.key, command_name.name, \
        actor.name, policy.name, command.correlation, command.causation, command.outcome, \
        command.version, command.events, command.position, command.recorded_at, \
        coalesce(command.occurred_at, command.recorded_at), command.rejection, command.data, \
        command.id \
    FROM diptych.command \
    JOIN diptych.stream ON stream.id = command.stream \
    JOIN diptych.tenant ON tenant.id = stream.tenant \
    JOIN diptych.category ON category.id = stream.category \
    JOIN diptych.command_name ON command_name.id = command.name \
    JOIN diptych.actor ON actor.id = command.actor \
    LEFT JOIN diptych.policy ON policy.id = command.policy \
    WHERE tenant.name = ?";
const BEFORE: &str = " AND command.id < ?";
const BY_ID: &str = " AND command.command_id = ?";
const BY_ACTOR: &str = " AND command.actor = (SELECT id FROM diptych.actor WHERE name = ?)";
const BY_CATEGORY: &str = " AND stream.category = (SELECT id FROM diptych.category WHERE name = ?)";
const BY_KEY: &str = " AND stream.key = ?";
const BY_NAME: &str = " AND command.name = (SELECT id FROM diptych.command_name WHERE name = ?)";
const FROM_OUTCOME: &str = " AND command.outcome >= ?";
const TO_OUTCOME: &str = " AND command.outcome <= ?";
const SINCE: &str = " AND command.recorded_at >= ?";
const UNTIL: &str = " AND command.recorded_at < ?";
const BY_CORRELATION: &str = " AND command.correlation = ?";
const BY_CAUSATION: &str = " AND command.causation = ANY(?)";
const NEWEST_FIRST: &str = " ORDER BY command.id DESC LIMIT ?";

/// A statement in the making; each `?` of its conditions becomes the number of its value.
#[derive(Default)]
struct Draft {
    sql: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Draft {
    fn add<T: ToSql + Sync + Send + 'static>(&mut self, condition: &str, kind: Type, value: T) {
        self.values.push((Box::new(value), kind));
        self.sql.push_str(&condition.replace('?', &format!("${}", self.values.len())));
    }

    fn text(&mut self, condition: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.add(condition, Type::TEXT, text.to_owned());
        }
    }
}

/// Rows of one tenant, newest first.
pub(crate) async fn audited(
    client: &Client,
    shared: &Shared,
    query: &AuditQuery,
) -> Result<AuditPage, Fault> {
    let Draft { sql, values } = draft(query);
    let asked: Vec<Parameter<'_>> =
        values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
    let rows = client.query_typed(&shared.sql(&sql), &asked).await.or_fault()?;
    let rows: Vec<_> = rows.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(AuditPage::of(rows, query.rows_max))
}

fn draft(query: &AuditQuery) -> Draft {
    let AuditQuery { tenant, filter, before, rows_max } = query;
    let AuditFilter { id, actor, category, key, command, outcome, .. } = filter;
    let AuditFilter { since, until, correlation, causation, .. } = filter;
    let mut draft = Draft::default();
    draft.text(SELECT_AUDIT, Some(tenant.as_str()));
    if let Some(place) = before {
        draft.add(BEFORE, Type::INT8, place.0.cast_signed());
    }
    draft.text(BY_ID, id.as_ref().map(CommandId::as_str));
    draft.text(BY_ACTOR, actor.as_ref().map(Actor::as_str));
    draft.text(BY_CATEGORY, category.as_ref().map(Category::as_str));
    draft.text(BY_KEY, key.as_ref().map(StreamKey::as_str));
    draft.text(BY_NAME, command.as_deref());
    if let Some(outcome) = outcome {
        let [first, last] = outcomes(*outcome);
        draft.add(FROM_OUTCOME, Type::INT2, first);
        draft.add(TO_OUTCOME, Type::INT2, last);
    }
    for (condition, time) in [(SINCE, since), (UNTIL, until)] {
        if let Some(time) = time {
            draft.add(condition, Type::TIMESTAMPTZ, Stamp(*time));
        }
    }
    draft.text(BY_CORRELATION, correlation.as_ref().map(CorrelationId::as_str));
    if !causation.is_empty() {
        let ids: Vec<String> = causation.iter().map(|id| id.as_str().to_owned()).collect();
        draft.add(BY_CAUSATION, Type::TEXT_ARRAY, ids);
    }
    let rows = i64::try_from(rows_max.saturating_add(1)).unwrap_or(i64::MAX);
    draft.add(NEWEST_FIRST, Type::INT8, rows);
    draft
}

/// The first and the last number of an outcome.
fn outcomes(outcome: AuditOutcome) -> [i16; 2] {
    match outcome {
        AuditOutcome::Accepted => [ACCEPTED; 2],
        AuditOutcome::Rejected => [REJECTED; 2],
        AuditOutcome::Conflict => [REFUSED_CONFLICT; 2],
        AuditOutcome::Forbidden => [REFUSED_FORBIDDEN; 2],
        AuditOutcome::Refused => [REFUSED_CONFLICT, REFUSED_FORBIDDEN],
    }
}

fn entry(row: &Row) -> Result<(AuditPlace, AuditEntry), Fault> {
    let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
    let some = |column: usize| row.try_get::<_, Option<&str>>(column).or_fault();
    let (outcome, version) = outcome_of(row)?;
    let Stamp(recorded_at) = row.try_get(13).or_fault()?;
    let Stamp(occurred_at) = row.try_get(14).or_fault()?;
    let entry = AuditEntry {
        id: CommandId::from_stored(text(0)?),
        stream: stream_of(row)?,
        command: text(4)?.to_owned(),
        actor: Actor::from_stored(text(5)?),
        correlation: some(7)?.map(CorrelationId::from_stored),
        causation: some(8)?.map(CausationId::from_stored),
        policy: some(6)?.map(|version| PolicyVersion(version.to_owned().into())),
        outcome,
        version,
        position: Position(unsigned(row, 12)?),
        occurred_at,
        recorded_at,
    };
    Ok((AuditPlace(unsigned(row, 17)?), entry))
}
