//! The load: so many requests, so many at a time.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::Failure;
use crate::client::Client;

/// How much to ask for.
///
/// The loop is closed: each of the workers sends a request when its last one is answered. That hides
/// no waiting here, since the replicas have no queue in which a request could wait for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many requests to send.
    pub(crate) requests: u64,
    /// How many are in flight.
    pub(crate) concurrency: usize,
}

impl Load {
    /// Sends every request, and gives their latencies in microseconds.
    pub(crate) async fn run(
        self,
        name: &'static str,
        client: Client,
    ) -> Result<Histogram<u64>, Failure> {
        let client = Arc::new(client);
        let next = Arc::new(AtomicU64::new(0));
        let bar = progress(name, self.requests)?;

        let mut workers = JoinSet::new();
        for _ in 0..self.concurrency {
            let (client, next, bar) = (client.clone(), next.clone(), bar.clone());
            workers.spawn(async move {
                let mut latencies = Histogram::new(3)?;
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if id >= self.requests {
                        return Ok(latencies);
                    }
                    let start = Instant::now();
                    client.call(id).await?;
                    latencies.record(micros(start.elapsed()))?;
                    bar.inc(1);
                }
            });
        }

        let mut latencies = Histogram::new(3)?;
        while let Some(worker) = workers.join_next().await {
            // Spelled out, since the workers' `?` leave their error type open.
            let finished: Result<Histogram<u64>, Failure> = worker?;
            latencies.add(finished?)?;
        }
        bar.finish_and_clear();
        Ok(latencies)
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

/// A bar on stderr; invisible if that is no terminal.
fn progress(name: &'static str, requests: u64) -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template(
        "{prefix:>6} {bar:40.cyan/dim} {human_pos} of {human_len} requests, {eta} to go",
    )?;
    Ok(ProgressBar::new(requests)
        .with_style(style.progress_chars("━━─"))
        .with_prefix(name))
}
