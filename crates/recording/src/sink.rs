//! The file that a recording is written to, which never grows past its last whole chunk once
//! writing has failed.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Refuses everything after the first failure. So the part of a chunk that a full disk took is the
/// end of the file, and a reader sees a file that was cut, not one that is damaged inside.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    bytes: Arc<AtomicU64>,
    failed: bool,
}

impl Sink {
    pub(crate) fn new(file: File) -> Sink {
        Sink { file, bytes: Arc::new(AtomicU64::new(0)), failed: false }
    }

    /// Bytes that reached the file so far; readable while a writer owns the sink.
    pub(crate) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    pub(crate) fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn note<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        // The caller repeats a call that was interrupted.
        self.failed |= outcome.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted);
        outcome
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("an earlier write to this recording was refused"));
        }
        let outcome = self.file.write(bytes);
        let written = self.note(outcome)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.file.flush();
        self.note(outcome)
    }
}

impl Seek for Sink {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
