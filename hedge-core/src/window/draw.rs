//! Random draws from the samples of a window.

use core::time::Duration;

use rand_core::Rng;

use super::{Entry, Window};
use crate::random::Draws;

impl<const N: usize> Window<N> {
    /// Draws from the product-limit estimate of the latencies that exceed `bound`, or of all
    /// latencies.
    ///
    /// Draws by redistribution to the right (Efron, 1967): picks one of the samples above the
    /// bound, all equally likely; if that is censored, picks again from the samples above it.
    ///
    /// # Errors
    ///
    /// If no sample above the bound has finished, returns the bound that could not be exceeded:
    /// `bound` or the value of a censored sample. Returns zero if there are no samples.
    pub(crate) fn draw_above<R: Rng>(
        &self,
        bound: Option<Duration>,
        draws: &mut Draws<'_, R>,
    ) -> Result<Duration, Duration> {
        let sorted = self.sorted();
        let mut beyond = bound.unwrap_or_default();
        let mut above = match bound {
            Some(bound) => {
                let bound = Entry::censored(bound);
                let from = sorted.partition_point(|&entry| entry <= bound);
                sorted.get(from..).unwrap_or_default()
            }
            None => sorted,
        };
        loop {
            let at = draws.below(above.len() as u32) as usize;
            let Some(entry) = above.get(at) else {
                return Err(beyond);
            };
            if !entry.is_censored() {
                return Ok(entry.duration());
            }
            beyond = entry.duration();
            above = above.get(at + 1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::array;

    use rand_core::SeedableRng;
    use rand_xoshiro::Xoshiro128PlusPlus;

    use super::*;
    use crate::record::Sample;
    use crate::time::Instant;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn window(samples: &[Sample]) -> Window<20> {
        let mut window = Window::new(20, None);
        for &sample in samples {
            window.push(sample, Instant::ZERO);
        }
        window
    }

    /// Returns how many of 10 000 draws give each of `0..M` milliseconds, and how many were beyond
    /// all samples.
    fn counts<const M: usize>(window: &Window<20>, bound: Option<Duration>) -> ([u32; M], u32) {
        let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
        let mut draws = Draws::new(&mut rng);
        let drawn: [_; 10_000] = array::from_fn(|_| window.draw_above(bound, &mut draws));
        let count = |latency| drawn.iter().filter(|&&drawn| drawn == latency).count() as u32;
        let beyond = drawn.iter().filter(|drawn| drawn.is_err()).count() as u32;
        (
            array::from_fn(|millis| count(Ok(ms(millis as u64)))),
            beyond,
        )
    }

    fn near(count: u32, expected: u32) -> bool {
        count.abs_diff(expected) <= 200
    }

    #[test]
    fn what_finished_is_drawn_equally_often() {
        let window = window(&[1, 2, 2, 4].map(|millis| Sample::Finished(ms(millis))));
        let ([_, one, two, three, four], beyond) = counts(&window, None);
        assert!(
            near(one, 2500) && near(two, 5000) && near(four, 2500),
            "{one} {two} {four}"
        );
        assert_eq!((three, beyond), (0, 0));
        let ([_, one, two, _, four], _) = counts(&window, Some(ms(1)));
        assert!(
            one == 0 && near(two, 6667) && near(four, 3333),
            "{two} {four}"
        );
        let (none, beyond) = counts::<5>(&window, Some(ms(4)));
        assert_eq!((none, beyond), ([0; 5], 10_000));
    }

    #[test]
    fn what_was_dropped_is_drawn_from_those_above_it() {
        use Sample::{Dropped, Finished};
        let window = window(&[
            Finished(ms(1)),
            Dropped(ms(2)),
            Finished(ms(3)),
            Dropped(ms(4)),
        ]);
        // The product-limit estimate has a step of 1/4 at 1 ms and one of 3/4 × 1/2 at 3 ms.
        let ([_, one, two, three, four], beyond) = counts(&window, None);
        assert!(
            near(one, 2500) && near(three, 3750) && near(beyond, 3750),
            "{one} {three} {beyond}"
        );
        assert_eq!((two, four), (0, 0));
    }

    #[test]
    fn a_latency_that_cannot_be_drawn_is_bounded() {
        let mut rng = Xoshiro128PlusPlus::seed_from_u64(1);
        let mut draws = Draws::new(&mut rng);
        assert_eq!(
            window(&[]).draw_above(None, &mut draws),
            Err(Duration::ZERO)
        );
        assert_eq!(window(&[]).draw_above(Some(ms(7)), &mut draws), Err(ms(7)));
        let dropped = window(&[Sample::Dropped(ms(9))]);
        assert_eq!(dropped.draw_above(Some(ms(7)), &mut draws), Err(ms(9)));
        assert_eq!(
            dropped.draw_above(Some(Duration::MAX), &mut draws),
            Err(Duration::MAX)
        );
    }
}
