//! Statistics by key, on tokio's paused clock.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use hedge_tokio::strategy::Plan;
use hedge_tokio::tower::{HedgeLayer, Policy, RequestOptions};
use hedge_tokio::{
    Budget, Event, Fixed, Hedger, Hints, Instant, Key, Off, Options, Percentile, Strategy,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{self, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hedger() -> Hedger {
    let builder = Hedger::builder().strategy(Percentile::new(95.0));
    let mut options = Options::DEFAULT;
    options.guard = Some(false);
    builder
        .options(options)
        .budget(Budget::percent(10.0))
        .build()
        .unwrap()
}

/// The latencies of a route's attempts, in the order in which these start.
#[derive(Clone)]
struct Latencies {
    random: Arc<Mutex<StdRng>>,
    median_ms: f64,
    stuck: f64,
}

impl Latencies {
    fn new(seed: u64, median_ms: f64, stuck: f64) -> Self {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self {
            random,
            median_ms,
            stuck,
        }
    }

    fn next(&self) -> Duration {
        let mut random = self.random.lock().unwrap();
        if random.random::<f64>() < self.stuck {
            return ms(2000);
        }
        let normal = rand_distr::StandardNormal;
        let normal: f64 = rand_distr::Distribution::sample(&normal, &mut *random);
        Duration::from_secs_f64(self.median_ms * (0.5 * normal).exp() / 1000.0)
    }
}

/// Gives each route its key.
#[derive(Clone)]
struct ByRoute;

impl<Res, E> Policy<String, Res, E> for ByRoute {
    fn copy(&self, request: &String) -> Option<String> {
        Some(request.clone())
    }

    fn options<'r>(&self, request: &'r String) -> RequestOptions<'r> {
        RequestOptions::new().key(request)
    }
}

/// The percentile of latencies, and sorts them.
fn percentile(latencies: &mut [Duration], p: f64) -> Duration {
    latencies.sort_unstable();
    latencies[(latencies.len() as f64 * p / 100.0) as usize]
}

async fn took<V>(request: impl Future<Output = V>) -> Duration {
    let start = time::Instant::now();
    request.await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn routes_that_are_100_times_apart_hedge_as_if_each_had_its_own_hedger() {
    const REQUESTS: usize = 20_000;
    let medians = [40.0, 4000.0];
    let latencies =
        |seed| [0_u64, 1].map(|route| Latencies::new(seed + route, medians[route as usize], 0.0));
    for seed in [1, 77] {
        let shared = hedger();
        let by_route = latencies(seed);
        let server = service_fn(move |route: String| {
            let latency = by_route[usize::from(route == "/slow")].next();
            async move {
                sleep(latency).await;
                Ok::<_, std::io::Error>(())
            }
        });
        let mut service = HedgeLayer::new(shared.clone(), ByRoute).layer(server);
        let mut together = [Vec::new(), Vec::new()];
        for _ in 0..REQUESTS {
            for (route, latencies) in ["/fast", "/slow"].into_iter().zip(&mut together) {
                let request = service.ready().await.unwrap().call(route.to_owned());
                latencies.push(took(request).await);
            }
        }
        for (route, name) in ["/fast", "/slow"].into_iter().enumerate() {
            let metrics = shared.of(shared.key(name)).metrics();
            assert_eq!(metrics.total_requests, REQUESTS as u64);
            let rate = 100.0 * metrics.hedge_rate;
            assert!((4.5..=5.5).contains(&rate), "{name} hedges {rate} %");

            let apart = hedger();
            let alone = &latencies(seed)[route];
            let mut latencies = Vec::new();
            for _ in 0..REQUESTS {
                let request = apart.request(|_| async {
                    sleep(alone.next()).await;
                    Ok::<_, ()>(())
                });
                latencies.push(took(request).await);
            }
            let apart = percentile(&mut latencies, 99.0).as_secs_f64();
            let ratio = percentile(&mut together[route], 99.0).as_secs_f64() / apart;
            println!("{name} hedges {rate:.2} %, P99 {ratio:.3} of that of a separate hedger");
            assert!((0.95..=1.05).contains(&ratio), "{name} {ratio}");
        }
        assert_eq!(shared.metrics().total_requests, 2 * REQUESTS as u64);
    }
}

/// Case D8: two kinds of requests, of which 2 % are stuck.
#[tokio::test(start_paused = true)]
async fn a_slow_kind_does_not_delay_the_hedges_of_a_fast_one() {
    let p99 = async |by_key: bool| {
        let hedger = hedger();
        let kinds = [
            Latencies::new(3, 10.0, 0.02),
            Latencies::new(4, 300.0, 0.02),
        ];
        let keys = ["fast", "slow"].map(|name| if by_key { hedger.key(name) } else { Key::NONE });
        let mut latencies = [Vec::new(), Vec::new()];
        for n in 0..20_000 {
            let kind = usize::from(n % 10 >= 7);
            let request = hedger.call().key(keys[kind]).request(|_| async {
                sleep(kinds[kind].next()).await;
                Ok::<_, ()>(())
            });
            latencies[kind].push(took(request).await);
        }
        percentile(&mut latencies[0], 99.0)
    };
    let (together, apart) = (p99(false).await, p99(true).await);
    println!("P99 of the fast kind: together {together:?}, by key {apart:?}");
    assert!(apart <= ms(60), "{apart:?}");
    assert!(together >= 5 * apart, "{together:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_without_room_share_one() {
    let hedger = Hedger::builder().max_keys(8).build().unwrap();
    let server = service_fn(async |_: String| Ok::<_, std::io::Error>(()));
    let mut service = HedgeLayer::new(hedger.clone(), ByRoute).layer(server);
    for n in 0..10_000 {
        let request = service.ready().await.unwrap().call(format!("/{n}"));
        request.await.unwrap();
    }
    let keys: Vec<_> = hedger
        .keys()
        .map(|(key, name)| (key, name.to_owned()))
        .collect();
    assert_eq!(keys.len(), 9);
    for (key, name) in &keys {
        let requests = if *key == Key::OTHER { 10_000 - 8 } else { 1 };
        assert_eq!(hedger.of(*key).metrics().total_requests, requests, "{name}");
    }
    assert_eq!(hedger.key("/9999"), Key::OTHER);
    assert_eq!(hedger.of(Key::NONE).metrics().total_requests, 10_000);
    hedger.reset_metrics();
    assert_eq!(hedger.of(keys[0].0).metrics().total_requests, 0);
}

async fn learn(hedger: &Hedger, key: Key, latency: Duration) {
    for _ in 0..100 {
        let call = hedger.call().key(key);
        call.request(|_| async {
            sleep(latency).await;
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
    }
}

fn delay(hedger: &Hedger, key: Key) -> Option<Duration> {
    let keyed = hedger.of(key);
    let delay = |percentile: &mut Percentile| percentile.plan(&Hints::NONE, Instant::ZERO).delay();
    keyed.with_strategy(delay).flatten()
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_is_restored_by_key() {
    let hedger_before = hedger();
    for (name, millis) in [("a", 20), ("b", 400)] {
        learn(&hedger_before, hedger_before.key(name), ms(millis)).await;
    }
    let learned = hedger_before.export();
    assert_eq!(learned.keys().count(), 2);

    let hedger = Hedger::builder().max_keys(1).build().unwrap();
    assert_eq!(hedger.restore(&learned), Ok(()));
    // The second has no room.
    let (a, b) = (hedger.key("a"), hedger.key("b"));
    // The delay may lag a few samples behind what was recorded.
    let before = delay(&hedger_before, hedger_before.key("a")).unwrap();
    let restored = delay(&hedger, a).unwrap();
    assert!(restored.abs_diff(before) < before / 100, "{before:?}");
    assert_eq!((b, delay(&hedger, b)), (Key::OTHER, None));

    let fixed = Hedger::builder()
        .strategy(Fixed::new(ms(5)))
        .build()
        .unwrap();
    assert!(fixed.restore(&learned).is_err());
    assert_eq!(fixed.keys().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_changes_for_a_hedger_changes_for_all_keys() {
    let hedger = hedger();
    let key = hedger.key("a");
    learn(&hedger, key, ms(20)).await;
    assert!(delay(&hedger, key).is_some());
    hedger.reset();
    assert_eq!(delay(&hedger, key), None);

    let attempts = async || {
        let call = hedger.call().key(key);
        let request = call.request(|_| async {
            sleep(ms(50)).await;
            Ok::<_, ()>(())
        });
        request.await.unwrap().outcome.attempts
    };
    hedger.set_strategy(Fixed::new(ms(5))).unwrap();
    assert_eq!(attempts().await, 2);
    let mut options = hedger.options();
    options.enabled = false;
    hedger.set_options(options).unwrap();
    assert_eq!(attempts().await, 1);
    options.enabled = true;
    hedger.set_options(options).unwrap();
    hedger.set_strategy(Off).unwrap();
    assert_eq!(attempts().await, 1);
}

#[tokio::test(start_paused = true)]
async fn events_name_the_key() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    let sink = move |event: &Event| sink.lock().unwrap().push(event.key.as_str().to_owned());
    let hedger = Hedger::builder().sink(sink).build().unwrap();
    for key in [hedger.key("GET /users"), Key::NONE] {
        let request = hedger
            .call()
            .key(key)
            .request(|_| async { Ok::<_, ()>(()) });
        request.await.unwrap();
    }
    assert_eq!(*heard.lock().unwrap(), ["GET /users", "GET /users", "", ""]);
}

/// A strategy that cannot be made anew.
struct Custom;

impl Strategy for Custom {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(ms(5))
    }
}

#[test]
fn a_strategy_that_cannot_be_made_anew_serves_all() {
    let hedger = Hedger::builder().strategy(Custom).build().unwrap();
    assert_eq!(hedger.key("a"), Key::NONE);
    assert_eq!(hedger.keys().count(), 0);
}
