//! Values that constructors and setters are given: any, but those at the ends of ranges more often.

use core::time::Duration;

use hedge_core::strategy::{AnyStrategy, ModelComplexity, Priority, TimeOfDay, Warmup};
use hedge_core::{
    Adaptive, Budget, ExponentialBackoff, Fixed, Hints, Instant, Optimal, Options, Percentile,
    Verdict, WorkloadAware,
};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const WINDOW: usize = 32;

pub(crate) type Any = AnyStrategy;

/// Any number; those at the ends of ranges more often.
pub(crate) fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        4 => select(&[
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -1.0, -0.0, 0.0, 0.5, 1.0,
            49.9, 50.0, 95.0, 99.9, 100.0, 1e12, 1e300,
        ][..]),
        2 => 0.0..200.0_f64,
    ]
}

const DURATIONS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_nanos(u64::MAX),
    Duration::MAX,
];

pub(crate) fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        select(&DURATIONS[..]),
        any::<u64>().prop_map(Duration::from_nanos),
        any::<Duration>(),
        (0..100_000_u64).prop_map(Duration::from_micros),
    ]
}

pub(crate) fn instant() -> impl Strategy<Value = Instant> {
    duration().prop_map(Instant::from_epoch)
}

pub(crate) fn count() -> impl Strategy<Value = usize> {
    prop_oneof![
        select(&[0, 1, 9, 10, WINDOW, WINDOW + 1, usize::MAX][..]),
        any::<usize>(),
        0..40_usize
    ]
}

pub(crate) fn small_count() -> impl Strategy<Value = u32> {
    prop_oneof![
        select(&[0, 1, 9, 10, 32, 33, u32::MAX][..]),
        any::<u32>(),
        0..40_u32
    ]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z_.]{0,40}", Just("ä".repeat(20))]
}

pub(crate) fn warmup() -> impl Strategy<Value = Warmup> {
    select(&Warmup::ALL[..])
}

pub(crate) fn hints() -> impl Strategy<Value = Hints> {
    let option = |words| proptest::option::of(select(words));
    let complexity = proptest::option::of(select(&ModelComplexity::ALL[..]));
    let priority = proptest::option::of(select(&Priority::ALL[..]));
    (
        proptest::option::of(any::<u32>()),
        complexity,
        option(&TimeOfDay::ALL[..]),
        priority,
    )
        .prop_map(|(prompt_length, model_complexity, time_of_day, priority)| {
            let mut hints = Hints::NONE;
            hints.prompt_length = prompt_length;
            hints.model_complexity = model_complexity;
            hints.time_of_day = time_of_day;
            hints.priority = priority;
            hints
        })
}

pub(crate) fn plain() -> impl Strategy<Value = Any> {
    prop_oneof![
        duration().prop_map(|delay| Fixed::new(delay).into()),
        (
            number(),
            count(),
            count(),
            duration(),
            proptest::option::of(duration()),
            warmup()
        )
            .prop_map(|(percent, window, least, delay, age, warmup)| {
                let strategy = Percentile::new(percent)
                    .window_size(window)
                    .min_samples(least)
                    .initial_delay(delay)
                    .warmup(warmup);
                age.map_or(strategy.clone(), |age| strategy.max_age(age))
                    .into()
            }),
        (
            proptest::collection::vec(duration(), 0..20),
            number(),
            number(),
            any::<u64>(),
            count(),
            duration(),
            proptest::option::of(duration())
        )
            .prop_map(|(delays, rate, weight, seed, least, delay, age)| {
                let strategy = Adaptive::new()
                    .candidates(&delays)
                    .learning_rate(rate)
                    .cost_weight(weight)
                    .seed(seed)
                    .min_samples(least)
                    .initial_delay(delay);
                age.map_or(strategy.clone(), |age| strategy.max_age(age))
                    .into()
            }),
        (
            number(),
            number(),
            count(),
            count(),
            duration(),
            proptest::option::of(duration()),
            warmup()
        )
            .prop_map(|(target, budget, window, least, delay, age, warmup)| {
                let strategy = Optimal::new(target, budget)
                    .window_size(window)
                    .min_samples(least)
                    .initial_delay(delay)
                    .warmup(warmup);
                age.map_or(strategy.clone(), |age| strategy.max_age(age))
                    .into()
            }),
        (
            [duration(), duration(), duration()],
            [number(), number(), number()]
        )
            .prop_map(|([base, min, max], [increase, decrease, error])| {
                ExponentialBackoff::new()
                    .base_delay(base)
                    .min_delay(min)
                    .max_delay(max)
                    .increase_factor(increase)
                    .decrease_factor(decrease)
                    .error_factor(error)
                    .into()
            }),
        duration().prop_map(|delay| WorkloadAware::base_delay(delay).into()),
    ]
}

pub(crate) fn strategy() -> impl Strategy<Value = Any> {
    prop_oneof![
        3 => plain(),
        1 => (number(), count()).prop_map(|(percent, least)| {
            WorkloadAware::over(Percentile::new(percent).min_samples(least)).into()
        }),
    ]
}

pub(crate) fn budget() -> impl Strategy<Value = Budget> {
    (
        number(),
        any::<u32>(),
        number(),
        proptest::option::of(small_count()),
    )
        .prop_map(|(percent, burst, rate, most)| {
            let budget = Budget::percent(percent).burst(burst).min_per_second(rate);
            most.map_or(budget.clone(), |most| budget.max_in_flight(most))
        })
}

pub(crate) fn options() -> impl Strategy<Value = Options> {
    (
        any::<[bool; 3]>(),
        prop_oneof![Just(1), any::<u8>(), 0..9_u8],
        proptest::option::of(duration()),
        duration(),
        proptest::option::of(duration()),
        any::<Option<bool>>(),
        hints(),
    )
        .prop_map(
            |([enabled, observe, cancel], hedges, timeout, min, max, guard, hints)| {
                let mut options = Options::default();
                options.enabled = enabled;
                options.observe_only = observe;
                options.enable_cancellation = cancel;
                options.max_hedges = hedges;
                options.timeout = timeout;
                options.min_delay = min;
                options.max_delay = max;
                options.guard = guard;
                options.hints = hints;
                options
            },
        )
}

pub(crate) fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Accept),
        1 => Just(Verdict::Retry),
        1 => duration().prop_map(Verdict::RetryAfter),
        1 => Just(Verdict::Wait),
        1 => Just(Verdict::Fatal),
    ]
}

/// How long attempts take and how they are judged.
pub(crate) type Attempts = Vec<(Duration, Verdict)>;

pub(crate) fn attempts() -> impl Strategy<Value = Attempts> {
    proptest::collection::vec((duration(), verdict()), 1..24)
}

/// Options of a request: its timeout, its deadline, its most hedges, its hints.
pub(crate) type CallOptions = (Duration, Instant, u8, Hints);

pub(crate) fn call() -> impl Strategy<Value = CallOptions> {
    (duration(), instant(), any::<u8>(), hints())
}
