//! Errors that say nothing about a file.

use std::io;

use rustix::io::Errno;

/// The machine has too little of something, or the disk, the network or the device behind a file does
/// not answer: another time the same file may be read.
const PASSING: [Errno; 14] = [
    Errno::IO,
    Errno::NFILE,
    Errno::MFILE,
    Errno::NOMEM,
    Errno::STALE,
    Errno::TIMEDOUT,
    Errno::AGAIN,
    Errno::NODEV,
    Errno::INTR,
    Errno::BUSY,
    Errno::NOTCONN,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::NOLCK,
];

/// Whether it may pass by itself, so that neither the file nor its name is to blame.
pub fn is_passing(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| PASSING.iter().any(|known| known.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_may_answer_again_and_a_file_that_is_missing_does_not_come() {
        let is = |errno: Errno| is_passing(&io::Error::from(errno));
        assert!(PASSING.into_iter().all(is));
        assert!(![Errno::NOENT, Errno::ACCESS, Errno::LOOP, Errno::NOTDIR].into_iter().any(is));
        assert!(!is_passing(&io::Error::other("it has 3 bytes")));
    }
}
