//! The providers: two servers that stream answers, and count the streams that are closed early.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::post;
use axum::{Json, Router};
use futures_lite::stream::{self, Stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Pareto};
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::completion::{Chunk, CompletionRequest, DONE};
use crate::serve::serve;

/// The time from one token to the next.
const GAP: Duration = Duration::from_millis(12);

/// What each provider answers, always. They differ, so that a mixture of the two would show.
const ANSWERS: [&str; 2] = [
    "Hedging asks a second provider when the first is late, and takes whichever answer begins first. The \
     other one is told to stop, so that nobody pays for words which nobody will read.",
    "If no word has come after a while, the same question goes to somebody else as well. Whoever speaks \
     first is listened to until the end; the line to the other is hung up at once.",
];

/// The tokens of a provider's answer: words, each with the space after it.
pub(crate) fn answer(provider: usize, max_tokens: u32) -> impl Iterator<Item = &'static str> {
    let words = ANSWERS.get(provider).copied().unwrap_or_default();
    words.split_inclusive(' ').take(max_tokens as usize)
}

/// The id of a provider's stream for a request.
pub(crate) fn stream_id(provider: usize, request: u64) -> String {
    format!("chatcmpl-{request}-{provider}")
}

/// How long providers take to begin with an answer: most times follow a lognormal with a median of 80 ms, but 4 % a
/// Pareto from 400 ms, half of which are beyond 630 ms and a tenth beyond 1.8 s; none is over 3 s.
///
/// Measurements of providers have this shape: the P95 is 1.2 to 1.7 times the median, and one answer in 25 to 50 takes
/// 5 to 60 times as long. All of it is made shorter here, so that a run does not last for hours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstToken {
    seed: u64,
    usual: LogNormal<f64>,
    slow: Pareto<f64>,
}

impl FirstToken {
    const SLOW_SHARE: f64 = 0.04;
    const LONGEST: f64 = 3.0;

    pub(crate) fn new(seed: u64) -> Result<Self, Failure> {
        Ok(Self {
            seed,
            usual: LogNormal::new(0.080_f64.ln(), 0.33)?,
            slow: Pareto::new(0.400, 1.5)?,
        })
    }

    /// The time `provider` takes for `request`: the same whenever the request is made, and independent of
    /// all others.
    pub(crate) fn draw(&self, provider: usize, request: u64) -> Duration {
        let mut seed = [0; 32];
        for (to, from) in seed
            .chunks_exact_mut(8)
            .zip([self.seed, provider as u64, request])
        {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let mut rng = StdRng::from_seed(seed);
        let seconds = if rng.random_bool(Self::SLOW_SHARE) {
            self.slow.sample(&mut rng)
        } else {
            self.usual.sample(&mut rng)
        };
        Duration::from_secs_f64(seconds.min(Self::LONGEST))
    }

    /// The first request for which provider 0 takes over a second, and provider 1 less than a tenth. Even
    /// requests ask provider 0 first.
    pub(crate) fn slow_at_first(&self) -> u64 {
        (0..u64::MAX)
            .step_by(2)
            .find(|request| {
                let [first, second] = [0, 1].map(|provider| self.draw(provider, *request));
                first > Duration::from_secs(1) && second < Duration::from_millis(100)
            })
            .unwrap_or_default()
    }
}

/// A server of `POST /v1/chat/completions`.
#[derive(Debug)]
pub(crate) struct Provider {
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Provider {
    /// Listens on a free port of loopback for as long as the runtime lives.
    pub(crate) async fn start(index: usize, first_token: FirstToken) -> io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let shared = Shared {
            index,
            first_token,
            counters: counters.clone(),
        };
        let app = Router::new()
            .route("/v1/chat/completions", post(complete))
            .with_state(shared);
        let address = serve(app).await?;
        Ok(Self { address, counters })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Clone)]
struct Shared {
    index: usize,
    first_token: FirstToken,
    counters: Arc<Counters>,
}

/// Answers at once with a stream that has yet to begin.
async fn complete(
    State(provider): State<Shared>,
    Json(request): Json<CompletionRequest>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, StatusCode> {
    if !request.stream {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let id = stream_id(provider.index, request.seed);
    let chunk = |text| serde_json::to_string(&Chunk::new(&id, text));
    let mut events = answer(provider.index, request.max_tokens)
        .map(|token| chunk(Some(token)))
        .chain([chunk(None)])
        .collect::<Result<Vec<String>, _>>()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    events.push(DONE.to_owned());

    let pause = provider.first_token.draw(provider.index, request.seed);
    let visit = Visit::arrive(provider.counters);
    let state = (visit, events.into_iter(), pause);
    Ok(Sse::new(stream::unfold(
        state,
        |(visit, mut events, pause)| async move {
            let Some(data) = events.next() else {
                visit.complete();
                return None;
            };
            // Nothing is left to think about after the last token.
            if events.len() > 1 {
                sleep(pause).await;
            }
            Some((Ok(Event::default().data(data)), (visit, events, GAP)))
        },
    )))
}

#[derive(Debug, Default)]
struct Counters {
    /// Requests.
    asked: AtomicU64,
    /// Streams being sent.
    open: AtomicU64,
    /// Streams whose client has hung up before their end.
    aborted: AtomicU64,
}

/// A stream being sent. The server drops it when the client hangs up.
struct Visit {
    counters: Arc<Counters>,
    completed: bool,
}

impl Visit {
    fn arrive(counters: Arc<Counters>) -> Self {
        counters.asked.fetch_add(1, Ordering::Relaxed);
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            counters,
            completed: false,
        }
    }

    fn complete(mut self) {
        self.completed = true;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.completed {
            self.counters.aborted.fetch_add(1, Ordering::Relaxed);
        }
        // Last, and released: whoever sees no stream open sees all that were aborted.
        self.counters.open.fetch_sub(1, Ordering::Release);
    }
}

/// What providers have counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Requests.
    pub(crate) asked: u64,
    /// Streams whose client has hung up before their end.
    pub(crate) aborted: u64,
}

/// What the providers have counted, once no stream is open.
pub(crate) async fn counted(providers: &[Provider]) -> Result<Counted, &'static str> {
    let idle = async {
        let open = |provider: &Provider| provider.counters.open.load(Ordering::Acquire) > 0;
        while providers.iter().any(open) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), idle)
        .await
        .map_err(|_| "the providers are still at work")?;
    let sum = |count: fn(&Counters) -> &AtomicU64| {
        let counts = providers
            .iter()
            .map(|provider| count(&provider.counters).load(Ordering::Relaxed));
        counts.sum()
    };
    Ok(Counted {
        asked: sum(|counters| &counters.asked),
        aborted: sum(|counters| &counters.aborted),
    })
}
