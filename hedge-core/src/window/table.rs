//! Export and import of windows as columns of numbers.

use super::{Entry, Window};
use crate::record::Sample;
use crate::strategy::{ReadColumns, RestoreError, WriteColumns};
use crate::time::Instant;

impl<const N: usize> Window<N> {
    /// Writes the samples that have not expired, in microseconds, oldest first. Censored samples
    /// are negative.
    pub(crate) fn export(&self, name: &'static str, columns: &mut dyn WriteColumns, now: Instant) {
        let expired = self.ages.clone().advance(now).min(self.len);
        let places = (expired..self.len).map(|nth| self.after(self.oldest, nth));
        let entries = places.filter_map(|place| self.ring.get(usize::from(place)));
        columns.column(name, &mut entries.map(|entry| entry.signed()));
    }

    /// Replaces the samples by those of a column, as if they had just arrived. If there are too
    /// many, uses the last ones.
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
            self.push(Entry::sample(micros), now);
        }
        Ok(())
    }
}

impl Entry {
    fn signed(self) -> f64 {
        let micros = f64::from(self.micros());
        if self.is_censored() { -micros } else { micros }
    }

    fn sample(micros: f64) -> Sample {
        let latency = core::time::Duration::from_micros(micros.abs() as u64);
        if micros < 0.0 {
            Sample::Dropped(latency)
        } else {
            Sample::Finished(latency)
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::strategy::Learned;

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
        let mut learned = Learned::of(&crate::strategy::Off, now);
        from.export("samples", &mut learned, now);
        to.restore("samples", &learned, now)
    }

    fn samples<const N: usize>(window: &Window<N>) -> std::vec::Vec<Sample> {
        let micros = |entry: &Entry| Entry::sample(entry.signed());
        window.sorted().iter().map(micros).collect()
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
