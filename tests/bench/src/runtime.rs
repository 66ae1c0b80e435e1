//! The runtimes that cases are measured on.

use clap::ValueEnum;
use tokio::runtime::{Builder, Runtime};

/// A flavour of tokio's runtime.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Flavour {
    /// All on one thread.
    CurrentThread,
    /// Two workers.
    MultiThread,
}

impl Flavour {
    pub(crate) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::MultiThread => "multi_thread",
        }
    }

    /// # Errors
    ///
    /// If there is no thread to be had.
    pub(crate) fn start(self) -> Result<Runtime, String> {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::MultiThread => Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(2).enable_time().build();
        runtime.map_err(|error| format!("no runtime: {error}"))
    }
}
