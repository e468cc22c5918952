//! `streams`: one stream as it is or was, and its events; `audit`: who did what, and what caused what.

use crate::{ActionError, Operator, Report};
use diptych_command::{
    AsOf, AuditEntry, AuditFilter, CauseNode, CauseTree, Outcome, Past, RefusedFor, TreeLimits,
};
use diptych_core::{CausationId, CorrelationId, Metadata, RawFact, StreamId, Timestamp, Version, event_id};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// How many events are read at once.
const PAGE_EVENTS: usize = 1_000;

/// How many events `streams events` shows unless it is told.
pub(crate) const EVENTS_MAX: usize = 10_000;

/// How many rows `audit list` shows unless it is told.
pub(crate) const AUDIT_ROWS: usize = 50;

/// One stream as it stood.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamReport {
    /// The stream.
    pub stream: String,
    /// Its version.
    pub version: Version,
    /// When the last event in it was recorded; none of the present, which is not read from the log alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// When the last event in it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// The state.
    pub state: Value,
}

/// One recorded event with who, when and by which command.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventReport {
    /// Its id, as a command that it causes names it.
    pub event_id: Option<String>,
    /// Its number in its stream.
    pub version: Version,
    /// Its place in the log.
    pub position: u64,
    /// Its stored type name.
    pub r#type: String,
    /// The schema version of its payload.
    pub schema_version: u32,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Who acted, by which command; none where the metadata cannot be read.
    pub metadata: Option<Metadata>,
    /// The payload as stored.
    pub data: Box<RawValue>,
}

impl PartialEq for EventReport {
    fn eq(&self, other: &Self) -> bool {
        (self.position, self.data.get()) == (other.position, other.data.get())
    }
}

/// Rows of the audit, or a tree of causes, as a value and as text.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(transparent)]
pub struct AuditReport {
    value: Value,
    #[serde(skip)]
    text: String,
}

impl AuditReport {
    pub(crate) fn to_text(&self) -> String {
        self.text.clone()
    }
}

/// One stream as it is, or as it was at a moment.
///
/// # Errors
/// A stream that is not there, or was not yet; not allowed; a fault.
pub async fn show_stream(
    operator: &Operator<'_>,
    stream: &str,
    moment: Option<AsOf>,
) -> Result<Report, ActionError> {
    let id = parse(stream)?;
    let (category, key) = (id.category.as_str(), id.key.as_str());
    let missing = |reason: String| Err(ActionError::Argument { reason });
    let Some(moment) = moment else {
        let found = operator.commands.aggregate(operator.principal, category, key, None).await?;
        return match found {
            Some(found) => Ok(Report::Stream(StreamReport {
                stream: stream.to_owned(),
                version: found.version,
                recorded_at: None,
                occurred_at: None,
                state: found.state,
            })),
            None => missing(format!("stream `{stream}` has no event")),
        };
    };
    match operator.commands.aggregate_as_of(operator.principal, category, key, moment).await? {
        Past::State(past) => Ok(Report::Stream(StreamReport {
            stream: stream.to_owned(),
            version: past.aggregate.version,
            recorded_at: Some(past.last.recorded_at),
            occurred_at: Some(past.last.occurred_at),
            state: past.aggregate.state,
        })),
        Past::NeverBegan => missing(format!("stream `{stream}` has no event")),
        Past::NotYet(first) => missing(format!(
            "stream `{stream}` had not begun: its first event was recorded at {} and happened at {}",
            first.recorded_at, first.occurred_at
        )),
        Past::Beyond(version) => missing(format!("stream `{stream}` has only come to version {version}")),
    }
}

/// The events of one stream, oldest first.
///
/// # Errors
/// Not allowed, or a fault.
pub async fn stream_events(
    operator: &Operator<'_>,
    stream: &str,
    after: Version,
    events_max: usize,
) -> Result<Report, ActionError> {
    let id = parse(stream)?;
    let (mut events, mut reached) = (Vec::new(), after);
    while events.len() < events_max {
        let wanted = PAGE_EVENTS.min(events_max - events.len());
        let read = operator.commands.stream_events(operator.principal, &id, reached, wanted).await?;
        reached = reached.plus(read.len());
        events.extend(read.iter().map(|raw| event(raw)));
        if read.len() < wanted {
            break;
        }
    }
    Ok(Report::StreamEvents(events))
}

/// Rows of the audit, newest first.
///
/// # Errors
/// Not allowed, or a fault.
pub async fn list_audit(
    operator: &Operator<'_>,
    filter: AuditFilter,
    rows_max: usize,
) -> Result<Report, ActionError> {
    let (mut entries, mut before) = (Vec::new(), None);
    loop {
        let wanted = rows_max.saturating_sub(entries.len());
        let page = operator.commands.audit(operator.principal, filter.clone(), before, wanted).await?;
        entries.extend(page.entries);
        before = page.next;
        if before.is_none() || entries.len() >= rows_max {
            break;
        }
    }
    let mut text = audit_table(&entries);
    let more = if before.is_some() { "; there are more, `--limit` shows them" } else { "" };
    let _ = write!(text, "\n{} commands{more}", entries.len());
    let value = Value::Array(entries.iter().map(entry_value).collect());
    Ok(Report::Audit(AuditReport { value, text }))
}

/// What a command or an event caused, and what caused it.
///
/// # Errors
/// An id that is not known, not allowed, or a fault.
pub async fn audit_tree(operator: &Operator<'_>, id: &str) -> Result<Report, ActionError> {
    let tree = operator.commands.tree(operator.principal, id, TreeLimits::default()).await?;
    let unknown =
        || ActionError::Argument { reason: format!("neither a command nor an event `{id}` is known") };
    let CauseTree { causes, outside, root, cut_short } = tree.ok_or_else(unknown)?;
    let mut text = String::new();
    if let Some(outside) = &outside {
        let _ = writeln!(text, "caused by `{outside}`, which is not known here");
    }
    for (depth, cause) in causes.iter().rev().enumerate() {
        let _ = writeln!(text, "{:depth$}caused by {}", "", line(cause), depth = depth * 2);
    }
    let depth = causes.len() * 2;
    node_text(operator, &root, depth, &mut text);
    if cut_short {
        text.push_str("there is more than is shown here\n");
    }
    let value = json!({
        "causes": causes.iter().map(entry_value).collect::<Vec<_>>(),
        "outsideCause": outside.as_ref().map(CausationId::as_str),
        "tree": node_value(operator, &root),
        "cutShort": cut_short,
    });
    Ok(Report::Audit(AuditReport { value, text: text.trim_end().to_owned() }))
}

fn parse(stream: &str) -> Result<StreamId, ActionError> {
    StreamId::parse(stream).map_err(|error| ActionError::Argument {
        reason: format!("`{stream}` is not a stream such as `order-42`: {error}"),
    })
}

fn event(raw: &RawFact) -> EventReport {
    let data = RawValue::from_string(raw.payload.to_string());
    EventReport {
        event_id: event_id(&raw.stream.stream, raw.version).map(|id| id.as_str().to_owned()),
        version: raw.version,
        position: raw.position.0,
        r#type: raw.event.name.to_string(),
        schema_version: raw.event.schema_version,
        recorded_at: raw.recorded_at,
        occurred_at: raw.occurred_at,
        metadata: Metadata::decode(&raw.metadata).ok(),
        // A payload that is not JSON is damage; it is shown as the text that it is.
        data: data.unwrap_or_else(|_| {
            let text = Value::String(raw.payload.to_string()).to_string();
            RawValue::from_string(text).expect("a JSON text is JSON")
        }),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Refused(RefusedFor::Conflict) => "conflict",
        Outcome::Refused(RefusedFor::Forbidden) => "forbidden",
    }
}

fn entry_value(entry: &AuditEntry) -> Value {
    let mut value = Map::new();
    let mut add = |name: &str, member: Value| {
        value.insert(name.to_owned(), member);
    };
    add("commandId", json!(entry.id.as_str()));
    add("outcome", json!(word(&entry.outcome)));
    add("command", json!(entry.command));
    add("stream", json!(entry.stream.to_string()));
    add("actor", json!(entry.actor.as_str()));
    add("version", json!(entry.version.0));
    add("position", json!(entry.position.0));
    add("occurredAt", json!(entry.occurred_at));
    add("recordedAt", json!(entry.recorded_at));
    let some = [
        ("correlationId", entry.correlation.as_ref().map(CorrelationId::as_str)),
        ("causationId", entry.causation.as_ref().map(CausationId::as_str)),
        ("policyVersion", entry.policy.as_ref().map(|policy| policy.0.as_ref())),
    ];
    for (name, text) in some {
        if let Some(text) = text {
            add(name, json!(text));
        }
    }
    if let Outcome::Rejected { name, data } = &entry.outcome {
        let data: Value = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
        add("rejection", json!({ "name": name, "data": data }));
    }
    Value::Object(value)
}

fn audit_table(entries: &[AuditEntry]) -> String {
    let mut table =
        crate::report::table(&["recorded at", "actor", "command", "stream", "outcome", "command id"]);
    for entry in entries {
        let outcome = match &entry.outcome {
            Outcome::Rejected { name, .. } => format!("rejected: {name}"),
            other => word(other).to_owned(),
        };
        table.add_row(vec![
            entry.recorded_at.to_string(),
            entry.actor.to_string(),
            entry.command.clone(),
            entry.stream.to_string(),
            outcome,
            entry.id.to_string(),
        ]);
    }
    table.to_string()
}

fn line(entry: &AuditEntry) -> String {
    let AuditEntry { id, command, stream, actor, outcome, recorded_at, .. } = entry;
    format!("{command} on {stream} by {actor} at {recorded_at}: {} ({id})", word(outcome))
}

fn node_text(operator: &Operator<'_>, node: &CauseNode, depth: usize, text: &mut String) {
    let _ = writeln!(text, "{:depth$}{}", "", line(&node.entry));
    for raw in &node.events {
        let place = (raw.version, raw.position);
        let _ =
            writeln!(text, "{:depth$}  {} (version {}, position {})", "", raw.event.name, place.0, place.1);
        for touched in operator.queries.touched(raw) {
            let _ = writeln!(text, "{:depth$}    {}", "", touched.in_words());
        }
    }
    for child in &node.caused {
        node_text(operator, child, depth + 2, text);
    }
}

fn node_value(operator: &Operator<'_>, node: &CauseNode) -> Value {
    let events = node.events.iter().map(|raw| {
        let touched: Vec<_> = operator.queries.touched(raw).iter().map(|one| one.to_json()).collect();
        json!({
            "eventId": event_id(&raw.stream.stream, raw.version).map(|id| id.as_str().to_owned()),
            "type": &*raw.event.name,
            "version": raw.version.0,
            "position": raw.position.0,
            "touches": touched,
        })
    });
    let events: Vec<_> = events.collect();
    let mut value = entry_value(&node.entry);
    value["events"] = Value::Array(events);
    value["caused"] = node.caused.iter().map(|child| node_value(operator, child)).collect();
    value
}

pub(crate) fn stream_text(report: &StreamReport) -> String {
    let mut text = format!("{} at version {}", report.stream, report.version);
    if let (Some(recorded), Some(occurred)) = (report.recorded_at, report.occurred_at) {
        let _ = write!(text, ", whose last event was recorded at {recorded} and happened at {occurred}");
    }
    let state = serde_json::to_string_pretty(&report.state).unwrap_or_else(|error| error.to_string());
    let _ = write!(text, "\n{state}");
    text
}

pub(crate) fn events_table(events: &[EventReport]) -> String {
    let mut table =
        crate::report::table(&["version", "position", "recorded at", "type", "actor", "command id", "data"]);
    for event in events {
        let who = event.metadata.as_ref().map(|metadata| metadata.actor.to_string()).unwrap_or_default();
        let command = event.metadata.as_ref().map(|metadata| metadata.command.to_string());
        table.add_row(vec![
            event.version.to_string(),
            event.position.to_string(),
            event.recorded_at.to_string(),
            format!("{} v{}", event.r#type, event.schema_version),
            who,
            command.unwrap_or_default(),
            crate::report::cut(event.data.get()),
        ]);
    }
    format!("{table}\n{} events", events.len())
}
