//! The tables of decision quality, as Markdown.

mod delays;
pub(crate) mod guards;
mod learners;
pub(crate) mod limits;
mod seed;

use hedge_terminal::ProgressBar;

use crate::seeds::Seeds;

/// A row of the table: what was measured, and whether that will do.
pub(crate) struct Claim {
    pub(crate) what: String,
    /// What others do, or what happens without.
    pub(crate) reference: &'static str,
    pub(crate) target: &'static str,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

pub(crate) type Claims = Result<Vec<Claim>, String>;

const HEAD: &str = " seeds, of 20 000 requests each where nothing else is said, in virtual time. *Optimum* is the
lowest P99 that any delay, and any chance of hedging after it, could reach with as much extra load, all latencies known
beforehand. Latencies are drawn from these models, in ms; LN(m, σ) is lognormal with the median m:

- lognormal: 96.5 % LN(117, 0.55) + 3.5 % LN(1000, 0.30)
- pareto: 10 U^(−1/1.1), U uniform
- exponential: mean 100
- bimodal: 98 % N(10, 1) + 2 % N(400, 10)

| what | for comparison | target | measured | met |
|---|---|---|---|---|
";

/// Every table, in order.
pub(crate) fn print(seeds: Seeds) -> Result<(), String> {
    let sections: [fn(Seeds) -> Claims; 7] = [
        delays::due,
        limits::optimum,
        limits::gap,
        delays::slowdown,
        limits::correlation,
        guards::queues,
        learners::adaptive,
    ];
    let bar = hedge_terminal::progress(sections.len() as u64 + 1);
    let count = seeds.count();
    show(&bar, &format!("Figures are means over {count}{HEAD}"))?;
    let mut missed = String::new();
    for section in sections {
        for claim in section(seeds)? {
            let Claim {
                what,
                reference,
                target,
                measured,
                met,
            } = claim;
            let mark = if met { "yes" } else { "**no**" };
            show(
                &bar,
                &format!("| {what} | {reference} | {target} | {measured} | {mark} |\n"),
            )?;
            if !met {
                missed += &format!("\nNot met: {what}: {measured} instead of {target}.\n");
            }
        }
        bar.inc(1);
    }
    show(&bar, &missed)?;
    show(&bar, &seed::table(seeds)?)?;
    bar.finish_and_clear();
    Ok(())
}

/// Prints above the bar.
fn show(bar: &ProgressBar, text: &str) -> Result<(), String> {
    bar.suspend(|| hedge_terminal::print(text))
}

/// Requests of one run.
pub(crate) const REQUESTS: u64 = 20_000;

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

pub(crate) fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max)
}
