//! What a kind of camera has to offer: a check of its settings, and a device to read frames from.

use std::time::Duration;

use super::limits::LiveLimits;
use crate::errors::{ImageProblem, OpenError, chain};
use crate::images::Images;

/// The settings of one kind of live camera.
pub(crate) trait LiveDevice {
    /// Names the camera in messages; passwords in URLs and pipelines are left out.
    fn describe(&self) -> String;

    /// Refuses settings that cannot work, whatever is plugged in.
    fn check(&self) -> Result<(), OpenError>;

    /// Opens the camera. The call comes from the thread that will read the device, and may block
    /// for ever.
    fn open(&self, limits: &LiveLimits) -> Result<Box<dyn Device<Images>>, DeviceError>;

    /// Says which pixel formats, sizes and frame rates the camera has, a line for each format;
    /// nothing where it does not tell. It opens the camera, and may block for a few seconds.
    fn offers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An opened camera that gives images of type `I`. Any call may block for ever.
pub(crate) trait Device<I> {
    /// Returns what the device says of itself, which need not be true.
    fn frame_interval(&self) -> Option<Duration>;

    /// Names the pixels that the backend delivers, before they are converted; known with the first
    /// frame.
    fn pixel_format(&self) -> Option<String>;

    /// Waits for the next frame, undecoded; an error says why the device gave up.
    fn grab(&mut self) -> Result<(), DeviceError>;

    /// Decodes what was grabbed.
    fn retrieve(&mut self) -> Result<I, ImageProblem>;
}

/// Opens a device anew for each attempt; called on the thread that will read it.
pub(crate) type Open<I> = dyn Fn() -> Result<Box<dyn Device<I>>, DeviceError> + Send + Sync;

/// Why a device did not open, or gave up.
#[derive(Debug)]
pub(crate) enum DeviceError {
    /// It may be there the next time.
    Unavailable(String),
    /// Reopening cannot cure it.
    Misconfigured(String),
}

impl From<opencv::Error> for DeviceError {
    fn from(error: opencv::Error) -> DeviceError {
        DeviceError::Unavailable(chain(&error))
    }
}
