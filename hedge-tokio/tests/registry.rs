//! One hedger for each of many backends, in paused time.

use core::time::Duration;

use hedge_tokio::{HedgeConfig, Percentile, Registry};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

const BACKENDS: u64 = 64;

fn config(backend: u64) -> HedgeConfig {
    HedgeConfig {
        strategy_name: Some(format!("backend-{backend}").parse().unwrap()),
        ..HedgeConfig::default()
    }
}

/// Backend b takes b to 2 b ms, so that its P95 is 1.95 b: 64 times that of the first for the last.
#[tokio::test(start_paused = true)]
async fn each_of_64_backends_learns_its_own_delay() {
    let registry = Registry::new();
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..400 {
        // In turn, so that a registry that mixed them up would be found out.
        for backend in 1..=BACKENDS {
            let hedger = registry.hedger(&config(backend)).unwrap();
            let hedged = hedger.request(|_| {
                let latency = Duration::from_millis(backend).mul_f64(rng.random_range(1.0..2.0));
                async move {
                    sleep(latency).await;
                    Ok::<_, ()>(())
                }
            });
            hedged.await.unwrap();
        }
    }
    assert_eq!(registry.list().len() as u64, BACKENDS);
    for backend in 1..=BACKENDS {
        let hedger = registry.get(&format!("backend-{backend}")).unwrap();
        assert_eq!(hedger.metrics().total_requests, 400);
        let stats = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats());
        let delay = stats.unwrap().delay.unwrap().as_secs_f64() * 1e3;
        // Tokio's timer is one of whole milliseconds.
        let p95 = 1.95 * backend as f64;
        assert!(
            (p95 - delay).abs() <= 1.0 + 0.04 * p95,
            "{backend}: {delay} for {p95}"
        );
    }
}
