//! The table: what callers got, before the brown-out, during it and after.

use core::fmt::Write as _;
use core::time::Duration;

use crate::backend::Plan;
use crate::callers::Done;

/// How requests were hedged, and what came of it.
#[derive(Debug)]
pub(crate) struct Mode {
    name: &'static str,
    phases: [Phase; 3],
    /// The median of every half second after the brown-out.
    medians: Vec<Duration>,
}

#[derive(Debug)]
struct Phase {
    /// Shares of the requests.
    answered: f64,
    extra: f64,
    p99: Duration,
    median: Duration,
}

const HALF: Duration = Duration::from_millis(500);

impl Mode {
    pub(crate) fn new(name: &'static str, done: &[Done]) -> Self {
        let [from, to] = Plan::BROWNOUT;
        let halves = (Plan::END - to).as_millis() / HALF.as_millis();
        Self {
            name,
            phases: [
                Phase::of(done, Plan::LEARNED, from),
                Phase::of(done, from, to),
                Phase::of(done, to, Plan::END),
            ],
            medians: (0..halves as u32)
                .map(|n| Phase::of(done, to + n * HALF, to + (n + 1) * HALF).median)
                .collect(),
        }
    }

    /// When the median was back below twice `healthy`.
    fn recovered(&self, healthy: Duration) -> Option<Duration> {
        let back = self
            .medians
            .iter()
            .position(|median| *median <= 2 * healthy)?;
        Some(HALF * back as u32)
    }
}

impl Phase {
    /// Of what was asked between two times.
    fn of(done: &[Done], from: Duration, to: Duration) -> Self {
        let asked = done.iter().filter(|done| (from..to).contains(&done.start));
        let mut latencies: Vec<_> = asked.clone().map(|done| done.latency).collect();
        latencies.sort();
        let share = |count: usize| count as f64 / latencies.len().max(1) as f64;
        let rank = |p: f64| {
            let rank = (p * latencies.len() as f64) as usize;
            latencies.get(rank).copied().unwrap_or_default()
        };
        Self {
            answered: share(asked.clone().filter(|done| done.answered).count()),
            extra: share(asked.map(|done| usize::from(done.attempts) - 1).sum()),
            p99: rank(0.99),
            median: rank(0.5),
        }
    }
}

/// A line for each way of hedging; the first is the one that others are compared with.
pub(crate) fn table(modes: &[Mode]) -> String {
    let mut text = String::from(
        "| hedging | answered before / during / after | P99 before / during / after | extra requests | recovered |\n\
         |---|---|---|---|---|\n",
    );
    let healthy = modes.first().map(|mode| mode.phases[0].median);
    for mode in modes {
        let three = |cell: fn(&Phase) -> String| mode.phases.each_ref().map(cell).join(" / ");
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let recovered = healthy.and_then(|healthy| mode.recovered(healthy));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            mode.name,
            three(|phase| format!("{:.1} %", 100.0 * phase.answered)),
            three(|phase| format!("{:.0} ms", phase.p99.as_secs_f64() * 1e3)),
            mode.phases
                .each_ref()
                .map(|phase| percent(phase.extra))
                .join(" / "),
            recovered.map_or("never".into(), |after| format!(
                "after {:.1} s",
                after.as_secs_f64()
            )),
        );
    }
    text
}
