//! The outbox: facts that an application records in its own transaction, beside its own tables and without a
//! decider, and the rows they wait in. Reading and writing rows is a store's; the loop is `intake_worker`.

use crate::intake::{Arrival, EntryPrint, SourcePosition, TakenIn};
use crate::ledger::{CommandHeader, InputHash};
use crate::{Languages, RawCommand, generate_command_id};
use diptych_core::{
    Actor, BoxFuture, Category, CausationId, CommandId, CorrelationId, Event, ExpectedVersion, Fault, Id,
    NewEvent, Principal, StreamId, StreamKey, StreamRef, Tenant, Timestamp,
};
use std::fmt;
use thiserror::Error;

/// What the audit calls a change whose application did not name it.
pub const UNNAMED_COMMAND: &str = "outbox";

/// Events of one stream that an application's own transaction records:
/// `Facts::by(&ann).of(&product, [Restocked { quantity: 3 }])`.
#[derive(Clone, Debug)]
pub struct Facts<E> {
    principal: Principal,
    key: String,
    events: Vec<E>,
    command: String,
    command_id: Option<String>,
    correlation: Option<CorrelationId>,
    causation: Option<CausationId>,
    time: Option<Timestamp>,
}

/// The start of facts: who caused them.
#[derive(Clone, Debug)]
pub struct FactsBy(Principal);

impl Facts<()> {
    /// Starts with who caused them.
    #[must_use]
    pub fn by(principal: &Principal) -> FactsBy {
        FactsBy(principal.clone())
    }
}

impl FactsBy {
    /// The events of one stream, oldest first.
    #[must_use]
    pub fn of<E: Event>(self, id: &impl Id, events: impl IntoIterator<Item = E>) -> Facts<E> {
        Facts {
            principal: self.0,
            key: id.as_str().to_owned(),
            events: events.into_iter().collect(),
            command: UNNAMED_COMMAND.to_owned(),
            command_id: None,
            correlation: None,
            causation: None,
            time: None,
        }
    }
}

impl<E: Event> Facts<E> {
    /// What was asked for, as the audit will call it, such as `RestockProduct`.
    #[must_use]
    pub fn command(mut self, name: impl Into<String>) -> Self {
        self.command = name.into();
        self
    }

    /// The application's own id of the request that caused them, 1 to 200 bytes. It does not make the change
    /// happen once: that is the application's transaction.
    #[must_use]
    pub fn command_id(mut self, id: impl Into<String>) -> Self {
        self.command_id = Some(id.into());
        self
    }

    /// Ties them to a conversation.
    #[must_use]
    pub fn correlation(mut self, id: CorrelationId) -> Self {
        self.correlation = Some(id);
        self
    }

    /// Says what directly caused them.
    #[must_use]
    pub fn causation(mut self, id: CausationId) -> Self {
        self.causation = Some(id);
        self
    }

    /// When they happened; the database's time of the append where this is not called.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// The rows that they wait in, one for each event.
    ///
    /// # Errors
    /// [`OutboxError::Invalid`] for a key, a name or an event that cannot be stored.
    pub fn into_rows(self) -> Result<Vec<NewRow>, OutboxError> {
        let Self { principal, key, events, command, command_id, correlation, causation, time } = self;
        let invalid = |error: &dyn fmt::Display| OutboxError::Invalid { reason: error.to_string() };
        StreamKey::new(&key).map_err(|error| invalid(&error))?;
        CommandId::new(&command).map_err(|error| invalid(&error))?;
        let id = match command_id {
            Some(id) => CommandId::new(id).map_err(|error| invalid(&error))?,
            None => generate_command_id(),
        };
        let row = |event: &E| {
            Ok(NewRow {
                tenant: principal.tenant.clone(),
                actor: principal.actor.clone(),
                category: E::CATEGORY,
                key: key.clone(),
                event: NewEvent::from_event(event).map_err(|error| invalid(&error))?,
                command: command.clone(),
                command_id: id.clone(),
                correlation: correlation.clone(),
                causation: causation.clone(),
                occurred_at: time,
            })
        };
        events.iter().map(row).collect()
    }
}

/// A row on its way into the outbox.
#[derive(Clone, Debug)]
pub struct NewRow {
    /// Whose it is.
    pub tenant: Tenant,
    /// Who caused it.
    pub actor: Actor,
    /// The category of its stream.
    pub category: &'static str,
    /// The key of its stream.
    pub key: String,
    /// The event.
    pub event: NewEvent,
    /// What was asked for.
    pub command: String,
    /// The request that caused it.
    pub command_id: CommandId,
    /// What ties the whole conversation.
    pub correlation: Option<CorrelationId>,
    /// What directly caused it.
    pub causation: Option<CausationId>,
    /// When it happened; the database's time where it is not said.
    pub occurred_at: Option<Timestamp>,
}

/// Why facts were not appended. The application's transaction decides what becomes of its own changes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// They cannot be stored.
    #[error("these facts cannot be recorded: {reason} ({})", diptych_core::Code::FactsInvalid)]
    Invalid {
        /// What is wrong with them.
        reason: String,
    },
    /// The database refused.
    #[error(transparent)]
    Store(#[from] Fault),
}

/// A row that waits, as the database holds it. Whoever may write to the table can have written it, so that
/// nothing of it is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Its place in the outbox.
    pub id: SourcePosition,
    /// Whose it is.
    pub tenant: String,
    /// Who caused it.
    pub actor: String,
    /// The category of its stream.
    pub category: String,
    /// The key of its stream.
    pub key: String,
    /// The stored name of its type.
    pub event: String,
    /// The version of its schema.
    pub schema_version: u32,
    /// JSON text.
    pub payload: String,
    /// What was asked for.
    pub command: String,
    /// The request that caused it.
    pub command_id: Option<String>,
    /// What ties the whole conversation.
    pub correlation: Option<String>,
    /// What directly caused it.
    pub causation: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

impl OutboxRow {
    /// 64 bits of what it holds, by BLAKE3.
    #[must_use]
    pub fn print(&self) -> EntryPrint {
        let mut hasher = blake3::Hasher::new();
        let texts = [&self.tenant, &self.actor, &self.category, &self.key, &self.event, &self.payload];
        for text in texts.into_iter().chain(self.command_id.as_ref()) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&self.occurred_at.as_micros().to_le_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        EntryPrint(u64::from_le_bytes(bytes))
    }

    /// Whether it continues the row before: the same change of the same stream.
    fn continues(&self, before: &Self) -> bool {
        let same = |row: &Self| {
            let Self { tenant, actor, category, key, command, command_id, correlation, causation, .. } = row;
            let texts = [tenant, actor, category, key, command].map(Clone::clone);
            (texts, command_id.clone(), correlation.clone(), causation.clone(), row.occurred_at)
        };
        self.command_id.is_some() && same(self) == same(before)
    }
}

/// A row that cannot be taken into the log, as it is or by this code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRow {
    /// Which.
    pub id: SourcePosition,
    /// What is wrong with it.
    pub reason: String,
}

/// Puts the rows of one change together, in their order, up to the first row that cannot be taken.
#[must_use]
pub fn arrivals(rows: &[OutboxRow], languages: &Languages) -> (Vec<Arrival>, Option<BadRow>) {
    let mut arrivals: Vec<Arrival> = Vec::new();
    let mut before: Option<&OutboxRow> = None;
    for row in rows {
        let read = event_of(row, languages).and_then(|event| Ok((header(row)?, event)));
        let (header, event) = match read {
            Ok(read) => read,
            Err(reason) => return (arrivals, Some(BadRow { id: row.id, reason })),
        };
        match arrivals.last_mut() {
            Some(last) if before.is_some_and(|before| row.continues(before)) => {
                last.print = row.print();
                last.events.push((row.id, event));
            }
            _ => arrivals.push(Arrival { print: row.print(), header, events: vec![(row.id, event)] }),
        }
        before = Some(row);
    }
    (arrivals, None)
}

/// The event of a row, proven readable.
fn event_of(row: &OutboxRow, languages: &Languages) -> Result<NewEvent, String> {
    let OutboxRow { category, event, schema_version, payload, .. } = row;
    if !languages.contains(category) {
        return Err(format!("no language of category `{category}` comes by the outbox here"));
    }
    let read = languages.read(category, event, *schema_version, payload);
    let read = read.map_err(|error| error.to_string())?;
    read.ok_or_else(|| format!("event type `{event}` is retired"))
}

fn header(row: &OutboxRow) -> Result<CommandHeader, String> {
    let said = |error: diptych_core::TextError| error.to_string();
    let category = Category::new(&row.category).map_err(said)?;
    let key = StreamKey::new(&row.key).map_err(said)?;
    let tenant = Tenant::new(&row.tenant).map_err(said)?;
    let stream = StreamRef { tenant, stream: StreamId { category, key } };
    let actor = Actor::new(&row.actor).map_err(said)?;
    CommandId::new(&row.command).map_err(said)?;
    let id = row.command_id.as_ref().map(CommandId::new).transpose().map_err(said)?;
    let raw = RawCommand { name: row.command.clone(), body: row.payload.clone() };
    Ok(CommandHeader {
        id: id.unwrap_or_else(generate_command_id),
        hash: InputHash::of(&actor, &stream, &raw, ExpectedVersion::Any),
        stream,
        name: raw.name,
        actor,
        correlation: row.correlation.as_ref().map(CorrelationId::new).transpose().map_err(said)?,
        causation: row.causation.as_ref().map(CausationId::new).transpose().map_err(said)?,
        policy: None,
        occurred_at: row.occurred_at,
    })
}

/// How much waits in an outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// How many rows.
    pub rows: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
}

/// Where rows wait.
pub trait OutboxTable: Send + Sync + 'static {
    /// The oldest rows that wait, in order, at most so many.
    fn oldest(&self, rows_max: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, Fault>>;

    /// Takes arrivals out of the outbox and into the log, once each.
    fn take(&self, arrivals: Vec<Arrival>) -> BoxFuture<'_, Result<TakenIn, Fault>>;

    /// How much waits.
    fn waiting(&self) -> BoxFuture<'_, Result<Waiting, Fault>>;

    /// Where it is, for an operator.
    fn location(&self) -> String;
}

#[cfg(test)]
mod tests;
