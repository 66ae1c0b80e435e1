//! How the tests that are programs print, and show how far they are.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process;

pub use indicatif::ProgressBar;
use indicatif::{ProgressDrawTarget, ProgressStyle};

/// Prints `text`, or says why it cannot. If nobody reads any longer, as after `| head`, the program ends.
///
/// # Errors
///
/// If standard output cannot be written to.
pub fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        result => result.map_err(|error| format!("standard output: {error}")),
    }
}

/// Prints a line like that of the standard library. If nobody reads any longer, the program ends, as in [`print()`].
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {
        if let Err(error) = $crate::print(&format!("{}\n", format_args!($($text)*))) {
            eprintln!("error: {error}");
            std::process::exit(1)
        }
    };
}

/// A bar on standard error, where somebody looks, with `{msg}` for what it is told.
pub fn progress(length: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar
}
