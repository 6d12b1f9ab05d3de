//! Printing on standard output, and writing files: what leaves a command leaves it here.
//!
//! All text is made [printable](printable_lines) on its way, for any of it may come from outside.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_wire::printable_lines;

/// Refuses, before the work for it is done, an output that [`write`] would refuse.
pub fn check(path: &Path) -> Outcome {
    magpie_files::check_output(path).map_err(|error| {
        // A folder that is missing may come; a name that is refused stays refused.
        let is_refused = error.kind() == ErrorKind::InvalidInput;
        let error = anyhow::Error::new(error).context(format!("write {}", path.display()));
        if is_refused { Failure::Config(error) } else { Failure::Fault(error) }
    })
}

/// Writes a whole file, or leaves everything as it was.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Outcome {
    let written = magpie_files::write(path, bytes);
    written.with_context(|| format!("write {}", path.display())).map_err(Failure::Fault)
}

/// Creates the folder; one that holds anything is refused.
pub fn create_empty_folder(path: &Path) -> Outcome {
    let created = magpie_files::create_empty_folder(path);
    created.with_context(|| format!("write to {}", path.display())).map_err(Failure::Fault)
}

/// Prints a line, or several. Where the reader, such as `head`, has gone away the command goes on: what
/// it writes, and how it ends, matter to others.
pub fn line(text: &str) -> Outcome {
    match print(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(not_printed(error)),
        _ => Ok(()),
    }
}

/// [`line`], for what goes on only to be read: without a reader the program ends quietly.
pub fn line_or_end(text: &str) -> Outcome {
    match print(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        printed => printed.map_err(not_printed),
    }
}

fn not_printed(error: std::io::Error) -> Failure {
    Failure::Fault(anyhow::Error::new(error).context("write to standard output"))
}

fn print(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", printable_lines(text))
}

/// [`line`], unless standard output is for a program to read.
pub fn line_unless(quiet: bool, text: &str) -> Outcome {
    if quiet { Ok(()) } else { line(text) }
}
