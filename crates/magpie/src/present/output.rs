//! Printing on standard output.

use std::io::{ErrorKind, Write};
use std::path::Path;

use magpie_daemon::failure::{Failure, Outcome};

/// Refuses to write over what is read.
pub fn check_apart(input: &Path, output: &Path) -> Outcome {
    let is_same = input.canonicalize().is_ok_and(|i| output.canonicalize().is_ok_and(|o| i == o));
    if is_same {
        return Err(Failure::Config(anyhow::anyhow!(
            "{} is read and would be written over; name another output",
            output.display()
        )));
    }
    Ok(())
}

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
