//! Printing on standard output.

use std::io::{ErrorKind, Write};

use magpie_daemon::failure::{Failure, Outcome};

/// Prints a line. A reader that has gone away, such as `head`, ends the program quietly.
pub fn line(text: &str) -> Outcome {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::fault(error)),
    }
}

/// [`line`], for a command whose verdict matters to others than the reader: it goes on without one.
pub fn line_if_read(text: &str) -> Outcome {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::fault(error)),
        _ => Ok(()),
    }
}

/// [`line`], unless standard output is for a program to read.
pub fn line_unless(quiet: bool, text: &str) -> Outcome {
    if quiet { Ok(()) } else { line(text) }
}
