//! What may go from thread to thread, and what may live for ever.

use core::cell::RefCell;
use core::future::Ready;
use std::sync::Mutex;

use futures_lite::{StreamExt, stream};
use hedge_core::adapter::{HedgerState, Policy, Sharded, SharedBudget};
use hedge_core::cascade::{Cascade, CascadeError};
use hedge_core::manual::ManualTimer;
use hedge_core::runtime::{RegistryError, RequestError};
use hedge_core::strategy::{Learned, RestoreError};
use hedge_core::telemetry::NoSink;
use hedge_core::{
    AnyStrategy, Attempt, BoxError, Budget, ConfigError, Error, Event, Fixed, Hedger, LocalHedger,
    Metrics, Name, Options, Outcome, Percentile, Record, Suppressed, WindowedPercentile,
};
use hedge_tokio::TokioTimer;

type Shared<S> = Hedger<TokioTimer, Sharded<S, Metrics>, SharedBudget>;
type Locked<S> = Hedger<TokioTimer, Mutex<HedgerState<S, Metrics>>, Mutex<Budget>>;

const fn shared<T: Send + Sync + 'static>() {}
const fn sent<T: Send + 'static>() {}

const _: () = {
    shared::<Shared<Percentile>>();
    shared::<Shared<AnyStrategy>>();
    shared::<Shared<Box<dyn hedge_core::Strategy + Send>>>();
    shared::<Locked<Percentile>>();
    shared::<hedge_tokio::Hedger>();
    shared::<SharedBudget>();
    shared::<TokioTimer>();
    shared::<Outcome>();
    shared::<Event>();
    shared::<Record>();
    shared::<Name>();
    // What fails, as errors have to be to be boxed.
    shared::<ConfigError>();
    shared::<RestoreError>();
    shared::<Suppressed>();
    shared::<Error<std::io::Error>>();
    shared::<CascadeError<std::io::Error, 4>>();
    shared::<RequestError<std::io::Error>>();
    shared::<RegistryError>();
    // The rest of a face.
    shared::<hedge_tokio::Registry>();
    shared::<hedge_tokio::SharedBudget>();
    shared::<Learned>();
    shared::<Cascade<TokioTimer, 4>>();
    sent::<hedge_tokio::Spawned<u8>>();
    // A hedger for one thread may move to another as a whole.
    sent::<LocalHedger<TokioTimer, Percentile>>();
};

fn is_send<T: Send>(_: &T) {}

fn answer(_: Attempt) -> Ready<Result<(), ()>> {
    core::future::ready(Ok(()))
}

#[test]
fn requests_are_send_where_their_parts_are() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let hedger: Shared<Percentile> = Hedger::builder(TokioTimer::new())
        .build_with(Sharded::new, SharedBudget::new)
        .unwrap();
    let request = hedger.request(answer);
    is_send(&request);
    is_send(&hedger.call().unhedged().request(answer));
    is_send(
        &hedge_tokio::Hedger::builder()
            .build()
            .unwrap()
            .request(answer),
    );
    runtime.block_on(request).unwrap();
}

/// A request that borrows its hedger and its data can be part of a spawned task.
#[test]
fn borrowing_requests_can_be_spawned() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build();
    let task = async {
        let hedger: Shared<Fixed> = Hedger::builder(TokioTimer::new())
            .strategy(Fixed::new(core::time::Duration::ZERO))
            .build_with(Sharded::new, SharedBudget::new)
            .unwrap();
        let key = String::from("key");
        let get = async |_| {
            tokio::task::yield_now().await;
            Ok::<_, ()>(key.len())
        };
        // Handed on to other futures as well.
        let (one, two) = tokio::join!(hedger.request(get), hedger.call().request(get));
        assert_eq!(one.unwrap().value, two.unwrap().value);
        hedger.request(get).await.unwrap().value
    };
    assert_eq!(
        runtime
            .unwrap()
            .block_on(async { tokio::spawn(task).await })
            .unwrap(),
        3
    );
}

/// Streams whose error is a boxed one, which the compiler compares lifetime by lifetime, can be part of a spawned task.
#[test]
fn streams_with_boxed_errors_can_be_spawned() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build();
    let task = async {
        let hedger = hedge_tokio::Hedger::builder().build().unwrap();
        let open =
            async |_| Ok::<_, BoxError>(stream::iter([Err::<u8, _>(BoxError::from("first"))]));
        let error = hedger.stream(open).await.map_err(Error::boxed).err();
        let open = async |_| Ok::<_, BoxError>(stream::iter([Ok(7), Err(BoxError::from("later"))]));
        let mut stream = hedger.call().stream(open).await.unwrap().value;
        let items = [stream.next().await, stream.next().await];
        (
            error.unwrap(),
            items.map(|item| item.unwrap().map_err(|error| error.to_string())),
        )
    };
    let (error, items) = runtime
        .unwrap()
        .block_on(async { tokio::spawn(task).await })
        .unwrap();
    assert_eq!(error.source().unwrap().to_string(), "first");
    assert_eq!(items, [Ok(7), Err("later".to_owned())]);
}

/// All parts are made by `const` functions, so that firmware keeps its hedger in a `static`.
#[test]
fn a_hedger_can_be_a_static() {
    type Parts = LocalHedger<(), WindowedPercentile<16>>;
    static HEDGER: Mutex<Parts> = Mutex::new(Hedger::from_parts(
        (),
        RefCell::new(HedgerState::new(
            Policy::new(WindowedPercentile::with_window(95.0), Options::DEFAULT),
            Metrics::new(),
        )),
        RefCell::new(Budget::percent(10.0)),
        NoSink,
    ));
    assert!(HEDGER.lock().unwrap().strategy_name().is_empty());
    static CLOCK: Mutex<ManualTimer<4>> = Mutex::new(ManualTimer::new());
    assert_eq!(CLOCK.lock().unwrap().next_deadline(), None);
}
