//! The servers: replicas with a slow mode, who count what reaches them.

use core::net::SocketAddr;
use core::ops::Sub;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use tokio::time::{sleep, timeout};

use crate::serve::serve;

/// How long requests take: most follow a lognormal with a median of 50 ms, but 3.5 % are in a slow mode
/// with a median of 500 ms; all of it times the scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceTime {
    seed: u64,
    /// Whether the first replica takes ten times as long.
    slow_replica: bool,
    usual: LogNormal<f64>,
    slow: LogNormal<f64>,
}

impl ServiceTime {
    /// The share of the requests that are in the slow mode.
    pub(crate) const SLOW_SHARE: f64 = 0.035;

    pub(crate) fn new(
        seed: u64,
        scale: f64,
        slow_replica: bool,
    ) -> Result<Self, rand_distr::NormalError> {
        Ok(Self {
            seed,
            slow_replica,
            usual: LogNormal::new((0.050 * scale).ln(), 0.45)?,
            slow: LogNormal::new((0.500 * scale).ln(), 0.30)?,
        })
    }

    /// The service time of request `id` at a replica: independent of any other request's, and of the
    /// same request's at another replica. Every time the request is made it is the same, so that
    /// two phases that make the same requests differ by nothing but hedging.
    fn draw(&self, replica: u64, id: u64) -> Duration {
        let mut seed = [0; 32];
        for (to, from) in seed.chunks_exact_mut(8).zip([self.seed, replica, id]) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let mut rng = StdRng::from_seed(seed);
        let mode = if rng.random_bool(Self::SLOW_SHARE) {
            self.slow
        } else {
            self.usual
        };
        let slower = if self.slow_replica && replica == 0 {
            10.0
        } else {
            1.0
        };
        Duration::from_secs_f64(slower * mode.sample(&mut rng))
    }
}

/// A server that answers `GET /{id}` with the id, sooner or later.
#[derive(Debug)]
pub(crate) struct Replica {
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Replica {
    /// Listens on a free port of loopback for as long as the runtime lives.
    pub(crate) async fn start(index: u64, service_time: ServiceTime) -> io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let shared = Shared {
            index,
            service_time,
            counters: counters.clone(),
        };
        let app = Router::new().route("/{id}", get(answer)).with_state(shared);
        let address = serve(app).await?;
        Ok(Self { address, counters })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Clone)]
struct Shared {
    index: u64,
    service_time: ServiceTime,
    counters: Arc<Counters>,
}

async fn answer(State(replica): State<Shared>, Path(id): Path<u64>) -> String {
    let visit = Visit::arrive(&replica.counters);
    sleep(replica.service_time.draw(replica.index, id)).await;
    visit.complete();
    id.to_string()
}

/// A request at a replica. The server drops the handler, and this with it, when the client hangs up.
struct Visit<'a> {
    counters: &'a Counters,
    completed: bool,
}

impl<'a> Visit<'a> {
    fn arrive(counters: &'a Counters) -> Self {
        counters.arrived.fetch_add(1, Ordering::Relaxed);
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
        let counter = if self.completed {
            &self.counters.completed
        } else {
            &self.counters.cancelled
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Counters {
    arrived: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
}

/// What the replicas have counted, together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// Requests whose handler was started.
    pub(crate) arrived: u64,
    /// Those whose handler was dropped, because the client had hung up.
    pub(crate) cancelled: u64,
}

impl Sub for Served {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            arrived: self.arrived - before.arrived,
            cancelled: self.cancelled - before.cancelled,
        }
    }
}

/// What the replicas have counted, once they have heard that every client has hung up.
pub(crate) async fn settled(replicas: &[Replica]) -> Result<Served, &'static str> {
    let wait = async {
        loop {
            let sum = |counter: fn(&Counters) -> &AtomicU64| {
                replicas
                    .iter()
                    .map(|r| counter(&r.counters).load(Ordering::Relaxed))
                    .sum::<u64>()
            };
            let (completed, cancelled) = (sum(|c| &c.completed), sum(|c| &c.cancelled));
            let arrived = sum(|c| &c.arrived);
            if arrived == completed + cancelled {
                return Served { arrived, cancelled };
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), wait)
        .await
        .map_err(|_| "the replicas are still at work")
}
