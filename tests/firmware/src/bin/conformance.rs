//! The conformance suite on embassy and a real core: the cases that need no unwinding.
//!
//! A case that fails panics, which ends the program.
#![no_std]
#![no_main]

use cortex_m_semihosting::hprintln;
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use hedge_conformance::{Home, World, cases, for_each_case};
use hedge_core::adapter::HedgerState;
use hedge_core::metrics::Recorder;
use hedge_core::{Budget, Strategy};
use hedge_embassy::{EmbassyTimer, Shared};
use hedge_firmware::{clock, exit};
use panic_semihosting as _;

/// Requests share their state as in a `static` hedger.
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

/// Runs every case, and gives their number.
macro_rules! run_all {
    ({ $world:ident } $($file:ident $cases:tt)*) => { 0 $(+ run_all!(@file $world $file $cases))* };
    // Keys need an allocator, and panics unwinding.
    (@file $world:ident keys $cases:tt) => { 0 };
    (@file $world:ident panics $cases:tt) => { 0 };
    (@file $world:ident $file:ident { $($case:ident,)* }) => {
        0 $(+ {
            hprintln!("{}", concat!(stringify!($file), "::", stringify!($case)));
            cases::$file::$case(&$world).await;
            1
        })*
    };
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let Some(core) = cortex_m::Peripherals::take() else {
        exit(false);
    };
    clock::start(core.SYST);
    let world = World::<_, InStatic>::real(EmbassyTimer);
    let cases: u32 = for_each_case!([run_all] world);
    hprintln!(
        "{} cases passed in {} s",
        cases,
        embassy_time::Instant::now().as_secs()
    );
    exit(cases > 100);
}
