//! The servers: one for each model, which counts the clients that hang up on it.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::model::MODELS;
use crate::serve::serve;

/// What decides how the models answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behavior {
    pub(crate) seed: u64,
    /// Of the latencies.
    pub(crate) scale: f64,
    /// The share of the answers that are below their model's threshold, if it has one.
    pub(crate) poor: f64,
}

/// What a model answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    /// The request it answers.
    pub(crate) request: u64,
    /// How sure the model is of it, from 0 to 1.
    pub(crate) confidence: f64,
}

/// A server that answers `GET /{request}` as its model would.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Server {
    /// Listens on a free port of loopback for as long as the runtime lives.
    pub(crate) async fn start(model: usize, behavior: Behavior) -> io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let shared = Shared {
            model,
            behavior,
            counters: counters.clone(),
        };
        let app = Router::new()
            .route("/{request}", get(answer))
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
    model: usize,
    behavior: Behavior,
    counters: Arc<Counters>,
}

async fn answer(State(server): State<Shared>, Path(request): Path<u64>) -> Json<Answer> {
    let visit = Visit::arrive(&server.counters);
    let (latency, confidence) = server.behavior.draw(server.model, request);
    sleep(latency).await;
    visit.complete();
    Json(Answer {
        request,
        confidence,
    })
}

impl Behavior {
    /// How long `model` takes for a request, and how sure it is of its answer: the same whenever the
    /// request is made, and independent of all others.
    fn draw(&self, model: usize, request: u64) -> (Duration, f64) {
        let mut seed = [0; 32];
        for (to, from) in seed
            .chunks_exact_mut(8)
            .zip([self.seed, model as u64, request])
        {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let mut rng = StdRng::from_seed(seed);

        let model = &MODELS[model];
        let range = match &model.slow_ms {
            Some((slow, share)) if rng.random_bool(*share) => slow,
            _ => &model.latency_ms,
        };
        let ms = rng.random_range(range.clone());
        let confidence = match model.quality_threshold {
            Some(threshold) if rng.random_bool(self.poor) => {
                rng.random_range(threshold - 0.3..threshold)
            }
            Some(threshold) => rng.random_range(threshold..=1.0),
            None => rng.random_range(0.5..0.9),
        };
        (
            Duration::from_secs_f64(ms / 1000.0 * self.scale),
            confidence,
        )
    }
}

#[derive(Debug, Default)]
struct Counters {
    /// Requests being answered.
    open: AtomicU64,
    /// Requests whose client has hung up before the answer.
    hung_up: AtomicU64,
}

/// A request at a server. The server drops the handler, and this with it, when the client hangs up.
struct Visit<'a> {
    counters: &'a Counters,
    completed: bool,
}

impl<'a> Visit<'a> {
    fn arrive(counters: &'a Counters) -> Self {
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

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if !self.completed {
            self.counters.hung_up.fetch_add(1, Ordering::Relaxed);
        }
        // Last, and released: whoever sees no visit open sees all that hung up.
        self.counters.open.fetch_sub(1, Ordering::Release);
    }
}

/// How many clients have hung up on each server, once none of them is at work.
pub(crate) async fn hung_up(servers: &[Server; 3]) -> Result<[u64; 3], &'static str> {
    let idle = async {
        let open = |server: &Server| server.counters.open.load(Ordering::Acquire) > 0;
        while servers.iter().any(open) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), idle)
        .await
        .map_err(|_| "the servers are still at work")?;
    Ok(servers
        .each_ref()
        .map(|server| server.counters.hung_up.load(Ordering::Relaxed)))
}
