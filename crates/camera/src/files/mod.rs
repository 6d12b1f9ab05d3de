//! Files as frame sources: every frame is wanted, so whoever asks for the next one reads it.

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::{
    BgrImage, BoxError, DepthImage, Frame, FrameSource, SourceError, StampSource,
};

use crate::monitor::Monitor;
use crate::pacer::Pacer;

/// The images of one frame.
pub(crate) struct Images {
    pub(crate) color: BgrImage,
    pub(crate) depth: Option<DepthImage>,
}

/// A folder or a video file.
pub(crate) trait Reader: Send {
    fn frame_interval(&self) -> Duration;
    /// `None` at the end; an error when the frame is corrupt, and reading can go on.
    fn read(&mut self) -> Option<Result<Images, String>>;
    /// Back to the first frame.
    fn rewind(&mut self) -> Result<(), BoxError>;
}

/// Plays a [`Reader`] to its end, or for ever.
pub(crate) struct FileSource {
    from: String,
    reader: Box<dyn Reader>,
    loop_: bool,
    pacer: Pacer,
    monitor: Arc<Monitor>,
    /// Whether this round through the file has given a good frame.
    round_has_frame: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("no frame of it can be used: {last}")]
struct NothingUsable {
    last: String,
}

impl FileSource {
    pub(crate) fn new(
        from: String,
        reader: Box<dyn Reader>,
        loop_: bool,
        paced: bool,
        monitor: Arc<Monitor>,
    ) -> FileSource {
        let pacer = Pacer::new(paced.then(|| reader.frame_interval()));
        FileSource { from, reader, loop_, pacer, monitor, round_has_frame: false }
    }

    /// The next good images; counts and skips corrupt ones.
    fn next_images(&mut self) -> Result<Option<Images>, BoxError> {
        while !self.monitor.lock().stopped {
            match self.reader.read() {
                Some(Ok(images)) if self.fits(&images) => return Ok(Some(images)),
                Some(Ok(_)) => {}
                Some(Err(reason)) => self.count_corrupt(reason),
                None if self.round_has_frame && !self.loop_ => return Ok(None),
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
        let found = (images.color.width_px(), images.color.height_px());
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

impl FrameSource for FileSource {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        let images = match self.next_images() {
            Ok(Some(images)) => images,
            Ok(None) => {
                self.monitor.lock().end("end of file");
                return Ok(None);
            }
            Err(source) => {
                self.monitor.lock().end(&crate::chain(&*source));
                return Err(SourceError { from: self.from.clone(), source });
            }
        };
        let Some(stamp) = self.pacer.wait(&self.monitor) else { return Ok(None) };
        let sequence = self.monitor.count_frame(&mut self.monitor.lock(), stamp);
        let Images { color, depth } = images;
        Ok(Some(Frame { sequence, stamp, stamp_source: StampSource::Arrival, color, depth }))
    }
}
