//! The strategies that do not learn.

use core::time::Duration;

use super::{Hints, Plan, Strategy};
use crate::outcome::{StrategyKind, Suppressed};
use crate::time::Instant;

/// Never hedges.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Off;

impl Strategy for Off {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::never(Suppressed::Off).reusable()
    }

    fn learns(&self) -> bool {
        false
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Off
    }
}

/// Starts the next attempt only when one has failed, at once or when the server allows it, and never because one is slow.
///
/// ```
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Hedger, OnFailure};
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock).strategy(OnFailure).build_local()?;
/// let hedged = clock.drive(hedger.request(|attempt| async move {
///     if attempt.is_hedge() { Ok(5) } else { Err("down") }
/// })).unwrap();
/// assert_eq!((hedged.value, hedged.outcome.attempts), (5, 2));
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OnFailure;

impl Strategy for OnFailure {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::never(Suppressed::NotDue).reusable()
    }

    fn learns(&self) -> bool {
        false
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::OnFailure
    }
}

/// Hedges after a fixed delay; zero starts all attempts at once.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::strategy::{Fixed, Strategy};
/// use hedge_core::{Hints, Instant};
///
/// let plan = Fixed::new(Duration::from_millis(100)).plan(&Hints::NONE, Instant::ZERO);
/// assert_eq!(plan.delay(), Some(Duration::from_millis(100)));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fixed {
    delay: Duration,
}

impl Fixed {
    /// Creates a strategy that hedges after `delay`.
    pub const fn new(delay: Duration) -> Self {
        Self { delay }
    }
}

impl Strategy for Fixed {
    crate::strategy::fresh_clone!();

    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        Plan::after(self.delay).reusable()
    }

    fn learns(&self) -> bool {
        false
    }

    fn kind(&self) -> StrategyKind {
        StrategyKind::Fixed
    }
}
