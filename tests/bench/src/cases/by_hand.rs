//! What an engineer would write by hand.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::sync::Mutex;

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use super::{HAND_LEARNING, leak};
use crate::case::Case;
use crate::script::{Kind, Script};

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    let delay = kind.delay();
    let learning: &Learning = leak(Learning::new(delay));
    vec![
        Case::new("hand/select", move || {
            move |script: Script| select(delay, move || script.launch())
        }),
        Case::new("hand/fixed", move || {
            move |script: Script| poll_first(move || delay, move || script.launch())
        }),
        Case::new(HAND_LEARNING, move || {
            move |script: Script| learning.request(move || script.launch())
        })
        .prepared(|| learning.forget()),
    ]
}

/// The primary against a backup that sleeps before it starts.
async fn select<F: Future>(delay: Duration, launch: impl Fn() -> F) -> F::Output {
    tokio::select! {
        output = launch() => output,
        output = async {
            sleep(delay).await;
            launch().await
        } => output,
    }
}

/// By hand with a fixed delay; makes no timer before the primary is pending.
async fn poll_first<F: Future>(delay: impl Fn() -> Duration, launch: impl Fn() -> F) -> F::Output {
    let mut primary = pin!(launch());
    let mut due = pin!(None);
    let mut backup = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = primary.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if backup.is_none() {
            if due.is_none() {
                due.set(Some(sleep(delay())));
            }
            let due = due.as_mut().as_pin_mut().map(|due| due.poll(cx));
            if due.is_some_and(|due| due.is_ready()) {
                backup.set(Some(launch()));
            }
        }
        match backup.as_mut().as_pin_mut() {
            Some(backup) => backup.poll(cx),
            None => Poll::Pending,
        }
    })
    .await
}

/// By hand, polling first, with a delay that is the 95th percentile of what it has seen: a histogram behind a mutex, asked
/// once in 1000 requests. It has no budget, no metrics and no events, and is blind to the tail that it cuts.
struct Learning {
    histogram: Mutex<Histogram<u64>>,
    delay: AtomicU64,
    first: Duration,
}

impl Learning {
    fn new(first: Duration) -> Self {
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("valid bounds");
        Self {
            histogram: Mutex::new(histogram),
            delay: AtomicU64::new(first.as_micros() as u64),
            first,
        }
    }

    /// Where hedges win, it would learn that requests take no time, and hedge at once.
    fn forget(&self) {
        self.delay
            .store(self.first.as_micros() as u64, Ordering::Relaxed);
    }

    fn record(&self, latency: Duration) {
        let mut histogram = self.histogram.lock().expect("no panic while it is held");
        histogram.saturating_record(latency.as_micros() as u64);
        if histogram.len().is_multiple_of(1000) {
            let micros = histogram.value_at_quantile(0.95);
            self.delay.store(micros.max(1000), Ordering::Relaxed);
        }
    }

    async fn request<F: Future>(&self, launch: impl Fn() -> F) -> F::Output {
        let start = Instant::now();
        let delay = || Duration::from_micros(self.delay.load(Ordering::Relaxed));
        let output = poll_first(delay, launch).await;
        self.record(start.elapsed());
        output
    }
}
