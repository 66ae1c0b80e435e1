//! Whether hedging makes an overload worse, or keeps a backend down that would have recovered.

use core::time::Duration;

use hedge_core::strategy::{Fixed, OnFailure, Percentile, Strategy};
use hedge_core::{Budget, Instant};

use crate::lab::{self, percentile};
use crate::queue::{self, Backend, Brownout, Done, Queues};
use crate::seeds::Seeds;
use crate::table::mean;

const LOADS: [f64; 7] = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2];

/// The phases of a run, in seconds. The first is not looked at: strategies learn then.
const LEARNED: f64 = 10.0;
const BROWNOUT: [f64; 2] = [20.0, 30.0];
const END: f64 = 60.0;

/// How much later than unhedged `fixed` may recover.
pub(crate) const FIXED_RECOVERY: f64 = 1.25;

/// The time that callers give a request.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How requests are hedged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Off,
    /// Within a budget of 10 % and under the guard.
    Percentile,
    Fixed,
    /// Within the budget.
    PercentileUnguarded,
    /// Without either.
    PercentileUnbounded,
    FixedUnbounded,
}

impl Mode {
    const ALL: [Self; 6] = [
        Self::Off,
        Self::Percentile,
        Self::Fixed,
        Self::PercentileUnguarded,
        Self::PercentileUnbounded,
        Self::FixedUnbounded,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "not hedged",
            Self::Percentile => "`percentile`",
            Self::Fixed => "`fixed`",
            Self::PercentileUnguarded => "`percentile`, no guard",
            Self::PercentileUnbounded => "`percentile`, no budget",
            Self::FixedUnbounded => "`fixed`, no budget",
        }
    }

    fn run(self, queues: Queues, load: f64, seed: u64) -> Result<Run, String> {
        let budget = match self {
            Self::PercentileUnbounded | Self::FixedUnbounded => Budget::unlimited(),
            _ => Budget::percent(10.0),
        };
        let guard = matches!(self, Self::Percentile | Self::Fixed);
        let backend = Backend {
            scale: 0.1,
            brownout: Some(Brownout {
                from: at(BROWNOUT[0]),
                to: at(BROWNOUT[1]),
                factor: 4.0,
            }),
            ..Backend::new(queues, load)
        };
        match self {
            // A hedger that is off gives requests no timeout, which unhedged clients have, too.
            Self::Off => simulate(OnFailure, budget, guard, &backend, seed),
            Self::Fixed | Self::FixedUnbounded => {
                // About the P95 of one queue at a load of 0.5.
                let fixed = Fixed::new(Duration::from_millis(50));
                simulate(fixed, budget, guard, &backend, seed)
            }
            _ => simulate(Percentile::new(95.0), budget, guard, &backend, seed),
        }
    }
}

fn simulate(
    strategy: impl Strategy,
    budget: Budget,
    guard: bool,
    backend: &Backend,
    seed: u64,
) -> Result<Run, String> {
    let hedger = lab::hedger(strategy, budget, Some(guard), Some(TIMEOUT), seed)?;
    let requests = (backend.rate() * END) as usize;
    Ok(Run::of(&queue::run(&hedger, backend, requests, seed)))
}

fn at(seconds: f64) -> Instant {
    Instant::from_epoch(Duration::from_secs_f64(seconds))
}

/// What became of the requests of one run.
#[derive(Clone, Debug)]
struct Run {
    /// Before, during and after the brown-out.
    phases: [Phase; 3],
    /// The median of every half second from the brown-out's end on, in milliseconds.
    medians: Vec<f64>,
}

impl Run {
    fn of(done: &[Done]) -> Self {
        let phase = |from, to| Phase::of(done, from, to);
        let halves = (2.0 * (END - BROWNOUT[1])) as u32;
        let half = |n: u32| BROWNOUT[1] + 0.5 * f64::from(n);
        Self {
            phases: [
                phase(LEARNED, BROWNOUT[0]),
                phase(BROWNOUT[0], BROWNOUT[1]),
                phase(BROWNOUT[1], END),
            ],
            medians: (0..halves)
                .map(|n| phase(half(n), half(n + 1)).median)
                .collect(),
        }
    }

    /// How many seconds after the brown-out the median is back below twice `healthy`; the time that was watched if
    /// it never is.
    fn recovery(&self, healthy: f64) -> f64 {
        let back = |median: &f64| *median <= 2.0 * healthy;
        let halves = self.medians.iter().position(back);
        0.5 * halves.unwrap_or(self.medians.len()) as f64
    }
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    /// The share of the requests that were answered in time.
    answered: f64,
    /// In milliseconds; a request that is not answered took the time that it was given.
    p99: f64,
    median: f64,
    /// Hedges over requests.
    extra: f64,
}

impl Phase {
    /// Of the requests that arrived from one second to another.
    fn of(done: &[Done], from: f64, to: f64) -> Self {
        let (from, to) = (at(from), at(to));
        let mut latencies = Vec::new();
        let (mut answered, mut hedges) = (0.0, 0.0);
        for done in done.iter().filter(|done| (from..to).contains(&done.start)) {
            latencies.push(done.latency);
            answered += f64::from(u8::from(done.answered));
            hedges += f64::from(done.outcome.attempts - 1);
        }
        latencies.sort_by(f64::total_cmp);
        let requests = latencies.len().max(1) as f64;
        Self {
            answered: answered / requests,
            p99: percentile(&latencies, 99.0),
            median: percentile(&latencies, 50.0),
            extra: hedges / requests,
        }
    }
}

/// Means over the seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    answered: [f64; 3],
    p99: [f64; 3],
    extra: [f64; 3],
    recovery: f64,
}

impl Row {
    /// Of pairs of runs, without hedging and with it, that the same requests were sent in.
    fn of(pairs: &[(Run, Run)]) -> Self {
        let over = |f: &dyn Fn(&(Run, Run)) -> f64| mean(&pairs.iter().map(f).collect::<Vec<_>>());
        let phases = [0, 1, 2];
        Self {
            answered: phases.map(|n| over(&|(_, run)| run.phases[n].answered)),
            p99: phases.map(|n| over(&|(_, run)| run.phases[n].p99)),
            extra: phases.map(|n| over(&|(_, run)| run.phases[n].extra)),
            recovery: over(&|(off, run)| run.recovery(off.phases[0].median)),
        }
    }

    /// Whether it is no worse than `off` from the beginning of the brown-out on.
    fn no_worse_than(&self, off: &Self) -> bool {
        let phases = [1, 2];
        phases.iter().all(|&n| {
            self.answered[n] >= off.answered[n] - 0.01 && self.p99[n] <= 1.02 * off.p99[n]
        }) && (!off.is_healthy() || self.recovery <= 1.05 * off.recovery)
    }

    /// Whether the mode keeps its promise: `percentile` is no worse than unhedged, and `fixed`, which learns
    /// nothing, recovers nearly as soon.
    fn is_as_promised(&self, mode: Mode, off: &Self) -> bool {
        match mode {
            Mode::Percentile => self.no_worse_than(off),
            Mode::Fixed => !off.is_healthy() || self.recovery <= FIXED_RECOVERY * off.recovery,
            _ => true,
        }
    }

    /// Whether there was anything to go back to.
    fn is_healthy(&self) -> bool {
        self.answered[0] >= 0.99
    }
}

fn rows(seeds: Seeds, queues: Queues, load: f64) -> Result<Vec<(Mode, Row)>, String> {
    let off = seeds.each(|seed| Mode::Off.run(queues, load, seed))?;
    let row = |mode: Mode| {
        let runs = seeds.each(|seed| mode.run(queues, load, seed))?;
        let pairs: Vec<_> = off.iter().cloned().zip(runs).collect();
        Ok((mode, Row::of(&pairs)))
    };
    Mode::ALL.into_iter().map(row).collect()
}

/// How the backend comes back after a brown-out, with one queue: means over the seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comeback {
    /// In seconds: unhedged, and with a budget and the guard.
    pub(crate) off: f64,
    pub(crate) percentile: f64,
    pub(crate) fixed: f64,
    /// Whether `percentile` is no worse than unhedged.
    pub(crate) no_worse: bool,
}

pub(crate) fn comeback(load: f64, seeds: Seeds) -> Result<Comeback, String> {
    let modes = [Mode::Off, Mode::Percentile, Mode::Fixed];
    let runs = seeds.each(|seed| {
        let run = |mode: Mode| mode.run(Queues::One, load, seed);
        modes.map(run).into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let row = |mode: usize| {
        let pairs = runs.iter().map(|run| (run[0].clone(), run[mode].clone()));
        Row::of(&pairs.collect::<Vec<_>>())
    };
    let [off, percentile, fixed] = [0, 1, 2].map(row);
    Ok(Comeback {
        off: off.recovery,
        percentile: percentile.recovery,
        fixed: fixed.recovery,
        no_worse: percentile.no_worse_than(&off),
    })
}

const HEAD: &str = " seeds, in virtual time: 8 servers, lognormal service times of 17 ms in the mean, Poisson arrivals, callers
that give up after 1 s. After 20 s all service takes four times as long, for 10 s; then 30 s more. Both attempts of a
request take the same service time, and a running loser finishes. `fixed` is 50 ms, about the P95 of one queue at load
0.5. Budgets are 10 %. *Recovered*: after so many seconds the median is back below twice what it was, unhedged, before.
*No worse* than unhedged: during and after, answered less 1 point, P99 × 1.02, recovery × 1.05. `percentile` should be,
with budget and guard; `fixed` should recover within 1.25 times the time.
";

const COLUMNS: &str = "
| load | hedging | answered before / during / after, % | P99 before / during / after, ms | extra load, % | recovered, s | no worse |
|---|---|---|---|---|---|---|
";

/// The tables, as Markdown.
pub(crate) fn print(seeds: Seeds) -> Result<(), String> {
    hedge_terminal::print(&format!("Means over {}{HEAD}", seeds.count()))?;
    let mut missed = String::new();
    for (queues, name) in [
        (Queues::One, "One queue, where hedges cannot help:"),
        (
            Queues::Each,
            "A queue for each server and attempts sent anywhere, where they do:",
        ),
    ] {
        hedge_terminal::print(&format!("\n{name}\n{COLUMNS}"))?;
        for load in LOADS {
            let rows = rows(seeds, queues, load)?;
            let Some((_, off)) = rows.first() else {
                continue;
            };
            for (mode, row) in &rows {
                hedge_terminal::print(&line(load, *mode, row, off))?;
                if !row.is_as_promised(*mode, off) {
                    missed += &format!("\nNot met: {} at load {load}. {name}\n", mode.name());
                }
            }
        }
    }
    hedge_terminal::print(&missed)
}

fn line(load: f64, mode: Mode, row: &Row, off: &Row) -> String {
    let fine = row.no_worse_than(off);
    let three = |values: [f64; 3], digits| {
        let values = values.map(|value| format!("{value:.digits$}"));
        values.join(" / ")
    };
    let watched = END - BROWNOUT[1];
    let recovered = if !off.is_healthy() {
        "".into()
    } else if row.recovery >= watched {
        "never".into()
    } else {
        format!("{:.1}", row.recovery)
    };
    format!(
        "| {load} | {} | {} | {} | {} | {recovered} | {} |\n",
        mode.name(),
        three(row.answered.map(|share| 100.0 * share), 1),
        three(row.p99, 0),
        three(row.extra.map(|share| 100.0 * share), 1),
        if fine { "yes" } else { "**no**" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mode: Mode) -> Row {
        let run = |mode: Mode, seed| mode.run(Queues::One, 0.9, seed).unwrap();
        let pairs: Vec<_> = (1..=3)
            .map(|seed| (run(Mode::Off, seed), run(mode, seed)))
            .collect();
        Row::of(&pairs)
    }

    #[test]
    fn a_hedger_with_a_budget_and_the_guard_does_no_harm() {
        let off = row(Mode::Off);
        assert!(off.recovery > 1.0, "the brown-out is felt: {off:?}");
        for mode in [Mode::Percentile, Mode::Fixed] {
            let row = row(mode);
            assert!(row.no_worse_than(&off), "{mode:?}: {row:?}, {off:?}");
        }
    }

    #[test]
    fn a_hedger_without_a_budget_keeps_the_backend_down() {
        let unbounded = row(Mode::FixedUnbounded);
        assert!(!unbounded.no_worse_than(&row(Mode::Off)));
        assert_eq!(unbounded.recovery, END - BROWNOUT[1]);
    }
}
