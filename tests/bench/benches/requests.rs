//! What a request costs on tokio. `cargo run --release -p hedge-bench` shows it beside others.

use core::future::{Future, poll_fn};
use core::hint::black_box;
use core::task::Poll;
use core::time::Duration;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use hedge_tokio::{
    Adaptive, Event, ExponentialBackoff, Fixed, Hedger, Off, Optimal, Percentile, Strategy,
};
use tokio::runtime::{Builder, Runtime};

async fn ready() -> Result<u32, ()> {
    Ok(black_box(7))
}

async fn pending() -> Result<u32, ()> {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    Ok(black_box(7))
}

/// The time that `requests` take one after the other, in a task.
fn time<F, Fut>(runtime: &Runtime, requests: u64, request: F) -> Duration
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output: Send> + Send,
{
    let task = runtime.spawn(async move {
        let start = Instant::now();
        for _ in 0..requests {
            black_box(request().await);
        }
        start.elapsed()
    });
    runtime.block_on(task).expect("no panic")
}

/// With metrics, a budget and a sink.
fn strategy(
    criterion: &mut Criterion,
    runtime: &Runtime,
    name: &str,
    strategy: impl Strategy + Send + 'static,
) {
    let sink = |event: &Event| {
        black_box(event);
    };
    let hedger = Hedger::builder().strategy(strategy).sink(sink).build();
    let hedger: &'static Hedger = Box::leak(Box::new(hedger.expect("valid options")));
    let mut group = criterion.benchmark_group(name);
    group.bench_function("ready", |bencher| {
        bencher.iter_custom(|n| time(runtime, n, || hedger.request(|_| ready())));
    });
    group.bench_function("pending", |bencher| {
        bencher.iter_custom(|n| time(runtime, n, || hedger.request(|_| pending())));
    });
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    criterion.bench_function("bare/ready", |bencher| {
        bencher.iter_custom(|n| time(&runtime, n, ready));
    });
    criterion.bench_function("bare/pending", |bencher| {
        bencher.iter_custom(|n| time(&runtime, n, pending));
    });
    let delay = Duration::from_millis(100);
    strategy(criterion, &runtime, "off", Off);
    strategy(criterion, &runtime, "fixed", Fixed::new(delay));
    strategy(criterion, &runtime, "percentile", Percentile::new(95.0));
    strategy(criterion, &runtime, "adaptive", Adaptive::new());
    strategy(
        criterion,
        &runtime,
        "exponential_backoff",
        ExponentialBackoff::new(),
    );
    strategy(criterion, &runtime, "optimal", Optimal::new(99.0, 5.0));
}

criterion_group!(benches, requests);
criterion_main!(benches);
