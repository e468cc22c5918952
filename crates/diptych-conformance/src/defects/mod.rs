//! Deliberate defects: wrappers that break one promise of a store that keeps them all, and the cases that
//! must notice.
//!
//! A suite that passes over a broken store proves nothing. Absent here, on purpose: any use outside of tests.

mod boundary;
mod fold;
mod intake;
mod ports;
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
}

impl Defect {
    /// Every defect.
    pub const ALL: [Self; 35] = [
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
                ("boundaries", "other_tenants_never_match"),
            ],
            Self::PagesSkipTies => &[("pages", "pages_over_ties_miss_nothing")],
            Self::NoValueFirst => {
                &[("values", "no_value_sorts_last_both_ways"), ("values", "sorting_is_portable")]
            }
            Self::PartitionsForgotten => &[
                ("partitions", "a_row_stands_where_its_own_partition_does"),
                ("leases", "a_partition_goes_on_where_the_one_before_stood"),
            ],
            Self::WatermarkIgnored => &[
                ("intake", "an_arrival_is_taken_once"),
                ("intake", "the_watermark_survives_with_its_facts"),
                ("intake", "two_processes_take_each_arrival_once"),
            ],
            Self::WatermarkOutside => &[
                ("intake", "the_watermark_survives_with_its_facts"),
                ("intake", "two_processes_take_each_arrival_once"),
            ],
            Self::RefusedArrivalsSkipped => {
                &[("intake", "an_inline_model_stops_the_source_at_what_it_refuses")]
            }
            Self::RefusalsLeftOut => &[("audit", "every_outcome_leaves_a_row"), ("audit", "filters_narrow")],
            Self::AuditOfEverybody => &[("audit", "tenants_see_their_own")],
            Self::RestoredNow => &[("restore", "a_restored_log_is_what_it_was")],
            Self::BrokenSourceKept => &[("restore", "a_broken_source_leaves_nothing")],
            Self::FillsAnything => &[("restore", "a_store_in_use_is_not_filled")],
            Self::AuditPagesSkip => &[("audit", "pages_miss_nothing")],
            Self::LeasesShared => &[
                ("leases", "a_partition_has_one_holder"),
                ("leases", "racing_workers_take_each_partition_once"),
                ("leases", "what_was_folded_under_an_older_lease_is_refused"),
            ],
            Self::StateOnConflict => &[("states", "a_conflict_writes_no_state")],
            Self::StateOutside => &[("states", "a_failing_command_writes_no_state")],
            Self::OldStateOverNew => &[("states", "a_later_state_is_never_replaced")],
            Self::ShapeIgnored => &[("states", "a_row_of_another_shape_counts_for_nothing")],
            Self::StatesForgotten => &[("states", "a_first_command_reads_no_more_than_a_snapshot_leaves")],
            Self::FirstStateWins => {
                &[("states", "the_last_of_a_group_wins"), ("states", "a_state_is_written_with_its_events")]
            }
            Self::ConditionIgnored => &[
                ("boundaries", "a_condition_holds_until_a_fact_matches"),
                ("boundaries", "a_rejection_is_checked_like_a_decision"),
                ("boundaries", "random_queries_agree_with_the_pure_rule"),
            ],
            Self::ConditionOutside => &[
                ("boundaries", "earlier_commands_of_a_group_count"),
                ("boundaries", "racing_callers_keep_the_invariant"),
                ("boundaries", "two_processes_keep_the_invariant"),
            ],
            Self::GroupMatesUnseen => &[("boundaries", "earlier_commands_of_a_group_count")],
            Self::TagsLost => &[
                ("boundaries", "items_find_what_they_say"),
                ("boundaries", "tags_survive_with_their_events"),
                ("boundaries", "racing_callers_keep_the_invariant"),
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
                intake: Arc::clone(&broken) as _,
                feed: Arc::clone(&broken) as _,
                restore: Arc::clone(&broken) as _,
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
