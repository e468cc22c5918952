//! What becomes of each command of a group, and the rows that it leaves: pure, from what the transaction has
//! found.

use super::command::{Claim, Prepared, PreparedEffect, PreparedEvent};
use super::intern::{CommandNames, Interned};
use crate::fault::damaged;
use crate::ledger::{ACCEPTED, REFUSED_CONFLICT, REFUSED_FORBIDDEN, REJECTED};
use crate::log::{LogIdentity, mark_of};
use diptych_command::{Base, CommandRecord, Committed, Condition, Conflict, NewState, Outcome, RefusedFor};
use diptych_core::{Fault, Position, RawFact, StreamRef, Tag, Timestamp, Version};
use diptych_query::Mark;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Where the log stands under the lock of its head.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) head: Mark,
    /// The latest time in log or audit.
    pub(super) latest: Timestamp,
    /// The last ids given out.
    pub(super) stream: i64,
    pub(super) command: i64,
}

/// A stream as the group sees it.
#[derive(Clone, Copy, Default)]
pub(super) struct StreamRow {
    /// None when no command has named it yet.
    pub(super) id: Option<i64>,
    pub(super) version: Version,
}

/// What the transaction has found for the commands of a group.
pub(super) struct Found {
    /// The streams, each once.
    pub(super) streams: Vec<StreamRow>,
    /// For each command the place of its stream.
    pub(super) stream_of: Vec<usize>,
    /// For each command the hash that its key was claimed with.
    pub(super) claimed: Vec<Option<[u8; 16]>>,
    /// The commands, by their place, whose condition a committed fact breaks, and where that stands.
    pub(super) broken: BTreeMap<usize, Position>,
}

/// What became of one command.
pub(super) enum Decision {
    /// It is done, or was done by another command of the group.
    Done(Box<Committed>),
    /// It was done before: the ledger has the answer.
    Replayed,
    /// The stream is not at the base any more, or the condition does not hold.
    Conflict(Conflict),
    /// The key belongs to a command that asked for something else.
    KeyReused,
}

/// A row of the stream table.
pub(super) struct NewStream<'a> {
    pub(super) id: i64,
    pub(super) names: CommandNames,
    pub(super) stream: &'a StreamRef,
}

/// A row of the log.
pub(super) struct NewEvent<'a> {
    pub(super) tenant: i32,
    pub(super) stream: i64,
    pub(super) kind: i32,
    pub(super) fact: Arc<RawFact>,
    pub(super) tags: &'a [Tag],
}

/// A row of the audit, and of the ledger where it claims its key.
pub(super) struct NewCommand<'a> {
    pub(super) id: i64,
    pub(super) stream: i64,
    pub(super) version: Version,
    pub(super) position: Position,
    pub(super) events: usize,
    pub(super) names: CommandNames,
    pub(super) outcome: i16,
    pub(super) claims: bool,
    /// The rejection's name and data.
    pub(super) rejection: Option<(&'a str, &'a str)>,
    pub(super) prepared: &'a Prepared,
}

/// A row of the state table.
pub(super) struct NewStateRow<'a> {
    pub(super) stream: i64,
    pub(super) category: i32,
    pub(super) version: Version,
    pub(super) state: &'a NewState,
}

/// What a group leaves behind.
pub(super) struct Decided<'a> {
    pub(super) decisions: Vec<Decision>,
    pub(super) streams: Vec<NewStream<'a>>,
    pub(super) events: Vec<NewEvent<'a>>,
    pub(super) commands: Vec<NewCommand<'a>>,
    /// The last of each stream.
    pub(super) states: Vec<NewStateRow<'a>>,
    /// Where the log stands afterwards.
    pub(super) standing: Standing,
}

/// A group being decided.
struct Deciding<'a> {
    identity: LogIdentity,
    interned: &'a Interned,
    now: Timestamp,
    streams: Vec<StreamRow>,
    broken: BTreeMap<usize, Position>,
    /// Keys claimed by commands of this group, with the place of their record.
    claims: Map<(i32, &'a str), ([u8; 16], usize)>,
    /// Places of states by their stream.
    state_of: Map<i64, usize>,
    decided: Decided<'a>,
}

/// Decides a group. Every name is known by now.
pub(super) fn decide<'a>(
    identity: LogIdentity,
    interned: &'a Interned,
    standing: Standing,
    found: Found,
    now: Timestamp,
    commands: &'a [Prepared],
) -> Result<Decided<'a>, Fault> {
    let Found { streams, stream_of, claimed, broken } = found;
    let decided = Decided {
        decisions: Vec::with_capacity(commands.len()),
        streams: Vec::new(),
        events: Vec::new(),
        commands: Vec::with_capacity(commands.len()),
        states: Vec::new(),
        standing,
    };
    let mut deciding = Deciding {
        identity,
        interned,
        now,
        streams,
        broken,
        claims: Map::default(),
        state_of: Map::default(),
        decided,
    };
    for ((command, place), claimed) in commands.iter().zip(stream_of).zip(claimed) {
        let decision = deciding.command(command, place, claimed)?;
        deciding.decided.decisions.push(decision);
    }
    if !deciding.decided.commands.is_empty() {
        deciding.decided.standing.latest = now;
    }
    Ok(deciding.decided)
}

impl<'a> Deciding<'a> {
    /// The ledger goes before the conflict: the command itself may have moved the stream, when it was given
    /// before.
    fn command(
        &mut self,
        command: &'a Prepared,
        place: usize,
        claimed: Option<[u8; 16]>,
    ) -> Result<Decision, Fault> {
        let names = self.interned.of(command).ok_or_else(|| damaged("a name was not kept"))?;
        let base = match &command.effect {
            PreparedEffect::Refuse { reason, version } => {
                let outcome = Outcome::Refused(*reason);
                return Ok(self.record(command, names, place, outcome, *version, Vec::new()));
            }
            PreparedEffect::Append { base, .. } | PreparedEffect::Reject { base, .. } => *base,
        };
        let key = (names.tenant, command.header.id.as_str());
        let claims = command.claim == Claim::Key;
        if claims && let Some(decision) = self.claimed(command, key, claimed) {
            return Ok(decision);
        }
        if let Some(conflict) = self.conflict(command, place, base) {
            return Ok(Decision::Conflict(conflict));
        }
        if claims {
            self.claims.insert(key, (command.header.hash.0, self.decided.decisions.len()));
        }
        match &command.effect {
            PreparedEffect::Append { events, .. } => self.append(command, names, place, events),
            PreparedEffect::Reject { name, data, .. } => {
                let outcome = Outcome::Rejected { name: name.clone(), data: data.clone() };
                Ok(self.record(command, names, place, outcome, self.streams[place].version, Vec::new()))
            }
            PreparedEffect::Refuse { .. } => Err(damaged("a refusal cannot come here")),
        }
    }

    /// What the decision was made on and is not there any more: by what was committed before, or by earlier
    /// commands of this group.
    fn conflict(&self, command: &Prepared, place: usize, base: Base) -> Option<Conflict> {
        let StreamRef { tenant, stream } = &*command.stream;
        let actual = self.streams[place].version;
        if let Base::At(expected) = base
            && expected != actual
        {
            return Some(Conflict::of_version(stream.clone(), expected, actual));
        }
        let Condition { query, .. } = command.condition.as_ref()?;
        let committed = self.broken.get(&self.decided.decisions.len()).copied();
        let breaks =
            |new: &&NewEvent<'_>| new.fact.stream.tenant == *tenant && query.matches(&new.fact, new.tags);
        let appended = || self.decided.events.iter().find(breaks).map(|new| new.fact.position);
        let position = committed.or_else(appended)?;
        Some(Conflict::of_boundary(stream.clone(), actual, position))
    }

    /// What a claimed key answers: claimed before, or by a command of this group.
    fn claimed(
        &self,
        command: &Prepared,
        key: (i32, &'a str),
        claimed: Option<[u8; 16]>,
    ) -> Option<Decision> {
        let own = command.header.hash.0;
        if let Some(hash) = claimed {
            return Some(if hash == own { Decision::Replayed } else { Decision::KeyReused });
        }
        let (hash, twin) = self.claims.get(&key)?;
        if *hash != own {
            return Some(Decision::KeyReused);
        }
        match self.decided.decisions.get(*twin) {
            Some(Decision::Done(done)) => {
                let record = done.record.clone();
                Some(Decision::Done(Box::new(Committed { record, events: Vec::new(), replayed: true })))
            }
            _ => None,
        }
    }

    fn append(
        &mut self,
        command: &'a Prepared,
        names: CommandNames,
        place: usize,
        events: &'a [PreparedEvent],
    ) -> Result<Decision, Fault> {
        let base = self.streams[place].version;
        let stream = self.named(command, names, place);
        let mut facts = Vec::with_capacity(events.len());
        for event in events {
            let head = self.decided.standing.head.position();
            let version = self.streams[place].version.plus(1);
            let kind = self.interned.event_type(names.category, event.name, event.schema_version);
            let (kind, name) = kind.ok_or_else(|| damaged("a type was not kept"))?;
            let fact = Arc::new(RawFact {
                position: head.next(),
                stream: Arc::clone(&command.stream),
                version,
                event: name.clone(),
                recorded_at: self.now,
                occurred_at: command.header.occurred_at,
                metadata: command.metadata.clone(),
                payload: event.payload.clone(),
            });
            self.streams[place].version = version;
            self.decided.standing.head = mark_of(self.identity, &fact);
            let (tenant, tags) = (names.tenant, event.tags.as_slice());
            self.decided.events.push(NewEvent { tenant, stream, kind: *kind, fact: Arc::clone(&fact), tags });
            facts.push(fact);
        }
        let version = self.streams[place].version;
        if let Some(state) = command.state.as_ref().filter(|_| !facts.is_empty()) {
            self.leave_state(NewStateRow { stream, category: names.category, version, state });
        }
        Ok(self.record(command, names, place, Outcome::Accepted { base }, version, facts))
    }

    /// A later command of the group on the same stream goes over an earlier one.
    fn leave_state(&mut self, row: NewStateRow<'a>) {
        match self.state_of.entry(row.stream) {
            Entry::Occupied(place) => self.decided.states[*place.get()] = row,
            Entry::Vacant(place) => {
                place.insert(self.decided.states.len());
                self.decided.states.push(row);
            }
        }
    }

    /// The stream's id, given out now if no command has named it before.
    fn named(&mut self, command: &'a Prepared, names: CommandNames, place: usize) -> i64 {
        if let Some(id) = self.streams[place].id {
            return id;
        }
        self.decided.standing.stream += 1;
        let id = self.decided.standing.stream;
        self.decided.streams.push(NewStream { id, names, stream: &command.stream });
        self.streams[place].id = Some(id);
        id
    }

    /// Adds the row of the audit.
    fn record(
        &mut self,
        command: &'a Prepared,
        names: CommandNames,
        place: usize,
        outcome: Outcome,
        version: Version,
        events: Vec<Arc<RawFact>>,
    ) -> Decision {
        let number = match &outcome {
            Outcome::Accepted { .. } => ACCEPTED,
            Outcome::Rejected { .. } => REJECTED,
            Outcome::Refused(RefusedFor::Conflict) => REFUSED_CONFLICT,
            Outcome::Refused(RefusedFor::Forbidden) => REFUSED_FORBIDDEN,
        };
        let rejection = match &command.effect {
            PreparedEffect::Reject { name, data, .. } => Some((name.as_str(), data.as_str())),
            PreparedEffect::Append { .. } | PreparedEffect::Refuse { .. } => None,
        };
        let stream = self.named(command, names, place);
        self.decided.standing.command += 1;
        let token = self.decided.standing.head.token;
        self.decided.commands.push(NewCommand {
            id: self.decided.standing.command,
            stream,
            version,
            position: token.position,
            events: events.len(),
            names,
            outcome: number,
            claims: command.claim == Claim::Key && !matches!(outcome, Outcome::Refused(_)),
            rejection,
            prepared: command,
        });
        let header = command.header.clone();
        let record = CommandRecord { header, outcome, version, token, recorded_at: self.now };
        Decision::Done(Box::new(Committed { record, events, replayed: false }))
    }
}
