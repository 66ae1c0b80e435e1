//! A window as a column of numbers. This module is not in `window`, which does not depend on strategies.

use core::time::Duration;

use super::{ReadColumns, RestoreError, WriteColumns};
use crate::record::Sample;
use crate::time::Instant;
use crate::window::{Entry, Window};

impl<const N: usize> Window<N> {
    /// Writes the samples that have not expired, the oldest first, in microseconds. Censored samples are negative.
    pub(crate) fn export(&self, name: &'static str, columns: &mut dyn WriteColumns, now: Instant) {
        columns.column(name, &mut self.not_expired(now).map(signed));
    }

    /// Replaces all samples by those of a column, as if they had just arrived. If there are more than fit, the last
    /// ones are used.
    pub(crate) fn restore(
        &mut self,
        name: &'static str,
        columns: &dyn ReadColumns,
        now: Instant,
    ) -> Result<(), RestoreError> {
        let most = Entry::MAX_MICROS as f64;
        let samples = columns.numbers(name, -most, most)?;
        let older = samples.len().saturating_sub(self.size());
        self.clear();
        for &micros in samples.iter().skip(older) {
            self.push(sample(micros), now);
        }
        Ok(())
    }
}

fn signed(entry: Entry) -> f64 {
    let micros = entry.micros() as f64;
    if entry.is_censored() { -micros } else { micros }
}

fn sample(micros: f64) -> Sample {
    let latency = Duration::from_micros(micros.abs() as u64);
    if micros < 0.0 {
        Sample::Dropped(latency)
    } else {
        Sample::Finished(latency)
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::strategy::{Learned, Off};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_epoch(ms(millis))
    }

    fn moved<const N: usize, const M: usize>(
        from: &Window<N>,
        to: &mut Window<M>,
        now: Instant,
    ) -> Result<(), RestoreError> {
        let mut learned = Learned::of(&Off, now);
        from.export("samples", &mut learned, now);
        to.restore("samples", &learned, now)
    }

    fn samples<const N: usize>(window: &Window<N>) -> std::vec::Vec<Sample> {
        window
            .sorted()
            .iter()
            .map(|entry| sample(signed(*entry)))
            .collect()
    }

    #[test]
    fn a_window_that_wrapped_around_comes_back_the_same() {
        let mut window = Window::<10>::new(10, None);
        for millis in 1..=14 {
            let sample = if millis % 3 == 0 {
                Sample::Dropped(ms(millis))
            } else {
                Sample::Finished(ms(millis))
            };
            window.push(sample, at(0));
        }
        let mut restored = Window::<20>::new(20, None);
        restored.push(Sample::Finished(ms(99)), at(0));
        assert_eq!(moved(&window, &mut restored, at(0)), Ok(()));
        assert_eq!(samples(&restored), samples(&window));
        assert_eq!(restored.censored(), window.censored());

        // The order of arrival is kept too: the oldest samples are replaced first.
        let mut smaller = Window::<10>::new(3, None);
        assert_eq!(moved(&restored, &mut smaller, at(0)), Ok(()));
        let last = [
            Sample::Dropped(ms(12)),
            Sample::Finished(ms(13)),
            Sample::Finished(ms(14)),
        ];
        assert_eq!(samples(&smaller), last);
    }

    #[test]
    fn an_answer_that_took_no_time_comes_back_as_one() {
        let mut window = Window::<10>::new(10, None);
        window.push(Sample::Finished(Duration::ZERO), at(0));
        let mut restored = Window::<10>::new(10, None);
        assert_eq!(moved(&window, &mut restored, at(0)), Ok(()));
        assert_eq!(samples(&restored), [Sample::Finished(Duration::ZERO)]);
    }

    #[test]
    fn samples_that_are_too_old_stay_behind() {
        let mut window = Window::<10>::new(10, Some(ms(800)));
        window.push(Sample::Finished(ms(1)), at(0));
        window.push(Sample::Finished(ms(2)), at(700));
        let mut restored = Window::<10>::new(10, Some(ms(800)));
        assert_eq!(moved(&window, &mut restored, at(1000)), Ok(()));
        assert_eq!(samples(&restored), [Sample::Finished(ms(2))]);
        // The age is measured from the restore.
        assert!(!restored.expire(at(1600)));
        assert!(restored.expire(at(1900)));
    }
}
