//! Opens the source that a configuration names.

use std::sync::Arc;

use magpie_perception::{Counters, FrameSource, SharedClock};

use crate::config::{CameraConfig, FileSource, FilesConfig, LiveConfig};
use crate::errors::OpenError;
use crate::files::image_folder::ImageFolder;
use crate::files::player::{Player, Reader};
use crate::files::video_file::VideoFile;
use crate::images::Images;
use crate::live::device::Open;
use crate::live::stream::LiveStream;
use crate::monitor::{CameraHandle, Monitor};

/// An open source, and the handle that watches and stops it.
pub struct Camera {
    pub source: Box<dyn FrameSource + Send>,
    pub handle: CameraHandle,
}

/// Opens a source.
///
/// A file or folder that cannot be read is an error here. A live camera that is not there is not:
/// its state says so, and it is opened as soon as it appears. Corrupt frames are counted in
/// `counters`.
pub fn open(
    config: &CameraConfig,
    clock: SharedClock,
    counters: Arc<Counters>,
) -> Result<Camera, OpenError> {
    let monitor = Arc::new(Monitor::new(clock, counters));
    let handle = CameraHandle::new(Arc::clone(&monitor));
    let source = match config {
        CameraConfig::Live(live) => open_live(live, config.describe(), monitor)?,
        CameraConfig::Files(files) => open_files(files, config.describe(), monitor)?,
    };
    Ok(Camera { source, handle })
}

fn open_live(
    config: &LiveConfig,
    from: String,
    monitor: Arc<Monitor>,
) -> Result<Box<dyn FrameSource + Send>, OpenError> {
    let LiveConfig { source, limits } = config.clone();
    source.device().check()?;
    let open: Box<Open<Images>> = Box::new(move || source.device().open(&limits));
    Ok(Box::new(LiveStream::start(from, open, limits, monitor)?))
}

fn open_files(
    config: &FilesConfig,
    from: String,
    monitor: Arc<Monitor>,
) -> Result<Box<dyn FrameSource + Send>, OpenError> {
    let reader: Box<dyn Reader> = match &config.source {
        FileSource::ImageFolder(folder) => Box::new(ImageFolder::open(folder)?),
        FileSource::VideoFile { path } => Box::new(VideoFile::open(path)?),
    };
    Ok(Box::new(Player::new(from, reader, config.looped, config.paced, monitor)))
}
