//! The suite on embassy: its executor, on a thread of the host, and the host's clock. (On embassy's mock clock it
//! runs in `tests/embassy`: two clocks do not fit in one workspace.)

use core::time::Duration;
use std::sync::mpsc;
use std::thread;

use embassy_executor::{Executor, raw::TaskStorage};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use hedge_conformance::{Home, World, conformance};
use hedge_core::adapter::HedgerState;
use hedge_core::metrics::Recorder;
use hedge_core::{Budget, Strategy};
use hedge_embassy::{EmbassyTimer, Shared};

/// As in a `static` hedger.
struct InStatic;

impl Home for InStatic {
    type Lock<D> = Shared<CriticalSectionRawMutex, D>;
    type SharedState<S: Strategy, M: Recorder> = Shared<CriticalSectionRawMutex, HedgerState<S, M>>;
    type Budget = Shared<CriticalSectionRawMutex, Budget>;

    fn lock<D>(data: D) -> Self::Lock<D> {
        Shared::new(data)
    }

    fn ledger<S: Strategy, M: Recorder>(state: HedgerState<S, M>) -> Self::SharedState<S, M> {
        Shared::new(state)
    }

    fn budget(budget: Budget) -> Self::Budget {
        Shared::new(budget)
    }
}

/// As a task, which takes all its timers' wake-ups from one place in embassy's queue.
fn run<C, F>(case: C)
where
    C: FnOnce(EmbassyTimer) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (ended, end) = mpsc::channel();
    // An executor runs for ever: its thread ends with the process, or when the case panics.
    thread::spawn(move || {
        let executor = Box::leak(Box::new(Executor::new()));
        let storage = Box::leak(Box::new(TaskStorage::new()));
        let task = storage.spawn(|| async move {
            case(EmbassyTimer).await;
            ended.send(()).unwrap();
        });
        executor.run(|spawner| spawner.spawn(task.unwrap()));
    });
    end.recv().expect("the case panicked");
}

fn world(timer: EmbassyTimer) -> World<EmbassyTimer, InStatic> {
    World::real(timer).with_tick(Duration::from_millis(10))
}

conformance!(in_static, world, run);
