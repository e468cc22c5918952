//! The log and the ledger: plain lists and maps, without a lock and without a clock.

use diptych_command::{CommandHeader, CommandRecord, Outcome};
use diptych_core::{
    Code, CommandId, Epoch, EventName, Fault, Fingerprint, NewEvent, Position, RawFact, SharedText,
    StreamRef, Tenant, Timestamp, Token, Version,
};
use diptych_query::{Block, Categories, Mark};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was recorded, in the order in which it was.
#[derive(Clone)]
pub(crate) struct Log {
    identity: String,
    /// INVARIANT: the fact at index `i` stands at position `i + 1`.
    facts: Vec<Arc<RawFact>>,
    streams: BTreeMap<Arc<StreamRef>, Vec<Arc<RawFact>>>,
    /// Final outcomes that still hold their key.
    claims: BTreeMap<(Tenant, CommandId), CommandRecord>,
    /// Every command that was answered, oldest first.
    audit: Vec<CommandRecord>,
}

impl Log {
    pub(crate) fn new(identity: String) -> Self {
        Self {
            identity,
            facts: Vec::new(),
            streams: BTreeMap::new(),
            claims: BTreeMap::new(),
            audit: Vec::new(),
        }
    }

    pub(crate) fn head(&self) -> Mark {
        match self.facts.last() {
            Some(fact) => mark_of(fact),
            None => self.start(),
        }
    }

    pub(crate) fn mark(&self, position: Position) -> Option<Mark> {
        match position.0.checked_sub(1) {
            None => Some(self.start()),
            Some(index) => self.facts.get(index as usize).map(|fact| mark_of(fact)),
        }
    }

    fn start(&self) -> Mark {
        let token = Token {
            epoch: Epoch::FIRST,
            position: Position::START,
            fingerprint: Fingerprint::of_log(&self.identity),
        };
        Mark { token, recorded_at: Timestamp::EPOCH }
    }

    /// The facts in `(after, through]`.
    pub(crate) fn between(&self, after: Position, through: Position) -> &[Arc<RawFact>] {
        &self.facts[after.0 as usize..through.0 as usize]
    }

    pub(crate) fn read(&self, after: Position, wanted: &Categories, most: usize) -> Result<Block, Fault> {
        let head = self.head().position();
        if after > head {
            let message = format!("position {after} lies beyond the head of the log, which is {head}");
            return Err(Fault::permanent(Code::LogDiffers, message));
        }
        let end = Position(after.0.saturating_add(most as u64).min(head.0));
        let facts = self.between(after, end).iter();
        let facts = facts.filter(|fact| wanted.contains(fact.stream.stream.category.as_str()));
        Ok(Block {
            after,
            through: self.mark(end).unwrap_or_else(|| self.head()),
            facts: facts.cloned().collect(),
            head,
        })
    }

    pub(crate) fn stream(&self, stream: &StreamRef, after: Version, most: usize) -> Vec<Arc<RawFact>> {
        let events = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let later = events.iter().filter(|event| event.version > after);
        later.take(most).cloned().collect()
    }

    pub(crate) fn version(&self, stream: &StreamRef) -> Version {
        Version::NONE.plus(self.streams.get(stream).map_or(0, Vec::len))
    }

    /// The time to record something at: never before the last that was.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        let last = self.audit.last().map(|record| record.recorded_at);
        last.map_or(now, |last| last.max(now))
    }

    /// The facts that these events would be, were they appended now.
    pub(crate) fn facts_of(
        &self,
        header: &CommandHeader,
        base: Version,
        events: Vec<NewEvent>,
        now: Timestamp,
    ) -> Vec<Arc<RawFact>> {
        let metadata: SharedText = header.metadata().into();
        let stream = Arc::new(header.stream.clone());
        let head = self.head().position();
        let numbered = events.into_iter().zip(1..);
        let facts = numbered.map(|(event, number)| RawFact {
            position: Position(head.0 + number),
            stream: Arc::clone(&stream),
            version: Version(base.0 + number),
            event: EventName { name: event.name.into(), schema_version: event.schema_version },
            recorded_at: now,
            occurred_at: header.occurred_at,
            metadata: metadata.clone(),
            payload: event.payload.into(),
        });
        facts.map(Arc::new).collect()
    }

    pub(crate) fn append(&mut self, facts: &[Arc<RawFact>]) {
        for fact in facts {
            self.facts.push(Arc::clone(fact));
            let stream = self.streams.entry(Arc::clone(&fact.stream)).or_default();
            stream.push(Arc::clone(fact));
        }
    }

    /// Writes a row of the ledger; a final outcome claims its key.
    pub(crate) fn record(&mut self, record: CommandRecord) {
        if !matches!(record.outcome, Outcome::Refused(_)) {
            self.claims.insert(claim(&record), record.clone());
        }
        self.audit.push(record);
    }

    pub(crate) fn claimed(&self, tenant: &Tenant, id: &CommandId) -> Option<&CommandRecord> {
        self.claims.get(&(tenant.clone(), id.clone()))
    }

    pub(crate) fn recorded(&self, tenant: &Tenant, id: &CommandId) -> Option<&CommandRecord> {
        let refused = |record: &&CommandRecord| {
            matches!(record.outcome, Outcome::Refused(_))
                && record.header.stream.tenant == *tenant
                && record.header.id == *id
        };
        self.claimed(tenant, id).or_else(|| self.audit.iter().rev().find(refused))
    }

    /// Frees the oldest keys claimed before a time, up to the first that is still needed.
    pub(crate) fn expire(
        &mut self,
        before: Timestamp,
        most: usize,
        needed: impl Fn(&Tenant, &CommandId) -> bool,
    ) -> usize {
        let needed = |record: &&CommandRecord| needed(&record.header.stream.tenant, &record.header.id);
        let old = self.audit.iter().take_while(|record| !needed(record));
        let old = old.filter(|record| record.recorded_at < before);
        let held = old.filter(|record| self.claims.get(&claim(record)) == Some(*record));
        let freed: Vec<_> = held.take(most).map(claim).collect();
        for key in &freed {
            self.claims.remove(key);
        }
        freed.len()
    }

    pub(crate) fn audit(&self) -> &[CommandRecord] {
        &self.audit
    }
}

fn claim(record: &CommandRecord) -> (Tenant, CommandId) {
    (record.header.stream.tenant.clone(), record.header.id.clone())
}

/// Where a fact stands.
pub(crate) fn mark_of(fact: &RawFact) -> Mark {
    let RawFact { stream, version, event, recorded_at, payload, .. } = fact;
    let print = Fingerprint::of_entry(stream, *version, &event.name, recorded_at.as_micros(), payload);
    let token = Token { epoch: Epoch::FIRST, position: fact.position, fingerprint: print };
    Mark { token, recorded_at: *recorded_at }
}
