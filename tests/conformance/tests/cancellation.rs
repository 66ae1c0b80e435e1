//! Requests that are cancelled the ways that runtimes know: lost in a select, timed out, aborted, and shut down
//! with the runtime. Whichever it is, every attempt is dropped, the request is counted as dropped once, no place in
//! flight stays taken, and the hedger works on.

use core::future::{Future, pending, poll_fn};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use hedge_core::{Attempt, Budget, Fixed};

/// The delay of hedges.
const SOON: Duration = Duration::from_millis(1);
/// Longer than that.
const LATER: Duration = Duration::from_millis(30);

/// A backend that never answers, and counts.
#[derive(Default)]
struct Backend {
    started: AtomicU64,
    dropped: AtomicU64,
    waits: Mutex<Option<Waker>>,
}

/// An attempt, until it is dropped.
struct Visit(Arc<Backend>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Backend {
    /// A future that owns all it needs, so that it can be a task.
    fn call(self: &Arc<Self>, _: Attempt) -> impl Future<Output = Result<(), ()>> + Send + use<> {
        self.started.fetch_add(1, Ordering::SeqCst);
        if let Some(waker) = self.waits.lock().unwrap().take() {
            waker.wake();
        }
        let visit = Visit(self.clone());
        async move {
            let _visit = visit;
            pending().await
        }
    }

    /// Until a primary and its hedge have started.
    async fn is_hedged(&self) {
        poll_fn(|cx| {
            *self.waits.lock().unwrap() = Some(cx.waker().clone());
            if self.started.load(Ordering::SeqCst) < 2 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    fn running(&self) -> u64 {
        self.started.load(Ordering::SeqCst) - self.dropped.load(Ordering::SeqCst)
    }
}

/// What must hold of a hedger whose only request was cancelled.
macro_rules! assert_cancelled {
    ($hedger:expr, $backend:expr) => {
        assert_eq!($backend.running(), 0);
        let metrics = $hedger.metrics();
        assert_eq!((metrics.total_requests, metrics.cancelled), (1, 1));
        let started = $backend.started.load(Ordering::SeqCst);
        assert_eq!(metrics.hedges + 1, started);
        assert_eq!($hedger.in_flight(), 0);
    };
}

/// And of its next request.
macro_rules! assert_works {
    ($hedger:expr) => {
        let answer = $hedger.request(async |_| Ok::<_, ()>(7)).await;
        assert_eq!(answer.unwrap().value, 7);
    };
}

mod on_tokio {
    use hedge_tokio::Hedger;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn hedger() -> Hedger {
        let builder = Hedger::builder().strategy(Fixed::new(SOON));
        builder.budget(Budget::unlimited()).build().unwrap()
    }

    fn paused() -> Runtime {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    }

    fn many_threads() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_time().build().unwrap()
    }

    #[test]
    fn in_a_select() {
        paused().block_on(async {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            tokio::select! {
                _ = hedger.request(|attempt| backend.call(attempt)) => panic!("answered"),
                () = backend.is_hedged() => {}
            }
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    #[test]
    fn by_a_timeout() {
        paused().block_on(async {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let request = hedger.request(|attempt| backend.call(attempt));
            assert!(tokio::time::timeout(LATER, request).await.is_err());
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    #[test]
    fn by_an_abort() {
        many_threads().block_on(async {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let task = {
                let (hedger, backend) = (hedger.clone(), backend.clone());
                tokio::spawn(async move { hedger.request(|attempt| backend.call(attempt)).await })
            };
            backend.is_hedged().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    /// Attempts that are tasks, or parts of the request's own.
    #[derive(Clone, Copy)]
    enum Kind {
        Inside,
        Spawned,
        Detached,
    }

    #[test]
    fn by_the_end_of_its_runtime() {
        for kind in [Kind::Inside, Kind::Spawned, Kind::Detached] {
            let runtime = many_threads();
            let backend = Arc::new(Backend::default());
            let hedger = runtime.block_on(async {
                let hedger = hedger();
                let (own, backend_of_task) = (hedger.clone(), backend.clone());
                tokio::spawn(async move {
                    let call = |attempt| backend_of_task.call(attempt);
                    match kind {
                        Kind::Inside => own.request(call).await.map(drop),
                        Kind::Spawned => own.request_spawned(call).await.map(drop),
                        Kind::Detached => own.request_detached(call).await.map(drop),
                    }
                });
                backend.is_hedged().await;
                hedger
            });
            drop(runtime);
            assert_cancelled!(hedger, backend);
            // Another runtime will do.
            many_threads().block_on(async {
                assert_works!(hedger);
            });
        }
    }
}

mod on_async_std_and_smol {
    use futures_lite::future::or;
    use hedge_async_std::Hedger;

    use super::*;

    fn hedger() -> Hedger {
        let builder = Hedger::builder().strategy(Fixed::new(SOON));
        builder.budget(Budget::unlimited()).build().unwrap()
    }

    #[test]
    fn in_a_select() {
        async_std::task::block_on(async {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let request = async {
                let _ = hedger.request(|attempt| backend.call(attempt)).await;
                panic!("answered");
            };
            or(request, backend.is_hedged()).await;
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    #[test]
    fn by_a_timeout() {
        async_std::task::block_on(async {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let request = hedger.request(|attempt| backend.call(attempt));
            assert!(async_std::future::timeout(LATER, request).await.is_err());
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    #[test]
    fn by_an_abort() {
        async_std::task::block_on(async {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let (own, backend_of_task) = (hedger.clone(), backend.clone());
            let request = async move { own.request(|attempt| backend_of_task.call(attempt)).await };
            let task = async_std::task::spawn(request);
            backend.is_hedged().await;
            assert!(task.cancel().await.is_none());
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    /// async-std's own never ends; smol's executors can be dropped.
    #[test]
    fn by_the_end_of_its_executor() {
        let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
        let executor = smol::Executor::new();
        let (own, backend_of_task) = (hedger.clone(), backend.clone());
        let request = async move { own.request(|attempt| backend_of_task.call(attempt)).await };
        executor.spawn(request).detach();
        smol::block_on(executor.run(backend.is_hedged()));
        drop(executor);
        assert_cancelled!(hedger, backend);
        smol::block_on(async {
            assert_works!(hedger);
        });
    }
}

/// Embassy's tasks cannot be aborted, and its executors never end.
mod on_embassy {
    use std::sync::mpsc;
    use std::thread;

    use embassy_executor::{Executor, raw::TaskStorage};
    use futures_lite::future::or;
    use hedge_core::{Fixed, Hedger, LocalHedger};
    use hedge_embassy::EmbassyTimer;

    use super::*;

    fn hedger() -> LocalHedger<EmbassyTimer, Fixed> {
        let builder = Hedger::builder(EmbassyTimer).strategy(Fixed::new(SOON));
        builder.budget(Budget::unlimited()).build_local().unwrap()
    }

    fn run<F: Future<Output = ()> + 'static>(case: impl FnOnce() -> F + Send + 'static) {
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            let executor = Box::leak(Box::new(Executor::new()));
            let storage = Box::leak(Box::new(TaskStorage::new()));
            let task = storage.spawn(|| async move {
                case().await;
                ended.send(()).unwrap();
            });
            executor.run(|spawner| spawner.spawn(task.unwrap()));
        });
        end.recv().expect("the case panicked");
    }

    #[test]
    fn in_a_select() {
        run(async || {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let request = async {
                let _ = hedger.request(|attempt| backend.call(attempt)).await;
                panic!("answered");
            };
            or(request, backend.is_hedged()).await;
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }

    #[test]
    fn by_a_timeout() {
        run(async || {
            let (hedger, backend) = (hedger(), Arc::new(Backend::default()));
            let request = hedger.request(|attempt| backend.call(attempt));
            let time = embassy_time::Duration::from_millis(30);
            assert!(embassy_time::with_timeout(time, request).await.is_err());
            assert_cancelled!(hedger, backend);
            assert_works!(hedger);
        });
    }
}
