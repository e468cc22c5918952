//! The one loop that handles a command: authorize, ledger, load, decide, commit, receipt.

use crate::cache::{Loaded, StateCache, Weight};
use crate::erased::DecideError;
use crate::error::RawRejection;
use crate::fields::texts_fit;
use crate::ledger::{CommandHeader, CommandRecord, InputHash, Outcome};
use crate::patience::pause_below;
use crate::queue::QueuePanel;
use crate::reading::{contiguous, unreadable, unreadable_stream};
use crate::request::{Envelope, generate_command_id};
use crate::store::{Base, Commit, CommitError, Committed, Effect, EventStore};
use crate::{
    AnyDecider, Command, CommandMetrics, Conflict, ConflictCause, Context, Decided, Decider, HandleError,
    NewState, RawCommand, RawError, RawReceipt, RawRequest, Receipt, References, Refusal, Rejection, Request,
    Typed,
};
use diptych_core::{
    Authorize, Category, Clock, Code, CommandId, DecodeError, Event, ExpectedVersion, Fault, RawFact,
    StreamId, StreamKey, StreamRef, Timestamp, Version,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The limits of handling, each with what happens beyond it.
#[derive(Clone, Debug)]
pub struct CommandLimits {
    /// How often a command without an expected version is decided before it answers with a conflict.
    pub attempts_max: u32,
    /// The longest pause between two attempts; the pause is random below a bound that doubles.
    pub retry_pause_max: Duration,
    /// How many bytes of states are kept between commands. A state weighs about what it and its JSON text
    /// take.
    pub cached_state_bytes_max: usize,
    /// How many events are loaded at once.
    pub load_events_max: usize,
    /// How many facts the boundary of a command may hold; with more it fails.
    pub boundary_facts_max: usize,
}

impl Default for CommandLimits {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            retry_pause_max: Duration::from_millis(50),
            cached_state_bytes_max: 64 * 1024 * 1024,
            load_events_max: 1_000,
            boundary_facts_max: 10_000,
        }
    }
}

/// The left panel of a running service.
pub struct Commands {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) deciders: BTreeMap<&'static str, Arc<dyn AnyDecider>>,
    pub(crate) authorize: Arc<dyn Authorize>,
    clock: Arc<dyn Clock>,
    pub(crate) cache: StateCache,
    pub(crate) limits: CommandLimits,
    metrics: CommandMetrics,
    pub(crate) queue: Option<QueuePanel>,
    references: References,
}

/// A command with everything about it checked.
pub(crate) struct Checked<'a> {
    pub(crate) decider: &'a dyn AnyDecider,
    /// The command's name, as the decider's language has it.
    pub(crate) name: &'static str,
    pub(crate) header: CommandHeader,
    pub(crate) command: RawCommand,
    pub(crate) context: Context,
    pub(crate) expected: ExpectedVersion,
    /// Whether the permission is only provisional, until the state is known.
    pub(crate) needs_state: bool,
}

/// The state at hand while its command is being committed.
enum Held {
    /// As the command was decided on.
    Before(Loaded),
    /// With the command's events, for the row that goes with them. It is right only if they are taken.
    After(Loaded),
}

/// A command's answer, with its events as the decider made them where it has just made them.
pub(crate) struct Settled {
    pub(crate) receipt: RawReceipt,
    pub(crate) typed: Option<Typed>,
}

impl Commands {
    /// Joins deciders with a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn EventStore>,
        deciders: Vec<Arc<dyn AnyDecider>>,
        authorize: Arc<dyn Authorize>,
        clock: Arc<dyn Clock>,
        limits: CommandLimits,
    ) -> Self {
        let cache = StateCache::new(limits.cached_state_bytes_max);
        let deciders = deciders.into_iter().map(|decider| (decider.category(), decider)).collect();
        let (metrics, references) = (CommandMetrics::default(), References::default());
        Self { store, deciders, authorize, clock, cache, limits, metrics, queue: None, references }
    }

    /// The same panel, whose decisions are taken under this reference data.
    #[must_use]
    pub fn with_references(self, references: References) -> Self {
        Self { references, ..self }
    }

    /// The reference data that decisions are taken under.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// The deciders, by category.
    pub fn deciders(&self) -> impl Iterator<Item = &Arc<dyn AnyDecider>> {
        self.deciders.values()
    }

    /// The time, as this panel's clock tells it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What this panel counts.
    #[must_use]
    pub fn metrics(&self) -> &CommandMetrics {
        &self.metrics
    }

    /// Handles a typed command: the same loop as [`Commands::handle_raw`], with the types put back.
    ///
    /// # Errors
    /// The domain's rejection, a lost race, a refusal the caller can mend, or a fault.
    pub async fn handle<D: Decider>(
        &self,
        request: Request<D::Command>,
    ) -> Result<Receipt<D::Event>, HandleError<D::Rejection>> {
        let Request { command, envelope } = request;
        let encoded = command.encode();
        let body = encoded.map_err(|error| Refusal::Shape(crate::ShapeError::field("", error)))?;
        let raw = RawCommand { name: command.command_type().name.to_owned(), body };
        // What does not fit is left to the reading of the body, which says what is wrong with it.
        let fits = texts_fit(&raw.body, D::Command::TEXT_BYTES_MAX);
        let typed = fits.then(|| Box::new(command) as Typed);
        let raw = RawRequest { category: D::Event::CATEGORY.to_owned(), command: raw, envelope };
        let settled = self.settle(raw, typed).await.map_err(|error| error.map(typed_rejection::<D>))?;
        let Settled { receipt: Receipt { stream, version, token, command, replayed, events }, typed } =
            settled;
        let events = match typed.and_then(|typed| typed.downcast().ok()) {
            Some(typed) => *typed,
            None => typed_events(&events)?,
        };
        Ok(Receipt { stream, version, token, events, command, replayed })
    }

    /// Handles a command in bytes.
    ///
    /// # Errors
    /// As [`Commands::handle`], with the rejection in the ledger's form.
    pub async fn handle_raw(&self, request: RawRequest) -> Result<RawReceipt, RawError> {
        self.settle(request, None).await.map(|settled| settled.receipt)
    }

    /// Handles a command and counts it. A name that no decider knows must not become a label of its own.
    async fn settle(&self, request: RawRequest, typed: Option<Typed>) -> Result<Settled, RawError> {
        let started = Instant::now();
        let (decider, name) = self.addressed(&request)?;
        let result = self.run(decider, name, request, typed).await;
        self.metrics.observe(decider.category(), name, outcome_label(&result), started.elapsed());
        result
    }

    /// Whose command it is, and its name in that language.
    pub(crate) fn addressed(&self, request: &RawRequest) -> Result<(&dyn AnyDecider, &'static str), Refusal> {
        let RawRequest { category, command, .. } = request;
        let unknown = |what: String| Refusal::Unknown { what };
        let decider =
            self.deciders.get(category.as_str()).ok_or_else(|| unknown(format!("category `{category}`")))?;
        let known = decider.commands().iter().find(|known| known.name == command.name);
        let known = known.ok_or_else(|| unknown(format!("command `{}`", command.name)))?;
        Ok((decider.as_ref(), known.name))
    }

    async fn run(
        &self,
        decider: &dyn AnyDecider,
        name: &'static str,
        request: RawRequest,
        typed: Option<Typed>,
    ) -> Result<Settled, RawError> {
        let keyed = request.is_keyed();
        let checked = self.check(decider, name, request).await?;
        let receipt = match self.decide_until_settled(&checked, typed).await {
            Err(error) if keyed && !matches!(error, HandleError::Rejected(_)) => {
                self.replay_instead_of(&checked, error).await
            }
            Err(error) => Err(self.evident(&checked, error).await),
            answer => return answer,
        };
        receipt.map(Settled::read_back)
    }

    /// The outcome that the key claimed before, or else the error. A commit tells by itself that its key is
    /// claimed, so nothing is looked up for a command that is new, which nearly all are.
    async fn replay_instead_of(
        &self,
        checked: &Checked<'_>,
        error: RawError,
    ) -> Result<RawReceipt, RawError> {
        match (self.final_record(&checked.header).await, error) {
            (Ok(Some(record)), _) => self.replay(checked.decider, record).await,
            (Err(HandleError::Refused(refusal)), _) => Err(refusal.into()),
            (_, error) => Err(self.evident(checked, error).await),
        }
    }

    /// Decides until the store takes the decision, or the command has lost too many races.
    async fn decide_until_settled(
        &self,
        checked: &Checked<'_>,
        mut typed: Option<Typed>,
    ) -> Result<Settled, RawError> {
        let mut attempt = 1;
        loop {
            // A decision consumes the command, so that a second one reads its bytes.
            match self.attempt(checked, typed.take(), attempt > 1).await {
                Err(HandleError::Conflict(conflict)) => {
                    // Who has named the version may be told of it; of a boundary nobody has named anything.
                    let named =
                        checked.expected != ExpectedVersion::Any && conflict.cause == ConflictCause::Version;
                    if named || attempt >= self.limits.attempts_max {
                        return Err(HandleError::Conflict(Conflict { attempts: attempt, ..conflict }));
                    }
                    self.metrics.retried(checked.decider.category(), checked.name);
                    self.pause(attempt).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    /// One decision on the state at hand; after a lost race, on what the store has by now.
    async fn attempt(
        &self,
        checked: &Checked<'_>,
        mut typed: Option<Typed>,
        lost_before: bool,
    ) -> Result<Settled, RawError> {
        let Checked { decider, header, command, context, .. } = checked;
        if let Some(query) = decider.boundary(command, &mut typed, context).map_err(decide_error)? {
            return self.attempt_within(checked, query, typed).await;
        }
        let mut loaded = self.load(checked.decider, &header.stream).await?;
        if lost_before {
            loaded = self.catch_up(checked.decider, &header.stream, loaded).await?;
        }
        if let ExpectedVersion::Exactly(expected) = checked.expected
            && expected != loaded.version
        {
            // The cached state is a hint: only the store may call the caller's belief stale.
            loaded = self.catch_up(checked.decider, &header.stream, loaded).await?;
        }
        // Before the belief is judged: who may not act on the stream does not learn its version either.
        if let Err(forbidden) = self.judge(checked, &loaded.state) {
            self.keep(checked.decider, &header.stream, loaded);
            return Err(forbidden.into());
        }
        if let ExpectedVersion::Exactly(expected) = checked.expected
            && expected != loaded.version
        {
            let actual = loaded.version;
            self.keep(checked.decider, &header.stream, loaded);
            let stream = header.stream.stream.clone();
            return Err(HandleError::Conflict(Conflict::of_version(stream, expected, actual)));
        }
        self.decide_on(checked, typed, loaded).await
    }

    /// Decides on a state and commits what was decided.
    async fn decide_on(
        &self,
        checked: &Checked<'_>,
        typed: Option<Typed>,
        loaded: Loaded,
    ) -> Result<Settled, RawError> {
        let Checked { decider, header, command, context, .. } = checked;
        let version = loaded.version;
        let base = Base::At(version);
        let (effect, typed) = match decider.decide(&loaded.state, command, typed, context) {
            Ok(Decided::Events { stored, typed }) => (Effect::Append { base, events: stored }, Some(typed)),
            Ok(Decided::Rejected(RawRejection { name, data, .. })) => {
                (Effect::Reject { base, name, data }, None)
            }
            Err(error) => {
                self.keep(*decider, &header.stream, loaded);
                return Err(decide_error(error));
            }
        };
        let (commit, held) = with_row(*decider, Commit::new(header.clone(), effect), typed.as_ref(), loaded)?;
        match self.store.commit(commit).await {
            Ok(committed) if committed.replayed => {
                self.replay(checked.decider, committed.record).await.map(Settled::read_back)
            }
            Ok(committed) => self.conclude(checked, committed, typed, version, held),
            Err(error) => {
                if let Held::Before(loaded) = held {
                    self.keep(*decider, &header.stream, loaded);
                }
                Err(commit_error(error, &header.id))
            }
        }
    }

    /// Turns a fresh ledger row into the answer and keeps the state for the next command.
    fn conclude(
        &self,
        checked: &Checked<'_>,
        committed: Committed,
        typed: Option<Typed>,
        base: Version,
        held: Held,
    ) -> Result<Settled, RawError> {
        let Checked { decider, header, .. } = checked;
        let stream = &header.stream;
        let Committed { record, events, .. } = committed;
        if let Outcome::Rejected { name, data } = &record.outcome {
            if let Held::Before(loaded) = held {
                self.keep(*decider, stream, loaded);
            }
            let rejection = decider.rejection(name, data);
            return Err(HandleError::Rejected(rejection.map_err(|error| unreadable_ledger(&error))?));
        }
        contiguous(stream, base, &events)?;
        let after = match (held, &typed) {
            (Held::After(after), _) => after,
            (Held::Before(before), Some(typed)) => {
                Loaded { state: decider.evolve_typed(before.state, typed), ..before }.grown(&events)
            }
            (Held::Before(before), None) => {
                let state = decider.evolve(before.state, &events);
                let state = state.map_err(|error| unreadable_stream(stream, &error))?;
                Loaded { state, ..before }.grown(&events)
            }
        };
        self.keep(*decider, stream, Loaded { version: record.version, ..after });
        Ok(Settled { receipt: receipt(record, events, false), typed })
    }

    /// Keeps a state for the next command.
    pub(crate) fn keep(&self, decider: &dyn AnyDecider, stream: &StreamRef, mut loaded: Loaded) {
        loaded.weigh(decider);
        self.cache.put_back(stream, loaded);
    }

    /// Answers a command that had its outcome before.
    pub(crate) async fn replay(
        &self,
        decider: &dyn AnyDecider,
        record: CommandRecord,
    ) -> Result<RawReceipt, RawError> {
        match &record.outcome {
            Outcome::Accepted { base } => {
                let events = self.events(&record.header.stream, *base, record.version).await?;
                Ok(receipt(record, events, true))
            }
            Outcome::Rejected { name, data } => {
                let rejection = decider.rejection(name, data);
                let rejection = rejection.map_err(|error| unreadable_ledger(&error))?;
                Err(HandleError::Rejected(RawRejection { replayed: true, ..rejection }))
            }
            Outcome::Refused(_) => Err(Fault::permanent(Code::Internal, "a refusal claimed a key").into()),
        }
    }

    /// The final ledger row under the command's key, if there is one; another input under it is an error.
    async fn final_record(&self, header: &CommandHeader) -> Result<Option<CommandRecord>, RawError> {
        let found = self.store.recorded(&header.stream.tenant, &header.id).await?;
        let found = found.filter(|record| !matches!(record.outcome, Outcome::Refused(_)));
        match found {
            Some(record) if record.header.hash != header.hash => {
                Err(Refusal::KeyReused { id: header.id.clone() }.into())
            }
            found => Ok(found),
        }
    }

    /// Checks everything that needs no state: texts and permission.
    pub(crate) async fn check<'a>(
        &self,
        decider: &'a dyn AnyDecider,
        name: &'static str,
        request: RawRequest,
    ) -> Result<Checked<'a>, RawError> {
        let RawRequest { category, command, envelope } = request;
        let id =
            envelope.checked_id().transpose().map_err(Refusal::Text)?.unwrap_or_else(generate_command_id);
        let key = StreamKey::new(&envelope.key).map_err(Refusal::Text)?;
        let stream = StreamId { category: Category::new(&category).map_err(Refusal::Text)?, key };
        let occurred_at = envelope.time.or(envelope.accepted_at).unwrap_or_else(|| self.clock.now());
        let mut header = header(&envelope, id, stream, &command, occurred_at);
        let permit = self.permit(&envelope, &header, &command.body);
        let permit = match permit {
            Ok(permit) => permit,
            Err(forbidden) => return self.refuse_forbidden(header, forbidden).await,
        };
        header.policy = permit.policy;
        if permit.needs_state {
            // What policies judge by must have its shape before they are asked for good.
            decider.check(&command).map_err(Refusal::Shape)?;
        }
        let context = Context {
            command: header.id.clone(),
            principal: envelope.principal,
            stream: header.stream.stream.clone(),
            time: occurred_at,
            correlation: envelope.correlation,
            causation: envelope.causation,
            references: self.references.clone(),
        };
        let (expected, needs_state) = (envelope.expected, permit.needs_state);
        Ok(Checked { decider, name, header, command, context, expected, needs_state })
    }

    /// Waits a random time below a bound that doubles with every attempt.
    async fn pause(&self, attempt: u32) {
        let bound = Duration::from_millis(1 << attempt.min(16)).min(self.limits.retry_pause_max);
        pause_below(bound).await;
    }
}

impl Settled {
    /// An answer from the ledger: its events are the stored ones.
    pub(crate) fn read_back(receipt: RawReceipt) -> Self {
        Self { receipt, typed: None }
    }
}

/// Adds the state after its events to a commit, where a row of it is due.
fn with_row(
    decider: &dyn AnyDecider,
    commit: Commit,
    typed: Option<&Typed>,
    loaded: Loaded,
) -> Result<(Commit, Held), Fault> {
    let appended = match &commit.effect {
        Effect::Append { events, .. } => events.len(),
        Effect::Reject { .. } | Effect::Refuse { .. } => 0,
    };
    let version = loaded.version.plus(appended);
    let due = decider.stored().filter(|stored| appended > 0 && stored.is_due(loaded.row, version));
    let (Some(stored), Some(typed)) = (due, typed) else {
        return Ok((commit, Held::Before(loaded)));
    };
    let state = decider.evolve_typed(loaded.state, typed);
    let text = decider.to_text(&state)?;
    let weight = Weight::of(&state, &text);
    let commit = commit.with_state(NewState { shape: stored.shape, state: text });
    Ok((commit, Held::After(Loaded { state, version, row: version, weight })))
}

fn typed_events<E: Event>(events: &[Arc<RawFact>]) -> Result<Vec<E>, Fault> {
    let mut typed = Vec::with_capacity(events.len());
    for raw in events {
        typed.extend(raw.decode::<E>().map_err(|error| unreadable(raw, &error))?);
    }
    Ok(typed)
}

fn header(
    envelope: &Envelope,
    id: CommandId,
    stream: StreamId,
    command: &RawCommand,
    occurred_at: Timestamp,
) -> CommandHeader {
    let stream = StreamRef { tenant: envelope.principal.tenant.clone(), stream };
    let actor = envelope.principal.actor.clone();
    CommandHeader {
        hash: InputHash::of(&actor, &stream, command, envelope.expected),
        id,
        stream,
        name: command.name.clone(),
        actor,
        correlation: envelope.correlation.clone(),
        causation: envelope.causation.clone(),
        policy: None,
        occurred_at,
    }
}

pub(crate) fn receipt(record: CommandRecord, events: Vec<Arc<RawFact>>, replayed: bool) -> RawReceipt {
    let CommandRecord { header, version, token, .. } = record;
    Receipt { stream: header.stream.stream, version, token, events, command: header.id, replayed }
}

pub(crate) fn decide_error(error: DecideError) -> RawError {
    match error {
        DecideError::Shape(shape) => Refusal::Shape(shape).into(),
        DecideError::Boundary(error) => Refusal::Boundary(error).into(),
        DecideError::Fault(fault) => fault.into(),
    }
}

pub(crate) fn commit_error(error: CommitError, id: &CommandId) -> RawError {
    match error {
        CommitError::Conflict(conflict) => HandleError::Conflict(conflict),
        CommitError::KeyReused => Refusal::KeyReused { id: id.clone() }.into(),
        CommitError::Overloaded { retry_after } => Refusal::Overloaded { retry_after }.into(),
        CommitError::Indeterminate => Refusal::Indeterminate { id: id.clone() }.into(),
        CommitError::Fault(fault) => fault.into(),
    }
}

fn typed_rejection<D: Decider>(raw: RawRejection) -> HandleError<D::Rejection> {
    match D::Rejection::decode(&raw.name, &raw.data) {
        Ok(rejection) => HandleError::Rejected(rejection),
        Err(error) => HandleError::Fault(unreadable_ledger(&error)),
    }
}

pub(crate) fn unreadable_ledger(error: &DecodeError) -> Fault {
    Fault::permanent(Code::OlderCode, "the ledger holds a rejection that this code does not know")
        .because(error.clone())
}

fn outcome_label(result: &Result<Settled, RawError>) -> &'static str {
    match result {
        Ok(settled) if settled.receipt.replayed => "replayed",
        Ok(_) => "accepted",
        Err(HandleError::Rejected(rejection)) if rejection.replayed => "replayed",
        Err(HandleError::Rejected(_)) => "rejected",
        Err(HandleError::Conflict(_)) => "conflict",
        Err(HandleError::Refused(Refusal::Forbidden(_))) => "forbidden",
        Err(HandleError::Refused(Refusal::Overloaded { .. })) => "overloaded",
        Err(HandleError::Refused(_)) => "refused",
        Err(HandleError::Fault(_)) => "fault",
    }
}
