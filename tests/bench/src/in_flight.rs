//! A great many requests in flight at the same time, on one hedger.

use core::future::{pending, poll_fn};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hedge_tokio::{Attempt, Budget, Hedger, Options, Percentile};
use tokio::sync::Notify;

use crate::options::InFlight;
use crate::processor;
use crate::runtime::Flavour;

/// The primary of one request in so many hangs, so that its hedge has to answer.
const HANGS: u64 = 20;

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) hedged: u64,
    /// Allocated at most at a time, and the most memory that the process had, in bytes.
    pub(crate) allocated: u64,
    pub(crate) resident: Option<u64>,
    pub(crate) launching: Duration,
    pub(crate) ending: Duration,
}

/// # Errors
///
/// If a request had another answer than it should, or none.
pub(crate) fn measure(options: &InFlight) -> Result<Measured, String> {
    let mut measured = Err("it did not run".to_owned());
    let allocated = allocation_counter::measure(|| measured = run(options));
    let resident = processor::peak_memory();
    measured.map(|measured| Measured {
        allocated: allocated.bytes_max,
        resident,
        ..measured
    })
}

fn run(options: &InFlight) -> Result<Measured, String> {
    let runtime = Flavour::CurrentThread.start()?;
    let bar = hedge_terminal::progress(2);
    let requests = options.requests;
    let expected = requests.div_ceil(HANGS);
    let delay = Duration::from_secs(options.delay);
    let mut options = Options::default();
    options.timeout = Some(20 * delay);
    // The slow ones end last and in a row, which to the guard looks as if all had become slow.
    options.guard = Some(false);
    let hedger = Hedger::builder()
        .attempts::<2>()
        .strategy(Percentile::new(95.0).initial_delay(delay))
        // All hedges come due in the same moment.
        .budget(Budget::percent(10.0).burst(u32::try_from(expected).unwrap_or(u32::MAX)))
        .options(options)
        .build()
        .map_err(|error| error.to_string())?;
    let backend = Arc::new(Backend::new(requests));

    runtime.block_on(async {
        bar.set_message("launching");
        let start = Instant::now();
        for number in 0..requests {
            let (hedger, backend) = (hedger.clone(), Arc::clone(&backend));
            tokio::spawn(async move {
                let answer = hedger.request(|attempt| backend.answer(number, attempt)).await;
                let right = answer.is_ok_and(|hedged| {
                    hedged.value == number && hedged.outcome.hedge_won == hangs(number)
                });
                backend.ended(right);
            });
        }
        backend.all_are_out.notified().await;
        let launching = start.elapsed();
        if launching >= delay {
            return Err(format!(
                "launching took {launching:.1?}, as long as `--delay`: hedges were due before all requests were out"
            ));
        }
        bar.inc(1);
        bar.set_message("ending");
        let start = Instant::now();
        backend.open();
        backend.all_have_ended.notified().await;
        let ending = start.elapsed();
        bar.finish_and_clear();

        let right = backend.right.load(Ordering::Relaxed);
        let metrics = hedger.metrics();
        let told = (metrics.total_requests, metrics.hedge_wins, hedger.in_flight());
        if right != requests || told != (requests, expected, 0) {
            return Err(format!(
                "{right} of {requests} requests had the right answer; (total, hedge wins, in flight) is {told:?}"
            ));
        }
        Ok(Measured {
            requests,
            hedged: metrics.hedged_requests,
            allocated: 0,
            resident: None,
            launching,
            ending,
        })
    })
}

fn hangs(number: u64) -> bool {
    number.is_multiple_of(HANGS)
}

/// Answers no primary before all requests are out.
struct Backend {
    requests: u64,
    out: AtomicU64,
    ended: AtomicU64,
    right: AtomicU64,
    all_are_out: Notify,
    all_have_ended: Notify,
    is_open: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Backend {
    fn new(requests: u64) -> Self {
        Self {
            requests,
            out: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            right: AtomicU64::new(0),
            all_are_out: Notify::new(),
            all_have_ended: Notify::new(),
            is_open: AtomicBool::new(false),
            waiting: Mutex::new(Vec::with_capacity(requests as usize)),
        }
    }

    /// A request's number, sooner or later.
    async fn answer(&self, number: u64, attempt: Attempt) -> Result<u64, ()> {
        if attempt.is_hedge() {
            return Ok(number);
        }
        if self.out.fetch_add(1, Ordering::Relaxed) + 1 == self.requests {
            self.all_are_out.notify_one();
        }
        if hangs(number) {
            return pending().await;
        }
        let mut is_queued = false;
        poll_fn(|cx| {
            if self.is_open.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if !is_queued {
                is_queued = true;
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        Ok(number)
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).for_each(Waker::wake);
    }

    fn ended(&self, right: bool) {
        self.right.fetch_add(right.into(), Ordering::Relaxed);
        if self.ended.fetch_add(1, Ordering::Relaxed) + 1 == self.requests {
            self.all_have_ended.notify_one();
        }
    }
}
