//! A video file through FFmpeg.

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_perception::BoxError;
use opencv::core::Mat;
use opencv::prelude::*;
use opencv::videoio::{self, VideoCapture};

use super::player::Reader;
use crate::errors::{OpenError, VideoFileError, chain};
use crate::images::Images;
use crate::pixels::bgr_from_mat;

pub(crate) struct VideoFile {
    path: PathBuf,
    capture: VideoCapture,
    mat: Mat,
    frame_interval: Duration,
    frames_read: f64,
}

impl VideoFile {
    /// Opens the file, and decodes its first frame as a check.
    pub(crate) fn open(path: &Path) -> Result<VideoFile, OpenError> {
        let open = || {
            let mut probe = open_capture(path)?;
            let frame_interval = frame_interval(&probe)?;
            let mut mat = Mat::default();
            if !probe.read(&mut mat).map_err(VideoFileError::OpenCv)? || mat.empty() {
                return Err(VideoFileError::NoFrame);
            }
            let capture = open_capture(path)?;
            Ok(VideoFile { path: path.to_owned(), capture, mat, frame_interval, frames_read: 0.0 })
        };
        open().map_err(|source| OpenError::VideoFile { path: path.to_owned(), source })
    }
}

impl Reader for VideoFile {
    fn frame_interval(&self) -> Duration {
        self.frame_interval
    }

    fn read(&mut self) -> Option<Result<Images, String>> {
        match self.capture.read(&mut self.mat) {
            Ok(true) => {
                self.frames_read += 1.0;
                let color = bgr_from_mat(&self.mat).map_err(|problem| chain(&problem));
                Some(color.map(Images::from))
            }
            Ok(false) => self.check_complete(),
            Err(error) => Some(Err(chain(&error))),
        }
    }

    /// Opens the file anew: not every container can seek to its first frame.
    fn rewind(&mut self) -> Result<(), BoxError> {
        self.capture = open_capture(&self.path)?;
        self.frames_read = 0.0;
        Ok(())
    }
}

impl VideoFile {
    /// Returns an error at the end of a truncated file, which must not pass for a short one. Some
    /// containers only estimate how many frames they hold, so a few may be missing.
    fn check_complete(&mut self) -> Option<Result<Images, String>> {
        let expected = self.capture.get(videoio::CAP_PROP_FRAME_COUNT).unwrap_or(0.0);
        let read = std::mem::replace(&mut self.frames_read, f64::INFINITY);
        let is_complete = read >= (expected - 5.0).min(0.95 * expected);
        (!is_complete)
            .then(|| Err(format!("it is truncated: {read} of {expected} frames are there")))
    }
}

fn open_capture(path: &Path) -> Result<VideoCapture, VideoFileError> {
    // FFmpeg would take a missing file for an undecodable one.
    magpie_files::open(path).map_err(VideoFileError::Io)?;
    let capture =
        VideoCapture::from_file(path, videoio::CAP_FFMPEG).map_err(VideoFileError::OpenCv)?;
    if capture.is_opened().map_err(VideoFileError::OpenCv)? {
        Ok(capture)
    } else {
        Err(VideoFileError::NotAVideo)
    }
}

fn frame_interval(capture: &VideoCapture) -> Result<Duration, VideoFileError> {
    let fps = capture.get(videoio::CAP_PROP_FPS).map_err(VideoFileError::OpenCv)?;
    // Outside of these a container's clock was mistaken for its frame rate.
    if (0.01..=1000.0).contains(&fps) {
        Ok(Duration::from_secs_f64(1.0 / fps))
    } else {
        Err(VideoFileError::FrameRate { fps })
    }
}
