//! A single request.

use core::fmt;
use core::future::Future;

use super::{Hedger, Runtime};
use crate::attempt::Attempt;
use crate::config::HedgeConfig;
use crate::error::ConfigError;
use crate::outcome::{Error, Hedged};

/// Makes one hedged request with the options of `config`, without a lasting hedger.
///
/// A strategy that learns cannot learn from a single request, and hedges as it does before its
/// first sample. Keep a [`Hedger`] to call a backend more than once.
///
/// # Errors
///
/// Returns [`RequestError::Config`] for an invalid option, before anything is sent, and
/// [`RequestError::Request`] for the errors of [`Hedger::request`].
pub async fn request<R, V, E, F, Fut>(
    launch: F,
    config: &HedgeConfig,
) -> Result<Hedged<V>, RequestError<E>>
where
    R: Runtime,
    F: FnMut(Attempt) -> Fut,
    Fut: Future<Output = Result<V, E>>,
{
    let hedger = Hedger::<R>::from_config(config).map_err(RequestError::Config)?;
    hedger.request(launch).await.map_err(RequestError::Request)
}

/// The error of [`request`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RequestError<E> {
    /// An option is invalid. Nothing was sent.
    Config(ConfigError),
    /// Every attempt failed, or the request ran out of time.
    Request(Error<E>),
}

impl<E> fmt::Display for RequestError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for RequestError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Config(_) => None,
            Self::Request(error) => error.source(),
        }
    }
}
