use core::ops::{Deref, DerefMut};

use heapless::Vec;

/// A list of up to 16 delays in milliseconds, from which [`Adaptive`](super::Adaptive) chooses.
///
/// It dereferences to a slice of its delays. If it was made from more than 16, the slice holds the first 16, and
/// [`HedgeConfig::validate`](crate::HedgeConfig::validate) returns an error.
///
/// ```
/// use hedge_core::HedgeConfig;
/// use hedge_core::strategy::DelayCandidates;
///
/// let mut config = HedgeConfig::default();
/// config.delay_candidates = DelayCandidates::from([20.0, 50.0, 100.0]);
/// assert_eq!(config.delay_candidates.len(), 3);
///
/// config.delay_candidates = (1..=17).map(f64::from).collect();
/// assert!(config.validate().is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DelayCandidates {
    delays: Vec<f64, 16>,
    /// The number of delays that the list was made from. Those after the 16th are only counted.
    given: usize,
}

impl DelayCandidates {
    /// Returns the number of delays that the list was made from, which may be more than it holds.
    pub(crate) fn given(&self) -> usize {
        self.given
    }
}

impl Deref for DelayCandidates {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.delays
    }
}

impl DerefMut for DelayCandidates {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.delays
    }
}

impl<const N: usize> From<[f64; N]> for DelayCandidates {
    fn from(delays: [f64; N]) -> Self {
        delays.into_iter().collect()
    }
}

impl FromIterator<f64> for DelayCandidates {
    fn from_iter<I: IntoIterator<Item = f64>>(delays: I) -> Self {
        let mut list = Self::default();
        list.extend(delays);
        list
    }
}

impl Extend<f64> for DelayCandidates {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, delays: I) {
        for delay in delays {
            self.given = self.given.saturating_add(1);
            // A delay that does not fit is only counted, by `given`.
            let _ = self.delays.push(delay);
        }
    }
}
