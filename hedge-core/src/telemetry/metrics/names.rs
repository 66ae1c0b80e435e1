//! The names of the metrics, and their descriptions for exporters.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(super) const REQUESTS: &str = "hedge_requests_total";
pub(super) const ATTEMPTS: &str = "hedge_attempts_total";
pub(super) const HEDGED: &str = "hedge_hedged_requests_total";
pub(super) const HEDGES: &str = "hedge_hedges_total";
pub(super) const WINS: &str = "hedge_wins_total";
pub(super) const SUPPRESSED: &str = "hedge_suppressed_total";
pub(super) const LOSERS: &str = "hedge_losers_total";
pub(super) const DURATION: &str = "hedge_request_duration_seconds";
pub(super) const GUARD_LEVEL: &str = "hedge_guard_level";
pub(super) const GUARD_SLOW: &str = "hedge_guard_slow";
pub(super) const TOKENS: &str = "hedge_budget_tokens";
pub(super) const CAPACITY: &str = "hedge_budget_capacity_tokens";
pub(super) const IN_FLIGHT: &str = "hedge_in_flight";
pub(super) const EFFECT: &str = "hedge_effect_seconds";
pub(super) const REPLICA_REQUESTS: &str = "hedge_replica_requests_total";
pub(super) const REPLICA_WINS: &str = "hedge_replica_wins_total";
pub(super) const REPLICA_FAILURES: &str = "hedge_replica_failures_total";
pub(super) const REPLICA_CANCELLED: &str = "hedge_replica_cancelled_total";
pub(super) const REPLICA_DURATION: &str = "hedge_replica_duration_seconds";
pub(super) const REPLICA_SUSPECT: &str = "hedge_replica_suspect";
pub(super) const REPLICA_IN_FLIGHT: &str = "hedge_replica_in_flight";
pub(super) const REPLICA_LATENCY: &str = "hedge_replica_latency_seconds";

pub(super) fn describe_replica_gauges() {
    describe_gauge!(
        REPLICA_SUSPECT,
        "Whether a replica is far slower than the fastest, and gets only probes."
    );
    describe_gauge!(REPLICA_IN_FLIGHT, "Attempts that a replica is working on.");
    describe_gauge!(
        REPLICA_LATENCY,
        Unit::Seconds,
        "The average latency by which a replica is compared with others; 0 if it is unknown."
    );
}

pub(super) fn describe_gauges() {
    describe_gauge!(GUARD_LEVEL, "How often the wait for a hedge is doubled.");
    describe_gauge!(GUARD_SLOW, "Whether the callee counts as slow as a whole.");
    describe_gauge!(TOKENS, "How many hedges the budget's bucket could pay for.");
    describe_gauge!(CAPACITY, "How many it could pay for when it is full.");
    describe_gauge!(IN_FLIGHT, "Running hedges.");
    describe_gauge!(
        EFFECT,
        Unit::Seconds,
        "By how much hedging shortened the requests that were hedged."
    );
}

pub(super) fn describe() {
    describe_counter!(REPLICA_REQUESTS, "Answered requests that used a replica.");
    describe_counter!(REPLICA_WINS, "Requests that a replica answered.");
    describe_counter!(
        REPLICA_FAILURES,
        "Attempts that failed at a replica or took too long, by the reason."
    );
    describe_counter!(
        REPLICA_CANCELLED,
        "Attempts at a replica that were dropped since their request was over."
    );
    describe_histogram!(
        REPLICA_DURATION,
        Unit::Seconds,
        "How long attempts took that a replica answered and that won."
    );
    describe_counter!(REQUESTS, "Requests that ended, by result.");
    describe_counter!(ATTEMPTS, "Attempts started, the primaries included.");
    describe_counter!(HEDGED, "Requests that started a hedge.");
    describe_counter!(HEDGES, "Hedges that were started, by cause.");
    describe_counter!(WINS, "Requests that a hedge won, by cause.");
    describe_counter!(LOSERS, "Attempts that were dropped, by the reason.");
    describe_counter!(SUPPRESSED, "Hedges that were not started, by reason.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "How long requests took that had an answer."
    );
}
