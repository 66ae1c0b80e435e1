//! The state of a hedger at one moment.

use core::fmt;

use crate::name::Name;
use crate::outcome::StrategyKind;

/// The state of a hedger's guard and budget at one moment, which explains what it does next and prints as a line.
///
/// ```
/// use hedge_core::Hedger;
/// use hedge_core::manual::ManualTimer;
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock).strategy_name("search").build_local()?;
/// let status = hedger.status();
/// assert_eq!((status.guard_level, status.tokens, status.capacity), (0, 10.0, 80.0));
/// assert_eq!(status.to_string(), "search: budget 10.0 of 80 tokens, 0 hedges in flight, guard level 0");
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HedgerStatus {
    /// The kind of the strategy.
    pub strategy: StrategyKind,
    /// The hedger's `strategy_name`; empty if it has none.
    pub strategy_name: Name,
    /// The level of the guard, 0 to 6: most hedges wait 2^level times the hedge delay. 0 while hedges help, and for
    /// a hedger without a guard.
    pub guard_level: u8,
    /// Whether the callee counts as slow as a whole, so that only one due hedge in a hundred starts.
    pub is_slow: bool,
    /// The number of tokens in the budget's bucket, each of which pays for one hedge; infinite if the budget is unlimited.
    pub tokens: f64,
    /// The number of tokens that the bucket holds when it is full.
    pub capacity: f64,
    /// The number of running hedges, over all hedgers that share the budget.
    pub in_flight: u32,
}

impl fmt::Display for HedgerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.strategy_name.is_empty() {
            write!(f, "{}: ", self.strategy_name)?;
        }
        if self.tokens.is_finite() {
            write!(f, "budget {:.1} of {} tokens", self.tokens, self.capacity)?;
        } else {
            f.write_str("budget unlimited")?;
        }
        let s = if self.in_flight == 1 { "" } else { "s" };
        write!(
            f,
            ", {} hedge{s} in flight, guard level {}",
            self.in_flight, self.guard_level
        )?;
        if self.is_slow {
            f.write_str(", slow as a whole")?;
        }
        Ok(())
    }
}
