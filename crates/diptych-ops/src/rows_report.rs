//! Parked keys, incidents, patrols and the history of a row, looked at.

use crate::actions::{find_model, group_of};
use crate::report::{cell_text, cut, table};
use crate::{ActionError, Operator, Report};
use diptych_core::{Metadata, Position, RawFact, Timestamp};
use diptych_projector::{Incident, IncidentStatus, PatrolState, RowName, Skip};
use diptych_query::{Correction, Group, Parked, Touch, key_from_text};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

/// How many facts of a row's history are shown: the last ones.
const HISTORY_FACTS_MAX: usize = 1_000;

/// How many positions of the log are read at once.
const BLOCK_POSITIONS: usize = 10_000;

/// A parked key.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedReport {
    /// The group.
    pub group: String,
    /// The row.
    #[serde(flatten)]
    pub row: RowName,
    /// The fact that it waits at.
    pub position: Position,
    /// Its type.
    pub event: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
}

/// Parked keys, and what rows were told to pass over.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedListReport {
    /// The keys, in order of position.
    pub parked: Vec<ParkedReport>,
    /// Facts that rows pass over, and who ordered so.
    pub skipped: Vec<Skip>,
}

/// Incidents, and how far patrols have come.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// The incidents, the last changed first.
    pub incidents: Vec<Incident>,
    /// The patrols, by group.
    pub patrols: Vec<PatrolState>,
}

impl DriftReport {
    /// Whether no incident is open.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.incidents.iter().all(|incident| incident.status != IncidentStatus::Open)
    }
}

/// A fact that touched a row.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TouchReport {
    /// Its place in the log.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its type.
    pub r#type: String,
    /// Its stream.
    pub stream: String,
    /// Who acted; none where the metadata cannot be read.
    pub actor: Option<String>,
    /// What a person corrected, and why; none for other facts.
    pub correction: Option<Correction>,
    /// Whether it was routed by the value of a column: it touched this row if the row held that value then.
    pub perhaps: bool,
}

/// Which facts touched a row.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowHistoryReport {
    /// The row.
    #[serde(flatten)]
    pub row: RowName,
    /// The facts, in order; the last of them where there are too many.
    pub facts: Vec<TouchReport>,
    /// Whether there are older ones that are not shown.
    pub more: bool,
}

pub(crate) fn parked_line(parked: &Parked) -> String {
    let row = RowName::of_parked(parked);
    format!("{row} at position {} (`{}`): {}", parked.position, parked.event, parked.reason)
}

pub(crate) fn incident_line(incident: &Incident) -> String {
    let columns: Vec<_> =
        incident.differences.iter().map(|it| it.column.as_deref().unwrap_or("row")).collect();
    format!("{}: {}", incident.subject, columns.join(", "))
}

/// The keys that are held back, of one model's group or of all.
///
/// # Errors
/// An unknown name, or a fault.
pub async fn list_parked(operator: &Operator<'_>, name: Option<&str>) -> Result<Report, ActionError> {
    let groups = match name {
        Some(name) => vec![group_of(operator, name)?.name()],
        None => {
            let mut all: Vec<_> = operator.queries.models().map(|(_, group)| group.name()).collect();
            all.sort_unstable();
            all.dedup();
            all
        }
    };
    let (mut parked, mut skipped) = (Vec::new(), Vec::new());
    for group in groups {
        parked.extend(operator.projector.parked(group).await?.iter().map(|held| ParkedReport {
            group: group.to_owned(),
            row: RowName::of_parked(held),
            position: held.position,
            event: held.event.clone(),
            reason: held.reason.clone(),
            parked_at: held.parked_at,
        }));
        skipped.extend(operator.projector.skipped(group).await?);
    }
    Ok(Report::Parked(ParkedListReport { parked, skipped }))
}

/// One parked key.
///
/// # Errors
/// An unknown name, a key that is not parked, or a fault.
pub async fn show_parked(operator: &Operator<'_>, name: &str, key: &str) -> Result<Report, ActionError> {
    let (group, row) = row_named(operator, name, key)?;
    let held = operator.projector.parked(group.name()).await?;
    let Some(held) = held.iter().find(|held| RowName::of_parked(held) == row) else {
        return Err(ActionError::Argument { reason: format!("row {row} is not parked") });
    };
    let one = ParkedReport {
        group: group.name().to_owned(),
        row,
        position: held.position,
        event: held.event.clone(),
        reason: held.reason.clone(),
        parked_at: held.parked_at,
    };
    Ok(Report::Parked(ParkedListReport { parked: vec![one], skipped: Vec::new() }))
}

/// The incidents, the last changed first, and how far patrols have come.
///
/// # Errors
/// A fault.
pub async fn list_drift(operator: &Operator<'_>, most: usize) -> Result<Report, ActionError> {
    let incidents = operator.projector.incidents(most).await?;
    Ok(Report::Drift(DriftReport { incidents, patrols: operator.projector.patrols().await? }))
}

/// One incident with its evidence.
///
/// # Errors
/// An unknown id, or a fault.
pub async fn show_drift(operator: &Operator<'_>, id: &str) -> Result<Report, ActionError> {
    Ok(Report::Incident(Box::new(operator.projector.incident(id).await?)))
}

/// Passes over a group, or over all, comparing rows with the log now.
///
/// # Errors
/// An unknown name, a fact that cannot be folded, or a fault.
pub async fn patrol(operator: &Operator<'_>, name: Option<&str>) -> Result<Report, ActionError> {
    let mut groups: Vec<_> = match name {
        Some(name) => vec![group_of(operator, name)?.name()],
        None => operator.queries.models().map(|(_, group)| group.name()).collect(),
    };
    groups.sort_unstable();
    groups.dedup();
    let (mut incidents, mut patrols) = (Vec::new(), Vec::new());
    for group in groups {
        let (state, found) = operator.projector.patrol_now(group).await?;
        patrols.push(state);
        incidents.extend(found);
    }
    Ok(Report::Drift(DriftReport { incidents, patrols }))
}

/// Which facts touched a row, corrections among them.
///
/// # Errors
/// An unknown name, a key that does not fit, a fact that cannot be read, or a fault.
pub async fn row_history(operator: &Operator<'_>, name: &str, key: &str) -> Result<Report, ActionError> {
    let (group, row) = row_named(operator, name, key)?;
    let (model, _) = find_model(operator, name)?;
    let Some((_, wanted)) = row.resolve(group) else {
        return Err(ActionError::Argument { reason: format!("there can be no row {row}") });
    };
    let (mut facts, mut more, mut after) = (VecDeque::new(), false, Position::START);
    loop {
        let block = operator.feed.read(after, group.categories(), BLOCK_POSITIONS).await?;
        let tenants = model.schema().tenants;
        let own = |raw: &&Arc<RawFact>| *tenants.owner(&raw.stream.tenant) == wanted.tenant;
        for raw in block.facts.iter().filter(own) {
            let touches =
                model.routed(raw).map_err(|error| ActionError::Argument { reason: error.to_string() })?;
            let named = touches.iter().any(|touch| matches!(touch, Touch::Row(key) if *key == wanted.key));
            let perhaps = !named && touches.iter().any(|touch| matches!(touch, Touch::Where { .. }));
            if named || perhaps {
                facts.push_back(touch_report(raw, perhaps));
            }
            if facts.len() > HISTORY_FACTS_MAX {
                facts.pop_front();
                more = true;
            }
        }
        let reached = block.through.position();
        if reached >= block.head || reached == after {
            break;
        }
        after = reached;
    }
    Ok(Report::RowHistory(RowHistoryReport { row, facts: facts.into(), more }))
}

fn touch_report(raw: &RawFact, perhaps: bool) -> TouchReport {
    let metadata: Option<Metadata> = serde_json::from_str(&raw.metadata).ok();
    TouchReport {
        position: raw.position,
        recorded_at: raw.recorded_at,
        r#type: raw.event.name.to_string(),
        stream: raw.stream.stream.to_string(),
        actor: metadata.map(|metadata| metadata.actor.as_str().to_owned()),
        correction: Correction::of(raw).ok().flatten(),
        perhaps,
    }
}

/// The row of a model by the text of its key, `/` between the parts.
pub(crate) fn row_named<'a>(
    operator: &'a Operator<'_>,
    name: &str,
    key: &str,
) -> Result<(&'a Arc<Group>, RowName), ActionError> {
    let (model, group) = find_model(operator, name)?;
    let schema = model.schema();
    // A key of one column may hold the sign.
    let parts: Vec<_> = if schema.key.len() == 1 { vec![key] } else { key.split('/').collect() };
    let key = key_from_text(schema, &parts)?;
    let key = key.iter().map(diptych_core::Value::to_json).collect();
    let tenant = schema.tenants.owner(&operator.principal.tenant).clone();
    Ok((group, RowName { model: schema.name.to_owned(), tenant, key }))
}

pub(crate) fn parked_text(report: &ParkedListReport) -> String {
    let mut keys = table(&["model", "key", "position", "fact", "since", "why"]);
    for ParkedReport { row, position, event, reason, parked_at, .. } in &report.parked {
        keys.add_row(vec![
            row.model.clone(),
            key_text(row),
            position.to_string(),
            event.clone(),
            parked_at.to_string(),
            reason.clone(),
        ]);
    }
    let mut text = if report.parked.is_empty() { "no key is parked".to_owned() } else { keys.to_string() };
    for Skip { row, position, event, actor, reason, .. } in &report.skipped {
        let _ =
            write!(text, "\npasses over `{event}` at position {position}: row {row}, by {actor}: {reason}");
    }
    text
}

fn key_text(row: &RowName) -> String {
    row.key.iter().map(cell_text).collect::<Vec<_>>().join("/")
}

pub(crate) fn drift_text(report: &DriftReport) -> String {
    let mut table = table(&["incident", "found", "what", "in", "status"]);
    for incident in &report.incidents {
        let columns: Vec<_> =
            incident.differences.iter().map(|it| it.column.as_deref().unwrap_or("row")).collect();
        table.add_row(vec![
            incident.id.clone(),
            incident.found_at.to_string(),
            incident.subject.to_string(),
            cut(&columns.join(", ")),
            status_word(incident.status).to_owned(),
        ]);
    }
    let mut text = if report.incidents.is_empty() {
        "no row is known to differ from the log".to_owned()
    } else {
        table.to_string()
    };
    for PatrolState { group, verified_up_to, verified_at, verified_rows, pass, stale, .. } in &report.patrols
    {
        let verified = match (verified_up_to, verified_at) {
            (Some(position), Some(at)) => {
                format!("{verified_rows} rows verified up to position {position} at {at}")
            }
            _ => "not verified yet".to_owned(),
        };
        let _ = write!(text, "\n{group}: {verified}");
        if let Some(pass) = pass {
            let _ = write!(text, "; the pass at hand has compared {} rows", pass.rows);
        }
        for stale in stale {
            let (model, lag, within) = (&stale.model, stale.lag_seconds, stale.within_seconds);
            let _ = write!(text, "; {model} is {lag:.1} s old, {within:.1} s are allowed");
        }
    }
    text
}

fn status_word(status: IncidentStatus) -> &'static str {
    match status {
        IncidentStatus::Open => "open",
        IncidentStatus::Repaired => "repaired",
        IncidentStatus::Closed => "closed",
    }
}

pub(crate) fn incident_text(incident: &Incident) -> String {
    let Incident { id, subject, position, found_at, status, .. } = incident;
    let status = status_word(*status);
    let mut text = format!("{id}: {subject} at position {position}, found at {found_at}: {status}");
    for differs in &incident.differences {
        let column = differs.column.as_deref().unwrap_or("row");
        let _ = write!(text, "\n  {column} is {}, expected {}", differs.actual, differs.expected);
    }
    for action in &incident.actions {
        let _ =
            write!(text, "\n  {} {}: {} ({})", action.at, action.actor.as_str(), action.what, action.reason);
    }
    text
}

pub(crate) fn row_history_text(report: &RowHistoryReport) -> String {
    let mut table = table(&["position", "recorded", "fact", "stream", "who", ""]);
    for fact in &report.facts {
        let note = match (&fact.correction, fact.perhaps) {
            (Some(correction), _) => {
                let set: Vec<_> =
                    correction.set.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                format!("CORRECTED {}: {}", set.join(", "), correction.reason)
            }
            (None, true) => "if the row held the value then".to_owned(),
            (None, false) => String::new(),
        };
        table.add_row(vec![
            fact.position.to_string(),
            fact.recorded_at.to_string(),
            fact.r#type.clone(),
            fact.stream.clone(),
            fact.actor.clone().unwrap_or_default(),
            note,
        ]);
    }
    let more = if report.more { "\nolder facts are not shown" } else { "" };
    format!("row {}\n{table}{more}", report.row)
}
