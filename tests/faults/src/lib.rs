//! An adversary that tries to break what hedge promises.
//!
//! It drives the futures of `hedge_core` by hand, on a virtual clock: attempts hang, fail, panic and wake
//! for nothing; timers are late, early and fire twice; clocks stand still, leap and step back; callers drop
//! requests anywhere, poll unasked and change options meanwhile. What happens is drawn from a seed, so that
//! every schedule can be played again. What has to hold is written down in [`invariants`].
//!
//! ```
//! use hedge_faults::schedule::{Stage, Tally};
//!
//! let (mut stage, mut tally) = (Stage::new(), Tally::default());
//! assert_eq!(stage.play(1, &mut tally), Ok(()));
//! assert_eq!(tally.schedules, 1);
//! ```

mod caller;
mod check;
mod clock;
mod draw;
pub mod fault;
mod fleet;
mod flow;
mod game;
mod halves;
pub mod invariants;
mod journal;
mod purse;
pub mod schedule;
mod task;
mod trial;
mod world;
