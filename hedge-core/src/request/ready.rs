//! The readiness check for hedges that are due.

/// Checks whether the resources that a hedge needs are available. Implemented by closures `FnMut()
/// -> bool`.
pub trait Ready {
    /// Returns whether a hedge that is due now can be started.
    fn is_ready(&mut self) -> bool;
}

impl<F: FnMut() -> bool> Ready for F {
    fn is_ready(&mut self) -> bool {
        self()
    }
}

/// The default check: a hedge can always be started.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysReady;

impl Ready for AlwaysReady {
    fn is_ready(&mut self) -> bool {
        true
    }
}
