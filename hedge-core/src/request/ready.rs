//! Whether a hedge that is due could be started.

/// Says whether what a hedge needs is at hand. Closures `FnMut() -> bool` do.
pub trait Ready {
    /// Whether a hedge that is due now could be started.
    fn is_ready(&mut self) -> bool;
}

impl<F: FnMut() -> bool> Ready for F {
    fn is_ready(&mut self) -> bool {
        self()
    }
}

/// The default: a hedge needs nothing that might be missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysReady;

impl Ready for AlwaysReady {
    fn is_ready(&mut self) -> bool {
        true
    }
}
