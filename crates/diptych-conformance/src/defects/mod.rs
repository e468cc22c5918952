//! Deliberate defects: wrappers that break one promise of a store that keeps them all, and the cases that
//! must notice.
//!
//! A suite that passes over a broken store proves nothing. Absent here, on purpose: any use outside of tests.

mod fold;
mod ports;
mod queue;

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
    /// Every partition folds the rows of all.
    PartitionsForgotten,
    /// A lease is given to whoever asks, the same to all.
    LeasesShared,
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
}

impl Defect {
    /// Every defect.
    pub const ALL: [Self; 21] = [
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
        Self::PartitionsForgotten,
        Self::LeasesShared,
        Self::EnqueueNotDurable,
        Self::ClaimsShared,
        Self::FinishUnfenced,
        Self::QueueOrderIgnored,
        Self::RetriesAtOnce,
    ];

    /// Whether only a store in which processes share the work can have it.
    #[must_use]
    pub fn is_of_sharing(self) -> bool {
        matches!(self, Self::PartitionsForgotten | Self::LeasesShared)
    }

    /// The cases, by suite and name, each of which must fail over it.
    #[must_use]
    pub fn caught_by(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::GuardOff => &[
                ("guard", "an_old_block_changes_nothing"),
                ("guard", "late_facts_change_nothing"),
                ("guard", "old_facts_between_new_ones_change_nothing"),
                ("guard", "a_deleted_row_stays_deleted"),
                ("guard", "redelivery_after_a_crash_changes_nothing"),
            ],
            Self::TombstonesLost => {
                &[("guard", "a_deleted_row_stays_deleted"), ("guard", "an_old_block_changes_nothing")]
            }
            Self::GuardedByFacts => &[("groups", "a_row_that_moved_takes_no_older_fact_again")],
            Self::SiblingsAtBatchEnd => &[
                ("groups", "siblings_stand_as_at_the_fact"),
                ("groups", "batches_of_any_size_leave_the_same_rows"),
            ],
            Self::BatchIndexMissing => &[
                ("groups", "a_column_finds_rows_of_the_same_batch"),
                ("groups", "batches_of_any_size_leave_the_same_rows"),
            ],
            Self::CheckpointBeforeRows => &[("checkpoint", "a_failing_fold_leaves_nothing")],
            Self::RowsLostOnCrash => &[
                ("checkpoint", "rows_survive_with_their_checkpoint"),
                ("cuts", "a_drain_may_be_interrupted"),
            ],
            Self::LedgerOutside => &[
                ("ledger", "racing_twins_append_once"),
                ("ledger", "racing_requests_happen_once"),
                ("ledger", "the_ledger_survives"),
            ],
            Self::InlineOutside => &[("inline", "a_failing_fold_fails_its_command_alone")],
            Self::PositionGap => &[("log", "positions_have_no_gap"), ("log", "ranges_are_complete")],
            Self::TimesGoBack => &[("log", "recorded_times_never_go_back")],
            Self::TenantForgotten => &[
                ("identity", "one_key_in_two_tenants_is_two_streams"),
                ("identity", "a_command_id_belongs_to_its_tenant"),
                ("queue", "a_queued_command_belongs_to_its_tenant"),
            ],
            Self::PagesSkipTies => &[("pages", "pages_over_ties_miss_nothing")],
            Self::NoValueFirst => {
                &[("values", "no_value_sorts_last_both_ways"), ("values", "sorting_is_portable")]
            }
            Self::PartitionsForgotten => &[
                ("partitions", "a_row_stands_where_its_own_partition_does"),
                ("leases", "a_partition_goes_on_where_the_one_before_stood"),
            ],
            Self::LeasesShared => &[
                ("leases", "a_partition_has_one_holder"),
                ("leases", "racing_workers_take_each_partition_once"),
                ("leases", "what_was_folded_under_an_older_lease_is_refused"),
            ],
            Self::EnqueueNotDurable => &[("queue", "what_is_accepted_is_there_after_a_crash")],
            Self::ClaimsShared => {
                &[("queue", "a_claim_is_nobody_elses"), ("queue", "racing_workers_claim_each_command_once")]
            }
            Self::FinishUnfenced => &[("queue", "a_lost_lease_writes_nothing")],
            Self::QueueOrderIgnored => &[
                ("queue", "a_stream_is_run_in_the_order_of_acceptance"),
                ("queue", "the_next_of_a_stream_follows_an_end"),
            ],
            Self::RetriesAtOnce => &[
                ("queue", "a_retry_waits_its_time"),
                ("queue", "a_stream_is_run_in_the_order_of_acceptance"),
            ],
        }
    }

    /// Runs its cases over a sound store, where they must pass, and over the broken one, where each must
    /// fail.
    ///
    /// # Errors
    /// A case that fails over the sound store, or passes over the broken one.
    pub async fn must_be_caught<H: Harness>(self, make: impl Fn() -> H) -> Outcome {
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
                feed: Arc::clone(&broken) as _,
                queue: Arc::new(queue::BrokenQueue::new(Arc::clone(&stores.queue), self.defect)),
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
            | Defect::BatchIndexMissing => Arc::new(fold::BrokenModel::new(model, self.defect)),
            _ => model,
        }
    }
}
