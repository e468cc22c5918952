//! `pending`: what is under way for the rows of an answer and not in them yet. First what waits in the
//! queue or is being done, then what is committed beyond the answer's position: in this order nothing falls
//! between.

use crate::app::App;
use crate::error;
use crate::json::Object;
use crate::problem::Problem;
use diptych_command::{QueueEntry, QueueStatus};
use diptych_core::{Category, CommandId, Principal, StreamKey, Value};
use diptych_query::{AskedRow, Freshness, PendingCommand, Schema};

/// The most unfinished commands that one answer names.
const COMMANDS_MAX: usize = 200;

/// The most committed commands that one answer names by what they ask; more are named by their ids.
const NAMED_MAX: usize = 50;

/// What is under way for the rows that were asked for, where the model declares that it is told. Of a row
/// that is not there, or that may not be seen, only what the caller gave: anything else would tell that
/// there is one.
pub(crate) async fn of(
    app: &App,
    principal: &Principal,
    schema: &'static Schema,
    rows: &[AskedRow<'_>],
    freshness: &Freshness,
) -> Result<Option<Vec<Object>>, Problem> {
    if !schema.pending {
        return Ok(None);
    }
    let waiting = waiting(app, principal, schema, rows).await?;
    let committed = app.wire.queries.pending(principal, schema.name, rows, freshness).await;
    let committed = committed.map_err(error::of_query)?.commands;
    let mut told = Vec::new();
    for (index, pending) in committed.iter().enumerate() {
        let seen = rows.iter().any(|asked| asked.row.is_some() && asked.key == pending.key);
        if seen || pending.actor == principal.actor {
            let name = if index < NAMED_MAX { name_of(app, principal, &pending.command).await } else { None };
            told.push(of_committed(schema, pending, name));
        }
    }
    let is_told = |entry: &QueueEntry| committed.iter().any(|held| held.command == entry.command.id);
    told.extend(waiting.iter().filter(|entry| !is_told(entry)).map(|entry| of_waiting(schema, entry)));
    Ok(Some(told))
}

/// What waits for the streams that the rows are about, or is being done.
async fn waiting(
    app: &App,
    principal: &Principal,
    schema: &Schema,
    rows: &[AskedRow<'_>],
) -> Result<Vec<QueueEntry>, Problem> {
    let Ok(category) = Category::new(schema.about) else { return Ok(Vec::new()) };
    let stream = |asked: &AskedRow<'_>| match asked.key {
        [Value::Text(key)] => StreamKey::new(key).ok(),
        _ => None,
    };
    let keys: Vec<_> = rows.iter().filter_map(stream).collect();
    let commands = &app.wire.commands;
    let found = commands.unfinished(&principal.tenant, &category, &keys, COMMANDS_MAX).await;
    let mut found = found.map_err(|fault| error::of_fault(&fault))?;
    found.retain(|entry| {
        let key = entry.command.stream.stream.key.as_str();
        let is_seen = |asked: &AskedRow<'_>| {
            asked.row.is_some() && matches!(asked.key, [Value::Text(held)] if held == key)
        };
        entry.command.actor == principal.actor || rows.iter().any(is_seen)
    });
    Ok(found)
}

/// What a command asks, where the caller may read what became of it.
async fn name_of(app: &App, principal: &Principal, id: &CommandId) -> Option<String> {
    let record = app.wire.commands.recorded(principal, id).await.ok()??;
    Some(record.header.name)
}

fn of_committed(schema: &Schema, pending: &PendingCommand, name: Option<String>) -> Object {
    let PendingCommand { key, command, position, since, .. } = pending;
    named(schema, key)
        .with("commandId", command.as_str())
        .with("command", name)
        .with("status", "committed")
        .with("position", position.0)
        .with("since", since.to_string())
        .with("message", "done, and not in this row yet")
}

fn of_waiting(schema: &Schema, entry: &QueueEntry) -> Object {
    let key = Value::Text(entry.command.stream.stream.key.as_str().to_owned());
    let message = match (&entry.trouble, entry.status()) {
        (Some(trouble), _) => format!("accepted, and to be tried again: {}", trouble.message),
        (None, QueueStatus::Running) => "being done".to_owned(),
        (None, _) => "accepted, and not begun yet".to_owned(),
    };
    named(schema, &[key])
        .with("commandId", entry.command.id.as_str())
        .with("command", entry.command.command.name.as_str())
        .with("status", entry.status().as_str())
        .with("position", None::<u64>)
        .with("since", entry.accepted_at.to_string())
        .with("message", message)
}

/// The row's key, under the public names of its columns.
fn named(schema: &Schema, key: &[Value]) -> Object {
    let columns = schema.key.iter().filter_map(|column| schema.columns.get(*column));
    columns.zip(key).fold(Object::new(), |row, (column, value)| row.with(column.public, value.to_json()))
}
