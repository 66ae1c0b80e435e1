//! The readiness check for hedges that are due.

use crate::attempt::Attempt;

/// Checks whether the resources that a hedge needs are available. Implemented by closures
/// `FnMut(Attempt) -> bool`.
pub trait Ready {
    /// Returns whether `hedge`, which is due now, can be started.
    fn is_ready(&mut self, hedge: Attempt) -> bool;
}

impl<F: FnMut(Attempt) -> bool> Ready for F {
    fn is_ready(&mut self, hedge: Attempt) -> bool {
        self(hedge)
    }
}

/// The default check: a hedge can always be started.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysReady;

impl Ready for AlwaysReady {
    fn is_ready(&mut self, _: Attempt) -> bool {
        true
    }
}
