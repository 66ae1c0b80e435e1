//! What the command lines of the examples share.

use core::error::Error;
use core::ops::RangeInclusive;
use std::process::ExitCode;

/// Whatever stops a run.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Says what stopped the run, if anything did, and why.
pub(crate) fn exit(result: Result<(), Failure>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprint!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprint!(": {error}");
        source = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

/// Reads a number, which must be in `range`.
pub(crate) fn number_in(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}
