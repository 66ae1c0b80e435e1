//! What is measured on every trace: hedge's strategies as a config makes them, and how others decide.

use hedge_core::{HedgeConfig, Instant, StrategyKind};

use super::peers::{self, Naive, TowerHedge};
use crate::candidate::{self, Aims, Candidate};
use crate::engine::{self, Ask};
use crate::lab::{self, ms};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    Percentile,
    PercentileGuardOff,
    Optimal,
    Adaptive,
    TowerHedge,
    Naive,
}

/// What a rule did with the requests of one draw.
pub(super) struct Run {
    /// How long callers waited, in milliseconds.
    pub(super) waited: Vec<f64>,
    pub(super) hedged: Vec<bool>,
}

impl Rule {
    pub(super) const ALL: [Self; 6] = [
        Self::Percentile,
        Self::PercentileGuardOff,
        Self::Optimal,
        Self::Adaptive,
        Self::TowerHedge,
        Self::Naive,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Percentile => "percentile",
            Self::PercentileGuardOff => "percentile_guard_off",
            Self::Optimal => "optimal",
            Self::Adaptive => "adaptive",
            Self::TowerHedge => "tower_hedge",
            Self::Naive => "naive",
        }
    }

    /// Whether what it does depends on the percentile that matters.
    pub(super) fn has_a_target(self) -> bool {
        self == Self::Optimal
    }

    /// Hedges `pairs` of a primary's and a hedge's latency, one request after the other. `sorted` are all primaries;
    /// `budget` is in percent.
    pub(super) fn run(
        self,
        pairs: &[[f64; 2]],
        sorted: &[f64],
        budget: f64,
        target: f64,
        seed: u64,
    ) -> Result<Run, String> {
        let percentile = 100.0 - budget;
        let (waited, hedged) = match self {
            Self::Naive => peers::run(&mut Naive::new(percentile), pairs),
            Self::TowerHedge => {
                let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
                peers::run(&mut TowerHedge::new(percentile, mean), pairs)
            }
            _ => return self.decide(pairs, sorted, budget, target, seed),
        };
        Ok(Run { waited, hedged })
    }

    fn decide(
        self,
        pairs: &[[f64; 2]],
        sorted: &[f64],
        budget: f64,
        target: f64,
        seed: u64,
    ) -> Result<Run, String> {
        let hedger = lab::hedger_of(&self.candidate(sorted, budget, target)?, seed)?;
        let mut now = Instant::ZERO;
        let request = |pair: &[f64; 2]| {
            let latency = |attempt: usize| ms(pair[attempt.min(1)]);
            let (end, _, outcome) = engine::request(&hedger, &Ask::PLAIN, now, latency);
            let waited = end.since(now).as_secs_f64() * 1e3;
            now = end;
            (waited, outcome.hedged)
        };
        let (waited, hedged) = pairs.iter().map(request).unzip();
        Ok(Run { waited, hedged })
    }

    /// The defaults, aimed at the budget: a bucket twice as wide is the safety net.
    fn candidate(self, sorted: &[f64], budget: f64, target: f64) -> Result<Candidate, String> {
        let net = (2.0 * budget).min(100.0);
        let options = match self {
            Self::Percentile => format!("percentile:percentile={}", 100.0 - budget),
            Self::PercentileGuardOff => {
                format!("percentile:percentile={},guard=false", 100.0 - budget)
            }
            Self::Optimal => {
                format!("optimal:optimal_budget_percent={budget},optimal_target={target}")
            }
            _ => {
                let arms = candidate::arms(sorted, budget);
                format!("{}:delay_candidates=[{arms}]", StrategyKind::Adaptive)
            }
        };
        Candidate::parse(&format!("{options},budget_percent={net}"), &Aims::DEFAULT)
    }
}

/// What `budget` makes of the defaults, for people.
pub(super) fn described(budget: f64) -> String {
    let burst = HedgeConfig::default().budget_burst;
    format!(
        "`percentile` at P{}, `optimal` with its budget at {budget} %, `adaptive` with candidates from that \
         percentile on; budgets of {} % with a burst of {burst}, and the guard",
        100.0 - budget,
        (2.0 * budget).min(100.0),
    )
}
