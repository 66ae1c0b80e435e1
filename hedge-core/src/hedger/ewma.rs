//! A moving average of booleans.

/// The share of recent observations that were `true`: an exponentially weighted moving average over about the last
/// `N` of them, in fixed-point arithmetic.
///
/// It uses integers, so that firmware without a floating-point unit updates it in a few instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ewma<const N: u32>(u32);

/// A share of 1 in [`parts`](Ewma::parts).
pub(super) const ONE: u32 = 1 << 24;

impl<const N: u32> Ewma<N> {
    /// An average of which every observation so far was `false`.
    pub(crate) const ZERO: Self = Self(0);
    /// An average of which every observation so far was `true`.
    pub(crate) const ONE: Self = Self(ONE);

    /// Adds an observation.
    #[inline]
    pub(crate) fn observe(&mut self, observed: bool) {
        if observed {
            self.0 += (ONE - self.0) / N;
        } else {
            self.0 -= self.0 / N;
        }
    }

    /// Returns the share, from 0 to [`ONE`].
    pub(super) const fn parts(self) -> u32 {
        self.0
    }

    /// Returns the share, from 0 to 1.
    pub(crate) fn share(self) -> f32 {
        // The division is exact: the average has at most 25 bits, and 2^24 is a power of two.
        self.0 as f32 / ONE as f32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_average_follows_its_formula(observed in prop::collection::vec(any::<bool>(), 0..600)) {
            let mut short = Ewma::<20>::ZERO;
            let mut long = Ewma::<512>::ONE;
            let (mut short_model, mut long_model) = (0.0_f64, 1.0_f64);
            for observed in observed {
                short.observe(observed);
                long.observe(observed);
                let target = f64::from(u8::from(observed));
                short_model += (target - short_model) / 20.0;
                long_model += (target - long_model) / 512.0;
                // Rounding errors add up to less than N / 2^24.
                prop_assert!((f64::from(short.share()) - short_model).abs() < 2e-6);
                prop_assert!((f64::from(long.share()) - long_model).abs() < 5e-5);
            }
        }
    }

    #[test]
    fn the_average_stays_within_zero_and_one() {
        let mut average = Ewma::<32>::ZERO;
        (0..10_000).for_each(|_| average.observe(true));
        assert!(average.share() > 0.99999 && average.share() <= 1.0);
        (0..10_000).for_each(|_| average.observe(false));
        assert!(average.share() < 0.00001);
    }
}
