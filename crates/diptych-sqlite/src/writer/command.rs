//! One command inside the group's transaction: ledger, version, events, inline rows, ledger row.

use super::State;
use super::group::GroupTx;
use super::inline::{InlineFailure, RELEASE, ROLLBACK_TO, SAVEPOINT, run};
use super::streams::StreamRow;
use crate::fault::{OrFault, damaged};
use crate::ledger::{self, ACCEPTED, REFUSED_CONFLICT, REFUSED_FORBIDDEN, REJECTED, StoredId};
use crate::log::{any_after, mark_of};
use crate::models::Digests;
use diptych_command::{
    Arrival, Base, CommandHeader, CommandRecord, Commit, CommitError, Committed, Condition, Conflict, Effect,
    NewState, Outcome, RefusedFor,
};
use diptych_core::{Fault, NewEvent, Position, RawFact, SharedText, StreamRef, Tag, Version};
use diptych_query::Mark;
use rusqlite::OptionalExtension;
use std::sync::Arc;
use std::time::Instant;

const SELECT_KEY: &str = "SELECT hash FROM command_key WHERE tenant = ?1 AND command_id = ?2";
const INSERT_STREAM: &str = "INSERT INTO stream (tenant, category, key) VALUES (?1, ?2, ?3)";

/// What became of one command.
type Step = Result<Committed, CommitError>;

/// Whether what is appended claims the key of its id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    Key,
    /// The id belongs to whoever gave it.
    Nothing,
}

/// A command as it waits for the writer, with what its caller's thread could do for it already.
pub(crate) struct Prepared {
    pub(super) asked: Asked,
    effect: Effect,
    state: Option<NewState>,
    condition: Option<Condition>,
}

/// What a command appends.
struct Appended {
    /// The integers of the types.
    types: Vec<i64>,
    /// The tags with the place of their fact.
    tags: Vec<(usize, Tag)>,
    facts: Vec<Arc<RawFact>>,
}

/// What was asked, in the forms in which it is written.
pub(super) struct Asked {
    pub(super) header: CommandHeader,
    /// The stream, as its facts will share it.
    pub(super) stream: Arc<StreamRef>,
    /// What will stand beside each event.
    metadata: SharedText,
}

impl Prepared {
    pub(super) fn of(commit: Commit) -> Self {
        let Commit { header, effect, state, condition } = commit;
        let metadata = match &effect {
            Effect::Append { events, .. } if !events.is_empty() => header.metadata(),
            _ => String::new(),
        };
        let stream = Arc::new(header.stream.clone());
        Self { asked: Asked { header, stream, metadata: metadata.into() }, effect, state, condition }
    }

    /// What comes from elsewhere, on whatever its stream holds.
    pub(super) fn of_arrival(arrival: Arrival) -> Self {
        let (header, events) = arrival.into_commit();
        Self::of(Commit::new(header, Effect::Append { base: Base::Any, events }))
    }
}

impl GroupTx<'_> {
    /// Does what a command asks, or says why not. An error is the store's: the whole group fails with it.
    pub(super) fn apply(&mut self, command: Prepared) -> Result<Step, Fault> {
        let Prepared { asked, effect, state, condition } = command;
        let State { streams, names, .. } = &mut *self.state;
        let stream = streams.row(self.connection, &mut self.statements, names, &asked.stream)?;
        let base = match &effect {
            Effect::Append { base, .. } | Effect::Reject { base, .. } => *base,
            Effect::Refuse { reason, version } => {
                let outcome = Outcome::Refused(*reason);
                return Ok(Ok(self.record(asked, stream, outcome, *version, Vec::new())?));
            }
        };
        if let Some(conflict) = self.conflict(&asked, stream, base, condition.as_ref())? {
            // The ledger goes before the conflict: the command itself may have moved the stream, or come into
            // its own boundary, when it was given before.
            let claimed = self.claimed(&asked.header, stream.tenant)?;
            return Ok(claimed.unwrap_or(Err(CommitError::Conflict(conflict))));
        }
        match effect {
            Effect::Append { events, .. } => self.append(asked, stream, events, Claim::Key, state),
            Effect::Reject { name, data, .. } => {
                if let Some(answer) = self.claim(&asked.header, stream.tenant)? {
                    return Ok(answer);
                }
                let outcome = Outcome::Rejected { name, data };
                Ok(Ok(self.record(asked, stream, outcome, stream.version, Vec::new())?))
            }
            Effect::Refuse { .. } => Err(damaged("a refusal cannot come here")),
        }
    }

    /// Appends what comes from elsewhere: behind whatever the stream holds, and without claiming a key.
    pub(super) fn take(&mut self, arrival: Prepared) -> Result<Step, Fault> {
        let Prepared { asked, effect, .. } = arrival;
        let State { streams, names, .. } = &mut *self.state;
        let stream = streams.row(self.connection, &mut self.statements, names, &asked.stream)?;
        let Effect::Append { events, .. } = effect else {
            return Err(damaged("an arrival appends"));
        };
        self.append(asked, stream, events, Claim::Nothing, None)
    }

    /// What a decision was made on and is not there any more. Events of the group's earlier commands are in
    /// the transaction, with their tags.
    fn conflict(
        &self,
        asked: &Asked,
        stream: StreamRow,
        base: Base,
        condition: Option<&Condition>,
    ) -> Result<Option<Conflict>, Fault> {
        let named = || asked.stream.stream.clone();
        if let Base::At(expected) = base
            && stream.version != expected
        {
            return Ok(Some(Conflict::of_version(named(), expected, stream.version)));
        }
        let Some(Condition { query, after }) = condition else {
            return Ok(None);
        };
        let found = any_after(self.connection, stream.tenant, query, *after).or_fault()?;
        Ok(found.map(|position| Conflict::of_boundary(named(), stream.version, position)))
    }

    /// Claims the key for the command that is recorded next; what was answered before, if it was claimed
    /// already. Asking and claiming are one statement, because nearly every key is new.
    fn claim(&mut self, header: &CommandHeader, tenant: i64) -> Result<Option<Step>, Fault> {
        let statement = self.statements.claim_key.get(self.connection).or_fault()?;
        let id = StoredId::of(header.id.as_str());
        let command = self.state.last_command + 1;
        let claimed = statement.execute((tenant, id, command, header.hash.0)).or_fault()?;
        if claimed == 1 { Ok(None) } else { self.claimed(header, tenant) }
    }

    /// What was answered before under the same key, if it was claimed.
    fn claimed(&self, header: &CommandHeader, tenant: i64) -> Result<Option<Step>, Fault> {
        let mut statement = self.connection.prepare_cached(SELECT_KEY).or_fault()?;
        let key = (tenant, StoredId::of(header.id.as_str()));
        let held: Option<[u8; 16]> = statement.query_row(key, |row| row.get(0)).optional().or_fault()?;
        match held {
            None => Ok(None),
            Some(hash) if hash != header.hash.0 => Ok(Some(Err(CommitError::KeyReused))),
            Some(_) => {
                let identity = self.state.identity;
                let record = ledger::claimed(self.connection, identity, &header.stream.tenant, &header.id)?;
                let record = record.ok_or_else(|| damaged("a claimed key has no command"))?;
                Ok(Some(Ok(Committed { record, events: Vec::new(), replayed: true })))
            }
        }
    }

    /// The stream's row, made now if no command has named it before.
    fn named(&self, row: StreamRow, stream: &StreamRef) -> Result<StreamRow, Fault> {
        if row.id.is_some() {
            return Ok(row);
        }
        let mut statement = self.connection.prepare_cached(INSERT_STREAM).or_fault()?;
        let id = statement.insert((row.tenant, row.category, stream.stream.key.as_str())).or_fault()?;
        Ok(StreamRow { id: Some(id), ..row })
    }

    /// Claims the key, folds inline and appends. A fold that fails takes this command back, and no other.
    fn append(
        &mut self,
        asked: Asked,
        stream: StreamRow,
        events: Vec<NewEvent>,
        claim: Claim,
        state: Option<NewState>,
    ) -> Result<Step, Fault> {
        let base = stream.version;
        // Before the savepoint: the integers of types are remembered, so that they must not be taken back.
        let Appended { types, tags, facts } = self.facts(&asked, stream, events)?;
        let category = asked.stream.stream.category.as_str();
        let folds = !facts.is_empty() && self.inline.iter().any(|inline| inline.folds(category));
        if folds {
            run(self.connection, SAVEPOINT)?;
        }
        let answered = match claim {
            Claim::Key => self.claim(&asked.header, stream.tenant)?,
            Claim::Nothing => None,
        };
        if let Some(answer) = answered {
            if folds {
                run(self.connection, RELEASE)?;
            }
            return Ok(answer);
        }
        let stream = self.named(stream, &asked.stream)?;
        let through = facts.last().map(|last| mark_of(self.state.identity, last));
        if let Some(through) = through.filter(|_| folds) {
            match self.fold_inline(&facts, through) {
                Ok(digests) => self.digests.merge(digests),
                Err(InlineFailure::Store(fault)) => return Err(fault),
                Err(InlineFailure::Command(fault)) => {
                    run(self.connection, ROLLBACK_TO)?;
                    run(self.connection, RELEASE)?;
                    return Ok(Err(CommitError::Fault(fault)));
                }
            }
            run(self.connection, RELEASE)?;
        }
        self.insert_events(stream, &types, &facts)?;
        self.insert_tags(stream, &tags, &facts)?;
        self.state.head = through.unwrap_or(self.state.head);
        let version = base.plus(facts.len());
        if let Some(state) = state.filter(|_| !facts.is_empty()) {
            self.write_state(stream, version, &state)?;
        }
        let outcome = Outcome::Accepted { base };
        Ok(Ok(self.record(asked, StreamRow { version, ..stream }, outcome, version, facts)?))
    }

    /// The facts that a command's events become.
    fn facts(&mut self, asked: &Asked, stream: StreamRow, events: Vec<NewEvent>) -> Result<Appended, Fault> {
        let head = self.state.head.position();
        let (mut types, mut facts) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
        let mut all_tags = Vec::new();
        for (event, number) in events.into_iter().zip(1..) {
            let NewEvent { name, schema_version, payload, tags } = event;
            all_tags.extend(tags.into_iter().map(|tag| (facts.len(), tag)));
            let names = &mut self.state.names;
            let (kind, event) =
                names.event_type(self.connection, stream.category, name, schema_version).or_fault()?;
            types.push(kind);
            facts.push(Arc::new(RawFact {
                position: Position(head.0 + number),
                stream: Arc::clone(&asked.stream),
                version: Version(stream.version.0 + number),
                event,
                recorded_at: self.now,
                occurred_at: asked.header.occurred_at,
                metadata: asked.metadata.clone(),
                payload: payload.into(),
            }));
        }
        Ok(Appended { types, tags: all_tags, facts })
    }

    fn insert_tags(
        &mut self,
        stream: StreamRow,
        tags: &[(usize, Tag)],
        facts: &[Arc<RawFact>],
    ) -> Result<(), Fault> {
        for (place, tag) in tags {
            let statement = self.statements.insert_tag.get(self.connection).or_fault()?;
            let position = facts[*place].position.0.cast_signed();
            statement.execute((stream.tenant, tag.as_str(), position)).or_fault()?;
        }
        Ok(())
    }

    fn insert_events(
        &mut self,
        stream: StreamRow,
        types: &[i64],
        facts: &[Arc<RawFact>],
    ) -> Result<(), Fault> {
        let statement = self.statements.insert_event.get(self.connection).or_fault()?;
        for (kind, fact) in types.iter().zip(facts) {
            let (recorded_at, occurred_at) = (fact.recorded_at.as_micros(), fact.occurred_at.as_micros());
            let row = (
                fact.position.0.cast_signed(),
                stream.id,
                fact.version.0.cast_signed(),
                kind,
                recorded_at,
                (occurred_at != recorded_at).then_some(occurred_at),
                &*fact.metadata,
                &*fact.payload,
            );
            statement.execute(row).or_fault()?;
        }
        Ok(())
    }

    /// Writes the state that a command's events lead to. The stream has just been found at their base, so
    /// that no later one can be there.
    fn write_state(&mut self, stream: StreamRow, version: Version, state: &NewState) -> Result<(), Fault> {
        let statement = self.statements.write_state.get(self.connection).or_fault()?;
        let (version, shape) = (version.0.cast_signed(), state.shape.0.cast_signed());
        statement.execute((stream.id, stream.category, version, shape, &state.state)).or_fault()?;
        Ok(())
    }

    /// Folds a command's facts into every inline group that reads them.
    fn fold_inline(&mut self, facts: &[Arc<RawFact>], through: Mark) -> Result<Digests, InlineFailure> {
        let mut digests = Digests::default();
        let head = self.state.head;
        let started = Instant::now();
        for inline in self.inline.iter_mut() {
            if facts.iter().any(|fact| inline.folds(fact.stream.stream.category.as_str())) {
                inline.fold_command(self.connection, head, through, facts, &mut digests)?;
            }
        }
        let budget = self.shared.limits.inline_budget;
        self.state.over_budget.note(started.elapsed(), budget, self.now);
        Ok(digests)
    }

    /// Writes the ledger's row, whose key has been claimed where the outcome is final. `stream` is how the
    /// stream stands after the command.
    fn record(
        &mut self,
        asked: Asked,
        stream: StreamRow,
        outcome: Outcome,
        version: Version,
        events: Vec<Arc<RawFact>>,
    ) -> Result<Committed, Fault> {
        let stream = self.named(stream, &asked.stream)?;
        self.state.streams.note(&asked.stream, stream);
        let Asked { header, .. } = asked;
        let names = &mut self.state.names;
        let name = names.command(self.connection, &header.name).or_fault()?;
        let actor = names.actor(self.connection, header.actor.as_str()).or_fault()?;
        let policy = header.policy.as_ref().map(|policy| names.policy(self.connection, &policy.0));
        let policy = policy.transpose().or_fault()?;
        let (number, rejection, data) = match &outcome {
            Outcome::Accepted { .. } => (ACCEPTED, None, None),
            Outcome::Rejected { name, data } => (REJECTED, Some(name), Some(data)),
            Outcome::Refused(RefusedFor::Conflict) => (REFUSED_CONFLICT, None, None),
            Outcome::Refused(RefusedFor::Forbidden) => (REFUSED_FORBIDDEN, None, None),
        };
        let claims = !matches!(outcome, Outcome::Refused(_));
        // Where events were appended, the times stand on them.
        let own_times = events.is_empty();
        let (recorded_at, occurred_at) = (self.now.as_micros(), header.occurred_at.as_micros());
        let token = self.state.head.token;
        let command = self.state.last_command + 1;
        let id = StoredId::of(header.id.as_str());
        let row = rusqlite::params![
            command,
            id,
            stream.id,
            name,
            actor,
            number,
            version.0.cast_signed(),
            events.len() as i64,
            token.position.0.cast_signed(),
            own_times.then_some(recorded_at),
            (own_times && occurred_at != recorded_at).then_some(occurred_at),
            policy,
            header.correlation.as_ref().map(|id| StoredId::of(id.as_str())),
            header.causation.as_ref().map(|id| StoredId::of(id.as_str())),
            rejection,
            data,
            (!claims).then_some(header.hash.0),
        ];
        self.statements.insert_command.get(self.connection).or_fault()?.execute(row).or_fault()?;
        self.state.last_command = command;
        let record = CommandRecord { header, outcome, version, token, recorded_at: self.now };
        Ok(Committed { record, events, replayed: false })
    }
}
