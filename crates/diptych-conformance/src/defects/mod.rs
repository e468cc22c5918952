//! Deliberate defects: wrappers that break one promise of a store that keeps them all, and the cases that
//! must notice.
//!
//! A suite that passes over a broken store proves nothing. Absent here, on purpose: any use outside of tests.

mod ahead;
mod boundary;
mod builds;
mod caught;
mod fold;
mod intake;
mod ports;
mod queue;
mod rules;
mod states;

use crate::{Failure, Harness, Outcome, Stores, run};
use diptych_core::{BoxFuture, CommandId, Fault, Tenant};
use diptych_query::{AnyModel, Group};
use ports::Broken;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A promise that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// Rows are read without their guard.
    GuardOff,
    /// Guards of deleted rows are not kept.
    TombstonesLost,
    /// A row is guarded, source by source, by the facts it took and not by the group's clock.
    GuardedByFacts,
    /// Rows of siblings are looked up as the whole batch has left them.
    SiblingsAtBatchEnd,
    /// A route by column finds stored rows only, not those that the same batch makes.
    BatchIndexMissing,
    /// The checkpoint is written before the rows: a fold that fails has moved it.
    CheckpointBeforeRows,
    /// After a crash the checkpoint is there and the rows are not.
    RowsLostOnCrash,
    /// The ledger is looked up before the transaction and written after it.
    LedgerOutside,
    /// Inline models are folded after the commit.
    InlineOutside,
    /// A position was given away and never used.
    PositionGap,
    /// Recorded times are whatever the clock shows.
    TimesGoBack,
    /// Streams and ledger forget whose they are.
    TenantForgotten,
    /// A page starts after the last value, not after the last row.
    PagesSkipTies,
    /// Rows without a value come first.
    NoValueFirst,
    /// What is of all tenants is kept as whoever's changed it last.
    EverybodyApart,
    /// Every partition folds the rows of all.
    PartitionsForgotten,
    /// A lease is given to whoever asks, the same to all.
    LeasesShared,
    /// What arrives is not looked up: everything is taken as new.
    WatermarkIgnored,
    /// The watermark is kept by the process and not with the facts.
    WatermarkOutside,
    /// An arrival that an inline model refuses is passed over.
    RefusedArrivalsSkipped,
    /// A command in conflict leaves its state.
    StateOnConflict,
    /// A state is written before the transaction of its command.
    StateOutside,
    /// An older state goes over a newer one.
    OldStateOverNew,
    /// Every state is said to be of the code's shape.
    ShapeIgnored,
    /// Of commands committed together the first one's state stays.
    FirstStateWins,
    /// Conditions are not looked at.
    ConditionIgnored,
    /// A condition is checked before the transaction that it is for.
    ConditionOutside,
    /// A condition is checked against the log alone, not against what commands of the same group append.
    GroupMatesUnseen,
    /// Tags are not written with their events.
    TagsLost,
    /// Stored states are never found again.
    StatesForgotten,
    /// The audit tells only what was decided.
    RefusalsLeftOut,
    /// The audit tells what everybody did.
    AuditOfEverybody,
    /// A page of the audit begins one row late.
    AuditPagesSkip,
    /// Restored events are recorded at the time of the restore.
    RestoredNow,
    /// What was read of a broken source stays.
    BrokenSourceKept,
    /// A store in use is said to be filled.
    FillsAnything,
    /// A queued command is acknowledged before it is in the store.
    EnqueueNotDurable,
    /// A queued command is given to whoever asks, whatever its lease says.
    ClaimsShared,
    /// A command may be ended under a claim that was lost.
    FinishUnfenced,
    /// Queued commands of one stream are run in any order.
    QueueOrderIgnored,
    /// A command that is to be tried again later is tried again at once.
    RetriesAtOnce,
    /// What is unfinished is told of whatever streams, not of those that are asked about.
    UnfinishedOfAnyStream,
    /// What has ended is told as unfinished.
    EndedAsUnfinished,
    /// Moves of builds are made one after the other.
    MovesOneByOne,
    /// A build is begun, and what is recorded of it is written after that.
    BuildsBegunApart,
    /// A record is written whatever stands there.
    RecordsOverwritten,
    /// Whichever build is meant, the own one of the revision is read.
    BuildsMixed,
    /// Rows and digest of a snapshot are read one after the other.
    SnapshotTorn,
    /// A key that is parked is not held back.
    ParksForgotten,
    /// A batch that was folded ahead is written although somebody else has written since.
    WrittenOver,
    /// A fold ahead is not told which keys are held back.
    AheadUntold,
    /// A key that is parked takes no fact at all, not even those before it was parked.
    ParkedFromTheStart,
    /// Rows are put right wherever the group stands.
    MendAnywhere,
    /// Digests are not written with their rows.
    DigestForgotten,
    /// A fact that cannot be folded is passed over, with those after it.
    ErrorsSkipped,
    /// A new build is compared with itself, so that nothing ever differs.
    ComparedWithItself,
    /// Rows that were put right leave the stamp as it was.
    RepairsUnseen,
    /// A row rule counts on the first page only.
    RuleOnFirstPage,
    /// A condition that forbids, and fails, forbids.
    FailedForbids,
    /// `AND` and `OR` forget what has failed where the other side decides.
    FailuresSwallowed,
    /// Patterns do not tell upper from lower case.
    PatternsIgnoreCase,
    /// An export is read page by page, each as the rows are by then.
    ExportTorn,
    /// An export forgets the row rule.
    ExportUnruled,
    /// Of several words one is enough.
    WordsAlternate,
    /// Words are parts of words.
    WordsWithin,
}

impl Defect {
    /// Every defect.
    pub const ALL: [Self; 65] = [
        Self::GuardOff,
        Self::TombstonesLost,
        Self::GuardedByFacts,
        Self::SiblingsAtBatchEnd,
        Self::BatchIndexMissing,
        Self::CheckpointBeforeRows,
        Self::RowsLostOnCrash,
        Self::LedgerOutside,
        Self::InlineOutside,
        Self::PositionGap,
        Self::TimesGoBack,
        Self::TenantForgotten,
        Self::PagesSkipTies,
        Self::NoValueFirst,
        Self::EverybodyApart,
        Self::PartitionsForgotten,
        Self::LeasesShared,
        Self::WatermarkIgnored,
        Self::WatermarkOutside,
        Self::RefusedArrivalsSkipped,
        Self::StateOnConflict,
        Self::StateOutside,
        Self::OldStateOverNew,
        Self::ShapeIgnored,
        Self::FirstStateWins,
        Self::ConditionIgnored,
        Self::ConditionOutside,
        Self::GroupMatesUnseen,
        Self::TagsLost,
        Self::StatesForgotten,
        Self::RefusalsLeftOut,
        Self::AuditOfEverybody,
        Self::AuditPagesSkip,
        Self::RestoredNow,
        Self::BrokenSourceKept,
        Self::FillsAnything,
        Self::EnqueueNotDurable,
        Self::ClaimsShared,
        Self::FinishUnfenced,
        Self::QueueOrderIgnored,
        Self::RetriesAtOnce,
        Self::UnfinishedOfAnyStream,
        Self::EndedAsUnfinished,
        Self::MovesOneByOne,
        Self::BuildsBegunApart,
        Self::RecordsOverwritten,
        Self::BuildsMixed,
        Self::SnapshotTorn,
        Self::ParksForgotten,
        Self::WrittenOver,
        Self::AheadUntold,
        Self::ParkedFromTheStart,
        Self::MendAnywhere,
        Self::DigestForgotten,
        Self::ErrorsSkipped,
        Self::ComparedWithItself,
        Self::RepairsUnseen,
        Self::RuleOnFirstPage,
        Self::FailedForbids,
        Self::FailuresSwallowed,
        Self::PatternsIgnoreCase,
        Self::ExportTorn,
        Self::ExportUnruled,
        Self::WordsAlternate,
        Self::WordsWithin,
    ];

    /// Whether only a store in which processes share the work can have it.
    #[must_use]
    pub fn is_of_sharing(self) -> bool {
        matches!(self, Self::PartitionsForgotten | Self::LeasesShared)
    }

    /// Whether only a store that has folds ahead can have it.
    #[must_use]
    pub fn is_of_folding_ahead(self) -> bool {
        matches!(self, Self::WrittenOver | Self::AheadUntold)
    }

    /// The cases, by suite and name, each of which must fail over it.
    #[must_use]
    pub fn caught_by(self) -> &'static [(&'static str, &'static str)] {
        let parts = [
            self.caught_in_common(),
            self.caught_in_log(),
            self.caught_in_commands(),
            self.caught_in_builds(),
            self.caught_in_answers(),
        ];
        parts.into_iter().find(|cases| !cases.is_empty()).unwrap_or_default()
    }

    /// Runs its cases over a sound store, where they must pass, and over the broken one, where each must
    /// fail.
    ///
    /// # Errors
    /// A case that fails over the sound store, or passes over the broken one.
    pub async fn must_be_caught<H: Harness>(self, make: impl Fn() -> H) -> Outcome {
        if self.caught_by().is_empty() {
            return Err(Failure::new(format!("no case is named that would notice {self:?}")));
        }
        for (suite, case) in self.caught_by() {
            run(suite, case, &make()).await?;
            let broken = Defective::new(make(), self);
            if run(suite, case, &broken).await.is_ok() {
                return Err(Failure::new(format!("`{suite}::{case}` did not notice {self:?}")));
            }
        }
        Ok(())
    }
}

/// A harness whose store has a defect.
pub struct Defective<H> {
    inner: H,
    defect: Defect,
    crashes: AtomicU32,
}

impl<H: Harness> Defective<H> {
    /// Breaks what a harness opens.
    pub fn new(inner: H, defect: Defect) -> Self {
        Self { inner, defect, crashes: AtomicU32::new(0) }
    }
}

impl<H: Harness> Harness for Defective<H> {
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>> {
        Box::pin(async move {
            let outside = self.defect == Defect::InlineOutside;
            let (inside, after) = if outside { (Vec::new(), inline) } else { (inline, Vec::new()) };
            let stores = self.inner.open(inside).await?;
            let crashed = self.crashes.load(Ordering::SeqCst) > 0;
            let broken = Arc::new(Broken::new(stores.clone(), self.defect, after, crashed));
            Ok(Stores {
                events: Arc::clone(&broken) as _,
                intake: Arc::clone(&broken) as _,
                feed: Arc::clone(&broken) as _,
                restore: Arc::clone(&broken) as _,
                queue: Arc::new(queue::BrokenQueue::new(Arc::clone(&stores.queue), self.defect)),
                registry: Arc::new(builds::BrokenRegistry::new(Arc::clone(&stores.registry), self.defect)),
                models: broken,
                ..stores
            })
        })
    }

    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.inner.stop(stores)
    }

    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>> {
        self.crashes.fetch_add(1, Ordering::SeqCst);
        self.inner.crash(stores)
    }

    fn inline_catch_up_events_max(&self) -> u64 {
        self.inner.inline_catch_up_events_max()
    }

    fn audit_rows<'a>(
        &'a self,
        stores: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        self.inner.audit_rows(stores, tenant, id)
    }

    fn model(&self, model: Arc<dyn AnyModel>) -> Arc<dyn AnyModel> {
        match self.defect {
            Defect::GuardOff
            | Defect::TombstonesLost
            | Defect::GuardedByFacts
            | Defect::SiblingsAtBatchEnd
            | Defect::PartitionsForgotten
            | Defect::EverybodyApart
            | Defect::BatchIndexMissing
            | Defect::DigestForgotten
            | Defect::ErrorsSkipped
            | Defect::ParkedFromTheStart => Arc::new(fold::BrokenModel::new(model, self.defect)),
            _ => model,
        }
    }
}
