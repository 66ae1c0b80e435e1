//! Boxed errors of requests.

use alloc::boxed::Box;
use core::error::Error as StdError;
use core::fmt;

use crate::outcome::Error;

/// A boxed error of any type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

impl<E: Into<BoxError>> Error<E> {
    /// Converts the error into a boxed error, for any type that attempts fail with.
    ///
    /// Use it with `?` when attempts fail with a `Box<dyn Error + Send + Sync>`, an `anyhow::Error`
    /// or a string, none of which implements `Error` itself. The [`source`](StdError::source) of
    /// the returned error is the attempt's error.
    ///
    /// ```
    /// # let clock = hedge_core::manual::ManualTimer::<8>::new();
    /// # let hedger = hedge_core::Hedger::builder(&clock).build_local()?;
    /// use hedge_core::BoxError;
    ///
    /// async fn ask() -> Result<u32, BoxError> {
    ///     Ok("no number".parse::<u32>()?)
    /// }
    ///
    /// let error = clock.drive(async {
    ///     let hedged = hedger.request(|_| ask()).await.map_err(hedge_core::Error::boxed)?;
    ///     Ok::<_, BoxError>(hedged.value)
    /// }).unwrap_err();
    /// assert_eq!(error.to_string(), "2 attempts failed");
    /// assert!(error.source().unwrap().is::<std::num::ParseIntError>());
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn boxed(self) -> BoxError {
        Box::new(Boxed(self.map(Into::into)))
    }
}

#[derive(Debug)]
struct Boxed(Error<BoxError>);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Boxed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let error = match &self.0 {
            Error::Failed { error, .. } => Some(error),
            Error::Timeout { error, .. } => error.as_ref(),
            Error::NoReplica(reason) => return Some(reason),
        };
        error.map(|error| &**error as _)
    }
}
