//! The one way to open a file that somebody named: within bounds to read it, safely to write it.
//!
//! [`read`], [`read_text`] and [`open`] take regular files only, and no more of them than the caller
//! says. A named pipe or a device would be waited for, or read, for ever.
//!
//! [`write`] and [`OutputFile`] never go through a symbolic link and never replace a file that this
//! process has read; [`write_new`] replaces none at all. A file appears whole under its name, or not at
//! all, unless the machine loses power. [`check_output`] says so before the work is done.
//!
//! [`is_whole_jpeg`] tells whether a picture is still the one that was saved, which a decoder does not.
//!
//! All of the others give [`std::io::Error`], as the functions of the standard library do in whose place
//! they stand. The message says what to do; the path is for the caller to add.

mod input;
mod jpeg;
mod output;
mod passing;

pub use input::{TEXT_BYTES_MAX, check_input, note_input, open, read, read_text};
pub use jpeg::is_whole_jpeg;
pub use output::{
    OutputFile, check_output, create_empty_folder, create_folder, set_mode, unwritable, write,
    write_new, write_with_mode,
};
pub use passing::is_passing;
