//! The load: requests that are made when their time has come, whatever became of those before.

use core::time::Duration;

use hedge_tokio::{Error, Hedger};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::backend::{Backend, Plan};
use crate::{Failure, TIMEOUT};

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// When it was made, since the beginning.
    pub(crate) start: Duration,
    /// The time that it was given, if it was not answered.
    pub(crate) latency: Duration,
    pub(crate) answered: bool,
    pub(crate) attempts: u8,
}

/// Makes every request, and says what became of them.
pub(crate) async fn run(
    plan: Plan,
    backend: Backend,
    hedger: Hedger,
) -> Result<Vec<Done>, Failure> {
    let http = reqwest::Client::builder()
        // A proxy named by the environment has no business on loopback.
        .no_proxy()
        .tcp_nodelay(true)
        // Both ends of every connection are files of this process.
        .pool_max_idle_per_host(16)
        .build()?;
    let mut requests = JoinSet::new();
    let mut done = Vec::new();
    for (id, at) in plan.arrivals().enumerate() {
        sleep_until(at).await;
        let (http, hedger) = (http.clone(), hedger.clone());
        let url = format!("http://{}/{id}", backend.address());
        requests.spawn(async move {
            let (start, clock) = (plan.elapsed(), Instant::now());
            let result = hedger.request(|_| get(&http, &url)).await;
            let (answered, attempts) = match result {
                Ok(hedged) => (true, hedged.outcome.attempts),
                Err(Error::Failed { attempts, .. } | Error::Timeout { attempts, .. }) => {
                    (false, attempts)
                }
                Err(_) => (false, 1),
            };
            let latency = if answered { clock.elapsed() } else { TIMEOUT };
            Done {
                start,
                latency,
                answered,
                attempts,
            }
        });
        while let Some(finished) = requests.try_join_next() {
            done.push(finished?);
        }
    }
    while let Some(finished) = requests.join_next().await {
        done.push(finished?);
    }
    Ok(done)
}

async fn get(http: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    http.get(url).send().await?.error_for_status()?.text().await
}
