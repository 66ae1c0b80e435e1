//! seatbelt 0.11.0 (October 2026): a fixed delay, no budget; its clock is a task that drives all timers.

use layered::{Execute, Service, Stack};
use seatbelt::hedging::Hedging;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::Clock;

use crate::case::Case;
use crate::cases::leak;
use crate::script::{Failed, Kind, Script};

pub(super) fn case(kind: Kind) -> Case {
    let context = ResilienceContext::new(Clock::new_tokio());
    let stack = (
        Hedging::layer("bench", &context)
            .clone_input()
            .recovery_with(|result: &Result<u32, Failed>, _| match result {
                Ok(_) => RecoveryInfo::never(),
                Err(_) => RecoveryInfo::retry(),
            })
            .hedging_delay(kind.delay()),
        Execute::new(Script::launch),
    );
    let service = leak(stack.into_service());
    Case::new("seatbelt", move || {
        move |script: Script| service.execute(script)
    })
}
