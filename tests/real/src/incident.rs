//! Three servers with the same data, read through hedge's replicas within a budget of 10 %, while one of them
//! stalls, dies or refuses.

use core::error::Error;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use hedge_tokio::replicas::SharedReplicas;
use hedge_tokio::{Budget, Hedger, Percentile};
use tokio::time::sleep;

use crate::load::{Reads, read};
use crate::report::{Report, ms};
use crate::{Failure, Options};

/// What is read from.
pub(crate) trait Trio {
    type Error: Error + Send + Sync + 'static;

    /// One attempt at reading `key` from a server.
    async fn get(&self, server: usize, key: u64) -> Result<String, Self::Error>;

    /// How many reads each server has counted since it was started.
    async fn served(&self) -> Result<[u64; SERVERS], Failure>;

    /// Something happens to the first server.
    async fn begin(&mut self, incident: Incident) -> Result<(), Failure>;

    /// The first server is as well as before.
    async fn end(&mut self, incident: Incident) -> Result<(), Failure>;
}

/// How many servers there are.
pub(crate) const SERVERS: usize = 3;

/// What happens to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Incident {
    /// It accepts what it is sent and answers nothing.
    Stall,
    /// It is not there.
    Kill,
    /// It answers every read with an error, at once.
    Refuse,
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stall => "stalled",
            Self::Kill => "killed",
            Self::Refuse => "refusing",
        })
    }
}

const INCIDENTS: [Incident; 3] = [Incident::Stall, Incident::Kill, Incident::Refuse];

/// How often all of it is tried until the figures are as they should be: others use this machine, too.
const TRIES: usize = 3;

/// From one read to the next.
const EVERY: Duration = Duration::from_micros(3500);
/// Reads before anything is measured: the delay is learned, and connections are made.
const WARM: u64 = 1000;
/// How often each incident happens in a try. What is compared alternates, so that a busy machine slows both.
const ROUNDS: usize = 2;
/// Reads in an incident, and as many before.
const READS: u64 = 1000;
/// Reads that a replica's share is taken from, about a second.
const WINDOW: u64 = 286;

/// How much of the healthy P99 that with one of three stalled may be.
const MOST_P99: f64 = 1.3;
/// Attempts beyond one a read that the servers may count, as a share of the reads.
const MOST_EXTRA: f64 = 0.10;
/// Reads that have to be answered while one server refuses.
const LEAST_GOODPUT: f64 = 0.999;
/// How much of its fair share a server that is back has to get, and how soon.
const LEAST_SHARE: f64 = 0.8;
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// What one try showed.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) healthy: Reads,
    pub(crate) during: [(Incident, During); INCIDENTS.len()],
}

/// What an incident showed.
#[derive(Debug, Default)]
pub(crate) struct During {
    pub(crate) reads: Reads,
    /// Attempts that the servers counted. `None` if one lost count.
    served: Option<u64>,
    /// How soon the server had its share of the reads again, each time.
    back: Vec<Option<Duration>>,
}

impl During {
    /// Attempts beyond one a read, as a share of the reads.
    pub(crate) fn extra(&self) -> Option<f64> {
        let served = self.served?;
        Some(served as f64 / self.reads.sent as f64 - 1.0)
    }

    /// How soon the server had its share of the reads again, at the latest.
    pub(crate) fn back(&self) -> Option<Duration> {
        let all: Option<Vec<Duration>> = self.back.iter().copied().collect();
        all?.into_iter().max()
    }
}

impl Figures {
    /// The checks: what is so, and what it is about.
    pub(crate) fn checks(&self, name: &str) -> Vec<(bool, String)> {
        let healthy = self.healthy.percentile(99.0);
        let mut checks = Vec::new();
        for (incident, during) in &self.during {
            let what = format!("{name}, one of three {incident}");
            let reads = &during.reads;
            match incident {
                Incident::Stall => {
                    let p99 = reads.percentile(99.0);
                    let ratio = ms(p99) / ms(healthy);
                    checks.push((
                        ratio <= MOST_P99,
                        format!(
                            "{what}: P99 {:.1} ms is {ratio:.2} of the healthy {:.1} ms, at most {MOST_P99}",
                            ms(p99),
                            ms(healthy)
                        ),
                    ));
                }
                Incident::Refuse => checks.push((
                    reads.goodput() >= LEAST_GOODPUT,
                    format!(
                        "{what}: {:.2} % of the reads answered, at least {} %",
                        100.0 * reads.goodput(),
                        100.0 * LEAST_GOODPUT
                    ),
                )),
                Incident::Kill => {}
            }
            if let Some(extra) = during.extra() {
                checks.push((
                    extra <= MOST_EXTRA,
                    format!(
                        "{what}: the servers counted {:.1} % more reads, at most {} %",
                        100.0 * extra,
                        100.0 * MOST_EXTRA
                    ),
                ));
            }
            checks.push((
                during.back().is_some(),
                match during.back() {
                    Some(back) => format!(
                        "{what}: {} % of its fair share again within {:.1} s, at most {} s",
                        100.0 * LEAST_SHARE,
                        back.as_secs_f64(),
                        BACK_WITHIN.as_secs()
                    ),
                    None => format!("{what}: it gets its share again within 10 s"),
                },
            ));
        }
        let all = || self.during.iter().map(|(_, during)| &during.reads);
        let wrong = self.healthy.wrong + all().map(|reads| reads.wrong).sum::<usize>();
        checks.push((
            wrong == 0,
            format!("{name}: {wrong} reads with another's reply"),
        ));
        checks
    }
}

/// Reads from three servers while something happens to one of them, and checks what that does.
pub(crate) async fn run(
    name: &str,
    trio: &mut impl Trio,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut tries = 1;
    loop {
        let figures = once(trio, options).await?;
        let checks = figures.checks(name);
        if checks.iter().all(|(so, _)| *so) || tries == TRIES {
            report.incidents(name, &figures, tries);
            for (so, what) in checks {
                report.check(so, what);
            }
            return Ok(());
        }
        for (_, what) in checks.iter().filter(|(so, _)| !so) {
            report.say(format_args!("try {tries} of {TRIES}: not so: {what}"));
        }
        let reads = figures.during.iter().map(|(_, during)| &during.reads);
        for error in reads.filter_map(|reads| reads.error.as_ref()) {
            report.say(format_args!("try {tries} of {TRIES}: {error}"));
        }
        tries += 1;
    }
}

async fn once(trio: &mut impl Trio, options: &Options) -> Result<Figures, Failure> {
    let client = Client::new(options)?;
    client.read(trio, WARM).await;
    let mut healthy = Reads::default();
    let mut all = INCIDENTS.map(|incident| (incident, During::default()));
    for _ in 0..ROUNDS {
        healthy.add(client.read(trio, READS).await);
        for (incident, during) in &mut all {
            let before = counted(trio).await?;
            trio.begin(*incident).await?;
            during.reads.add(client.read(trio, READS).await);
            trio.end(*incident).await?;
            if *incident != Incident::Kill {
                *during.served.get_or_insert(0) += counted(trio).await? - before;
            }
            during.back.push(client.until_back(trio).await);
        }
    }
    Ok(Figures {
        healthy,
        during: all,
    })
}

/// How many reads all servers have counted, once a stalled one has caught up.
async fn counted(trio: &impl Trio) -> Result<u64, Failure> {
    let mut last = None;
    loop {
        let served: u64 = trio.served().await?.iter().sum();
        if last == Some(served) {
            return Ok(served);
        }
        last = Some(served);
        sleep(Duration::from_millis(250)).await;
    }
}

/// A program that reads.
struct Client {
    hedger: Hedger,
    set: SharedReplicas<SERVERS>,
    /// Takes turns instead of choosing: to see the checks fail.
    takes_turns: bool,
    /// Reads whose first attempt went to each server.
    primaries: [AtomicU64; SERVERS],
}

impl Client {
    fn new(options: &Options) -> Result<Self, Failure> {
        let hedger = Hedger::builder()
            .strategy(Percentile::new(95.0))
            .budget(Budget::percent(10.0))
            .attempt_timeout(Duration::from_secs(2))
            .build()?;
        Ok(Self {
            hedger,
            set: SharedReplicas::of(SERVERS),
            takes_turns: options.unhedged,
            primaries: Default::default(),
        })
    }

    async fn read(&self, trio: &impl Trio, reads: u64) -> Reads {
        read(reads, EVERY, |key| self.get(trio, key)).await
    }

    async fn get<T: Trio>(&self, trio: &T, key: u64) -> Result<String, Failure> {
        let attempt = async |server: usize, is_hedge: bool| {
            if !is_hedge {
                self.primaries[server].fetch_add(1, Ordering::Relaxed);
            }
            let value = trio.get(server, key).await?;
            sleep(way_back(key, server)).await;
            Ok::<_, T::Error>(value)
        };
        if self.takes_turns {
            let hedged = self.hedger.request(|a| {
                let server = (key as usize + a.index()) % SERVERS;
                attempt(server, a.is_hedge())
            });
            return Ok(hedged.await?.value);
        }
        let hedged = self
            .hedger
            .request_on(&self.set, |a| attempt(a.replica().index(), a.is_hedge()));
        Ok(hedged.await?.value)
    }

    /// Reads until the first server has its share of the reads again.
    async fn until_back(&self, trio: &impl Trio) -> Option<Duration> {
        let count = || {
            self.primaries
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed))
        };
        let start = tokio::time::Instant::now();
        while start.elapsed() < BACK_WITHIN {
            let before = count();
            let reads = self.read(trio, WINDOW).await;
            let share = (count()[0] - before[0]) as f64 / reads.sent as f64;
            if share * SERVERS as f64 >= LEAST_SHARE {
                return Some(start.elapsed());
            }
        }
        None
    }
}

/// How long a reply is under way, as on a network: 20 ms and a little more, but 3 % take 120 to 240. On loopback alone,
/// percentiles would show what else this machine does.
fn way_back(key: u64, server: usize) -> Duration {
    // SplitMix (Steele et al., 2014).
    let mut seed = key.wrapping_mul(SERVERS as u64).wrapping_add(server as u64);
    let mut draw = || {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (seed ^ seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (rare, how_much) = (draw() < 0.03, draw());
    let millis = if rare {
        120.0 + 120.0 * how_much
    } else {
        20.0 - 8.0 * (1.0 - how_much).ln()
    };
    Duration::from_secs_f64(millis / 1e3)
}
