//! A fleet that shares what it has learned over Redis, so that a new instance starts warm.
//!
//! ```sh
//! redis-server --save '' & cargo run -p hedge-tokio --example fleet --features serde -- redis://127.0.0.1
//! ```
//!
//! Without Redis it runs as well: each instance then learns alone.

#[macro_use]
#[path = "../common/print.rs"]
mod print;
mod share;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use hedge_tokio::{Budget, Hedger, Percentile};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::share::{Member, Sharing};

type Failure = Box<dyn core::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1);
    let redis = redis::Client::open(url.as_deref().unwrap_or("redis://127.0.0.1"))?;
    let sharing = Sharing {
        service: "hedge:search".to_owned(),
        every: Duration::from_millis(500),
        patience: Duration::from_secs(1),
        expiry: Duration::from_secs(5),
        requests: 1000,
    };
    let join = async |hedger: &Hedger, id: &str| {
        Member::join(hedger, redis.clone(), id.to_owned(), sharing.clone()).await
    };

    println!(
        "{:<10} {:>9} {:>9} {:>9}",
        "instance", "requests", "hedged", "P99"
    );
    let mut old = Vec::new();
    for id in ["first", "second", "third"] {
        let hedger = hedger()?;
        let member = join(&hedger, id).await;
        old.push((id, hedger, member));
    }
    for (id, hedger, _) in &old {
        run(id, hedger, 2000).await?;
    }
    sleep(2 * sharing.every).await;

    let new = hedger()?;
    let member = join(&new, "new").await;
    run("new", &new, 1000).await?;
    run("cold", &hedger()?, 1000).await?;
    let [merged, refused, away] = {
        let counts = &member.counts;
        [&counts.merged, &counts.refused, &counts.away].map(|count| count.load(Relaxed))
    };
    println!(
        "\nthe new one merged {merged} entries and refused {refused}; {away} rounds without Redis"
    );
    Ok(())
}

fn hedger() -> Result<Hedger, Failure> {
    let builder = Hedger::builder().strategy(Percentile::new(95.0));
    Ok(builder.budget(Budget::percent(10.0)).build()?)
}

async fn run(name: &str, hedger: &Hedger, requests: u32) -> Result<(), Failure> {
    let before = hedger.metrics();
    let mut all = JoinSet::new();
    for request in 0..requests {
        let hedger = hedger.clone();
        all.spawn(async move {
            sleep(request * Duration::from_millis(2)).await;
            let sent = Instant::now();
            let answer = hedger.request(|attempt| search(attempt.index())).await;
            answer.map(|_| sent.elapsed())
        });
    }
    let mut latencies: Vec<_> = all.join_all().await.into_iter().collect::<Result<_, _>>()?;
    latencies.sort_unstable();
    let (p99, after) = (latencies[latencies.len() * 99 / 100], hedger.metrics());
    let hedged = (after.hedges - before.hedges) as f64 / f64::from(requests);
    println!(
        "{name:<10} {requests:>9} {:>7.1} % {:>6} ms",
        100.0 * hedged,
        p99.as_millis()
    );
    Ok(())
}

/// The backend: 40 ms and an exponential tail with a mean of 60 ms. The draws are spread evenly, so that any 1000
/// requests are a fair sample; those of hedges apart, so that they take none of these.
async fn search(attempt: usize) -> std::io::Result<()> {
    static DRAWS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    let draw = DRAWS[attempt.min(1)].fetch_add(1, Relaxed) as f64 * 0.618_033_988_749_895 % 1.0;
    sleep(Duration::from_secs_f64(0.040 - 0.060 * (1.0 - draw).ln())).await;
    Ok(())
}
