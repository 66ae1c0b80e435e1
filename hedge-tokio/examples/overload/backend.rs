//! The server: a few workers, one queue, and a time in which everything is slow.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::serve::serve;

const WORKERS: usize = 8;
/// What the slow mode's share, medians and deviations come to, in seconds.
const MEAN: f64 = 0.965 * 0.070 * 1.163 + 0.035 * 0.6 * 1.046;

/// What happens when, and how long requests take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    seed: u64,
    start: Instant,
    usual: LogNormal<f64>,
    slow: LogNormal<f64>,
    gaps: Exp<f64>,
}

impl Plan {
    /// The first seconds are not looked at: strategies learn then.
    pub(crate) const LEARNED: Duration = Duration::from_secs(4);
    pub(crate) const BROWNOUT: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(20)];
    pub(crate) const END: Duration = Duration::from_secs(45);
    const SLOWER: f64 = 4.0;

    pub(crate) fn new(seed: u64, load: f64, start: Instant) -> Result<Self, crate::Failure> {
        Ok(Self {
            seed,
            start,
            usual: LogNormal::new(0.070_f64.ln(), 0.55)?,
            slow: LogNormal::new(0.6_f64.ln(), 0.30)?,
            gaps: Exp::new(load * WORKERS as f64 / MEAN)?,
        })
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// When requests are made.
    pub(crate) fn arrivals(self) -> impl Iterator<Item = Instant> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut at = 0.0;
        let arrivals = core::iter::repeat_with(move || {
            at += self.gaps.sample(&mut rng);
            Duration::from_secs_f64(at)
        });
        let in_time = |at: &Duration| *at < Self::END;
        arrivals.take_while(in_time).map(move |at| self.start + at)
    }

    /// How long request `id` is worked on if that begins now, whichever attempt it is.
    fn service(&self, id: u64) -> Duration {
        let mut rng = StdRng::seed_from_u64(self.seed ^ ((id + 1) << 20));
        let mode = if rng.random_bool(0.035) {
            self.slow
        } else {
            self.usual
        };
        let [from, to] = Self::BROWNOUT;
        let slower = if (from..to).contains(&self.elapsed()) {
            Self::SLOWER
        } else {
            1.0
        };
        Duration::from_secs_f64(mode.sample(&mut rng) * slower)
    }
}

/// A server that answers `GET /{id}` when one of its workers has worked on it.
#[derive(Debug)]
pub(crate) struct Backend {
    address: SocketAddr,
}

#[derive(Clone)]
struct Shared {
    plan: Plan,
    workers: Arc<Semaphore>,
}

impl Backend {
    /// Listens on a free port of loopback for as long as the runtime lives.
    pub(crate) async fn start(plan: Plan) -> io::Result<Self> {
        let workers = Arc::new(Semaphore::new(WORKERS));
        let app = Router::new()
            .route("/{id}", get(answer))
            .with_state(Shared { plan, workers });
        let address = serve(app).await?;
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Dropped when the client hangs up: what waits leaves the queue, what is worked on is finished all the same.
async fn answer(State(server): State<Shared>, Path(id): Path<u64>) -> Result<String, StatusCode> {
    let Ok(worker) = server.workers.acquire_owned().await else {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    };
    let service = server.plan.service(id);
    let work = tokio::spawn(async move {
        sleep(service).await;
        drop(worker);
    });
    match work.await {
        Ok(()) => Ok(id.to_string()),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
