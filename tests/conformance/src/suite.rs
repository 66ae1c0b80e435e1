//! The cases by name, and the macro that makes tests of them.

/// Hands the names of all cases to the macro `callback`, after the arguments that follow it:
///
/// ```text
/// callback! {
///     { arguments }
///     clock { time_never_goes_back, a_sleep_is_never_early, … }
///     winning { … }
/// }
/// ```
///
/// The future of a case in `local` is never `Send`; that of any other is where the runtime's parts
/// allow it. Cases in `keys` and `panics` exist with the feature `std`.
///
/// ```
/// macro_rules! count {
///     ({} $($file:ident { $($case:ident,)* })*) => { [$($(stringify!($case)),*),*].len() };
/// }
/// assert!(hedge_conformance::for_each_case!([count]) > 100);
/// ```
#[macro_export]
macro_rules! for_each_case {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! {
            { $($arguments)* }
            clock {
                time_never_goes_back,
                a_sleep_is_never_early,
                a_deadline_that_has_passed_is_not_waited_for,
                a_sleep_can_be_put_off,
                a_sleep_can_be_cut_short,
                the_end_of_time_does_not_come,
            }
            winning {
                a_hedge_wins_if_it_is_first,
                the_primary_wins_if_it_is_first,
                a_later_hedge_wins_if_it_is_first,
                a_prompt_primary_is_not_hedged,
                a_primary_ready_at_once_is_the_answer,
                an_error_of_the_primary_does_not_beat_its_hedge,
                an_error_of_a_hedge_does_not_beat_the_primary,
                the_primary_wins_a_tie,
                the_earlier_hedge_wins_a_tie,
                losers_are_dropped_before_the_result_is_seen,
                an_answered_request_stays_pending,
                requests_run_side_by_side,
                an_untimed_request_is_answered,
            }
            failing {
                an_error_starts_the_next_hedge_at_once,
                an_error_at_once_is_retried_at_once,
                on_failure_starts_nothing_for_slowness,
                a_retry_counts_as_a_hedge,
                later_hedges_keep_to_the_schedule,
                every_error_starts_one_hedge,
                if_all_fail_the_earliest_error_is_returned_at_once,
                the_earliest_error_need_not_be_the_first,
                an_error_without_budget_is_returned_at_once,
                a_fatal_error_stops,
                a_fatal_error_goes_before_an_earlier_one,
                a_fatal_ok_is_returned_unaccepted,
                a_refused_ok_is_retried,
                if_every_ok_is_refused_the_earliest_is_returned,
                an_error_may_leave_it_to_those_that_run,
                with_nothing_to_wait_for_the_error_is_returned,
                the_classifier_knows_the_attempt,
                a_refused_value_may_be_let_go,
            }
            pushback {
                pushback_delays_the_next_hedge,
                pushback_holds_back_every_hedge,
                pushback_holds_back_retries,
                pushback_shifts_the_schedule,
                pushback_beyond_the_deadline_returns_at_once,
                pushback_leaves_what_is_running,
                pushback_may_last_for_ever,
                pushback_may_be_zero,
                what_would_be_refused_is_refused_before_the_wait,
                a_wait_is_paid_for_when_it_begins,
                a_wait_that_is_cut_short_costs_nothing,
                what_others_have_spent_is_not_waited_for,
                a_wait_beyond_the_deadline_is_given_up,
                more_patience_than_allowed_starts_nothing_more,
            }
            cadence {
                hedge_k_starts_at_k_delays,
                zero_delay_starts_all_at_once,
                later_hedges_follow_the_plan,
                a_delay_beyond_the_timeout_starts_nothing,
                a_delay_as_long_as_the_timeout_starts_nothing,
                the_longest_delay_does_not_come,
                off_makes_one_attempt,
                no_more_hedges_than_allowed,
            }
            timeout {
                the_timeout_covers_every_attempt,
                a_timeout_tells_the_earliest_error,
                a_refused_value_does_not_hide_an_error,
                a_timeout_without_failures_has_no_source,
                what_is_ready_in_time_wins,
                no_time_is_enough_for_an_answer_at_once,
                a_timeout_after_a_refused_ok_has_no_source,
                a_failure_before_the_timeout_is_a_failure,
                a_deadline_that_has_passed_sends_nothing,
                attempts_know_how_long_they_have,
                an_attempt_that_lasts_too_long_has_failed,
                attempts_that_all_last_too_long_time_out,
                what_may_not_be_hedged_has_no_new_limit,
            }
            dropping {
                a_request_never_polled_has_not_happened,
                dropping_a_request_drops_every_attempt,
                a_dropped_request_frees_its_places_in_flight,
                tokens_of_a_dropped_request_stay_spent,
                a_dropped_request_teaches_a_bound,
                dropping_an_answered_request_changes_nothing,
                an_untimed_request_can_be_dropped,
            }
            losers {
                losers_run_on,
                losers_are_dropped_with_the_request,
                nothing_to_drain_takes_no_time,
                a_failed_request_leaves_no_losers,
                a_dropped_request_leaves_no_losers,
            }
            attempt {
                the_primary_is_told_so,
                every_attempt_is_told_what_it_is,
                readiness_is_asked_with_the_attempt,
                attempts_can_go_to_different_replicas,
            }
            outcome {
                of_a_primary_in_time,
                hedges_are_counted_by_cause,
                of_a_hedge_that_won,
                of_a_primary_that_won_against_a_hedge,
                failures_have_latencies,
                the_backup_that_won_is_told,
                the_first_backup_that_finished_is_told,
                of_a_primary_ready_at_once,
                every_attempt_costs,
                the_strategy_is_told,
            }
            suppressed {
                not_due,
                off,
                warming_up,
                budget_ratio,
                budget_rate,
                in_flight,
                deadline,
                pushback,
                guard,
                not_drawn,
                max_hedges,
                observe_only,
                not_ready,
                holdback,
            }
            budget {
                a_retry_layer_above_deposits_once,
                deposits_and_charges_add_up,
                a_refused_hedge_is_not_started,
                a_refused_hedge_is_asked_for_again,
                a_later_hedge_is_asked_for_again_by_its_own_steps,
                a_hedge_that_is_refused_again_counts_once,
                a_failure_asks_again_at_once,
                nobody_waits_for_a_refused_hedge_alone,
                hedges_in_flight_are_bounded,
                what_may_not_be_hedged_deposits_nothing,
                a_budget_can_be_shared,
            }
            per_call {
                a_call_may_opt_out,
                a_call_may_allow_fewer_hedges,
                without_hedges_there_is_no_retry,
                a_call_may_have_less_time,
                a_call_may_have_a_deadline,
                hints_scale_the_delay,
                hints_of_the_call_go_first,
                a_call_may_judge_results,
            }
            replicas {
                a_hedge_goes_to_another_replica,
                a_retry_goes_to_another_replica,
                without_a_set_there_is_no_replica,
                a_failure_counts_against_its_replica,
                a_timeout_counts_against_every_replica,
                a_timeout_says_little_of_who_had_no_time,
                a_dropped_request_leaves_no_attempts,
                losers_that_run_on_are_counted,
                without_a_replica_nothing_is_sent,
                a_mask_is_kept_to,
                a_hedge_may_find_no_replica,
            }
            streams {
                the_first_item_wins,
                the_time_to_the_first_item_counts,
                an_error_as_first_item_is_a_failure,
                a_later_error_is_passed_on,
                a_stream_without_items_is_an_answer,
                a_stream_without_items_may_be_refused,
                the_first_item_is_classified,
                the_winner_outlives_the_timeout,
                a_stall_ends_the_stream,
                a_slow_reader_is_no_stall,
                a_stream_is_accounted_for,
                dropping_the_stream_is_no_failure,
                a_dropped_request_drops_every_stream,
                streams_go_to_replicas,
                tiers_may_stream,
            }
            live {
                hedging_can_be_disabled,
                hedges_can_be_only_observed,
                a_running_request_keeps_its_options,
                a_running_request_is_told_of_by_its_options,
                limits_can_be_changed,
                wrong_options_change_nothing,
                the_budget_can_be_changed,
                the_strategy_can_be_changed,
                what_was_learned_can_be_forgotten,
            }
            events {
                of_a_primary_in_time,
                of_a_hedge_that_won,
                of_a_hedge_that_lost,
                of_a_hedge_that_was_refused,
                of_a_failure,
                of_a_fatal_error,
                of_a_timeout,
                of_a_dropped_request,
                requests_have_ids_of_their_own,
                of_a_second_hedge_that_was_refused,
            }
            shapes {
                a_request_may_borrow,
                results_need_no_traits,
                the_clock_may_end,
            }
            local {
                a_request_need_not_be_send,
                a_sink_may_use_the_hedger,
            }
            keys {
                keys_are_learned_apart,
                keys_have_one_budget,
                names_without_room_share_a_key,
                a_replica_is_chosen_whatever_the_key,
            }
            panics {
                an_attempt_may_panic,
                an_attempt_at_a_replica_may_panic,
                a_request_at_a_replica_pays_once,
                a_stream_may_panic,
                the_launch_closure_may_panic,
                the_classifier_may_panic,
                a_request_that_panicked_may_be_polled,
                a_sink_may_panic,
                a_sink_that_panics_in_a_panic_is_caught,
                a_request_whose_sink_panicked_may_be_polled,
                an_attempt_may_panic_when_it_is_dropped,
                an_attempt_that_was_not_launched_leaves_a_gap,
                the_strategy_may_panic,
            }
        }
    };
}

/// Makes a module with a test for every case.
///
/// `conformance!(name, world, run)`: `world` makes a [`World`](crate::World) of a timer; `run` calls the
/// closure that it is given with a timer, and runs the future that comes back to its end. With
/// `send` before the name that future is `Send`; cases whose future never is are left out.
///
/// ```
/// use hedge_conformance::{Local, World, conformance};
/// use hedge_core::manual::ManualTimer;
///
/// fn run<F: Future<Output = ()>>(case: impl FnOnce(&'static ManualTimer) -> F) {
///     let clock = Box::leak(Box::new(ManualTimer::new()));
///     clock.drive(case(clock));
/// }
///
/// conformance!(manual, World::<_, Local>::exact, run);
/// ```
#[macro_export]
macro_rules! conformance {
    (send $name:ident, $world:expr, $run:expr) => {
        $crate::for_each_case!([$crate::__tests] send $name ($world) ($run));
    };
    ($name:ident, $world:expr, $run:expr) => {
        $crate::for_each_case!([$crate::__tests] any $name ($world) ($run));
    };
}

/// The module that [`conformance!`] makes.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ({ $kind:ident $name:ident $world:tt $run:tt } $($file:ident $cases:tt)*) => {
        mod $name {
            use super::*;

            $($crate::__tests! { @file $kind $world $run $file $cases })*
        }
    };
    (@file send $world:tt $run:tt local $cases:tt) => {};
    (@file $kind:ident $world:tt $run:tt $file:ident { $($case:ident,)* }) => {
        mod $file {
            use super::*;

            $(
                #[test]
                fn $case() {
                    $run(|timer| async move {
                        $crate::cases::$file::$case(&$world(timer)).await;
                    });
                }
            )*
        }
    };
}
