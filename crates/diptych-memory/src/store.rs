//! The three ports over one mutex. What a transaction changes is worked out first and written after, so that
//! an error leaves nothing behind.

mod feed;
mod intake;
mod models;

use crate::builds::{self, BuildKey, Known};
use crate::log::Log;
use crate::queue::Queue;
use crate::rows::GroupRows;
use diptych_command::{
    AuditLog, AuditPage, AuditQuery, Base, CommandHeader, CommandRecord, Commit, CommitError, Committed,
    Conflict, Effect, EventStore, Matched, NewState, Outcome, QueueSignal, Source, StateRow, Watermark,
};
use diptych_core::{
    BoxFuture, Clock, Code, CommandId, Fault, NewEvent, Position, RawFact, StreamRef, TagQuery, Tenant,
    Timestamp, Version,
};
use diptych_query::{
    AdvanceError, Advanced, BuildId, Checkpoint, Fold, FoldError, Group, Health, Lease, Order, Partition,
    PartitionState, Passed, Progress, Readiness, Schema, Shares, Stopped, TableChanges, WorkerId,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How many missing facts a command folds into an inline group before its own; beyond it, the group is left
/// to a worker until it has caught up.
pub const INLINE_CATCH_UP_EVENTS_MAX: u64 = 100;

/// A store in memory. What it holds outlives it as long as a reopened one does.
pub struct MemoryStore {
    held: Arc<Mutex<Held>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Wakes those of this process who wait for a queued command.
    pub(crate) signal: QueueSignal,
    inline: Vec<Arc<Group>>,
    progress: Arc<Progress>,
    pub(crate) head: Arc<watch::Sender<Position>>,
}

/// Everything committed.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) log: Log,
    pub(crate) queue: Queue,
    pub(crate) groups: BTreeMap<BuildKey, GroupRows>,
    pub(crate) known: Known,
    /// How far each source has been taken in.
    pub(crate) sources: BTreeMap<Source, Watermark>,
    /// Who lives, until when, and which groups they would move.
    workers: BTreeMap<WorkerId, (Timestamp, Vec<BuildKey>)>,
}

impl Held {
    fn rows(&self, group: &Group) -> Option<&GroupRows> {
        self.groups.get(&self.known.meant(group)?)
    }

    fn rows_mut(&mut self, group: &Group) -> Option<&mut GroupRows> {
        self.groups.get_mut(&self.known.meant(group)?)
    }
}

impl MemoryStore {
    /// An empty store with these inline groups.
    ///
    /// # Errors
    /// Never for an empty store; as [`ModelStore::attach`] otherwise.
    pub fn open(clock: Arc<dyn Clock>, inline: Vec<Arc<Group>>) -> Result<Self, Fault> {
        static LOGS: AtomicU64 = AtomicU64::new(0);
        let identity = format!("memory {}", LOGS.fetch_add(1, Ordering::Relaxed));
        Self::open_as(&identity, clock, inline)
    }

    /// An empty store with these inline groups, whose log has a name: processes that give it the same name
    /// and the same facts have the same log, and each understands a checkpoint of the other.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(identity: &str, clock: Arc<dyn Clock>, inline: Vec<Arc<Group>>) -> Result<Self, Fault> {
        let held = Held {
            log: Log::new(identity.to_owned()),
            queue: Queue::default(),
            groups: BTreeMap::new(),
            known: Known::default(),
            sources: BTreeMap::new(),
            workers: BTreeMap::new(),
        };
        Self::over(Arc::new(Mutex::new(held)), Arc::default(), clock, inline)
    }

    /// Another store over the same committed state: a second process beside this one, or the next after it
    /// has died.
    ///
    /// # Errors
    /// An inline group of another shape than the one it was built with.
    pub fn reopen(&self, inline: Vec<Arc<Group>>) -> Result<Self, Fault> {
        Self::over(Arc::clone(&self.held), Arc::clone(&self.head), Arc::clone(&self.clock), inline)
    }

    /// A copy of the state as it is now, which goes its own way from here.
    ///
    /// # Errors
    /// An inline group of another shape than the one it was built with.
    pub fn fork(&self, inline: Vec<Arc<Group>>) -> Result<Self, Fault> {
        let copy = self.lock().clone();
        Self::over(Arc::new(Mutex::new(copy)), Arc::default(), Arc::clone(&self.clock), inline)
    }

    fn over(
        held: Arc<Mutex<Held>>,
        head: Arc<watch::Sender<Position>>,
        clock: Arc<dyn Clock>,
        inline: Vec<Arc<Group>>,
    ) -> Result<Self, Fault> {
        let (progress, signal) = (Arc::default(), QueueSignal::default());
        let store = Self { held, clock, signal, inline, progress, head };
        for group in &store.inline {
            let checkpoint = match store.attach_now(group) {
                Ok(checkpoint) => checkpoint,
                // What is retired is not folded any more; the log goes on without it.
                Err(fault) if fault.code() == Code::ModelRetired => continue,
                Err(fault) => return Err(fault),
            };
            let entry = store.progress.entry(group.name());
            entry.advance(checkpoint.mark.position());
            entry.set_followed(true);
        }
        let head = store.lock().log.head().position();
        store.head.send_replace(head);
        Ok(store)
    }

    /// How far each group has come in this process.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Every row of the audit, oldest first.
    #[must_use]
    pub fn audit(&self) -> Vec<CommandRecord> {
        self.lock().log.audit().to_vec()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Held> {
        // A panic under the lock can only come before the writing, which is plain assignment.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, commit: Commit) -> Result<Committed, CommitError> {
        let mut held = self.lock();
        let Commit { header, effect, state, condition } = commit;
        let stream = &header.stream;
        let now = held.log.time(self.clock.now());
        let actual = held.log.version(stream);
        let base = match &effect {
            Effect::Append { base, .. } | Effect::Reject { base, .. } => Some(*base),
            Effect::Refuse { .. } => None,
        };
        if let Some(base) = base {
            if let Some(record) = held.log.claimed(&stream.tenant, &header.id) {
                return replay(record, &header);
            }
            if let Base::At(expected) = base
                && expected != actual
            {
                let stream = stream.stream.clone();
                return Err(CommitError::Conflict(Conflict::of_version(stream, expected, actual)));
            }
            let found = condition.map(|on| held.log.matched(&stream.tenant, &on.query, on.after, 1).facts);
            if let Some(fact) = found.iter().flatten().next() {
                let stream = stream.stream.clone();
                return Err(CommitError::Conflict(Conflict::of_boundary(stream, actual, fact.position)));
            }
        }
        let before = match &effect {
            Effect::Append { .. } | Effect::Reject { .. } => actual,
            Effect::Refuse { version, .. } => *version,
        };
        let (outcome, events) = match effect {
            Effect::Append { events, .. } => {
                let facts = self.append_now(&mut held, &header, actual, events, now)?;
                (Outcome::Accepted { base: actual }, facts)
            }
            Effect::Reject { name, data, .. } => (Outcome::Rejected { name, data }, Vec::new()),
            Effect::Refuse { reason, .. } => (Outcome::Refused(reason), Vec::new()),
        };
        let head = held.log.head();
        let version = before.plus(events.len());
        if let Some(NewState { shape, state }) = state.filter(|_| !events.is_empty()) {
            held.log.set_state(&header.stream, StateRow { version, shape, state });
        }
        let record = CommandRecord { header, outcome, version, token: head.token, recorded_at: now };
        held.log.record(record.clone());
        drop(held);
        self.head.send_if_modified(|seen| {
            let moved = *seen < head.position();
            *seen = head.position().max(*seen);
            moved
        });
        Ok(Committed { record, events, replayed: false })
    }

    /// Appends events and folds them into the inline groups, all or nothing.
    fn append_now(
        &self,
        held: &mut Held,
        header: &CommandHeader,
        base: Version,
        mut events: Vec<NewEvent>,
        now: Timestamp,
    ) -> Result<Vec<Arc<RawFact>>, CommitError> {
        let tags = events.iter_mut().map(|event| std::mem::take(&mut event.tags)).collect();
        let facts = held.log.facts_of(header, base, events, now);
        let Some(last) = facts.last() else {
            return Ok(facts);
        };
        let through = held.log.mark_of(last);
        let mut staged: Vec<(&Arc<Group>, Vec<TableChanges>, Vec<Passed>)> = Vec::new();
        for group in &self.inline {
            if !self.caught_up(held, group, now) {
                continue;
            }
            let Some(rows) = held.rows(group) else { continue };
            let mut fold = Fold::new(group, &rows.checkpoint());
            let planned = fold.plan_facts(&facts, through);
            let changes = planned.and_then(|()| rows.fold(&mut fold));
            let changes = changes.map_err(|error| CommitError::Fault(inline_failed(group, error)))?;
            staged.push((group, changes, fold.passed()));
        }
        held.log.append(&facts, tags);
        for (group, changes, passed) in staged {
            if let Some(rows) = held.rows_mut(group) {
                rows.apply(Partition::WHOLE, changes, through, now);
            }
            let entry = self.progress.entry(group.name());
            entry.count_passed(group, &passed);
            entry.advance(through.position());
        }
        Ok(facts)
    }

    /// Brings an inline group to the head, if it is near enough. One that is not is left to a worker.
    fn caught_up(&self, held: &mut Held, group: &Group, now: Timestamp) -> bool {
        let Held { log, groups, known, .. } = held;
        let Some(rows) = known.meant(group).and_then(|key| groups.get_mut(&key)) else {
            return false;
        };
        let entry = self.progress.entry(group.name());
        let checkpoint = rows.checkpoint();
        let (from, head) = (checkpoint.mark.position(), log.head());
        if checkpoint.stopped.is_some() {
            return false;
        }
        if from.lag_to(head.position()) > INLINE_CATCH_UP_EVENTS_MAX {
            entry.set_health(Health::CatchingUp);
            return false;
        }
        if from < head.position() {
            let mut fold = Fold::new(group, &checkpoint);
            let planned = fold.plan_facts(log.between(from, head.position()), head);
            match planned.and_then(|()| rows.fold(&mut fold)) {
                Ok(changes) => drop(rows.apply(Partition::WHOLE, changes, head, now)),
                Err(error) => {
                    // The command at hand is not to blame for an older fact.
                    let (position, reason) = (error.position, error.to_string());
                    let stopped = Stopped { position, reason: reason.clone() };
                    rows.part_mut(Partition::WHOLE).checkpoint.stopped = Some(stopped);
                    entry.set_health(Health::Stopped { position, reason });
                    return false;
                }
            }
        }
        if entry.health() == Health::CatchingUp {
            entry.set_health(Health::Live);
        }
        true
    }

    fn attach_now(&self, group: &Group) -> Result<Checkpoint, Fault> {
        if group.has_statements() {
            let message =
                format!("`{}` is kept by SQL, which the store in memory does not speak", group.name());
            return Err(Fault::permanent(Code::ServiceInvalid, message));
        }
        let held = &mut *self.lock();
        let now = self.clock.now();
        if held.known.is_retired(group) {
            let message = format!("read model `{}` is retired", group.name());
            return Err(Fault::permanent(Code::ModelRetired, message));
        }
        if held.known.meant(group).is_none() {
            builds::begin(held, group, &Order::of_the_hinge("its revision was first opened"), now);
        }
        let rows = held.rows(group).ok_or_else(|| not_attached(group))?;
        rows.check(group, &held.log)?;
        Ok(rows.checkpoint())
    }

    fn advance_now(&self, group: &Group, mut fold: Fold) -> Result<Advanced, AdvanceError> {
        let mut held = self.lock();
        let Held { log, groups, known, .. } = &mut *held;
        let key = known.meant(group);
        let rows = key.and_then(|key| groups.get_mut(&key)).ok_or_else(|| not_attached(group))?;
        let partition = fold.partition();
        if !rows.owns(partition) {
            return Err(not_so_split(group, partition).into());
        }
        let part = rows.part(partition);
        if fold.lease().is_some_and(|lease| lease.fence != part.fence) {
            return Err(AdvanceError::Fenced);
        }
        let checkpoint = part.checkpoint.mark.position();
        if checkpoint != fold.from() {
            return Err(AdvanceError::Moved { checkpoint });
        }
        let through = fold.through();
        if log.mark(through.position()) != Some(through) {
            let message = format!("`{}` is not an entry of this log", through.token);
            return Err(Fault::permanent(Code::LogDiffers, message).into());
        }
        rows.hold(&mut fold, group);
        let changes = rows.fold(&mut fold)?;
        let written = rows.apply(partition, changes, through, self.clock.now());
        let checkpoint = rows.part(partition).checkpoint.clone();
        Ok(Advanced { checkpoint, rows: written, passed: fold.passed() })
    }

    fn share_now(
        &self,
        worker: &WorkerId,
        groups: &[(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> Result<Vec<Shares>, Fault> {
        let now = self.clock.now();
        let until = after(now, lasting);
        let mut held = self.lock();
        let Held { groups: stored, workers, known, .. } = &mut *held;
        let able = groups.iter().filter(|(_, readiness)| *readiness == Readiness::Able);
        let able = able.filter_map(|(group, _)| known.meant(group)).collect();
        workers.insert(worker.clone(), (until, able));
        workers.retain(|_, (until, _)| now < *until);
        for part in stored.values_mut().flat_map(GroupRows::parts_mut) {
            if let Some((holder, held_until)) = &mut part.holder
                && holder == worker
            {
                *held_until = until;
            }
        }
        let shares = groups.iter().map(|(group, _)| {
            let key = known.meant(group).ok_or_else(|| not_attached(group))?;
            let rows = stored.get(&key).ok_or_else(|| not_attached(group))?;
            let states = group.partitions().map(|partition| {
                let part = rows.part(partition);
                let (checkpoint, holder) = (part.checkpoint.clone(), part.held_by(now).cloned());
                PartitionState { partition, checkpoint, holder, fence: part.fence }
            });
            let would = workers.iter().filter(|(_, (_, groups))| groups.contains(&key));
            let workers = would.map(|(worker, _)| worker.clone()).collect();
            Ok(Shares { workers, partitions: states.collect() })
        });
        shares.collect()
    }

    fn build_of(&self, group: &Group) -> Result<BuildId, Fault> {
        let meant = self.lock().known.meant(group);
        meant.map(|(_, build)| build).ok_or_else(|| not_attached(group))
    }

    /// Whether rows may be written where a partition stands, under a lease.
    fn stands(
        rows: &GroupRows,
        lease: Option<Lease>,
        at: Option<(Partition, Position)>,
    ) -> Result<(), AdvanceError> {
        if let Some(lease) = lease
            && rows.part(lease.partition).fence != lease.fence
        {
            return Err(AdvanceError::Fenced);
        }
        match at {
            Some((partition, at)) if rows.part(partition).checkpoint.mark.position() != at => {
                let checkpoint = rows.part(partition).checkpoint.mark.position();
                Err(AdvanceError::Moved { checkpoint })
            }
            _ => Ok(()),
        }
    }

    /// Looks at or changes one attached group under the lock.
    fn with<T>(&self, group: &Group, act: impl FnOnce(&mut GroupRows, &Log) -> T) -> Result<T, Fault> {
        let mut held = self.lock();
        let Held { log, groups, known, .. } = &mut *held;
        let key = known.meant(group);
        let rows = key.and_then(|key| groups.get_mut(&key)).ok_or_else(|| not_attached(group))?;
        Ok(act(rows, log))
    }
}

impl AuditLog for MemoryStore {
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>> {
        Box::pin(async move { Ok(self.lock().log.audited(query)) })
    }
}

impl EventStore for MemoryStore {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(async move { Ok(self.lock().log.stream(stream, after, events_max)) })
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(async move { Ok(self.lock().log.matched(tenant, query, after, facts_max)) })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move { self.commit_now(commit) })
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        Box::pin(async move { Ok(self.lock().log.recorded(tenant, id).cloned()) })
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(async move {
            let Held { log, queue, .. } = &mut *self.lock();
            Ok(log.expire(before, keys_max, |tenant, id| queue.may_still_run(tenant, id)))
        })
    }
}

/// What an earlier command under the same key left, if it asked the same.
fn replay(record: &CommandRecord, header: &CommandHeader) -> Result<Committed, CommitError> {
    if record.header.hash != header.hash {
        return Err(CommitError::KeyReused);
    }
    Ok(Committed { record: record.clone(), events: Vec::new(), replayed: true })
}

fn after(now: Timestamp, lasting: Duration) -> Timestamp {
    let micros = i64::try_from(lasting.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_stored(now.as_micros().saturating_add(micros))
}

fn not_so_split(group: &Group, partition: Partition) -> Fault {
    let message = format!("group `{}` has no partition {partition}: fold under a lease", group.name());
    Fault::permanent(Code::Internal, message)
}

fn table_of(group: &Group, schema: &Schema) -> Result<usize, Fault> {
    let index = group.models().iter().position(|model| model.schema().name == schema.name);
    let missing = || format!("group `{}` has no table `{}`", group.name(), schema.name);
    index.ok_or_else(|| Fault::permanent(Code::Internal, missing()))
}

fn not_attached(group: &Group) -> Fault {
    Fault::permanent(Code::Internal, format!("group `{}` is not attached", group.name()))
}

fn inline_failed(group: &Group, error: FoldError) -> Fault {
    let message = format!("inline read model `{}` could not take the command's events", group.name());
    Fault::permanent(Code::InlineFailed, message).because(error)
}
