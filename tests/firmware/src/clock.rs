//! Embassy's time driver on SysTick. On a real board the HAL brings one, which need not wake up for
//! every tick.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};
use embassy_time_queue_utils::Queue;

/// The core clock of QEMU's mps2 boards.
const CORE_HZ: u32 = 25_000_000;

time_driver_impl!(static CLOCK: Clock = Clock {
    ticks: Mutex::new(Cell::new(0)),
    alarm: Mutex::new(Cell::new(u64::MAX)),
    sleepers: Mutex::new(RefCell::new(Queue::new())),
});

struct Clock {
    ticks: Mutex<Cell<u64>>,
    /// The tick at which the first sleeper is due.
    alarm: Mutex<Cell<u64>>,
    sleepers: Mutex<RefCell<Queue>>,
}

/// Starts the clock, at zero.
pub fn start(mut systick: SYST) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(CORE_HZ / TICK_HZ as u32 - 1);
    systick.clear_current();
    systick.enable_counter();
    systick.enable_interrupt();
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.ticks.borrow(cs).get())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut sleepers = self.sleepers.borrow_ref_mut(cs);
            if sleepers.schedule_wake(at, waker) {
                let now = self.ticks.borrow(cs).get();
                self.alarm.borrow(cs).set(sleepers.next_expiration(now));
            }
        });
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|cs| {
        let now = CLOCK.ticks.borrow(cs).get() + 1;
        CLOCK.ticks.borrow(cs).set(now);
        if now >= CLOCK.alarm.borrow(cs).get() {
            let next = CLOCK.sleepers.borrow_ref_mut(cs).next_expiration(now);
            CLOCK.alarm.borrow(cs).set(next);
        }
    });
}
