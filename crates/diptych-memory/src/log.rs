//! The log, the ledger and stored states: plain lists and maps, without a lock and without a clock.

use diptych_command::{
    AuditFilter, AuditPage, AuditPlace, AuditQuery, CommandHeader, CommandRecord, Matched, Outcome,
    RestoredEvent, StateRow, StreamStanding,
};
use diptych_core::{
    Code, CommandId, Epoch, EventName, Fault, Fingerprint, NewEvent, Position, RawFact, SharedText,
    StreamRef, Tag, TagQuery, Tenant, Timestamp, Token, Version,
};
use diptych_query::{Block, Categories, Mark};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was recorded, in the order in which it was.
#[derive(Clone)]
pub(crate) struct Log {
    identity: String,
    epoch: Epoch,
    /// INVARIANT: the fact at index `i` stands at position `i + 1`.
    facts: Vec<Arc<RawFact>>,
    /// INVARIANT: the tags at index `i` are those of the fact at index `i`.
    tags: Vec<Vec<Tag>>,
    streams: BTreeMap<Arc<StreamRef>, Vec<Arc<RawFact>>>,
    /// Final outcomes that still hold their key.
    claims: BTreeMap<(Tenant, CommandId), CommandRecord>,
    /// Every command that was answered, oldest first.
    audit: Vec<CommandRecord>,
    states: BTreeMap<StreamRef, StateRow>,
}

impl Log {
    pub(crate) fn new(identity: String) -> Self {
        Self {
            identity,
            epoch: Epoch::FIRST,
            facts: Vec::new(),
            tags: Vec::new(),
            streams: BTreeMap::new(),
            claims: BTreeMap::new(),
            audit: Vec::new(),
            states: BTreeMap::new(),
        }
    }

    pub(crate) fn head(&self) -> Mark {
        match self.facts.last() {
            Some(fact) => self.mark_of(fact),
            None => self.start(),
        }
    }

    pub(crate) fn mark(&self, position: Position) -> Option<Mark> {
        match position.0.checked_sub(1) {
            None => Some(self.start()),
            Some(index) => self.facts.get(index as usize).map(|fact| self.mark_of(fact)),
        }
    }

    fn start(&self) -> Mark {
        let token = Token {
            epoch: self.epoch,
            position: Position::START,
            fingerprint: Fingerprint::of_log(&self.identity),
        };
        Mark { token, recorded_at: Timestamp::EPOCH }
    }

    /// Where a fact stands.
    pub(crate) fn mark_of(&self, fact: &RawFact) -> Mark {
        let RawFact { stream, version, event, recorded_at, payload, .. } = fact;
        let print = Fingerprint::of_entry(stream, *version, &event.name, recorded_at.as_micros(), payload);
        let token = Token { epoch: self.epoch, position: fact.position, fingerprint: print };
        Mark { token, recorded_at: *recorded_at }
    }

    /// The log with facts that were recorded elsewhere.
    pub(crate) fn filled(&self, epoch: Epoch, events: Vec<RestoredEvent>) -> Self {
        let mut filled = Self { epoch, ..Self::new(self.identity.clone()) };
        let tags = events.iter().map(|event| event.tags.clone()).collect();
        let facts: Vec<_> = (1..).zip(events).map(|(position, event)| restored(position, event)).collect();
        filled.append(&facts, tags);
        filled
    }

    /// How many events and commands it holds.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.facts.len(), self.audit.len())
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
        let command = self.audit.last().map(|record| record.recorded_at);
        let event = self.facts.last().map(|fact| fact.recorded_at);
        command.into_iter().chain(event).fold(now, Timestamp::max)
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

    /// The facts of a tenant that a query selects, looked at one by one.
    pub(crate) fn matched(&self, tenant: &Tenant, query: &TagQuery, after: Position, most: usize) -> Matched {
        let log = self.facts.iter().zip(&self.tags);
        let own = log.filter(|(fact, _)| fact.stream.tenant == *tenant);
        let selected = query.selects(own.map(|(fact, tags)| (&**fact, tags.as_slice())));
        let later = selected.range(after.next()..).take(most);
        let facts: Vec<_> = later.map(|position| Arc::clone(&self.facts[position.0 as usize - 1])).collect();
        let last = facts.last().filter(|_| facts.len() >= most);
        let through = last.map_or(self.head().position(), |fact| fact.position);
        Matched { facts, through }
    }

    pub(crate) fn append(&mut self, facts: &[Arc<RawFact>], tags: Vec<Vec<Tag>>) {
        self.tags.extend(tags);
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

    /// Writes a row of the audit that claims no key.
    pub(crate) fn note(&mut self, record: CommandRecord) {
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

    pub(crate) fn state(&self, stream: &StreamRef) -> Option<StateRow> {
        self.states.get(stream).cloned()
    }

    /// Writes a state, unless a later one is there or the stream has no events.
    pub(crate) fn set_state(&mut self, stream: &StreamRef, row: StateRow) -> bool {
        let later = self.states.get(stream).is_some_and(|held| held.version > row.version);
        if later || self.version(stream) == Version::NONE {
            return false;
        }
        self.states.insert(stream.clone(), row);
        true
    }

    pub(crate) fn drop_states(&mut self, category: &str, most: usize) -> usize {
        let of_category = |stream: &&StreamRef| stream.stream.category.as_str() == category;
        let gone: Vec<_> = self.states.keys().filter(of_category).take(most).cloned().collect();
        for stream in &gone {
            self.states.remove(stream);
        }
        gone.len()
    }

    pub(crate) fn streams_of(
        &self,
        category: &str,
        after: Option<&StreamRef>,
        most: usize,
    ) -> Vec<StreamStanding> {
        let wanted = |stream: &StreamRef| {
            stream.stream.category.as_str() == category && after.is_none_or(|after| stream > after)
        };
        let streams = self.streams.iter().filter(|(stream, _)| wanted(stream)).take(most);
        let standing = streams.map(|(stream, events)| StreamStanding {
            stream: (**stream).clone(),
            version: Version::NONE.plus(events.len()),
            row: self.states.get(&**stream).map(|row| (row.version, row.shape)),
        });
        standing.collect()
    }

    /// Rows of the audit, newest first.
    pub(crate) fn audited(&self, query: &AuditQuery) -> AuditPage {
        let numbered = self.audit.iter().enumerate().rev();
        let before = numbered.map(|(index, record)| (AuditPlace(index as u64 + 1), record));
        let before = before.filter(|(place, _)| query.before.is_none_or(|before| *place < before));
        let wanted = before
            .filter(|(_, record)| record.header.stream.tenant == query.tenant && fits(&query.filter, record));
        let rows = wanted.take(query.rows_max + 1).map(|(place, record)| (place, record.clone().into()));
        AuditPage::of(rows.collect(), query.rows_max)
    }

    pub(crate) fn audit(&self) -> &[CommandRecord] {
        &self.audit
    }
}

fn restored(position: u64, event: RestoredEvent) -> Arc<RawFact> {
    let RestoredEvent { stream, version, name, schema_version, recorded_at, occurred_at, .. } = event;
    Arc::new(RawFact {
        position: Position(position),
        stream: Arc::new(stream),
        version,
        event: EventName { name: name.into(), schema_version },
        recorded_at,
        occurred_at,
        metadata: event.metadata.into(),
        payload: event.payload.into(),
    })
}

/// Whether everything holds of a row that is asked for.
fn fits(filter: &AuditFilter, record: &CommandRecord) -> bool {
    let AuditFilter { id, actor, category, key, command, outcome, .. } = filter;
    let AuditFilter { since, until, correlation, causation, .. } = filter;
    let CommandRecord { header, recorded_at, .. } = record;
    let stream = &header.stream.stream;
    id.as_ref().is_none_or(|id| *id == header.id)
        && actor.as_ref().is_none_or(|actor| *actor == header.actor)
        && category.as_ref().is_none_or(|category| *category == stream.category)
        && key.as_ref().is_none_or(|key| *key == stream.key)
        && command.as_ref().is_none_or(|command| *command == header.name)
        && outcome.is_none_or(|outcome| outcome.admits(&record.outcome))
        && since.is_none_or(|since| *recorded_at >= since)
        && until.is_none_or(|until| *recorded_at < until)
        && correlation.as_ref().is_none_or(|id| header.correlation.as_ref() == Some(id))
        && (causation.is_empty() || header.causation.as_ref().is_some_and(|id| causation.contains(id)))
}

fn claim(record: &CommandRecord) -> (Tenant, CommandId) {
    (record.header.stream.tenant.clone(), record.header.id.clone())
}
