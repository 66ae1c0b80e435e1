//! Ways to choose a replica: ours, those of others, and one that is told what it cannot know.

use core::cell::RefCell;
use core::fmt;

use hedge_core::Instant;
use hedge_core::replicas::{AttemptEnd, Choice, Chosen, NoReplica, ReplicaSet, Replicas};
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

/// One client's view of the replicas.
pub(crate) struct Chooser {
    rule: Rule,
    /// Chooses by our rule, and gives others the replica that they chose.
    ours: RefCell<Replicas<8>>,
    others: RefCell<Others>,
}

/// What the other rules remember.
struct Others {
    rng: SmallRng,
    replicas: Vec<View>,
    next: usize,
    /// A mask of those that are bad, for who is told.
    bad: u64,
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
            ours: RefCell::new(ours),
            others: RefCell::new(Others {
                next: rng.random_range(0..replicas),
                rng,
                replicas: vec![View::default(); replicas],
                bad: 0,
            }),
        }
    }

    /// From now on the replicas in the mask `bad` are bad.
    pub(crate) fn tell(&self, bad: u64) {
        self.others.borrow_mut().bad = bad;
    }
}

impl ReplicaSet for &Chooser {
    fn choose(&self, choice: Choice, now: Instant) -> Result<Chosen, NoReplica> {
        let choice = if self.rule == Rule::Hedge {
            choice
        } else {
            let replica = self.others.borrow_mut().choose(self.rule, choice, now);
            choice.among(1 << replica)
        };
        self.ours.choose(choice, now)
    }

    fn report(&self, chosen: &Chosen, end: AttemptEnd, now: Instant) {
        self.ours.report(chosen, end, now);
        self.others.borrow_mut().ended(self.rule, chosen, now);
    }
}

impl Others {
    fn choose(&mut self, rule: Rule, choice: Choice, now: Instant) -> usize {
        let unused: Vec<usize> = (0..self.replicas.len())
            .filter(|replica| choice.used() & 1 << replica == 0)
            .collect();
        let replica = match rule {
            Rule::Random | Rule::Hedge => unused[self.rng.random_range(0..unused.len())],
            Rule::RoundRobin => loop {
                self.next = (self.next + 1) % self.replicas.len();
                if unused.contains(&self.next) {
                    break self.next;
                }
            },
            Rule::LeastOutstanding => self.least(&unused, 0),
            Rule::Told => self.least(&unused, self.bad),
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
        replica
    }

    fn ended(&mut self, rule: Rule, chosen: &Chosen, now: Instant) {
        if rule == Rule::Hedge {
            return;
        }
        let replica = chosen.id().index();
        self.replicas[replica].in_flight -= 1;
        if rule == Rule::PeakEwma {
            let elapsed = now.since(chosen.started()).as_secs_f64() * 1e3;
            let (before, weight) = self.decayed(replica, now);
            let peak = if elapsed > before {
                elapsed
            } else {
                before * weight + elapsed * (1.0 - weight)
            };
            self.replicas[replica].peak = Some((peak, now));
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
