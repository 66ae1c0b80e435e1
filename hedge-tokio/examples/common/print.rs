//! `print!` and `println!` for programs whose reader may leave, as in `… | head -1`: they then end without an error.

use core::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process;

#[allow(unused_macros)]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::print::write(format_args!($($text)*))
    };
}

#[allow(unused_macros)]
macro_rules! println {
    () => {
        $crate::print::write("\n")
    };
    ($($text:tt)*) => {
        $crate::print::write(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Writes `text` to standard output. Ends the program if that is no longer possible.
pub(crate) fn write(text: impl Display) {
    // Write the whole text at once, since standard output is flushed at every line break.
    let text = text.to_string();
    let mut stdout = io::stdout().lock();
    let result = stdout.write_all(text.as_bytes());
    match result.and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            eprintln!("error: standard output: {error}");
            process::exit(1)
        }
    }
}
