//! A runtime for tests of what needs no time.

use core::future::{Pending, pending};

use super::Runtime;
use crate::time::{Instant, Timer};

/// A timer whose time stands still.
#[derive(Clone, Debug, Default)]
pub(super) struct Still;

impl Timer for Still {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

impl Runtime for Still {
    type Instant = Instant;

    fn instant(&self, instant: Instant) -> Instant {
        instant
    }
}
