//! What an engineer would write by hand, to compare with.

use core::future::Future;
use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::sync::Mutex;

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

/// Polls the primary first, sleeps only once that is pending, and learns the 95th percentile in a
/// histogram behind a mutex. No budget, no metrics, no events, and the tail it cuts is lost to it.
#[derive(Debug)]
pub(crate) struct Learning {
    histogram: Mutex<Histogram<u64>>,
    delay: AtomicU64,
}

impl Learning {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("valid bounds");
        Self {
            histogram: Mutex::new(histogram),
            delay: AtomicU64::new(100_000),
        }
    }

    fn record(&self, latency: Duration) {
        let mut histogram = self.histogram.lock().expect("no panic while it is held");
        histogram.saturating_record(latency.as_micros() as u64);
        if histogram.len().is_multiple_of(1000) {
            let micros = histogram.value_at_quantile(0.95);
            self.delay.store(micros.max(1000), Ordering::Relaxed);
        }
    }

    pub(crate) async fn request<F: Future>(&self, launch: impl Fn(usize) -> F) -> F::Output {
        let start = Instant::now();
        let mut primary = pin!(launch(0));
        let mut delay = pin!(None);
        let mut backup = pin!(None);
        let output = poll_fn(|cx| {
            if let Poll::Ready(output) = primary.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            if backup.is_none() {
                if delay.is_none() {
                    let micros = self.delay.load(Ordering::Relaxed);
                    delay.set(Some(sleep(Duration::from_micros(micros))));
                }
                let due = delay.as_mut().as_pin_mut().map(|delay| delay.poll(cx));
                if due.is_some_and(|due| due.is_ready()) {
                    backup.set(Some(launch(1)));
                }
            }
            match backup.as_mut().as_pin_mut() {
                Some(backup) => backup.poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
        self.record(start.elapsed());
        output
    }
}
