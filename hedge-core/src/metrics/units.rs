//! Times as text for people.

use core::fmt;
use core::time::Duration;

/// A unit of time that gives short numbers.
pub(super) struct Unit {
    per_second: f64,
    pub(super) name: &'static str,
}

impl Unit {
    pub(super) fn of(seconds: f64) -> Self {
        let (per_second, name) = match seconds {
            _ if seconds >= 1.0 => (1.0, "s"),
            _ if seconds >= 1e-3 => (1e3, "ms"),
            _ => (1e6, "µs"),
        };
        Self { per_second, name }
    }

    pub(super) fn number(&self, seconds: f64) -> Number {
        Number(seconds * self.per_second)
    }
}

/// A number that is displayed with two digits at least.
pub(super) struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(libm::fabs(self.0) < 10.0);
        // Adding 0 turns `-0` into `0`.
        write!(f, "{:.digits$}", self.0 + 0.0)
    }
}

/// A time that is displayed as a number and its unit.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let unit = Unit::of(seconds);
        write!(f, "{} {}", unit.number(seconds), unit.name)
    }
}
