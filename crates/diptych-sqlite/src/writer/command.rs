//! One command inside the group's transaction: ledger, version, events, inline rows, ledger row.

use super::group::GroupTx;
use super::inline::{InlineFailure, RELEASE, ROLLBACK_TO, SAVEPOINT, run};
use crate::fault::{OrFault, damaged};
use crate::ledger::{self, ACCEPTED, REFUSED_CONFLICT, REFUSED_FORBIDDEN, REJECTED, StoredId};
use crate::log::mark_of;
use crate::models::Digests;
use diptych_command::{
    CommandHeader, CommandRecord, Commit, CommitError, Committed, Conflict, Effect, Outcome, RefusedFor,
};
use diptych_core::{Fault, Metadata, NewEvent, Position, RawFact, StreamRef, Version};
use diptych_query::Mark;
use rusqlite::OptionalExtension;
use std::sync::Arc;
use std::time::Instant;

const SELECT_KEY: &str = "SELECT hash FROM command_key WHERE tenant = ?1 AND command_id = ?2";
const SELECT_STREAM: &str = "SELECT id, (SELECT max(version) FROM event WHERE stream = stream_row.id) \
    FROM stream AS stream_row WHERE tenant = ?1 AND category = ?2 AND key = ?3";
const INSERT_STREAM: &str = "INSERT INTO stream (tenant, category, key) VALUES (?1, ?2, ?3)";
const INSERT_EVENT: &str = "INSERT INTO event \
    (position, stream, version, type, recorded_at, occurred_at, metadata, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const INSERT_COMMAND: &str = "INSERT INTO command \
    (command_id, stream, name, actor, outcome, version, events, position, recorded_at, occurred_at, \
    policy, correlation, causation, rejection, data, hash) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
const INSERT_KEY: &str =
    "INSERT INTO command_key (tenant, command_id, command, hash) VALUES (?1, ?2, ?3, ?4)";

/// What became of one command.
type Step = Result<Committed, CommitError>;

/// A stream as the transaction sees it.
#[derive(Clone, Copy)]
struct StreamRow {
    tenant: i64,
    category: i64,
    /// None when no command has named it yet.
    id: Option<i64>,
    version: Version,
}

impl GroupTx<'_> {
    /// Does what a command asks, or says why not. An error is the store's: the whole group fails with it.
    pub(super) fn apply(&mut self, commit: Commit) -> Result<Step, Fault> {
        let Commit { header, effect } = commit;
        let stream = self.stream(&header.stream)?;
        let base = match &effect {
            Effect::Append { base, .. } | Effect::Reject { base, .. } => *base,
            Effect::Refuse { reason, version } => {
                let outcome = Outcome::Refused(*reason);
                return Ok(Ok(self.record(header, stream, outcome, *version, Vec::new())?));
            }
        };
        if let Some(answer) = self.claimed(&header, stream.tenant)? {
            return Ok(answer);
        }
        if stream.version != base {
            return Ok(Err(CommitError::Conflict(Conflict {
                stream: header.stream.stream,
                expected: base,
                actual: stream.version,
                attempts: 1,
            })));
        }
        match effect {
            Effect::Append { events, .. } => self.append(header, stream, events),
            Effect::Reject { name, data, .. } => {
                let outcome = Outcome::Rejected { name, data };
                Ok(Ok(self.record(header, stream, outcome, base, Vec::new())?))
            }
            Effect::Refuse { .. } => Err(damaged("a refusal cannot come here")),
        }
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

    fn stream(&mut self, stream: &StreamRef) -> Result<StreamRow, Fault> {
        let names = &mut self.state.names;
        let tenant = names.tenant(self.connection, stream.tenant.as_str()).or_fault()?;
        let category = names.category(self.connection, stream.stream.category.as_str()).or_fault()?;
        let mut statement = self.connection.prepare_cached(SELECT_STREAM).or_fault()?;
        let found = statement
            .query_row((tenant, category, stream.stream.key.as_str()), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
            })
            .optional()
            .or_fault()?;
        let version = found.and_then(|(_, version)| version).unwrap_or(0);
        Ok(StreamRow {
            tenant,
            category,
            id: found.map(|(id, _)| id),
            version: Version(version.cast_unsigned()),
        })
    }

    /// The integer of a stream, made now if no command has named it before.
    fn stream_id(&self, row: StreamRow, stream: &StreamRef) -> Result<i64, Fault> {
        match row.id {
            Some(id) => Ok(id),
            None => {
                let mut statement = self.connection.prepare_cached(INSERT_STREAM).or_fault()?;
                statement.insert((row.tenant, row.category, stream.stream.key.as_str())).or_fault()
            }
        }
    }

    /// Appends, folds inline and claims the key. A fold that fails takes this command back, and no other.
    fn append(
        &mut self,
        header: CommandHeader,
        stream: StreamRow,
        events: Vec<NewEvent>,
    ) -> Result<Step, Fault> {
        let stream = StreamRow { id: Some(self.stream_id(stream, &header.stream)?), ..stream };
        let (types, facts) = self.facts(&header, stream, events)?;
        let base = stream.version;
        let category = header.stream.stream.category.as_str();
        let folds = !facts.is_empty() && self.inline.iter().any(|inline| inline.folds(category));
        if folds {
            run(self.connection, SAVEPOINT)?;
            match self.fold_inline(&facts) {
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
        if let Some(through) = self.through(&facts) {
            self.state.head = through;
        }
        let outcome = Outcome::Accepted { base };
        let version = base.plus(facts.len());
        Ok(Ok(self.record(header, stream, outcome, version, facts)?))
    }

    /// The facts that a command's events become, with the integers of their types.
    fn facts(
        &mut self,
        header: &CommandHeader,
        stream: StreamRow,
        events: Vec<NewEvent>,
    ) -> Result<(Vec<i64>, Vec<Arc<RawFact>>), Fault> {
        if events.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let metadata: Box<str> = metadata(header).into();
        let head = self.state.head.position();
        let (mut types, mut facts) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
        for (event, number) in events.into_iter().zip(1..) {
            let NewEvent { name, schema_version, payload } = event;
            let names = &mut self.state.names;
            let (kind, event) =
                names.event_type(self.connection, stream.category, name, schema_version).or_fault()?;
            types.push(kind);
            facts.push(Arc::new(RawFact {
                position: Position(head.0 + number),
                stream: header.stream.clone(),
                version: Version(stream.version.0 + number),
                event,
                recorded_at: self.now,
                occurred_at: header.occurred_at,
                metadata: metadata.clone(),
                payload: payload.into(),
            }));
        }
        Ok((types, facts))
    }

    fn insert_events(&self, stream: StreamRow, types: &[i64], facts: &[Arc<RawFact>]) -> Result<(), Fault> {
        let mut statement = self.connection.prepare_cached(INSERT_EVENT).or_fault()?;
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

    /// Folds a command's facts into every inline group that reads them.
    fn fold_inline(&mut self, facts: &[Arc<RawFact>]) -> Result<Digests, InlineFailure> {
        let mut digests = Digests::default();
        let Some(through) = self.through(facts) else {
            return Ok(digests);
        };
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

    /// Where the log stands after facts.
    fn through(&self, facts: &[Arc<RawFact>]) -> Option<Mark> {
        facts.last().map(|last| mark_of(self.state.identity, last))
    }

    /// Writes the ledger's row, and claims the key where the outcome is final.
    fn record(
        &mut self,
        header: CommandHeader,
        stream: StreamRow,
        outcome: Outcome,
        version: Version,
        events: Vec<Arc<RawFact>>,
    ) -> Result<Committed, Fault> {
        let stream_id = self.stream_id(stream, &header.stream)?;
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
        let id = StoredId::of(header.id.as_str());
        let row = rusqlite::params![
            id,
            stream_id,
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
        let command = self.connection.prepare_cached(INSERT_COMMAND).or_fault()?.insert(row).or_fault()?;
        if claims {
            let mut statement = self.connection.prepare_cached(INSERT_KEY).or_fault()?;
            statement.execute((stream.tenant, &id, command, header.hash.0)).or_fault()?;
        }
        let record = CommandRecord { header, outcome, version, token, recorded_at: self.now };
        Ok(Committed { record, events, replayed: false })
    }
}

/// What stands beside each event of a command.
fn metadata(header: &CommandHeader) -> String {
    let metadata = Metadata {
        actor: header.actor.clone(),
        command: header.id.clone(),
        correlation: header.correlation.clone(),
        causation: header.causation.clone(),
        policy: header.policy.as_ref().map(|policy| policy.0.clone().into_owned()),
    };
    metadata.encode()
}
