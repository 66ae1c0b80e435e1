//! The load: so many requests, so many at a time, each read to its end and checked.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use futures_lite::StreamExt;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::Failure;
use crate::client::{AnsweredBy, Client, Token, Tokens};
use crate::provider::{self, stream_id};

/// How much to ask for.
///
/// The loop is closed: each of the workers sends a request when its last one is answered. That hides
/// no waiting here, since the providers have no queue in which a request could wait for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many requests to send.
    pub(crate) requests: u64,
    /// How many are in flight.
    pub(crate) concurrency: usize,
    /// How many tokens to ask for.
    pub(crate) tokens: u32,
}

/// What a phase has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Times to the first token, in microseconds.
    pub(crate) first_token: Histogram<u64>,
    /// What was wrong with each answer that was not one stream, whole and in order.
    pub(crate) mixed: Vec<String>,
}

impl Load {
    /// Sends every request.
    pub(crate) async fn run(
        self,
        name: &'static str,
        client: &Client,
        answered_by: AnsweredBy,
    ) -> Result<Measured, Failure> {
        let next = Arc::new(AtomicU64::new(0));
        let bar = progress(name, self.requests)?;

        let mut workers = JoinSet::new();
        for _ in 0..self.concurrency {
            let (client, next, bar) = (client.clone(), next.clone(), bar.clone());
            workers.spawn(async move {
                let mut measured = Measured::new()?;
                loop {
                    let request = next.fetch_add(1, Ordering::Relaxed);
                    if request >= self.requests {
                        return Ok(measured);
                    }
                    let start = Instant::now();
                    let mut tokens = client.complete(request, self.tokens, answered_by).await?;
                    let first = tokens.next().await.transpose()?;
                    let micros = start.elapsed().as_micros();
                    measured
                        .first_token
                        .record(u64::try_from(micros).unwrap_or(u64::MAX))?;
                    let tokens = read(first, tokens).await?;
                    measured.mixed.extend(self.fault(request, &tokens));
                    bar.inc(1);
                }
            });
        }

        let mut measured = Measured::new()?;
        while let Some(worker) = workers.join_next().await {
            // Spelled out, since the workers' `?` leave their error type open.
            let finished: Result<Measured, Failure> = worker?;
            let finished = finished?;
            measured.first_token.add(finished.first_token)?;
            measured.mixed.extend(finished.mixed);
        }
        bar.finish_and_clear();
        Ok(measured)
    }

    /// What is wrong with an answer, unless it is all that one provider had to say to this request.
    fn fault(&self, request: u64, tokens: &[Token]) -> Option<String> {
        let whole = |provider| {
            let id = stream_id(provider, request);
            let words = provider::answer(provider, self.tokens);
            tokens.iter().all(|token| token.stream == id)
                && tokens.iter().map(|token| &*token.text).eq(words)
        };
        (!whole(0) && !whole(1)).then(|| format!("request {request} was answered {tokens:?}"))
    }
}

/// Reads the tokens after the first.
async fn read(first: Option<Token>, rest: Tokens) -> Result<Vec<Token>, Failure> {
    let rest: Vec<Token> = rest.try_collect().await?;
    Ok(first.into_iter().chain(rest).collect())
}

impl Measured {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            first_token: Histogram::new(3)?,
            mixed: Vec::new(),
        })
    }

    /// An error unless every answer was one stream, whole and in order.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.mixed.first() {
            None => Ok(()),
            Some(first) => {
                let count = self.mixed.len();
                Err(format!("answers that are not one stream: {count}; {first}").into())
            }
        }
    }
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
