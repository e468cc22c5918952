//! The list of all cases, said once: as tests with `conformance_suite!`, as values with [`cases`].

use crate::{Case, Harness, Outcome};
use diptych_core::BoxFuture;

/// A case with the suite that it belongs to.
pub struct Named {
    /// The suite, such as `ledger`.
    pub suite: &'static str,
    /// The case, a sentence with `_` between its words.
    pub name: &'static str,
    /// What it runs.
    pub run: Case,
}

macro_rules! suites {
    ($(#[$about:meta])* $list:ident, $macro:ident; $($suite:ident { $($case:ident),+ $(,)? })+) => {
        fn $list() -> Vec<Named> {
            let mut all = Vec::new();
            $($({
                fn run(harness: &dyn Harness) -> BoxFuture<'_, Outcome> {
                    Box::pin(crate::cases::$suite::$case(harness))
                }
                let (suite, name) = (stringify!($suite), stringify!($case));
                all.push(Named { suite, name, run });
            })+)+
            all
        }

        $(#[$about])*
        ///
        /// The calling crate needs `tokio` with its macros and its multi-threaded runtime.
        #[macro_export]
        macro_rules! $macro {
            ($harness:expr) => {
                $(mod $suite {
                    $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        let harness = { use super::*; $harness };
                        let result = $crate::run(stringify!($suite), stringify!($case), &harness).await;
                        $crate::passed(result);
                    })+
                })+
            };
        }
    };
}

/// Every case of every suite.
#[must_use]
pub fn cases() -> Vec<Named> {
    let mut all = promises();
    all.extend(sharing());
    all.extend(hinge());
    all
}

suites! {
    /// Makes one test of every case that every store promises, each with a harness of its own:
    /// `conformance_suite!(MyHarness::new());`.
    promises, conformance_suite;
    identity {
        one_key_in_two_tenants_is_two_streams,
        a_command_id_belongs_to_its_tenant,
        rows_never_cross_tenants,
        names_are_any_text,
    }
    everybody {
        rows_of_all_tenants_stand_in_one_set,
        rows_of_all_tenants_are_no_tenants_own,
        a_set_of_all_tenants_may_be_split,
    }
    append {
        facts_read_back_byte_for_byte,
        a_stream_loads_in_pieces,
        a_command_without_events_is_accepted,
        a_stale_base_is_a_conflict,
        a_named_version_is_checked,
        racing_commands_are_all_decided,
        streams_do_not_disturb_each_other,
    }
    ledger {
        the_same_command_is_answered_again,
        another_input_under_a_key_is_refused,
        racing_twins_append_once,
        racing_requests_happen_once,
        a_rejection_is_final,
        a_refusal_leaves_the_key_free,
        a_refused_request_may_be_tried_again,
        expiry_frees_keys_and_keeps_the_audit,
        the_ledger_survives,
        a_replay_answers_its_own_events,
    }
    judging {
        a_command_is_judged_by_the_state_that_it_meets,
        an_aggregate_is_shown_as_its_state_allows,
        permission_that_stays_provisional_is_none,
    }
    states {
        a_state_is_written_with_its_events,
        a_conflict_writes_no_state,
        a_failing_command_writes_no_state,
        the_last_of_a_group_wins,
        another_tenants_state_is_another,
        states_survive,
        a_row_of_another_shape_counts_for_nothing,
        a_row_that_is_behind_catches_up,
        a_first_command_reads_no_more_than_a_snapshot_leaves,
        a_row_and_the_events_after_it_are_the_fold,
        both_persistences_leave_the_same_log,
        a_walk_meets_every_stream_once,
        a_later_state_is_never_replaced,
        states_are_dropped_by_category,
        rows_are_moved_beside_commands,
    }
    boundaries {
        a_condition_holds_until_a_fact_matches,
        items_find_what_they_say,
        a_boundary_loads_in_pages,
        an_item_is_read_from_its_newest_beginning_on,
        other_tenants_never_match,
        earlier_commands_of_a_group_count,
        racing_callers_keep_the_invariant,
        two_processes_keep_the_invariant,
        a_rejection_is_checked_like_a_decision,
        events_may_go_behind_any_version,
        a_version_is_checked_beside_the_condition,
        a_replay_does_not_look_at_the_condition,
        tags_survive_with_their_events,
        events_without_tags_match_no_tag,
        random_queries_agree_with_the_pure_rule,
    }
    audit {
        every_outcome_leaves_a_row,
        filters_narrow,
        tenants_see_their_own,
        pages_miss_nothing,
    }
    log {
        positions_have_no_gap,
        recorded_times_never_go_back,
        the_log_goes_on_after_reopening,
        an_empty_log_has_a_start,
        ranges_are_complete,
        other_categories_are_passed_over,
        marks_are_stable,
        an_append_wakes_watchers,
        a_position_once_seen_is_complete,
    }
    restore {
        a_restored_log_is_what_it_was,
        restored_events_are_found_by_their_tags,
        models_fold_a_restored_log,
        a_store_in_use_is_not_filled,
        a_broken_source_leaves_nothing,
    }
    checkpoint {
        rows_and_checkpoint_move_together,
        a_failing_fold_leaves_nothing,
        a_moved_checkpoint_refuses_the_fold,
        a_checkpoint_passes_over_foreign_facts,
        groups_move_alone,
        rows_survive_with_their_checkpoint,
        another_shape_is_refused,
        another_revision_starts_over,
        a_foreign_checkpoint_is_refused,
        a_reader_beyond_the_head_is_told,
    }
    guard {
        an_old_block_changes_nothing,
        late_facts_change_nothing,
        old_facts_between_new_ones_change_nothing,
        a_deleted_row_stays_deleted,
        a_deleted_row_may_come_back,
        redelivery_after_a_crash_changes_nothing,
    }
    cuts {
        any_cut_leaves_equal_rows,
        a_drain_may_be_interrupted,
        blocks_may_be_planned_together,
        a_row_may_live_within_one_batch,
    }
    groups {
        siblings_stand_as_at_the_fact,
        a_column_finds_rows_of_the_same_batch,
        a_row_that_left_is_not_found,
        a_row_that_moved_takes_no_older_fact_again,
        a_missing_sibling_is_loaded_and_folded_again,
        a_deleted_row_stays_deleted,
        batches_of_any_size_leave_the_same_rows,
        one_checkpoint_for_all_tables,
        tenants_have_siblings_of_their_own,
        a_reset_rebuilds_every_table,
        another_process_sees_the_group,
        an_inline_group_moves_with_the_command,
    }
    columns {
        every_kind_of_column_finds_its_rows,
        no_value_finds_no_row,
        a_row_found_twice_is_touched_once,
        a_column_without_an_index_is_refused,
        as_many_rows_as_allowed_are_touched,
        a_fact_may_not_touch_too_many_rows,
        rows_that_left_do_not_hide_too_many,
    }
    inline {
        a_row_is_visible_with_its_event,
        a_failing_fold_fails_its_command_alone,
        a_near_model_catches_up,
        a_far_model_turns_asynchronous,
        an_older_fact_stops_the_model_alone,
        inline_rows_are_the_fold_of_the_log,
        an_inline_model_may_be_rebuilt,
    }
    values {
        every_type_reads_back,
        values_survive_being_folded_again,
        sorting_is_portable,
        no_value_sorts_last_both_ways,
        ranks_and_money_have_their_own_order,
        conditions_are_portable,
        conditions_join,
        nul_never_reaches_the_store,
    }
    pages {
        pages_over_ties_miss_nothing,
        pages_keep_their_filter,
        pages_hold_while_rows_come_and_go,
        pages_over_a_key_of_two_columns,
    }
    rules {
        no_value_makes_a_condition_fail,
        what_fails_does_not_forbid,
        sums_beyond_64_bits_fail,
        patterns_take_every_letter_as_it_is,
        ranks_and_times_compare_as_numbers,
        lists_may_be_empty_or_long,
        pages_hold_under_a_rule,
        a_rule_narrows_a_question,
    }
    words {
        words_are_found_whole_and_by_how_they_begin,
        words_follow_their_rows,
        words_follow_a_mend,
        words_narrow_a_question,
    }
    exports {
        an_export_is_of_one_moment,
        an_export_respects_tenant_and_rule,
        an_export_holds_up_nobody,
        an_export_shows_what_may_be_seen,
    }
    together {
        two_writers_share_one_log,
        twins_in_two_processes_append_once,
        inline_models_take_what_others_appended,
        two_workers_never_fold_twice,
        the_other_process_wakes_watchers,
    }
    queue {
        what_is_accepted_is_there_after_a_crash,
        a_command_reads_back_whole,
        the_same_command_is_accepted_once,
        racing_twins_are_accepted_once,
        a_full_queue_takes_nothing_more,
        racing_workers_claim_each_command_once,
        a_claim_is_nobody_elses,
        the_oldest_come_first_and_no_more_than_asked_for,
        a_stream_is_run_in_the_order_of_acceptance,
        the_next_of_a_stream_follows_an_end,
        a_lease_runs_out_and_is_taken_over,
        a_lost_lease_writes_nothing,
        signs_of_life_prolong_a_lease,
        a_retry_waits_its_time,
        a_retry_comes_when_its_time_has_come,
        what_is_handed_back_is_free_at_once,
        an_end_is_final,
        ended_commands_are_swept_in_pages,
        a_queued_command_belongs_to_its_tenant,
        a_failed_command_runs_again_behind_the_others,
        what_is_unfinished_for_streams_is_told,
        lists_and_counts_tell_what_there_is,
        a_change_wakes_those_who_wait,
        keys_of_unfinished_commands_stay_claimed,
    }
    questions {
        answers_say_how_fresh_they_are,
        a_token_of_another_log_is_refused,
        page_tokens_continue_one_question,
        a_stopped_model_says_so,
    }
    upkeep {
        a_reset_starts_over,
        a_stop_is_kept,
        a_reset_clears_the_stop,
        the_time_of_passing_is_kept,
        a_stamp_tells_rows_apart,
    }
    intake {
        arrivals_stand_in_the_log_in_their_order,
        an_arrival_is_taken_once,
        the_watermark_survives_with_its_facts,
        sources_do_not_disturb_each_other,
        arrivals_out_of_order_are_refused,
        arrivals_and_commands_share_their_streams,
        an_inline_model_stops_the_source_at_what_it_refuses,
        two_processes_take_each_arrival_once,
        models_fold_what_arrived,
    }
    builds {
        a_first_build_is_known,
        a_build_is_begun_with_its_record_or_not_at_all,
        builds_are_moved_by_themselves,
        a_switch_changes_what_answers,
        a_build_that_is_behind_does_not_take_over,
        moves_are_judged_together,
        a_retired_build_is_dropped,
        a_retired_revision_stays_retired,
        builds_survive,
        another_process_follows_a_switch,
        a_dropped_build_is_left_behind,
        an_inline_build_takes_over_at_the_head,
        an_inline_switch_misses_no_command,
        revisions_stand_side_by_side,
        a_snapshot_is_of_one_moment,
    }
    records {
        a_record_is_compared_and_set,
        the_last_written_comes_first,
        one_writer_is_first,
    }
    ahead {
        batches_folded_ahead_leave_equal_rows,
        what_others_wrote_is_not_written_over,
        what_others_have_folded_is_not_folded_again,
    }
    parked {
        a_parked_key_waits_and_others_move,
        a_parked_key_takes_what_came_before,
        parked_keys_survive,
        builds_park_by_themselves,
        a_mended_key_goes_on,
        a_key_may_be_parked_anew,
        a_mend_writes_what_it_says,
    }
    partitions {
        a_split_model_keeps_the_rows_of_a_whole_one,
        routes_by_column_reach_every_partition,
        a_group_stands_where_its_last_partition_does,
        a_row_stands_where_its_own_partition_does,
        a_partition_that_stops_shows_in_its_group,
        a_reset_starts_every_partition_over,
        other_partitions_need_another_revision,
    }
}

suites! {
    /// Makes one test of every case that a store promises in which processes share the work:
    /// `sharing_suite!(MyHarness::new());`.
    sharing, sharing_suite;
    leases {
        a_partition_has_one_holder,
        racing_workers_take_each_partition_once,
        a_lease_runs_out_and_is_taken_over,
        what_was_folded_under_an_older_lease_is_refused,
        a_fold_of_everything_is_refused_where_the_work_is_split,
        signs_of_life_prolong_a_lease,
        a_lease_that_nobody_has_followed_is_prolonged_late,
        who_looks_sees_which_lease_is_the_newest,
        a_build_that_begins_to_serve_ends_the_leases_on_it,
        a_lease_that_is_given_back_is_free,
        workers_see_who_else_could,
        a_partition_goes_on_where_the_one_before_stood,
    }
}

suites! {
    /// Makes one test of every case in which the hinge itself works over the store:
    /// `hinge_suite!(MyHarness::new());`.
    hinge, hinge_suite;
    rebuilds {
        a_first_build_serves_once_it_is_filled,
        the_whole_chain_runs_while_commands_come,
        a_rebuild_goes_on_after_its_driver_died,
        full_memory_is_written_and_the_rest_comes_in_batches,
        undeclared_differences_block_the_switch,
        declared_differences_do_not,
        a_rebuild_waits_and_goes_on_as_told,
        a_cancelled_rebuild_leaves_nothing,
        a_new_revision_is_read_from_the_old_one_until_it_is_ready,
        questions_catch_another_order,
        a_split_model_is_rebuilt_part_by_part,
        a_model_of_all_tenants_is_rebuilt_and_compared,
        an_inline_model_is_rebuilt_under_commands,
        one_rebuild_at_a_time,
        a_build_that_is_further_is_compared_without_what_is_newer,
        it_all_happens_by_itself,
    }
    rollbacks {
        an_old_build_answers_again_at_once,
        an_old_build_answers_again_once_the_dead_let_go_of_it,
        an_old_build_of_another_revision_is_waited_for_and_not_for_ever,
    }
    scenarios {
        poison_while_a_build_is_filled,
        a_hand_edit_while_a_build_shadows,
        a_crash_at_every_slice,
        another_process_meets_a_rebuild_as_it_was_ordered,
    }
    poison {
        a_poisoned_key_waits_and_the_rest_moves_on,
        a_key_that_fails_later_waits_there,
        too_many_parked_keys_stop_the_model,
        answers_say_that_keys_are_parked,
        code_that_parks_no_more_waits_for_parked_keys,
        what_cannot_park_is_refused,
    }
    money {
        money_inside_of_a_column_is_money,
        refused_money_has_a_code_of_its_own,
        money_that_statements_write_is_money,
    }
    drift {
        what_was_changed_by_hand_is_found_and_repaired,
        what_was_changed_in_a_partition_is_found_and_repaired,
        what_was_changed_is_found_from_its_stream,
        a_changed_digest_or_hash_is_found_and_repaired,
        an_edited_row_that_is_loaded_is_an_incident,
        facts_on_a_deleted_row_are_put_right,
        a_patrol_goes_on_where_another_was_killed,
        parked_keys_are_left_out_of_a_patrol,
        a_suspended_model_follows_and_does_not_answer,
    }
}

/// Runs one case.
///
/// # Errors
/// The case's failure, or that there is no such case.
pub async fn run(suite: &str, name: &str, harness: &dyn Harness) -> Outcome {
    let case = cases().into_iter().find(|case| (case.suite, case.name) == (suite, name));
    match case {
        Some(case) => (case.run)(harness).await,
        None => Err(crate::Failure::new(format!("there is no case `{suite}::{name}`"))),
    }
}
