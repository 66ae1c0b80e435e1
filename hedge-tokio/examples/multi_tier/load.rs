//! The load: so many requests, so many a second.

use core::time::Duration;
use std::sync::Arc;

use hdrhistogram::Histogram;
use hedge_tokio::cascade::CascadeOutcome;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Failure;
use crate::client::Client;

/// How much to ask for.
///
/// The loop is open: requests are made when they are due, at random moments, however late the answers to
/// those before are. Latencies count from the moment a request was due, so that a client that falls
/// behind cannot hide it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many requests to send.
    pub(crate) requests: u64,
    /// How many of them in a second, on average.
    pub(crate) rate: f64,
    /// What latencies are divided by.
    pub(crate) scale: f64,
    /// Of the moments.
    pub(crate) seed: u64,
}

/// What a phase has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Latencies in microseconds, unscaled.
    pub(crate) latencies: Histogram<u64>,
    /// What the cascade did for each request, if there was one.
    pub(crate) outcomes: Vec<CascadeOutcome<3>>,
}

impl Load {
    /// Sends every request.
    pub(crate) async fn run(self, name: &'static str, client: Client) -> Result<Measured, Failure> {
        let client = Arc::new(client);
        let bar = progress(name, self.requests)?;
        let mut rng = StdRng::seed_from_u64(self.seed);
        let gap = Exp::new(self.rate)?;
        let mut measured = Measured {
            latencies: Histogram::new(3)?,
            outcomes: Vec::new(),
        };

        let mut calls = JoinSet::new();
        let mut due = Instant::now();
        for request in 0..self.requests {
            due += Duration::from_secs_f64(gap.sample(&mut rng));
            sleep_until(due).await;
            let client = client.clone();
            calls.spawn(async move {
                let outcome = client.call(request).await?;
                Ok((due.elapsed().div_f64(self.scale), outcome))
            });
            while let Some(call) = calls.try_join_next() {
                measured.add(call?)?;
                bar.inc(1);
            }
        }
        while let Some(call) = calls.join_next().await {
            measured.add(call?)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(measured)
    }
}

impl Measured {
    fn add(
        &mut self,
        call: Result<(Duration, Option<CascadeOutcome<3>>), Failure>,
    ) -> Result<(), Failure> {
        let (latency, outcome) = call?;
        self.latencies
            .record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX))?;
        self.outcomes.extend(outcome);
        Ok(())
    }
}

/// A bar on stderr; invisible if that is no terminal.
fn progress(name: &'static str, requests: u64) -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template(
        "{prefix:>7} {bar:40.cyan/dim} {human_pos} of {human_len} requests, {eta} to go",
    )?;
    Ok(ProgressBar::new(requests)
        .with_style(style.progress_chars("━━─"))
        .with_prefix(name))
}
