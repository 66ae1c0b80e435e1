//! A single request.

use core::fmt;
use core::future::Future;

use super::{Hedger, Runtime};
use crate::attempt::Attempt;
use crate::config::HedgeConfig;
use crate::error::ConfigError;
use crate::outcome::{Error, Hedged};

/// Makes one hedged request as `config` says, and keeps nothing.
///
/// A strategy that learns has nothing to learn from here and hedges as it does before its first sample.
/// Whoever calls a backend more than once should keep a [`Hedger`].
///
/// # Errors
///
/// [`RequestError::Config`] for an option that cannot be right, before anything is sent;
/// [`RequestError::Request`] as [`Hedger::request`].
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

/// Why [`request`] has no answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RequestError<E> {
    /// An option cannot be right; nothing was sent.
    Config(ConfigError),
    /// Every attempt failed, or the time was up.
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
