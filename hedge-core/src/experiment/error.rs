//! The errors of stages and pipelines.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::ReadError;
use crate::boxed::BoxError;
use crate::outcome::Error;

/// The error of a stage.
#[derive(Debug)]
#[non_exhaustive]
pub enum StageError {
    /// Neither the experiment nor the run has hedging options.
    MissingConfig,
    /// The hedging stage was added to a pipeline without a request.
    MissingRequest,
    /// The strategy does not exist.
    InvalidStrategy(ReadError),
    /// Another option is invalid.
    InvalidConfig(ReadError),
    /// Every attempt failed, or the request ran out of time.
    RequestFailed(Error<BoxError>),
    /// The pipeline has no stage with this name.
    UnknownStage {
        /// The names of the stages in the pipeline.
        known: Vec<String>,
    },
    /// An error of a custom stage.
    Other(BoxError),
}

impl StageError {
    /// Returns the error of a custom stage.
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(error.into())
    }

    /// Returns the error of an option of the hedging stage.
    #[cfg(feature = "std")]
    pub(crate) fn hedging(error: ReadError) -> Self {
        let strategy = ["strategy", "workload_inner"];
        let name = error.path().rsplit('.').next();
        if name.is_some_and(|name| strategy.contains(&name)) {
            Self::InvalidStrategy(error)
        } else {
            Self::InvalidConfig(error)
        }
    }
}

impl From<&str> for StageError {
    fn from(error: &str) -> Self {
        Self::other(error)
    }
}

impl From<String> for StageError {
    fn from(error: String) -> Self {
        Self::other(error)
    }
}

impl From<ReadError> for StageError {
    fn from(error: ReadError) -> Self {
        // A custom stage may have an option `strategy` too, so use the general variant.
        Self::InvalidConfig(error)
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingConfig => f.write_str(
                "`reliability.hedging` is missing, but has to be given for the stage to hedge",
            ),
            Self::MissingRequest => {
                f.write_str("there is no request to hedge: the stage needs one, by `with_request`")
            }
            Self::InvalidStrategy(error) | Self::InvalidConfig(error) => error.fmt(f),
            Self::RequestFailed(error) => error.fmt(f),
            Self::UnknownStage { known } => {
                f.write_str("the pipeline has no such stage, but only: ")?;
                f.write_str(&known.join(", "))
            }
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StageError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::RequestFailed(Error::Failed { error, .. }) => Some(&**error),
            Self::RequestFailed(Error::Timeout { error, .. }) => {
                error.as_ref().map(|error| &**error as _)
            }
            Self::Other(error) => error.source(),
            _ => None,
        }
    }
}

/// The error of a pipeline: the stage at which it stopped, and why.
#[derive(Debug)]
pub struct PipelineError {
    pub(super) index: usize,
    pub(super) stage: String,
    pub(super) error: StageError,
}

impl PipelineError {
    /// Returns the index of the stage in the experiment's pipeline, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the name of the stage.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Returns the error of the stage.
    pub fn error(&self) -> &StageError {
        &self.error
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`pipeline[{}]`, {}: {}",
            self.index, self.stage, self.error
        )
    }
}

impl core::error::Error for PipelineError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}
