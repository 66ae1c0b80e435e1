//! Errors, pushback and deadlines.

use core::cell::Cell;
use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::{HedgeConfig, Hedger, Instant, Verdict};
use rand::RngExt;

use super::super::rule::{Run, rule};
use super::super::scenario::{Scenario, healthy};
use super::super::verdict::{As, Figure, Row};
use super::{Group, mean_of, seeds, worst_of};
use crate::engine::{Answer, Ended};

pub(super) const GROUPS: &[Group] = &[
    ("pushback", pushback),
    ("errors_shared", errors_shared),
    ("errors_all", errors_all),
    ("outage", outage),
    ("deadline_past", deadline_past),
];

/// Every answer asks for 5 s of patience.
fn pushback() -> Result<Vec<Row>, String> {
    let scenario = || {
        Scenario::new(1000, 100.0, |_| Answer {
            after: Duration::from_millis(5),
            verdict: Verdict::RetryAfter(Duration::from_secs(5)),
        })
    };
    let timed = |change: fn(&mut HedgeConfig)| {
        rule(|config| {
            config.timeout_ms = 30_000.0;
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
        let counts = seeds(&scenario(), &config, |run, _| {
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

fn errors_shared() -> Result<Vec<Row>, String> {
    [
        ("errors_shared_12", 0.12, 0.95),
        ("errors_shared_30", 0.30, 0.90),
    ]
    .into_iter()
    .map(|(name, share, least)| {
        let scenario = shared(20_000, share);
        let helped = seeds(&scenario, &rule(|_| {}), |run, seed| {
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

fn errors_all() -> Result<Vec<Row>, String> {
    let extra = seeds(&shared(40_000, 1.0), &rule(|_| {}), |run, _| {
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

fn outage() -> Result<Vec<Row>, String> {
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
    let seconds = seeds(&scenario, &rule(|_| {}), mended)?;
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
fn deadline_past() -> Result<Vec<Row>, String> {
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
    let _ = clock.try_drive(request);
    let figure = Figure::at_most("attempts sent", As::Number(0), sent.get().into(), 0.0);
    Ok(vec![Row::new("deadline_past", vec![figure])])
}
