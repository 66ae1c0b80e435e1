//! Whether a request costs more when there is more of something.

use core::future::pending;
use core::hint::black_box;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use hedge_core::adapter::HedgerState;
use hedge_core::metrics::NoMetrics;
use hedge_core::telemetry::NoSink;
use hedge_tokio::strategy::WindowedPercentile;
use hedge_tokio::{Attempt, Budget, Event, Hedger, Percentile, TokioTimer};
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::case::Case;
use crate::chart;
use crate::options::Growth;
use crate::rounds::{Judge, Patience, alternate};
use crate::runtime::Flavour;
use crate::script::{Failed, Kind, Script, Slot};

/// Of how much there is.
pub(crate) const SIZES: [usize; 3] = [100, 10_000, 1_000_000];

/// How long undisturbed rounds are waited for, of each line.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a request that is pending once costs by how much there is of something, in ns.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) median_ns: [f64; SIZES.len()],
}

pub(crate) fn measure(options: &Growth) -> Result<Vec<Row>, String> {
    let judge = Judge::new();
    let sweeps: [(&'static str, Sweep); 4] = [
        ("requests seen", requests_seen),
        ("timers in flight", timers_in_flight),
        ("hedgers, one of them used", |size| hedgers(size, 1)),
        ("hedgers, all used in turn", |size| hedgers(size, size)),
    ];
    let bar = hedge_terminal::progress(sweeps.len() as u64);
    let mut rows = Vec::new();
    for (what, sweep) in sweeps {
        bar.set_message(what);
        rows.push(Row {
            what,
            median_ns: measure_sweep(options, &judge, sweep)?,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(file) = &options.svg {
        chart::draw(file, &rows)?;
    }
    Ok(rows)
}

/// Makes as much of something, and a case that is measured beside it.
type Sweep = fn(usize) -> Result<(Runtime, Case), String>;

fn measure_sweep(
    options: &Growth,
    judge: &Judge,
    sweep: Sweep,
) -> Result<[f64; SIZES.len()], String> {
    let slots: &'static [Slot] = vec![Slot::default()].leak();
    let beside = SIZES
        .into_iter()
        .map(sweep)
        .collect::<Result<Vec<_>, _>>()?;
    let patience = Patience {
        wanted: options.rounds,
        time: PATIENCE,
    };
    let rounds = alternate(judge, SIZES.len(), patience, |cell| {
        let (runtime, case) = &beside[cell];
        case.round(runtime, Kind::Pending, slots, options.requests)
    })?;
    let mut medians = [f64::NAN; SIZES.len()];
    for (median, rounds) in medians.iter_mut().zip(rounds) {
        *median = rounds.median(patience);
    }
    Ok(medians)
}

fn requests_seen(size: usize) -> Result<(Runtime, Case), String> {
    let runtime = Flavour::CurrentThread.start()?;
    let hedger = hedger()?;
    runtime.block_on(async {
        for _ in 0..size {
            black_box(
                hedger
                    .request(|_| async { Ok::<_, Failed>(0_u32) })
                    .await
                    .is_ok(),
            );
        }
    });
    Ok((runtime, case(hedger)))
}

/// Each is a request of the same hedger whose primary hangs, long before its hedge is due.
fn timers_in_flight(size: usize) -> Result<(Runtime, Case), String> {
    let runtime = Flavour::CurrentThread.start()?;
    let hedger = hedger()?;
    let out = Arc::new(());
    runtime.block_on(async {
        for _ in 0..size {
            let (hedger, out) = (hedger.clone(), Arc::clone(&out));
            tokio::spawn(async move {
                let hangs = |_: Attempt| {
                    // Held twice from now on.
                    let out = Arc::clone(&out);
                    async move {
                        pending::<()>().await;
                        drop(out);
                        Ok::<_, Failed>(0_u32)
                    }
                };
                hedger.request(hangs).await.is_ok()
            });
        }
        while Arc::strong_count(&out) <= 2 * size {
            yield_now().await;
        }
    });
    Ok((runtime, case(hedger)))
}

/// As small as may be, so that there is room for a million; requests go to the first `used` in turn.
fn hedgers(size: usize, used: usize) -> Result<(Runtime, Case), String> {
    type SharedState = Mutex<HedgerState<WindowedPercentile<16>, NoMetrics>>;
    type Small = hedge_core::Hedger<TokioTimer, SharedState, Mutex<Budget>, NoSink>;
    let timer = TokioTimer::new();
    let build = |_| -> Result<Small, String> {
        let builder = hedge_core::Hedger::builder(timer);
        let strategy = WindowedPercentile::with_window::<16>(95.0).window_size(16);
        let builder = builder.strategy(strategy).without_metrics();
        let built = builder.build_with(Mutex::new, Mutex::new);
        built.map_err(|error| error.to_string())
    };
    let hedgers = (0..size).map(build).collect::<Result<Vec<_>, _>>()?;
    let hedgers: &'static [Small] = hedgers.leak();
    let case = Case::new("hedgers", move || {
        let mut next = hedgers[..used].iter().cycle();
        move |script: Script| {
            let hedger = next.next().unwrap_or(&hedgers[0]);
            hedger.request(move |_| script.launch())
        }
    });
    Ok((Flavour::CurrentThread.start()?, case))
}

fn hedger() -> Result<Hedger, String> {
    let hedger = Hedger::builder()
        .strategy(Percentile::new(95.0).initial_delay(Duration::from_secs(1000)))
        .timeout(Duration::from_secs(100_000))
        .sink(|event: &Event| {
            black_box(event);
        })
        .build();
    hedger.map_err(|error| error.to_string())
}

fn case(hedger: Hedger) -> Case {
    let hedger: &'static Hedger = Box::leak(Box::new(hedger));
    Case::new("hedge/percentile", move || {
        move |script: Script| hedger.request(move |_| script.launch())
    })
}
