//! The reads: so many, at fixed times, whatever becomes of those before.

use core::future::Future;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use futures_util::future::join_all;
use hedge_tokio::Hedger;
use tokio::time::{Instant, sleep_until};

use crate::{Failure, chain};

/// How long a server stalls: long beside all that a busy machine adds to a read.
pub(crate) const STALL: Duration = Duration::from_secs(2);
/// How often it does, for each way of reading.
const ROUNDS: u64 = 2;
/// Reads in a stall. All are sent early in it.
pub(crate) const READS: u64 = 50;
/// From one read to the next.
pub(crate) const EVERY: Duration = Duration::from_millis(8);
/// When in a stall it is asked what the stalled server works on: late enough for all hedges to have won.
const LATE: Duration = Duration::from_millis(1750);

/// Two servers with the same data. Key `k` is read from server `k % 2` first, and hedged at the other.
pub(crate) trait Pair {
    /// Reads without hedging.
    async fn plain(&self, key: u64) -> Result<String, Failure>;

    /// Reads with hedging.
    async fn hedged(&self, key: u64) -> Result<String, Failure>;

    /// From now on the first server answers nobody, or late.
    async fn stall(&self) -> Result<(), Failure>;

    /// It answers again. Called when the stall has lasted for [`STALL`].
    async fn resume(&self) -> Result<(), Failure>;

    /// How many attempts the first server works on; absent if the protocol does not show it.
    async fn at_work(&self) -> Result<Option<usize>, Failure>;
}

/// The value of a key: no two keys have the same.
pub(crate) fn value_of(key: u64) -> String {
    format!(
        "value of {key}, {:016x}",
        key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    )
}

/// How many keys there are: more than there are reads, so that no read awaits what an earlier one did.
pub(crate) const KEYS: u64 = 10_000;
/// The key of the next read.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What became of some reads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) sent: usize,
    /// Replies that were those to another read.
    pub(crate) wrong: usize,
    /// Reads that had no reply.
    pub(crate) failed: usize,
    /// Why the first of them had none.
    pub(crate) error: Option<String>,
    /// On how many attempts the stalled server worked late in the stall, at the most.
    pub(crate) at_work: Option<usize>,
    latencies: Vec<Duration>,
}

impl Reads {
    /// The latency that `percent` of the reads did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// The share of the reads that had a reply, and their own.
    pub(crate) fn goodput(&self) -> f64 {
        1.0 - (self.wrong + self.failed) as f64 / self.sent.max(1) as f64
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.error = self.error.take().or(other.error);
        self.at_work = self.at_work.max(other.at_work);
        self.latencies.extend(other.latencies);
    }
}

/// Runs the reads plainly and hedged.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) plain: Reads,
    pub(crate) hedged: Reads,
    /// Reads over the same connections when the stall was over: none may be given what is late.
    pub(crate) after_plain: Reads,
    pub(crate) after_hedged: Reads,
    pub(crate) hedges: usize,
    pub(crate) hedges_won: usize,
}

/// Reads plainly, then by `hedger`, from a pair whose first server stalls.
pub(crate) async fn compare(pair: &impl Pair, hedger: &Hedger) -> Result<Compared, Failure> {
    let mut compared = Compared::default();
    // Connections are made.
    read(READS, EVERY, |key| pair.plain(key)).await;

    for _ in 0..ROUNDS {
        let reads = stalled(pair, |key| pair.plain(key)).await?;
        compared.plain.add(reads);
        let reads = read(READS, EVERY, |key| pair.plain(key)).await;
        compared.after_plain.add(reads);
    }
    let before = hedger.metrics();
    for _ in 0..ROUNDS {
        let reads = stalled(pair, |key| pair.hedged(key)).await?;
        compared.hedged.add(reads);
        let reads = read(READS, EVERY, |key| pair.plain(key)).await;
        compared.after_hedged.add(reads);
    }
    let metrics = hedger.metrics();
    compared.hedges = (metrics.hedges - before.hedges) as usize;
    compared.hedges_won = (metrics.hedge_wins - before.hedge_wins) as usize;
    Ok(compared)
}

/// Reads while the first server stalls. Ends with the stall, or with the last read if that is later.
async fn stalled<F>(pair: &impl Pair, f: impl Fn(u64) -> F) -> Result<Reads, Failure>
where
    F: Future<Output = Result<String, Failure>>,
{
    pair.stall().await?;
    let start = Instant::now();
    let meanwhile = async {
        sleep_until(start + LATE).await;
        let at_work = pair.at_work().await;
        sleep_until(start + STALL).await;
        // Even if the count failed.
        pair.resume().await?;
        at_work
    };
    let (mut reads, at_work) = tokio::join!(read(READS, EVERY, f), meanwhile);
    reads.at_work = at_work?;
    Ok(reads)
}

/// Makes so many reads, one `every` so long. Latencies count from when a read was to be sent.
pub(crate) async fn read<F>(reads: u64, every: Duration, f: impl Fn(u64) -> F) -> Reads
where
    F: Future<Output = Result<String, Failure>>,
{
    let (start, first) = (Instant::now(), NEXT.fetch_add(reads, Ordering::Relaxed));
    let each = (0..reads).map(|read| {
        let (f, key, due) = (&f, (first + read) % KEYS, start + every * read as u32);
        async move {
            sleep_until(due).await;
            let reply = f(key).await;
            (key, reply, due.elapsed())
        }
    });
    let mut all = Reads::default();
    for (key, reply, latency) in join_all(each).await {
        all.sent += 1;
        all.latencies.push(latency);
        match reply {
            Ok(value) if value == value_of(key) => {}
            Ok(_) => all.wrong += 1,
            Err(error) => {
                all.failed += 1;
                all.error = all.error.or_else(|| Some(chain(&*error)));
            }
        }
    }
    all
}
