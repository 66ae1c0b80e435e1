//! The incidents: what happens, and how requests are hedged.

use core::cell::RefCell;
use core::convert::Infallible;
use core::time::Duration;

use hedge_core::manual::ManualTimer;
use hedge_core::replicas::Replicas;
use hedge_core::telemetry::{MetricsSink, ReplicaGauges};
use hedge_core::{
    AnyStrategy, Attempt, Budget, Fixed, Hedger, Instant, LocalHedger, Metrics, Options, Percentile,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use crate::cli::Failure;

/// In minutes: when an incident begins and ends, and when the recording ends.
pub(crate) const BEGIN: u64 = 15;
pub(crate) const END: u64 = 35;
pub(crate) const LENGTH: u64 = 50;

/// From one request to the next, unless that takes longer.
const GAP: Duration = Duration::from_millis(100);

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Incident {
    /// A brown-out, and a hedger whose budget has no limit.
    Storm,
    /// Attempts of a request become slow together, and nothing guards against that.
    Vain,
    /// More requests are slow than the budget can help.
    Spent,
    /// One of three replicas becomes slow.
    Replica,
    /// Attempts become slow together, and the guard defers hedges.
    Guard,
}

impl Incident {
    pub(crate) const ALL: [Self; 5] = [
        Self::Storm,
        Self::Vain,
        Self::Spent,
        Self::Replica,
        Self::Guard,
    ];

    /// The label `strategy_name`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Storm => "storm",
            Self::Vain => "vain",
            Self::Spent => "spent",
            Self::Replica => "replica",
            Self::Guard => "guard",
        }
    }

    fn strategy(self) -> AnyStrategy {
        match self {
            Self::Storm | Self::Vain | Self::Spent => Fixed::new(ms(60.0)).into(),
            Self::Replica | Self::Guard => Percentile::new(95.0).into(),
        }
    }

    fn budget(self) -> Budget {
        match self {
            Self::Storm => Budget::unlimited(),
            Self::Spent => Budget::percent(5.0),
            _ => Budget::percent(10.0),
        }
    }

    /// What the attempts of one request take: the primary and the hedge.
    fn draw(self, during: bool, rng: &mut StdRng) -> [Duration; 2] {
        let usual = LogNormal::new(20.0_f64.ln(), 0.4).ok();
        let slow = LogNormal::new(250.0_f64.ln(), 0.4).ok();
        let share = match self {
            Self::Spent if during => 0.2,
            // Two slow answers in a row can make a healthy replica suspect for a moment.
            Self::Replica => 0.0,
            _ => 0.03,
        };
        let mut latency = || {
            let of = if rng.random_bool(share) { slow } else { usual };
            of.map_or(20.0, |of| of.sample(rng))
        };
        let (primary, hedge) = (latency(), latency());
        let factor = if self == Self::Storm && during {
            8.0
        } else {
            1.0
        };
        let together = during && matches!(self, Self::Vain | Self::Guard);
        let hedge = if together { primary } else { hedge };
        [ms(factor * primary), ms(factor * hedge)]
    }

    /// Plays the incident, and calls `scrape` every `interval`, from the first on.
    pub(crate) fn play(self, interval: Duration, mut scrape: impl FnMut()) -> Result<(), Failure> {
        let clock = ManualTimer::<8>::new();
        let mut options = Options::default();
        options.holdback_percent = 20.0;
        let hedger = Hedger::builder(&clock)
            .strategy(self.strategy())
            .budget(self.budget())
            .options(options)
            .strategy_name(self.name())
            .sink(MetricsSink::new())
            .build_local()?;
        let set = RefCell::new(Replicas::<3>::all().seed(1));
        let gauges = ReplicaGauges::new("search");
        let mut rng = StdRng::seed_from_u64(1);
        let [begin, end, last] = [BEGIN, END, LENGTH].map(minutes);
        let mut next_scrape = Instant::ZERO + interval;
        while clock.now() < last {
            let start = clock.now();
            let during = (begin..end).contains(&start);
            let latencies = self.draw(during, &mut rng);
            self.request(&clock, &hedger, &set, latencies, during);
            let due = start + GAP;
            clock.advance(due.since(clock.now()));
            while next_scrape <= clock.now() {
                MetricsSink::gauges(&hedger.status(), &hedger.metrics());
                gauges.record(&set.borrow().stats(clock.now()));
                scrape();
                next_scrape = next_scrape + interval;
            }
        }
        Ok(())
    }

    fn request(
        self,
        clock: &ManualTimer<8>,
        hedger: &LocalHedger<&ManualTimer<8>, AnyStrategy, Metrics, MetricsSink>,
        set: &RefCell<Replicas<3>>,
        latencies: [Duration; 2],
        during: bool,
    ) {
        let launch = |attempt: Attempt| {
            let [primary, hedge] = latencies;
            let latency = if attempt.is_hedge() { hedge } else { primary };
            let slow = self == Self::Replica && during && attempt.replica().index() == 1;
            async move {
                clock.sleep(latency * if slow { 10 } else { 1 }).await;
                Ok::<_, Infallible>(())
            }
        };
        // Requests do not fail here.
        let _ = match self {
            Self::Replica => clock.drive(hedger.request_on(set, launch)),
            _ => clock.drive(hedger.request(launch)),
        };
    }
}

fn minutes(minutes: u64) -> Instant {
    Instant::from_epoch(Duration::from_secs(60 * minutes))
}

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}
