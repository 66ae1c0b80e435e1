//! Storage for results that do not end a race.

/// Keeps refused results, one of which is returned if no attempt wins.
pub trait Refused<P, V, E>: Default {
    /// Keeps the `result` of attempt `index`, which `controller` has just classified.
    fn keep(&mut self, controller: &P, index: u8, result: Result<V, E>);

    /// Returns the result of the race when every attempt was refused, with the index of its
    /// attempt.
    fn take(&mut self) -> Option<(u8, Result<V, E>)>;

    /// Returns the result to report when the request runs out of time.
    fn take_late(&mut self) -> Option<Result<V, E>>;
}

/// Keeps the refused value and the error of the earliest attempt that returned one.
#[derive(Debug)]
pub struct Earliest<V, E> {
    value: Option<(u8, V)>,
    error: Option<(u8, E)>,
}

impl<V, E> Default for Earliest<V, E> {
    fn default() -> Self {
        Self {
            value: None,
            error: None,
        }
    }
}

impl<P, V, E> Refused<P, V, E> for Earliest<V, E> {
    fn keep(&mut self, _: &P, index: u8, result: Result<V, E>) {
        fn keep<R>(kept: &mut Option<(u8, R)>, index: u8, result: R) {
            if kept.as_ref().is_none_or(|(kept, _)| index < *kept) {
                *kept = Some((index, result));
            }
        }
        match result {
            Ok(value) => keep(&mut self.value, index, value),
            Err(error) => keep(&mut self.error, index, error),
        }
    }

    fn take(&mut self) -> Option<(u8, Result<V, E>)> {
        let index = |kept: Option<u8>| kept.unwrap_or(u8::MAX);
        let value = index(self.value.as_ref().map(|(index, _)| *index));
        let error = index(self.error.as_ref().map(|(index, _)| *index));
        if value < error {
            let kept = self.value.take();
            kept.map(|(index, value)| (index, Ok(value)))
        } else {
            let kept = self.error.take();
            kept.map(|(index, error)| (index, Err(error)))
        }
    }

    /// Returns the earliest error. A refused value is not reported after a timeout.
    fn take_late(&mut self) -> Option<Result<V, E>> {
        self.error.take().map(|(_, error)| Err(error))
    }
}
