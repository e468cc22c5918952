//! The ports of a sound store with one defect between them and whoever asks.

use super::Defect;
use super::boundary::Conditions;
use crate::Stores;
use diptych_command::{
    AuditLog, AuditPage, AuditPlace, AuditQuery, CommandRecord, Commit, CommitError, Committed, Effect,
    EventStore, LogRestore, Matched, Outcome, RestoreSource, RestoredEvent, Source, Watermark,
};
use diptych_core::{
    BoxFuture, Clock, Code, CommandId, Epoch, Fault, Position, RawFact, StreamRef, TagQuery, Tenant,
    Timestamp, Value, Version,
};
use diptych_query::{
    AdvanceError, Advanced, Batch, Block, BuildId, Categories, Checkpoint, Condition, Direction, Exporting,
    Feed, Fold, FoldAhead, Found, Group, Lease, Mark, Mend, ModelStore, Operator, Parked, Partition,
    RawExport, RawFind, Readiness, RowRef, RowsAhead, RowsStamp, ScannedRow, Schema, Shares, Stopped,
    TableSnapshot, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A position that a store with a gap never gives to anybody.
const GAP: u64 = 3;

pub(super) struct Broken {
    pub(super) inner: Stores,
    pub(super) defect: Defect,
    /// Inline groups that are folded after the commit.
    after: Vec<Arc<Group>>,
    /// The ledger that is not in the store.
    ledger: Mutex<BTreeMap<(Tenant, CommandId), CommandRecord>>,
    asked: AtomicU32,
    conditions: Conditions,
    /// Whether the process before died, and which groups have lost their rows to it.
    crashed: bool,
    lost: Mutex<BTreeSet<&'static str>>,
    /// The leases that are given to everybody.
    leases: tokio::sync::Mutex<BTreeMap<(&'static str, Partition), Lease>>,
    /// The watermarks that are not in the store.
    pub(super) watermarks: Mutex<BTreeMap<Source, Watermark>>,
    /// Numbers arrivals anew, so that none looks known.
    pub(super) arrived: AtomicU32,
}

impl Broken {
    pub(super) fn new(inner: Stores, defect: Defect, after: Vec<Arc<Group>>, crashed: bool) -> Self {
        Self {
            inner,
            defect,
            after,
            ledger: Mutex::default(),
            asked: AtomicU32::new(0),
            conditions: Conditions::new(defect),
            crashed,
            lost: Mutex::default(),
            leases: tokio::sync::Mutex::default(),
            watermarks: Mutex::default(),
            arrived: AtomicU32::new(0),
        }
    }

    fn fact(&self, fact: &Arc<RawFact>) -> Arc<RawFact> {
        let mut fact = Arc::clone(fact);
        match self.defect {
            Defect::PositionGap if fact.position.0 >= GAP => Arc::make_mut(&mut fact).position.0 += 1,
            Defect::TimesGoBack => Arc::make_mut(&mut fact).recorded_at = fact.occurred_at,
            _ => {}
        }
        fact
    }

    fn facts(&self, facts: &[Arc<RawFact>]) -> Vec<Arc<RawFact>> {
        facts.iter().map(|fact| self.fact(fact)).collect()
    }

    pub(super) fn stream(&self, stream: &StreamRef) -> StreamRef {
        let mut stream = stream.clone();
        stream.tenant = self.tenant(&stream.tenant);
        stream
    }

    fn tenant(&self, tenant: &Tenant) -> Tenant {
        if self.defect == Defect::TenantForgotten { Tenant::from_stored("everybody") } else { tenant.clone() }
    }

    /// Looks the key up, commits under another one, and writes the key down afterwards.
    async fn commit_beside_ledger(&self, mut commit: Commit) -> Result<Committed, CommitError> {
        const BEFORE: usize = 20;
        const AFTER: usize = 20_000;
        let key = (commit.header.stream.tenant.clone(), commit.header.id.clone());
        let held = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(record) = held {
            if record.header.hash != commit.header.hash {
                return Err(CommitError::KeyReused);
            }
            return Ok(Committed { record, events: Vec::new(), replayed: true });
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..BEFORE {
            tokio::task::yield_now().await;
        }
        commit.header.id = CommandId::from_stored(format!("{} {number} {self:p}", key.1));
        let mut done = self.inner.events.commit(commit).await?;
        done.record.header.id = key.1.clone();
        // The window in which a twin finds nothing: open until one has looked, or nobody comes.
        let seen = self.asked.load(Ordering::SeqCst);
        for _ in 0..AFTER {
            if self.asked.load(Ordering::SeqCst) > seen {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.insert(key, done.record.clone());
        Ok(done)
    }

    /// Folds the inline groups once the command is there for good.
    async fn fold_after(&self) -> Result<(), CommitError> {
        for group in &self.after {
            let checkpoint = self.inner.models.attach(group).await.map_err(CommitError::Fault)?;
            let from = checkpoint.mark.position();
            let block = self.inner.feed.read(from, group.categories(), usize::MAX).await;
            let block = block.map_err(CommitError::Fault)?;
            let failed = || CommitError::Fault(Fault::permanent(Code::InlineFailed, "too late"));
            let mut fold = Fold::new(group, &checkpoint);
            fold.plan(&block).map_err(|_| failed())?;
            self.inner.models.advance(group, fold).await.map_err(|_| failed())?;
        }
        Ok(())
    }

    /// Moves a checkpoint without its rows.
    async fn move_only(&self, group: &Group, through: Mark) -> Result<(), AdvanceError> {
        let checkpoint = self.inner.models.checkpoint(group).await?;
        let mut fold = Fold::new(group, &checkpoint);
        fold.plan_facts(&[], through)?;
        self.inner.models.advance(group, fold).await?;
        Ok(())
    }

    async fn attach_after_loss(&self, group: &Group) -> Result<Checkpoint, Fault> {
        let checkpoint = self.inner.models.attach(group).await?;
        let first = self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(group.name());
        if self.crashed && first {
            self.inner.models.reset(group).await?;
            let moved = self.move_only(group, checkpoint.mark).await;
            moved.map_err(|error| Fault::permanent(Code::Internal, format!("{error:?}")))?;
        }
        Ok(checkpoint)
    }

    async fn find_wrongly(
        &self,
        group: &Group,
        schema: &'static Schema,
        find: &RawFind,
        timeout: Duration,
    ) -> Result<Found, Fault> {
        let mut find = find.clone();
        let sorted = find.after.as_ref().and_then(|cursor| cursor.sorted.clone());
        if self.defect == Defect::PagesSkipTies
            && let (Some((column, direction)), Some(value)) = (find.sort, sorted)
        {
            let operator = match direction {
                Direction::Ascending => Operator::Greater,
                Direction::Descending => Operator::Less,
            };
            let values = vec![value];
            find.conditions.push(Condition { column, operator, values });
            find.after = None;
        }
        let models = &*self.inner.models;
        let mut found =
            super::rules::find(self.defect, models, (group, schema), find.clone(), timeout).await?;
        if let (Defect::NoValueFirst, Some((column, _))) = (self.defect, find.sort) {
            found.rows.sort_by_key(|row| row.get(column) != Some(&Value::Null));
        }
        Ok(found)
    }
}

/// A source as a store with a defect reads it.
struct BrokenSource {
    inner: Box<dyn RestoreSource>,
    defect: Defect,
    now: Timestamp,
}

impl RestoreSource for BrokenSource {
    fn next(&mut self, events_max: usize) -> Result<Vec<RestoredEvent>, Fault> {
        match (self.inner.next(events_max), self.defect) {
            (Err(_), Defect::BrokenSourceKept) => Ok(Vec::new()),
            (Ok(mut events), Defect::RestoredNow) => {
                events.iter_mut().for_each(|event| event.recorded_at = self.now);
                Ok(events)
            }
            (read, _) => read,
        }
    }
}

impl LogRestore for Broken {
    fn restore(&self, epoch: Epoch, source: Box<dyn RestoreSource>) -> BoxFuture<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let now = self.inner.clock.now();
            let source = BrokenSource { inner: source, defect: self.defect, now };
            match self.inner.restore.restore(epoch, Box::new(source)).await {
                Err(_) if self.defect == Defect::FillsAnything => Ok(0),
                done => done,
            }
        })
    }
}

impl AuditLog for Broken {
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>> {
        Box::pin(async move {
            let query = AuditQuery { tenant: self.tenant(&query.tenant), ..query.clone() };
            let mut page = self.inner.events.audited(&query).await?;
            match self.defect {
                Defect::RefusalsLeftOut => {
                    page.entries.retain(|entry| !matches!(entry.outcome, Outcome::Refused(_)));
                }
                Defect::AuditOfEverybody if query.before.is_none() => {
                    let query = AuditQuery { tenant: Tenant::from_stored("other"), ..query };
                    page.entries.extend(self.inner.events.audited(&query).await?.entries);
                }
                Defect::AuditPagesSkip => page.next = page.next.map(|place| AuditPlace(place.0 - 2)),
                _ => {}
            }
            Ok(page)
        })
    }
}

impl EventStore for Broken {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(async move {
            let stream = self.stream(stream);
            Ok(self.facts(&self.inner.events.load(&stream, after, events_max).await?))
        })
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(async move {
            let tenant = self.tenant(tenant);
            let found = self.inner.events.load_query(&tenant, query, after, facts_max).await?;
            Ok(Matched { facts: self.facts(&found.facts), ..found })
        })
    }

    fn commit(&self, mut commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            commit.header.stream = self.stream(&commit.header.stream);
            let claims = !matches!(commit.effect, Effect::Refuse { .. });
            if claims && self.defect == Defect::LedgerOutside {
                return self.commit_beside_ledger(commit).await;
            }
            let mut done = match self.defect {
                Defect::ConditionIgnored
                | Defect::ConditionOutside
                | Defect::GroupMatesUnseen
                | Defect::TagsLost => self.conditions.commit(&*self.inner.events, commit).await?,
                _ => self.commit_with_state(commit).await?,
            };
            done.events = self.facts(&done.events);
            self.fold_after().await?;
            Ok(done)
        })
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        Box::pin(async move {
            let key = (tenant.clone(), id.clone());
            let beside = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
            match beside {
                Some(record) => Ok(Some(record)),
                None => self.inner.events.recorded(&self.tenant(tenant), id).await,
            }
        })
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.inner.events.expire_keys(before, keys_max)
    }
}

impl Feed for Broken {
    fn read<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>> {
        Box::pin(async move {
            let mut block = self.inner.feed.read(after, categories, positions_max).await?;
            block.facts = self.facts(&block.facts);
            Ok(block)
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        self.inner.feed.head()
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        self.inner.feed.mark(position)
    }

    fn stream<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        self.load(stream, after, events_max)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.inner.feed.watch()
    }
}

/// How often a torn snapshot waits for its group to move.
const TEARS_MAX: usize = 1_000;

impl Broken {
    /// The group that is read instead of one of its builds.
    fn mixed(&self, group: &Group) -> Option<Group> {
        if self.defect == Defect::BuildsMixed { Self::unpinned(group) } else { None }
    }

    /// A group without the build that is meant.
    fn unpinned(group: &Group) -> Option<Group> {
        let build = group.build()?;
        let model = group.models().to_vec();
        // A group that was never pinned reads its own build.
        Group::new(group.name(), model).ok().filter(|own| own.revision() == build.revision)
    }
}

impl ModelStore for Broken {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        match self.defect {
            Defect::RowsLostOnCrash => Box::pin(self.attach_after_loss(group)),
            _ => self.inner.models.attach(group),
        }
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(async move {
            let through = fold.through();
            let result = self.inner.models.advance(group, fold).await;
            if self.defect == Defect::CheckpointBeforeRows && matches!(result, Err(AdvanceError::Fold(_))) {
                self.move_only(group, through).await?;
            }
            result
        })
    }

    fn ahead<'a>(
        &'a self,
        group: &'a Group,
        fold: Fold,
    ) -> BoxFuture<'a, Result<Option<FoldAhead>, AdvanceError>> {
        Box::pin(super::ahead::begin(self.defect, &self.inner.models, group, fold))
    }

    fn write_ahead<'a>(
        &'a self,
        group: &'a Group,
        rows: &'a Arc<dyn RowsAhead>,
        batch: Batch,
    ) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(super::ahead::write(self.defect, &self.inner.models, group, rows, batch))
    }

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.models.set_stopped(group, partition, stopped)
    }

    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.inner.models.checkpoint_of(group, partition)
    }

    fn partitions_of(&self, group: &Group) -> Vec<Partition> {
        self.inner.models.partitions_of(group)
    }

    fn share<'a>(
        &'a self,
        worker: &'a WorkerId,
        groups: &'a [(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Shares>, Fault>> {
        self.inner.models.share(worker, groups, lasting)
    }

    fn claim<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        worker: &'a WorkerId,
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Fault>> {
        Box::pin(async move {
            if self.defect != Defect::LeasesShared {
                return self.inner.models.claim(group, partition, worker, lasting).await;
            }
            // Held while the store is asked: of those who claim at once all but the first find its lease.
            let mut leases = self.leases.lock().await;
            let key = (group.name(), partition);
            if let Some(lease) = leases.get(&key) {
                return Ok(Some(*lease));
            }
            let lease = self.inner.models.claim(group, partition, worker, lasting).await?;
            leases.extend(lease.map(|lease| (key, lease)));
            Ok(lease)
        })
    }

    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.models.release(group, lease)
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.models.leave(worker)
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.inner.models.checkpoint(group)
    }

    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(self.find_wrongly(group, schema, find, timeout))
    }

    fn export<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        export: &'a RawExport,
        at_most: Duration,
    ) -> BoxFuture<'a, Result<Exporting, Fault>> {
        Box::pin(async move {
            super::rules::export(self.defect, &self.inner.models, (group, schema), export, at_most).await
        })
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let own = self.mixed(group);
            self.inner.models.get(own.as_ref().unwrap_or(group), schema, row).await
        })
    }

    fn scan<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>> {
        Box::pin(async move {
            let own = self.mixed(group);
            self.inner.models.scan(own.as_ref().unwrap_or(group), schema, after, rows_max).await
        })
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<(u8, i64, u128)>, Fault>> {
        Box::pin(async move {
            let own = self.mixed(group);
            self.inner.models.digest(own.as_ref().unwrap_or(group), schema).await
        })
    }

    fn snapshot<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        Box::pin(async move {
            let itself = (self.defect == Defect::ComparedWithItself).then(|| Self::unpinned(group)).flatten();
            let group = itself.as_ref().unwrap_or(group);
            let mut snapshot = self.inner.models.snapshot(group, schema, after, rows_max).await?;
            for _ in 0..TEARS_MAX {
                if self.defect != Defect::SnapshotTorn {
                    break;
                }
                tokio::task::yield_now().await;
                let later = self.inner.models.snapshot(group, schema, after, rows_max).await?;
                if later.digest != snapshot.digest {
                    snapshot.digest = later.digest;
                    break;
                }
            }
            Ok(snapshot)
        })
    }

    fn park<'a>(
        &'a self,
        group: &'a Group,
        lease: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            if self.defect == Defect::ParksForgotten {
                return Ok(());
            }
            self.inner.models.park(group, lease, parked).await
        })
    }

    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        self.inner.models.parked(group)
    }

    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            let mut mend = mend;
            if self.defect == Defect::MendAnywhere {
                mend.at = self.inner.models.checkpoint(group).await?.mark.position();
            }
            self.inner.models.mend(group, mend).await
        })
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        self.inner.models.passed_at(group, position)
    }

    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        Box::pin(async move {
            if self.defect != Defect::RepairsUnseen {
                return self.inner.models.stamp(group).await;
            }
            let build = BuildId { revision: group.revision(), generation: 1 };
            let token = self.inner.models.checkpoint(group).await?.mark.token;
            Ok(RowsStamp::of(group.build().unwrap_or(build), [token], 0))
        })
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.inner.models.reset(group)
    }
}
