//! Ways to choose a replica: ours, those of others, and one that is told what it cannot know.

use core::fmt;
use core::time::Duration;

use hedge_core::Instant;
use hedge_core::replicas::{AttemptEnd, Choice, Chosen, Replicas};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How a client chooses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Rule {
    Random,
    RoundRobin,
    /// The replica with the fewest attempts in flight.
    LeastOutstanding,
    /// The better of two random ones by peak EWMA × (in flight + 1), as `tower::balance` and Finagle choose.
    PeakEwma,
    /// `hedge_core::replicas`.
    Hedge,
    /// The least outstanding of those that are not bad, which it is told at once.
    Told,
}

impl Rule {
    pub(crate) const ALL: [Self; 6] = [
        Self::Random,
        Self::RoundRobin,
        Self::LeastOutstanding,
        Self::PeakEwma,
        Self::Hedge,
        Self::Told,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Random => "random",
            Self::RoundRobin => "round robin",
            Self::LeastOutstanding => "least outstanding",
            Self::PeakEwma => "P2C peak-EWMA",
            Self::Hedge => "hedge",
            Self::Told => "told which is bad",
        })
    }
}

/// The replicas that a client may choose from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// A mask of those that this request has used.
    pub(crate) used: u64,
    pub(crate) hedge: bool,
    /// A mask of those that are bad.
    pub(crate) bad: u64,
}

/// What was chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) replica: usize,
    pub(crate) is_probe: bool,
    /// After how long a probe is hedged at the latest.
    pub(crate) patience: Option<Duration>,
    chosen: Option<Chosen>,
}

/// One client's view of the replicas.
pub(crate) struct Chooser {
    rule: Rule,
    rng: SmallRng,
    replicas: Vec<View>,
    next: usize,
    ours: Replicas<8>,
}

#[derive(Clone, Default)]
struct View {
    in_flight: u32,
    /// In milliseconds.
    peak: Option<(f64, Instant)>,
}

/// tower's default latency, in milliseconds, and the time over which it forgets.
const FIRST_PEAK: f64 = 1000.0;
const PEAK_DECAY: f64 = 10_000.0;

impl Chooser {
    pub(crate) fn new(rule: Rule, replicas: usize, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut ours = Replicas::empty().seed(rng.random());
        for _ in 0..replicas {
            let _ = ours.add();
        }
        Self {
            rule,
            next: rng.random_range(0..replicas),
            rng,
            replicas: vec![View::default(); replicas],
            ours,
        }
    }

    pub(crate) fn choose(&mut self, options: Options, now: Instant) -> Pick {
        if self.rule == Rule::Hedge {
            let choice = if options.hedge {
                Choice::hedge(options.used)
            } else {
                Choice::PRIMARY
            };
            // The set is never empty.
            let chosen = self.ours.choose(choice, now).ok();
            let replica = chosen.map_or(0, |chosen| chosen.id().index());
            return Pick {
                replica,
                is_probe: chosen.is_some_and(|chosen| chosen.is_probe()),
                patience: chosen.and_then(|chosen| chosen.patience()),
                chosen,
            };
        }
        let unused: Vec<usize> = (0..self.replicas.len())
            .filter(|replica| options.used & 1 << replica == 0)
            .collect();
        let replica = match self.rule {
            Rule::Random | Rule::Hedge => unused[self.rng.random_range(0..unused.len())],
            Rule::RoundRobin => loop {
                self.next = (self.next + 1) % self.replicas.len();
                if unused.contains(&self.next) {
                    break self.next;
                }
            },
            Rule::LeastOutstanding => self.least(&unused, 0),
            Rule::Told => self.least(&unused, options.bad),
            Rule::PeakEwma => {
                let mut draw = || unused[self.rng.random_range(0..unused.len())];
                let (first, mut second) = (draw(), draw());
                while second == first && unused.len() > 1 {
                    second = draw();
                }
                if self.peak_load(first, now) <= self.peak_load(second, now) {
                    first
                } else {
                    second
                }
            }
        };
        self.replicas[replica].in_flight += 1;
        Pick {
            replica,
            is_probe: false,
            patience: None,
            chosen: None,
        }
    }

    pub(crate) fn ended(&mut self, pick: &Pick, elapsed: Duration, end: AttemptEnd, now: Instant) {
        if let Some(chosen) = &pick.chosen {
            self.ours.report(chosen, end, now);
            return;
        }
        self.replicas[pick.replica].in_flight -= 1;
        if self.rule == Rule::PeakEwma {
            let elapsed = elapsed.as_secs_f64() * 1e3;
            let old = self.decayed(pick.replica, now);
            let (before, weight) = old;
            let peak = if elapsed > before {
                elapsed
            } else {
                before * weight + elapsed * (1.0 - weight)
            };
            self.replicas[pick.replica].peak = Some((peak, now));
        }
    }

    /// The least busy of `among`, those in `bad` last; ties are broken at random.
    fn least(&mut self, among: &[usize], bad: u64) -> usize {
        let mut best = (u64::MAX, among[0]);
        for &replica in among {
            let last = bad >> replica & 1;
            let cost = last << 48 | u64::from(self.replicas[replica].in_flight) << 32;
            let key = cost | u64::from(self.rng.random::<u32>());
            best = best.min((key, replica));
        }
        best.1
    }

    /// The peak, and how much of it is left by now.
    fn decayed(&self, replica: usize, now: Instant) -> (f64, f64) {
        let (peak, at) = self.replicas[replica].peak.unwrap_or((FIRST_PEAK, now));
        let idle = now.since(at).as_secs_f64() * 1e3;
        (peak, libm::exp(-idle / PEAK_DECAY))
    }

    fn peak_load(&mut self, replica: usize, now: Instant) -> f64 {
        let (peak, weight) = self.decayed(replica, now);
        self.replicas[replica].peak = Some((peak * weight, now));
        peak * weight * f64::from(self.replicas[replica].in_flight + 1)
    }
}
