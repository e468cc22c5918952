//! A decider, a read model and stores as small as the wire's own tests need: one stream of notes in a list.

use crate::app::App;
use crate::names::Names;
use crate::wire::{Hosts, HttpLimits, MetricsAccess, Panels, Readiness, ServiceInfo, Wire};
use diptych_command::{AuditFilter, AuditLog, AuditPage, AuditPlace, AuditQuery};
use diptych_command::{
    Base, Command, CommandHeader, CommandLimits, CommandRecord, CommandType, Commands, Commit, CommitError,
    Committed, Conflict, Context, Decider, Effect, EventStore, Fields, Matched, Outcome, Rejection,
    RejectionKind, RejectionType, ShapeError, erase,
};
use diptych_core::{
    BoxFuture, Clock, CommandId, DecodeError, EncodeError, Epoch, Event, EventName, EventType, Everybody,
    Fault, Fingerprint, Forbidden, Metadata, Position, Principal, RawFact, SharedText, StreamRef, TagQuery,
    Tenant, Timestamp, Token, Unrestricted, Version,
};
use diptych_query::{Progress, Queries, QueryLimits, Sight, Stopped};
use schemars::{Schema as JsonSchema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod models;
mod registry;
mod states;
pub(crate) use models::{schema, schema_at};

/// A note: written, rewritten, closed.
#[derive(Default, Serialize)]
pub(crate) struct Note {
    status: Option<&'static str>,
    text: String,
}

#[derive(Clone)]
pub(crate) enum NoteCommand {
    Write { text: String },
    Close,
}

pub(crate) enum NoteEvent {
    Written { text: String },
    Closed,
}

#[derive(Debug)]
pub(crate) struct NoteClosed;

impl Decider for Note {
    type Command = NoteCommand;
    type Event = NoteEvent;
    type Rejection = NoteClosed;

    fn decide(&self, command: NoteCommand, _: &Context) -> Result<Vec<NoteEvent>, NoteClosed> {
        match (self.status, command) {
            (Some("CLOSED"), _) => Err(NoteClosed),
            (_, NoteCommand::Write { text }) if text == "panic" => panic!("the decider fell over"),
            (_, NoteCommand::Write { text }) => Ok(vec![NoteEvent::Written { text }]),
            (_, NoteCommand::Close) => Ok(vec![NoteEvent::Closed]),
        }
    }

    fn evolve(self, event: &NoteEvent) -> Self {
        match event {
            NoteEvent::Written { text } => Self { status: Some("OPEN"), text: text.clone() },
            NoteEvent::Closed => Self { status: Some("CLOSED"), ..self },
        }
    }
}

impl Command for NoteCommand {
    const TYPES: &'static [CommandType] = &[
        CommandType {
            name: "Write",
            segment: "write",
            meaning: "Writes the note",
            key_required: false,
            actor: None,
        },
        CommandType {
            name: "Close",
            segment: "close",
            meaning: "",
            key_required: true,
            actor: Some("closedBy"),
        },
    ];

    fn command_type(&self) -> CommandType {
        Self::TYPES[usize::from(matches!(self, Self::Close))]
    }

    fn encode(&self) -> Result<String, EncodeError> {
        match self {
            Self::Write { text } => Ok(serde_json::json!({ "text": text }).to_string()),
            Self::Close => Ok("{}".to_owned()),
        }
    }

    fn decode(name: &str, body: &str) -> Result<Self, ShapeError> {
        let mut fields = Fields::parse(body)?;
        let text: Option<String> = if name == "Write" { fields.take("text") } else { None };
        fields.finish()?;
        Ok(text.map_or(Self::Close, |text| Self::Write { text }))
    }

    fn schemas(_: &mut SchemaGenerator) -> Vec<JsonSchema> {
        let text = json_schema!({ "type": "object", "properties": { "text": { "type": "string" } } });
        vec![text, json_schema!({ "type": "object" })]
    }
}

impl Event for NoteEvent {
    const CATEGORY: &'static str = "note";
    const OWNER: &'static str = "office";
    const TYPES: &'static [EventType] = &[
        EventType { name: "NoteWritten", version: 1, meaning: "The note has this text now" },
        EventType { name: "NoteClosed", version: 1, meaning: "" },
    ];

    fn event_type(&self) -> EventType {
        Self::TYPES[usize::from(matches!(self, Self::Closed))]
    }

    fn encode(&self) -> Result<String, EncodeError> {
        match self {
            Self::Written { text } => Ok(serde_json::json!({ "text": text }).to_string()),
            Self::Closed => Ok("{}".to_owned()),
        }
    }

    fn decode(name: &str, _: u32, payload: &str) -> Result<Option<Self>, DecodeError> {
        let body: serde_json::Value =
            serde_json::from_str(payload).map_err(|error| DecodeError::malformed(name, &error))?;
        match name {
            "NoteWritten" => {
                Ok(Some(Self::Written { text: body["text"].as_str().unwrap_or_default().to_owned() }))
            }
            "NoteClosed" => Ok(Some(Self::Closed)),
            _ => Err(DecodeError::unknown_type(name)),
        }
    }

    fn schemas(_: &mut SchemaGenerator) -> Vec<JsonSchema> {
        vec![json_schema!({ "type": "object" }), json_schema!({ "type": "object" })]
    }
}

impl std::fmt::Display for NoteClosed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the note is closed")
    }
}

impl std::error::Error for NoteClosed {}

impl Rejection for NoteClosed {
    const TYPES: &'static [RejectionType] = &[RejectionType {
        name: "note_closed",
        kind: RejectionKind::Refused,
        meaning: "A closed note takes no more commands",
    }];

    fn rejection_type(&self) -> RejectionType {
        Self::TYPES[0]
    }

    fn encode(&self) -> Result<String, EncodeError> {
        Ok(r#"{"closed":true}"#.to_owned())
    }

    fn decode(_: &str, _: &str) -> Result<Self, DecodeError> {
        Ok(Self)
    }

    fn schemas(_: &mut SchemaGenerator) -> Vec<JsonSchema> {
        vec![json_schema!({ "type": "object" })]
    }
}

/// A log and a ledger in memory, in the order of commits.
pub(crate) struct Store {
    pub(crate) facts: Mutex<Vec<Arc<RawFact>>>,
    records: Mutex<Vec<CommandRecord>>,
    /// What was announced of groups.
    notices: Mutex<Vec<diptych_query::Record>>,
    /// Where the only build stands; it serves where nothing is said.
    stage: Mutex<Option<diptych_query::Stage>>,
    /// Answers every commit with this many seconds of overload, when set.
    pub(crate) overloaded: Mutex<Option<u64>>,
    /// Loses every race, when set.
    pub(crate) contended: Mutex<bool>,
    /// Never answers a commit, when set.
    pub(crate) hangs: Mutex<bool>,
    /// How often somebody has looked where the read model stands.
    pub(crate) looks: AtomicU64,
    /// Why the read model does not move on, when set.
    pub(crate) stopped: Mutex<Option<Stopped>>,
    /// What may be seen, or why nothing may be.
    pub(crate) sight: Mutex<Result<Sight, Forbidden>>,
    /// Fails every export after its last row, when set.
    pub(crate) cuts_exports: Mutex<bool>,
    /// What the process knows of its read models.
    pub(crate) progress: Arc<Progress>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            facts: Mutex::default(),
            records: Mutex::default(),
            notices: Mutex::default(),
            stage: Mutex::default(),
            overloaded: Mutex::default(),
            contended: Mutex::default(),
            hangs: Mutex::default(),
            looks: AtomicU64::default(),
            stopped: Mutex::default(),
            sight: Mutex::new(Ok(Sight::everything())),
            cuts_exports: Mutex::default(),
            progress: Arc::default(),
        }
    }
}

/// The time at which everything happens in these tests.
pub(crate) const NOW: &str = "2026-07-07T09:00:00Z";

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW.parse().unwrap()
    }
}

pub(crate) fn token(position: usize) -> Token {
    Token { epoch: Epoch::FIRST, position: Position(position as u64), fingerprint: Fingerprint(0x00c0_ffee) }
}

impl AuditLog for Store {
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>> {
        let records = self.records.lock().unwrap();
        let placed = records.iter().enumerate().rev();
        let placed = placed.map(|(index, record)| (AuditPlace(index as u64 + 1), record));
        let wanted = placed.filter(|(place, record)| {
            let AuditFilter { outcome, causation, .. } = &query.filter;
            let caused = record.header.causation.as_ref();
            query.before.is_none_or(|before| *place < before)
                && outcome.is_none_or(|outcome| outcome.admits(&record.outcome))
                && (causation.is_empty() || caused.is_some_and(|id| causation.contains(id)))
        });
        let rows = wanted.take(query.rows_max + 1).map(|(place, record)| (place, record.clone().into()));
        let page = AuditPage::of(rows.collect(), query.rows_max);
        Box::pin(async move { Ok(page) })
    }
}

impl EventStore for Store {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        let facts = self.facts.lock().unwrap();
        let wanted = facts.iter().filter(|fact| *fact.stream == *stream && fact.version > after);
        let wanted = wanted.take(events_max).cloned().collect();
        Box::pin(async move { Ok(wanted) })
    }

    fn load_query<'a>(
        &'a self,
        _: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        let facts = self.facts.lock().unwrap();
        let wanted = facts.iter().filter(|fact| fact.position > after && query.matches(fact, &[]));
        let wanted = wanted.take(facts_max).cloned().collect();
        let through = Position(facts.len() as u64);
        Box::pin(async move { Ok(Matched { facts: wanted, through }) })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        if let Some(seconds) = *self.overloaded.lock().unwrap() {
            let retry_after = Duration::from_secs(seconds);
            return Box::pin(async move { Err(CommitError::Overloaded { retry_after }) });
        }
        if let Some(answer) = self.claimed(&commit) {
            return Box::pin(async move { answer });
        }
        if *self.contended.lock().unwrap() && matches!(commit.effect, Effect::Append { .. }) {
            let stream = commit.header.stream.stream;
            let conflict = Conflict::of_version(stream, Version(1), Version(2));
            return Box::pin(async move { Err(CommitError::Conflict(conflict)) });
        }
        if *self.hangs.lock().unwrap() {
            return Box::pin(std::future::pending());
        }
        let committed = self.apply(commit);
        Box::pin(async move { Ok(committed) })
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        let records = self.records.lock().unwrap();
        let found = records
            .iter()
            .rev()
            .find(|record| record.header.stream.tenant == *tenant && record.header.id == *id);
        let found = found.cloned();
        Box::pin(async move { Ok(found) })
    }

    fn expire_keys(&self, _: Timestamp, _: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(async { Ok(0) })
    }
}

impl Store {
    /// Every command that came to its end.
    pub(crate) fn records(&self) -> Vec<CommandRecord> {
        self.records.lock().unwrap().clone()
    }

    /// What a key that is already claimed answers.
    fn claimed(&self, commit: &Commit) -> Option<Result<Committed, CommitError>> {
        let Commit { header, effect, .. } = commit;
        let records = self.records.lock().unwrap();
        let mut claims = records.iter().filter(|record| !matches!(record.outcome, Outcome::Refused(_)));
        let record = claims.find(|record| record.header.id == header.id)?;
        match effect {
            Effect::Refuse { .. } => None,
            _ if record.header.hash != header.hash => Some(Err(CommitError::KeyReused)),
            _ => Some(Ok(Committed { record: record.clone(), events: Vec::new(), replayed: true })),
        }
    }

    fn apply(&self, commit: Commit) -> Committed {
        let Commit { header, effect, .. } = commit;
        let mut facts = self.facts.lock().unwrap();
        let actual = Version(facts.iter().filter(|fact| *fact.stream == header.stream).count() as u64);
        let at = |base| if let Base::At(version) = base { version } else { actual };
        let (outcome, version, events) = match effect {
            Effect::Append { base, events } => {
                let base = at(base);
                let mut recorded = Vec::new();
                for event in events {
                    let fact = RawFact {
                        position: Position(facts.len() as u64 + 1),
                        stream: Arc::new(header.stream.clone()),
                        version: base.plus(recorded.len() + 1),
                        event: EventName { name: event.name.into(), schema_version: event.schema_version },
                        recorded_at: NOW.parse().unwrap(),
                        occurred_at: header.occurred_at,
                        metadata: metadata(&header),
                        payload: event.payload.into(),
                    };
                    facts.push(Arc::new(fact));
                    recorded.extend(facts.last().cloned());
                }
                (Outcome::Accepted { base }, base.plus(recorded.len()), recorded)
            }
            Effect::Reject { base, name, data } => (Outcome::Rejected { name, data }, at(base), Vec::new()),
            Effect::Refuse { reason, version } => (Outcome::Refused(reason), version, Vec::new()),
        };
        let record = CommandRecord {
            header,
            outcome,
            version,
            token: token(facts.len()),
            recorded_at: NOW.parse().unwrap(),
        };
        self.records.lock().unwrap().push(record.clone());
        Committed { record, events, replayed: false }
    }
}

fn metadata(header: &CommandHeader) -> SharedText {
    let CommandHeader { actor, id, .. } = header;
    let (actor, command) = (actor.clone(), id.clone());
    Metadata { actor, command, correlation: None, causation: None, policy: None }.encode().into()
}

/// The right panel over a store, within limits.
pub(crate) fn queries_within(store: &Arc<Store>, limits: QueryLimits) -> Queries {
    models::queries(store, Arc::new(Fixed), limits)
}

/// The left panel over a store.
pub(crate) fn commands(store: &Arc<Store>) -> Commands {
    let (authorize, limits) = (Arc::new(Unrestricted), CommandLimits::default());
    Commands::new(Arc::<Store>::clone(store), vec![erase::<Note>()], authorize, Arc::new(Fixed), limits)
}

/// A service over an empty store, and the store.
pub(crate) fn wire() -> (Wire, Arc<Store>) {
    let store = Arc::new(Store::default());
    let commands = commands(&store);
    let wire = Wire {
        service: ServiceInfo {
            name: "notes <&>".to_owned(),
            version: "1.2.3".to_owned(),
            description: "Keeps notes".to_owned(),
        },
        commands: Arc::new(commands),
        queries: Arc::new(queries_within(&store, QueryLimits::default())),
        registry: Arc::<Store>::clone(&store),
        authenticate: Arc::new(Everybody(Principal::new("main", "ann").unwrap())),
        metrics: Arc::new(|| "# EOF\n".to_owned()),
        ready: Arc::new(Readiness::default),
        limits: HttpLimits { body_bytes_max: 100, ..HttpLimits::default() },
        collections: std::collections::BTreeMap::new(),
        own_pages: Vec::new(),
        entries: vec!["/note-list?sort=-text".to_owned(), "https://example.org/".to_owned()],
        hosts: Hosts::Loopback,
        metrics_access: MetricsAccess::Proven,
        panels: Panels::Both,
        stopping: tokio::sync::watch::channel(false).1,
    };
    (wire, store)
}

/// The same as handlers see it.
pub(crate) fn app() -> App {
    let (wire, _) = wire();
    let names = Names::check(&wire).unwrap();
    App::new(wire, names)
}
