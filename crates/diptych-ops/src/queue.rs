//! What an operator does with commands that are done later, and how it reads.

use crate::actions::{ActionError, Operator};
use crate::report::{Report, table};
use diptych_command::{CommandRef, Ending, QueueEntry, QueueState, QueueStatus, Revived};
use diptych_core::{CommandId, Timestamp, Token, Version};
use serde::Serialize;
use std::fmt::Write;

/// One command of the queue.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandReport {
    /// Its id.
    pub command_id: String,
    /// Where it stands.
    pub status: &'static str,
    /// Its name.
    pub command: String,
    /// The stream it is for.
    pub stream: String,
    /// Who asked.
    pub actor: String,
    /// How often it has been begun.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was last begun.
    pub started_at: Option<Timestamp>,
    /// Before when it is not begun again.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The process that runs it.
    pub holder: Option<String>,
    /// The version that it insists on, if it does.
    pub expected_version: Option<Version>,
    /// The stream's version after it.
    pub version: Option<Version>,
    /// The log's position after it.
    pub committed_position: Option<Token>,
    /// What the domain said, if it said no.
    pub rejection: Option<String>,
    /// The code of what its last attempt met.
    pub code: Option<&'static str>,
    /// What its last attempt met, in words.
    pub message: Option<String>,
    /// Its body, JSON text.
    pub body: String,
}

/// What the queue holds of the operator's tenant, the latest first.
///
/// # Errors
/// A fault of the store.
pub async fn list_commands(
    operator: &Operator<'_>,
    status: Option<QueueStatus>,
    commands_max: usize,
) -> Result<Report, ActionError> {
    let entries = operator.queue.list(&operator.principal.tenant, status, commands_max).await?;
    Ok(Report::Commands(entries.into_iter().map(report).collect()))
}

/// One command in full.
///
/// # Errors
/// A command that the queue does not hold, or a fault of the store.
pub async fn show_command(operator: &Operator<'_>, id: &str) -> Result<Report, ActionError> {
    let entry = operator.queue.entry(&reference(operator, id)?).await?;
    let entry = entry.ok_or_else(|| ActionError::UnknownCommand { id: id.to_owned() })?;
    Ok(Report::Command(Box::new(report(entry))))
}

/// Lets a failed command run again, behind everything that was accepted meanwhile.
///
/// # Errors
/// A command that the queue does not hold or that has not failed, or a fault of the store.
pub async fn retry_command(operator: &Operator<'_>, id: &str) -> Result<Report, ActionError> {
    let id = id.to_owned();
    match operator.queue.revive(&reference(operator, &id)?).await? {
        Revived::Accepted => Ok(Report::Revived { command_id: id }),
        Revived::NotFailed(status) => Err(ActionError::NotFailed { id, status }),
        Revived::Unknown => Err(ActionError::UnknownCommand { id }),
    }
}

fn reference(operator: &Operator<'_>, id: &str) -> Result<CommandRef, ActionError> {
    let id = CommandId::new(id).map_err(|error| ActionError::Argument { reason: error.to_string() })?;
    Ok(CommandRef { tenant: operator.principal.tenant.clone(), id })
}

fn report(entry: QueueEntry) -> CommandReport {
    let status = entry.status().as_str();
    let QueueEntry { command, state, attempts, accepted_at, started_at, next_attempt_at, ended_at, .. } =
        entry;
    let (mut version, mut committed_position, mut rejection, mut trouble) = (None, None, None, entry.trouble);
    match state {
        QueueState::Ended(Ending::Succeeded { version: at, token }) => {
            (version, committed_position) = (Some(at), Some(token));
        }
        QueueState::Ended(Ending::Rejected { name, data }) => rejection = Some(format!("{name} {data}")),
        QueueState::Ended(Ending::Failed(failed)) => trouble = Some(failed),
        QueueState::Accepted | QueueState::Running => {}
    }
    CommandReport {
        command_id: command.id.as_str().to_owned(),
        status,
        command: command.command.name,
        stream: command.stream.stream.to_string(),
        actor: command.actor.as_str().to_owned(),
        attempts,
        accepted_at,
        started_at,
        next_attempt_at,
        ended_at,
        holder: entry.holder.map(|holder| holder.as_str().to_owned()),
        expected_version: match command.expected {
            diptych_core::ExpectedVersion::Any => None,
            diptych_core::ExpectedVersion::Exactly(version) => Some(version),
        },
        version,
        committed_position,
        rejection,
        code: trouble.as_ref().map(|trouble| trouble.code.as_str()),
        message: trouble.map(|trouble| trouble.message),
        body: command.command.body,
    }
}

/// A line for each command.
pub(crate) fn commands_table(commands: &[CommandReport]) -> String {
    let mut table = table(&["command id", "status", "command", "stream", "attempts", "accepted", "met"]);
    for one in commands {
        let met = one.rejection.clone().or_else(|| Some(format!("{} {}", one.code?, one.message.as_ref()?)));
        table.add_row(vec![
            one.command_id.clone(),
            one.status.to_owned(),
            one.command.clone(),
            one.stream.clone(),
            one.attempts.to_string(),
            one.accepted_at.to_string(),
            met.unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// One command, a line for each thing that is known.
pub(crate) fn command_text(command: &CommandReport) -> String {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let CommandReport { command_id, status, command: name, stream, .. } = command;
    let mut text = format!("{command_id}: {name} for {stream} is {status}\n");
    let lines = [
        ("actor", Some(command.actor.clone())),
        ("attempts", Some(command.attempts.to_string())),
        ("accepted at", time(Some(command.accepted_at))),
        ("started at", time(command.started_at)),
        ("next attempt at", time(command.next_attempt_at)),
        ("ended at", time(command.ended_at)),
        ("run by", command.holder.clone()),
        ("expected version", command.expected_version.map(|version| version.to_string())),
        ("version", command.version.map(|version| version.to_string())),
        ("committed position", command.committed_position.map(|token| token.to_string())),
        ("rejection", command.rejection.clone()),
        (
            "met",
            command.code.map(|code| format!("{code} {}", command.message.as_deref().unwrap_or_default())),
        ),
        ("body", Some(command.body.clone()).filter(|body| !body.is_empty())),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    text.trim_end().to_owned()
}
