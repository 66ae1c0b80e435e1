//! The result, as a table and as JSON.

use core::fmt::{self, Display};

use hdrhistogram::Histogram;
use hedge_tokio::cascade::{CascadeOutcome, TierEnd};
use indicatif::HumanCount;
use serde::{Serialize, Serializer};

use crate::Options;
use crate::load::Measured;
use crate::model::MODELS;

/// The dollars per request that are claimed, whichever way providers bill.
const CLAIMED_COST: f64 = 0.0215;

/// Both phases, side by side. Its fields are the JSON's.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    single: Single,
    cascade: Cascade,
    /// The share of the P99 that the cascade removed.
    p99_reduction: f64,
    #[serde(skip)]
    requests: u64,
}

/// The first model alone.
#[derive(Debug, Serialize)]
struct Single {
    #[serde(skip)]
    p50_ms: f64,
    p99_ms: f64,
    /// Dollars per request.
    cost: f64,
}

/// The cascade. Costs are in dollars per request.
#[derive(Debug, Serialize)]
struct Cascade {
    #[serde(skip)]
    p50_ms: f64,
    p99_ms: f64,
    /// If every model that is asked is paid.
    total_cost: f64,
    /// If every model that answers is paid.
    completed_cost: f64,
    #[serde(serialize_with = "by_name")]
    tiers: [Tier; 3],
}

/// What became of the requests to one model.
#[derive(Debug, Serialize)]
struct Tier {
    #[serde(skip)]
    name: &'static str,
    asked: usize,
    answered: usize,
    /// Answers below the model's threshold.
    insufficient: usize,
    /// Answers that were given to the caller.
    used: usize,
    /// Requests that the client gave up because another model had answered.
    cancelled: usize,
    /// Cancelled requests that the model's server has noticed.
    hung_up: u64,
}

fn by_name<S: Serializer>(tiers: &[Tier; 3], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tiers.iter().map(|tier| (tier.name, tier)))
}

impl Report {
    pub(crate) fn new(single: &Measured, cascade: &Measured, hung_up: [u64; 3]) -> Self {
        let outcomes = &cascade.outcomes;
        let mean = |cost: fn(&CascadeOutcome<3>) -> f64| {
            rounded(
                outcomes.iter().map(cost).sum::<f64>() / outcomes.len() as f64,
                6,
            )
        };
        let single = Single {
            p50_ms: ms(&single.latencies, 0.5),
            p99_ms: ms(&single.latencies, 0.99),
            // Every request is asked of it, and every one is answered.
            cost: MODELS[0].cost,
        };
        let cascade = Cascade {
            p50_ms: ms(&cascade.latencies, 0.5),
            p99_ms: ms(&cascade.latencies, 0.99),
            total_cost: mean(|outcome| outcome.total_cost),
            completed_cost: mean(|outcome| outcome.completed_cost),
            tiers: core::array::from_fn(|index| Tier::new(index, outcomes, hung_up[index])),
        };
        Self {
            p99_reduction: rounded(1.0 - cascade.p99_ms / single.p99_ms, 4),
            requests: outcomes.len() as u64,
            single,
            cascade,
        }
    }

    /// The report for people.
    pub(crate) fn table<'a>(&'a self, options: &'a Options) -> impl Display + 'a {
        Table {
            report: self,
            options,
        }
    }
}

impl Tier {
    fn new(index: usize, outcomes: &[CascadeOutcome<3>], hung_up: u64) -> Self {
        let ended = |ends: &[TierEnd]| {
            let end = |outcome: &&CascadeOutcome<3>| ends.contains(&outcome.tiers()[index].end);
            outcomes.iter().filter(end).count()
        };
        Self {
            name: MODELS[index].name,
            asked: outcomes.len() - ended(&[TierEnd::Unused]),
            answered: ended(&[TierEnd::Won, TierEnd::Insufficient]),
            insufficient: ended(&[TierEnd::Insufficient]),
            used: outcomes.iter().filter(|o| o.tier == Some(index)).count(),
            cancelled: ended(&[TierEnd::Cancelled]),
            hung_up,
        }
    }
}

fn ms(micros: &Histogram<u64>, quantile: f64) -> f64 {
    rounded(micros.value_at_quantile(quantile) as f64 / 1000.0, 1)
}

fn rounded(number: f64, places: i32) -> f64 {
    let unit = 10_f64.powi(places);
    (number * unit).round() / unit
}

struct Table<'a> {
    report: &'a Report,
    options: &'a Options,
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            single,
            cascade,
            requests,
            ..
        } = self.report;
        let Options {
            rate, scale, seed, ..
        } = self.options;
        let [first, second, third] = MODELS.map(|model| model.name);

        writeln!(
            f,
            "{} HTTP requests, {rate} a second (seed {seed}): {first} alone, then {first}, {second} after \
             {} ms\nand {third} after {} ms more. Times were scaled by {scale}; here they are unscaled.\n",
            HumanCount(*requests),
            MODELS[0].delay_ms,
            MODELS[1].delay_ms,
        )?;

        let alone = format!("{first} alone");
        row(f, ["", &alone, "cascade", "change", "claimed"])?;
        for (name, before, after, claim) in [
            ("P50", single.p50_ms, cascade.p50_ms, "nothing"),
            (
                "P99",
                single.p99_ms,
                cascade.p99_ms,
                "5000 ms to 800 ms, -84 %",
            ),
        ] {
            let [from, to] = [before, after].map(|ms| format!("{ms:.0} ms"));
            row(f, [name, &from, &to, &percent(before, after), claim])?;
        }
        let claim = format!("$0.0300 to ${CLAIMED_COST}, -28 %");
        for (name, before, after) in [
            ("cost, all asked paid", single.cost, cascade.total_cost),
            (
                "cost, all answers paid",
                single.cost,
                cascade.completed_cost,
            ),
        ] {
            let [from, to] = [before, after].map(|dollars| format!("${dollars:.4}"));
            row(f, [name, &from, &to, &percent(before, after), &claim])?;
        }

        writeln!(
            f,
            "\n{:<8}{:>8}{:>10}{:>10}{:>8}{:>10}{:>20}",
            "tier", "asked", "answered", "too poor", "used", "given up", "seen by its server"
        )?;
        for tier in &cascade.tiers {
            writeln!(
                f,
                "{:<8}{:>8}{:>10}{:>10}{:>8}{:>10}{:>20}",
                tier.name,
                tier.asked,
                tier.answered,
                tier.insufficient,
                tier.used,
                tier.cancelled,
                tier.hung_up,
            )?;
        }
        self.verdict(f)
    }
}

impl Table<'_> {
    /// What holds of the claim.
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            single,
            cascade,
            requests,
            p99_reduction,
        } = self.report;
        let [first, second, _] = &MODELS;
        let smaller = 100.0 * (1.0 - cascade.tiers[0].used as f64 / *requests as f64);

        writeln!(
            f,
            "\nThe cut of the P99 {}: {:.0} % of it is gone, where 84 is claimed. The 800 ms {}: whoever\n\
             needs {} has waited {} ms for {}, and may wait {} ms more.",
            match *p99_reduction {
                0.84.. => "holds",
                0.8.. => "nearly holds",
                _ => "does not hold",
            },
            p99_reduction * 100.0,
            if cascade.p99_ms <= 800.0 {
                "hold"
            } else {
                "do not"
            },
            second.name,
            first.delay_ms,
            first.name,
            second.latency_ms.end,
        )?;
        writeln!(
            f,
            "The saving {} where providers are paid for answers ({}). Where they are paid for being asked\n\
             ({}) there is none, nor can there be: {name} is always asked, and that alone costs what {name} \
             alone costs.",
            if cascade.completed_cost <= CLAIMED_COST {
                "holds"
            } else {
                "does not hold"
            },
            percent(single.cost, cascade.completed_cost),
            percent(single.cost, cascade.total_cost),
            name = first.name,
        )?;
        write!(
            f,
            "The claim leaves out what else is paid: {smaller:.0} % of the answers are a smaller model's."
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, cells: [&str; 5]) -> fmt::Result {
    let [name, before, after, change, claim] = cells;
    writeln!(f, "{name:<24}{before:>12}{after:>12}{change:>9}   {claim}")
}

fn percent(before: f64, after: f64) -> String {
    // Adding zero makes a negative zero positive.
    let change = ((after / before - 1.0) * 100.0).round() + 0.0;
    format!("{change:+} %")
}
