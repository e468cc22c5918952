//! Which cases must notice which defect, in five parts. One that no part names is an error of the suite.

use super::Defect;

impl Defect {
    /// What breaks rows, ledger and log.
    pub(super) fn caught_in_common(self) -> &'static [(&'static str, &'static str)] {
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
                ("queue", "a_queued_command_belongs_to_its_tenant"),
            ],
            Self::EverybodyApart => &[
                ("everybody", "rows_of_all_tenants_stand_in_one_set"),
                ("everybody", "rows_of_all_tenants_are_no_tenants_own"),
                ("everybody", "a_set_of_all_tenants_may_be_split"),
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
            _ => &[],
        }
    }

    /// What breaks what comes from elsewhere, goes elsewhere, or is looked back at; and conditions.
    pub(super) fn caught_in_log(self) -> &'static [(&'static str, &'static str)] {
        match self {
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
            _ => &[],
        }
    }

    /// What breaks builds, records and parked keys.
    pub(super) fn caught_in_builds(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::MovesOneByOne => &[
                ("builds", "moves_are_judged_together"),
                ("builds", "a_build_that_is_behind_does_not_take_over"),
            ],
            Self::BuildsBegunApart => &[("builds", "a_build_is_begun_with_its_record_or_not_at_all")],
            Self::RecordsOverwritten => {
                &[("records", "a_record_is_compared_and_set"), ("records", "one_writer_is_first")]
            }
            Self::BuildsMixed => {
                &[("builds", "builds_are_moved_by_themselves"), ("parked", "builds_park_by_themselves")]
            }
            Self::SnapshotTorn => &[("builds", "a_snapshot_is_of_one_moment")],
            Self::WrittenOver | Self::AheadUntold => &[("ahead", "what_others_wrote_is_not_written_over")],
            Self::ParksForgotten => {
                &[("parked", "a_parked_key_waits_and_others_move"), ("parked", "parked_keys_survive")]
            }
            Self::ParkedFromTheStart => &[("parked", "a_parked_key_takes_what_came_before")],
            Self::MendAnywhere => &[("parked", "a_mended_key_goes_on")],
            Self::DigestForgotten => &[
                ("drift", "what_was_changed_by_hand_is_found_and_repaired"),
                ("checkpoint", "rows_and_checkpoint_move_together"),
            ],
            Self::ErrorsSkipped => &[
                ("scenarios", "poison_while_a_build_is_filled"),
                ("poison", "a_poisoned_key_waits_and_the_rest_moves_on"),
                ("checkpoint", "a_failing_fold_leaves_nothing"),
            ],
            Self::ComparedWithItself => &[("scenarios", "a_hand_edit_while_a_build_shadows")],
            _ => &[],
        }
    }

    /// What breaks which rows answer a question.
    pub(super) fn caught_in_answers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::RepairsUnseen => &[("upkeep", "a_stamp_tells_rows_apart")],
            Self::RuleOnFirstPage => &[("rules", "pages_hold_under_a_rule")],
            Self::FailedForbids => {
                &[("rules", "what_fails_does_not_forbid"), ("rules", "sums_beyond_64_bits_fail")]
            }
            Self::FailuresSwallowed => {
                &[("rules", "no_value_makes_a_condition_fail"), ("rules", "what_fails_does_not_forbid")]
            }
            Self::ExportTorn => &[("exports", "an_export_is_of_one_moment")],
            Self::ExportUnruled => &[("exports", "an_export_respects_tenant_and_rule")],
            Self::WordsAlternate | Self::WordsWithin => {
                &[("words", "words_are_found_whole_and_by_how_they_begin")]
            }
            Self::PatternsIgnoreCase => &[("rules", "patterns_take_every_letter_as_it_is")],
            _ => &[],
        }
    }

    /// What breaks stored states and the queue.
    pub(super) fn caught_in_commands(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::StateOnConflict => &[("states", "a_conflict_writes_no_state")],
            Self::StateOutside => &[("states", "a_failing_command_writes_no_state")],
            Self::OldStateOverNew => &[("states", "a_later_state_is_never_replaced")],
            Self::ShapeIgnored => &[("states", "a_row_of_another_shape_counts_for_nothing")],
            Self::StatesForgotten => &[("states", "a_first_command_reads_no_more_than_a_snapshot_leaves")],
            Self::FirstStateWins => {
                &[("states", "the_last_of_a_group_wins"), ("states", "a_state_is_written_with_its_events")]
            }
            Self::EnqueueNotDurable => &[("queue", "what_is_accepted_is_there_after_a_crash")],
            Self::ClaimsShared => {
                &[("queue", "a_claim_is_nobody_elses"), ("queue", "racing_workers_claim_each_command_once")]
            }
            Self::FinishUnfenced => &[("queue", "a_lost_lease_writes_nothing")],
            Self::QueueOrderIgnored => &[
                ("queue", "a_stream_is_run_in_the_order_of_acceptance"),
                ("queue", "the_next_of_a_stream_follows_an_end"),
            ],
            Self::UnfinishedOfAnyStream | Self::EndedAsUnfinished => {
                &[("queue", "what_is_unfinished_for_streams_is_told")]
            }
            Self::RetriesAtOnce => &[
                ("queue", "a_retry_waits_its_time"),
                ("queue", "a_stream_is_run_in_the_order_of_acceptance"),
            ],
            _ => &[],
        }
    }
}
