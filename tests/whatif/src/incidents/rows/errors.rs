//! Errors, pushback and deadlines.

use core::cell::Cell;
use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::{
    Attempt, Budget, ByAttempt, Fixed, HedgeConfig, Hedger, Instant, Outcome, Verdict,
};
use rand::RngExt;

use super::super::rule::{Run, rule};
use super::super::scenario::{Scenario, healthy};
use super::super::verdict::{As, Figure, Row};
use super::{Group, mean_of, over, worst_of};
use crate::engine::{Answer, Ended};
use crate::seeds::Seeds;

pub(super) const GROUPS: &[Group] = &[
    ("pushback", pushback),
    ("errors_shared", errors_shared),
    ("errors_all", errors_all),
    ("outage", outage),
    ("deadline_past", deadline_past),
    ("error_waits", error_waits),
    ("remaining", remaining),
    ("refused_connection", refused_connection),
    ("lagging_replica", lagging_replica),
    ("wins_by_cause", wins_by_cause),
    ("retry_layer", retry_layer),
];

/// Every answer asks for 5 s of patience.
fn pushback(seeds: Seeds) -> Result<Vec<Row>, String> {
    let scenario = || {
        Scenario::new(1000, 100.0, |_| Answer {
            after: Duration::from_millis(5),
            verdict: Verdict::RetryAfter(Duration::from_secs(5)),
        })
    };
    let timed = |change: fn(&mut HedgeConfig)| {
        rule(|config| {
            config.timeout_ms = Some(30_000.0);
            change(config);
        })
    };
    [
        ("pushback_storm", timed(|_| {})),
        (
            "pushback_storm_in_flight",
            timed(|config| config.max_in_flight = Some(1)),
        ),
    ]
    .into_iter()
    .map(|(name, config)| {
        let counts = over(seeds, &scenario(), &config, |run, _| {
            let in_vain =
                |_: usize, done: &super::Done| done.hedges() == 0 && done.latency > 1000.0;
            1000.0 * run.share(0..1000, in_vain)
        })?;
        let figure = Figure::at_most(
            "of 1000, waited and were refused, worst seed",
            As::Number(0),
            worst_of(&counts, |count| *count),
            0.0,
        );
        Ok(Row::new(name, vec![figure]))
    })
    .collect()
}

/// A share of the requests fails wherever it is sent; the others are healthy.
fn shared(requests: usize, share: f64) -> Scenario {
    Scenario::new(requests, 100.0, move |attempt| {
        if attempt.shared().random_bool(share) {
            Answer::error(5.0)
        } else {
            Answer::ok(healthy(&mut attempt.own()))
        }
    })
}

fn errors_shared(seeds: Seeds) -> Result<Vec<Row>, String> {
    [
        ("errors_shared_12", 0.12, 0.95),
        ("errors_shared_30", 0.30, 0.90),
    ]
    .into_iter()
    .map(|(name, share, least)| {
        let scenario = shared(20_000, share);
        let helped = over(seeds, &scenario, &rule(|_| {}), |run, seed| {
            let slow = |request: usize, _: &super::Done| {
                let primary = scenario.primary(request, seed);
                primary.verdict == Verdict::Accept && primary.after >= Duration::from_millis(100)
            };
            run.share_of(2000..20_000, slow, |done| done.hedges() > 0)
        })?;
        let helped = mean_of(&helped, |share| *share);
        let figure = Figure::at_least("slow requests hedged", As::Percent, helped, least);
        Ok(Row::new(name, vec![figure]))
    })
    .collect()
}

fn errors_all(seeds: Seeds) -> Result<Vec<Row>, String> {
    let extra = over(seeds, &shared(40_000, 1.0), &rule(|_| {}), |run, _| {
        [run.extra(0..20_000), run.extra(20_000..40_000)]
    })?;
    Ok(vec![Row::new(
        "errors_all",
        vec![
            Figure::at_most(
                "extra of 20 000",
                As::Percent,
                mean_of(&extra, |e| e[0]),
                0.03,
            ),
            Figure::at_most("later", As::Percent, mean_of(&extra, |e| e[1]), 0.02),
        ],
    )])
}

/// When nothing but errors comes in [`outage`], at 100 requests a second.
const OUT: core::ops::Range<usize> = 3000..9000;

fn outage(seeds: Seeds) -> Result<Vec<Row>, String> {
    let requests = OUT.end + 12_000;
    let scenario = Scenario::new(requests, 100.0, |attempt| {
        let mut own = attempt.own();
        if OUT.contains(&attempt.request) || own.random_bool(0.05) {
            Answer::error(5.0)
        } else {
            Answer::ok(healthy(&mut own))
        }
    });
    let mended = |run: &Run, seed: u64| {
        let is_error = |n: &usize| scenario.primary(*n, seed).verdict != Verdict::Accept;
        let errors: Vec<usize> = (OUT.end..requests).filter(is_error).collect();
        let answered = |n: &usize| run.done[*n].ended == Ended::Answered;
        let most =
            |next: &[usize]| next.iter().filter(|n| answered(n)).count() * 10 >= next.len() * 9;
        let first = errors.windows(20).find(|next| most(next));
        let first = first.map_or(requests, |next| next[0]);
        (scenario.start(first) - scenario.start(OUT.end)) / 1e3
    };
    let seconds = over(seeds, &scenario, &rule(|_| {}), mended)?;
    let worst = worst_of(&seconds, |seconds| *seconds);
    let figure = Figure::at_most(
        "seconds until 9 of 10 errors are mended, worst seed",
        As::Number(0),
        worst,
        30.0,
    );
    Ok(vec![Row::new("outage", vec![figure])])
}

/// A request whose deadline has passed.
fn deadline_past(_: Seeds) -> Result<Vec<Row>, String> {
    let clock = ManualTimer::<8>::starting_at(Instant::from_epoch(Duration::from_secs(10)));
    let hedger = Hedger::builder(&clock)
        .build_local()
        .map_err(|error| error.to_string())?;
    let sent = Cell::new(0_u32);
    let past = Instant::from_epoch(Duration::from_secs(9));
    let request = hedger.call().deadline(past).request(|_| {
        sent.set(sent.get() + 1);
        async { Ok::<_, ()>(()) }
    });
    clock
        .try_drive(request)
        .and_then(Result::err)
        .filter(hedge_core::Error::is_timeout)
        .ok_or("it did not time out")?;
    let figure = Figure::at_most("attempts sent", As::Number(0), sent.get().into(), 0.0);
    Ok(vec![Row::new("deadline_past", vec![figure])])
}

/// A request hedged after 20 ms, twice at most, by a clock that moves when all have to wait.
type Small<'c> = hedge_core::Builder<
    &'c ManualTimer<8>,
    Fixed,
    hedge_core::Metrics,
    hedge_core::telemetry::NoSink,
    3,
>;

fn small(clock: &ManualTimer<8>) -> Small<'_> {
    Hedger::builder(clock)
        .strategy(Fixed::new(Duration::from_millis(20)))
        .attempts::<3>()
        .max_hedges(2)
        .budget(Budget::unlimited())
}

fn unmet(what: &str) -> String {
    format!("{what} did not end as expected")
}

/// The first hedge is told to start nothing more; the primary answers after 90 ms.
fn error_waits(_: Seeds) -> Result<Vec<Row>, String> {
    let clock = ManualTimer::<8>::new();
    let hedger = small(&clock)
        .build_local()
        .map_err(|error| error.to_string())?;
    let waits = |result: &Result<(), ()>| match result {
        Ok(()) => Verdict::Accept,
        Err(()) => Verdict::Wait,
    };
    let clock = &clock;
    let request = hedger.call().classify(waits).request(|attempt| async move {
        let after = if attempt.is_hedge() { 5 } else { 90 };
        clock.sleep(Duration::from_millis(after)).await;
        if attempt.is_hedge() { Err(()) } else { Ok(()) }
    });
    let answer = clock.try_drive(request).and_then(Result::ok);
    let Outcome { attempts, .. } = answer.ok_or_else(|| unmet("the request"))?.outcome;
    let figure = Figure::at_most("attempts", As::Number(0), attempts.into(), 2.0);
    Ok(vec![Row::new("error_waits", vec![figure])])
}

/// A hedge at 20 ms of a request with a deadline after 50 ms, whose attempts may take 40 ms.
fn remaining(_: Seeds) -> Result<Vec<Row>, String> {
    let clock = ManualTimer::<8>::new();
    let hedger = small(&clock)
        .timeout(Duration::from_millis(50))
        .attempt_timeout(Duration::from_millis(40))
        .build_local()
        .map_err(|error| error.to_string())?;
    let told = Cell::new([0.0; 3]);
    let clock = &clock;
    let request = hedger.request(|attempt| {
        let mut all = told.get();
        let remaining = attempt.remaining().unwrap_or(Duration::MAX);
        all[attempt.index()] = remaining.as_secs_f64() * 1e3;
        told.set(all);
        async move {
            let after = if attempt.is_hedge() { 5 } else { 90 };
            clock.sleep(Duration::from_millis(after)).await;
            Ok::<_, ()>(())
        }
    });
    clock
        .try_drive(request)
        .and_then(Result::ok)
        .ok_or_else(|| unmet("the request"))?;
    let [primary, hedge, _] = told.get();
    let exactly = |what, value, ms| Figure::within(what, As::Number(0), value, ms, ms);
    let figures = vec![
        exactly("the primary has, ms", primary, 40.0),
        exactly("the hedge has, ms", hedge, 30.0),
    ];
    Ok(vec![Row::new("remaining", figures)])
}

/// The only connection, which a refused answer holds, and the hedge waits for.
fn refused_connection(_: Seeds) -> Result<Vec<Row>, String> {
    struct Connection<'a>(&'a Cell<bool>);

    impl Drop for Connection<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    let clock = ManualTimer::<8>::new();
    let hedger = small(&clock)
        .timeout(Duration::from_secs(30))
        .build_local()
        .map_err(|error| error.to_string())?;
    let free = Cell::new(true);
    let refuse = ByAttempt(|attempt: &Attempt, _: &Result<Connection<'_>, ()>| {
        if attempt.is_hedge() {
            Verdict::Accept
        } else {
            Verdict::Retry
        }
    });
    let call = hedger.call().keep_refused(false).classify(refuse);
    let (clock, free) = (&clock, &free);
    let request = call.request(|_| async move {
        while !free.replace(false) {
            clock.sleep(Duration::from_millis(1)).await;
        }
        clock.sleep(Duration::from_millis(5)).await;
        Ok(Connection(free))
    });
    let answer = clock.try_drive(request).and_then(Result::ok);
    let outcome = answer.ok_or_else(|| unmet("the request"))?.outcome;
    let took = outcome.total_latency.as_secs_f64() * 1e3;
    let figure = Figure::at_most("answered after, ms", As::Number(0), took, 10.0);
    Ok(vec![Row::new("refused_connection", vec![figure])])
}

/// A hedge at a replica that lags behind says 404 at once; the primary knows the item.
fn lagging_replica(_: Seeds) -> Result<Vec<Row>, String> {
    let clock = ManualTimer::<8>::new();
    let hedger = small(&clock)
        .build_local()
        .map_err(|error| error.to_string())?;
    let judge = ByAttempt(|attempt: &Attempt, result: &Result<u16, ()>| match result {
        Ok(404) if attempt.is_hedge() => Verdict::Wait,
        Ok(_) => Verdict::Accept,
        Err(()) => Verdict::Retry,
    });
    let clock = &clock;
    let request = hedger.call().classify(judge).request(|attempt| async move {
        let (after, status) = if attempt.is_hedge() {
            (5, 404)
        } else {
            (90, 200)
        };
        clock.sleep(Duration::from_millis(after)).await;
        Ok(status)
    });
    let answer = clock.try_drive(request).and_then(Result::ok);
    let status = answer.ok_or_else(|| unmet("the request"))?.value;
    let figure = Figure::within("status", As::Number(0), status.into(), 200.0, 200.0);
    Ok(vec![Row::new("lagging_replica", vec![figure])])
}

/// Ten hedges for slowness, none of which wins, and forty retries, all of which do.
fn wins_by_cause(_: Seeds) -> Result<Vec<Row>, String> {
    let clock = ManualTimer::<8>::new();
    let hedger = small(&clock)
        .max_hedges(1)
        .build_local()
        .map_err(|error| error.to_string())?;
    let clock = &clock;
    for request in 0..50 {
        let request = hedger.request(|attempt| async move {
            let (is_slow, is_hedge) = (request % 5 == 0, attempt.is_hedge());
            let after = if is_slow && !is_hedge { 25 } else { 10 };
            clock.sleep(Duration::from_millis(after)).await;
            if is_slow || is_hedge { Ok(()) } else { Err(()) }
        });
        clock
            .try_drive(request)
            .and_then(Result::ok)
            .ok_or_else(|| unmet("a request"))?;
    }
    let metrics = hedger.metrics();
    let rate = |what, value, right| Figure::within(what, As::Percent, value, right, right);
    let figures = vec![
        rate("won for slowness", metrics.win_rate_by_delay, 0.0),
        rate("won after errors", metrics.win_rate_by_retry, 1.0),
    ];
    Ok(vec![Row::new("wins_by_cause", figures)])
}

/// A retry layer above makes five attempts of each of 1000 requests, all of which fail.
fn retry_layer(_: Seeds) -> Result<Vec<Row>, String> {
    let clock = ManualTimer::<8>::new();
    let hedger = small(&clock)
        .budget(Budget::percent(10.0))
        .build_local()
        .map_err(|error| error.to_string())?;
    for retry in (0..1000).flat_map(|_| 0..5) {
        let call = hedger.call().deposits(retry == 0);
        let request = call.request(|_| async { Err::<(), _>(()) });
        clock
            .try_drive(request)
            .and_then(Result::err)
            .ok_or_else(|| unmet("a request"))?;
    }
    let hedges = hedger.metrics().hedges as f64;
    let bound = 10.0 + 100.0;
    let figure = Figure::at_most("hedges of 1000 requests", As::Number(0), hedges, bound);
    Ok(vec![Row::new("retry_layer", vec![figure])])
}
