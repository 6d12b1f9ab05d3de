//! Plays a folder of images or a video file.

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::{BoxError, Frame, FrameSource, SourceError};

use super::pacer::Pacer;
use crate::errors::chain;
use crate::images::{Images, StreamImage};
use crate::monitor::Monitor;

/// What reads one kind of files.
pub(crate) trait Reader: Send {
    fn frame_interval(&self) -> Duration;
    /// Reads the next frame. Returns `None` at the end, and an error when the frame is corrupt and
    /// reading can go on.
    fn read(&mut self) -> Option<Result<Images, String>>;
    /// Goes back to the first frame.
    fn rewind(&mut self) -> Result<(), BoxError>;
}

/// Plays a [`Reader`] to its end, or for ever.
pub(crate) struct Player {
    from: String,
    reader: Box<dyn Reader>,
    looped: bool,
    pacer: Pacer,
    monitor: Arc<Monitor>,
    /// Whether this round through the file has given a good frame.
    round_has_frame: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("no frame of it can be used; the last one: {last}")]
struct NothingUsable {
    last: String,
}

impl Player {
    pub(crate) fn new(
        from: String,
        reader: Box<dyn Reader>,
        looped: bool,
        paced: bool,
        monitor: Arc<Monitor>,
    ) -> Player {
        let pacer = Pacer::new(paced.then(|| reader.frame_interval()));
        Player { from, reader, looped, pacer, monitor, round_has_frame: false }
    }

    /// The next good images; counts and skips corrupt ones.
    fn next_images(&mut self) -> Result<Option<Images>, BoxError> {
        while !self.monitor.lock().stopped {
            match self.reader.read() {
                Some(Ok(images)) if self.fits(&images) => return Ok(Some(images)),
                Some(Ok(_)) => {}
                Some(Err(reason)) => self.count_corrupt(reason),
                None if self.round_has_frame && !self.looped => return Ok(None),
                None if self.round_has_frame => {
                    self.round_has_frame = false;
                    self.reader.rewind()?;
                }
                None => {
                    let last = self.monitor.lock().last_corrupt.clone();
                    return Err(NothingUsable { last: last.unwrap_or_default() }.into());
                }
            }
        }
        Ok(None)
    }

    /// Every frame must have the size of the first, since one calibration serves all.
    fn fits(&mut self, images: &Images) -> bool {
        let found = images.size_px();
        let expected = *self.monitor.lock().size_px.get_or_insert(found);
        if found != expected {
            self.count_corrupt(format!(
                "it is {}x{} px where the first frame is {}x{} px",
                found.0, found.1, expected.0, expected.1
            ));
            return false;
        }
        self.round_has_frame = true;
        true
    }

    fn count_corrupt(&self, reason: String) {
        self.monitor.count_corrupt(&mut self.monitor.lock(), reason);
    }
}

impl FrameSource for Player {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        let images = match self.next_images() {
            Ok(Some(images)) => images,
            Ok(None) => {
                self.monitor.lock().end("end of file");
                return Ok(None);
            }
            Err(source) => {
                self.monitor.lock().end(&chain(&*source));
                return Err(SourceError { from: self.from.clone(), source });
            }
        };
        let Some(stamp) = self.pacer.wait(&self.monitor) else { return Ok(None) };
        let sequence = self.monitor.count_frame(&mut self.monitor.lock(), stamp);
        Ok(Some(images.into_frame(sequence, stamp)))
    }
}
