//! What strategies, histograms and budgets cost, alone. `cargo run --release -p hedge-bench` shows them beside
//! others.

use core::hint::black_box;
use core::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hedge_core::metrics::Histogram;
use hedge_core::strategy::Sample;
use hedge_core::{
    Adaptive, Budget, ExponentialBackoff, Fixed, Hints, Instant, Optimal, Percentile, Record,
    Strategy, WorkloadAware,
};

/// Latencies of 100 to 600 ms, and one in 50 of 2 s, without end.
fn reports() -> impl Iterator<Item = Record> {
    let latency = |n: u64| {
        if n.is_multiple_of(50) {
            2000
        } else {
            100 + 37 * n % 500
        }
    };
    (0..).map(move |n| Record::new(Sample::Finished(Duration::from_millis(latency(n)))))
}

fn warm<S: Strategy>(mut strategy: S) -> S {
    for report in reports().take(1000) {
        strategy.record(&report);
    }
    strategy
}

fn strategy(criterion: &mut Criterion, name: &str, strategy: impl Strategy + Clone) {
    let mut group = criterion.benchmark_group(name);
    let mut planning = warm(strategy.clone());
    group.bench_function("plan", |bencher| {
        bencher.iter(|| planning.plan(black_box(&Hints::NONE), Instant::ZERO));
    });
    let mut recording = warm(strategy);
    let mut reports = reports();
    group.bench_function("record", |bencher| {
        bencher.iter(|| {
            let report = reports.next();
            report.inspect(|report| recording.record(report))
        });
    });
    group.finish();
}

fn strategies(criterion: &mut Criterion) {
    strategy(criterion, "fixed", Fixed::new(Duration::from_millis(100)));
    strategy(criterion, "percentile", Percentile::new(95.0));
    strategy(criterion, "adaptive", Adaptive::new());
    strategy(criterion, "workload_aware", WorkloadAware::new());
    strategy(criterion, "exponential_backoff", ExponentialBackoff::new());
    strategy(criterion, "optimal", Optimal::new(99.0, 5.0));
}

fn histogram(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histogram");
    let mut histogram = Histogram::new();
    let mut reports = reports();
    group.bench_function("record", |bencher| {
        bencher.iter(|| {
            let report = reports.next();
            report.inspect(|report| histogram.record(report.total()))
        });
    });
    group.bench_function("quantile", |bencher| {
        bencher.iter(|| histogram.quantile(black_box(0.95)));
    });
    group.finish();
}

fn budget(criterion: &mut Criterion) {
    let mut budget = Budget::percent(10.0);
    criterion.bench_function("budget/deposit", |bencher| {
        bencher.iter(|| budget.deposit())
    });
    let mut budget = Budget::percent(100.0).burst(1_000_000);
    criterion.bench_function("budget/charge and release", |bencher| {
        bencher.iter(|| {
            budget.deposit();
            let charged = budget.withdraw(Instant::ZERO);
            budget.give_back(1);
            charged
        });
    });
}

criterion_group!(benches, strategies, histogram, budget);
criterion_main!(benches);
