//! A video file through FFmpeg.

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_perception::BoxError;
use opencv::core::Mat;
use opencv::prelude::*;
use opencv::videoio::{self, VideoCapture};

use crate::files::{Images, Reader};
use crate::pixels::bgr_from_mat;
use crate::{OpenError, VideoFileError, chain};

pub(crate) struct VideoFile {
    path: PathBuf,
    capture: VideoCapture,
    mat: Mat,
    frame_interval: Duration,
}

impl VideoFile {
    /// Decodes the first frame as a check.
    pub(crate) fn open(path: &Path) -> Result<VideoFile, OpenError> {
        let open = || {
            let mut probe = open_capture(path)?;
            let frame_interval = frame_interval(&probe)?;
            let mut mat = Mat::default();
            if !probe.read(&mut mat).map_err(VideoFileError::OpenCv)? || mat.empty() {
                return Err(VideoFileError::NoFrame);
            }
            let capture = open_capture(path)?;
            Ok(VideoFile { path: path.to_owned(), capture, mat, frame_interval })
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
                let color = bgr_from_mat(&self.mat).map_err(|problem| chain(&problem));
                Some(color.map(|color| Images { color, depth: None }))
            }
            Ok(false) => None,
            Err(error) => Some(Err(chain(&error))),
        }
    }

    /// Opens the file anew: not every container can seek to its first frame.
    fn rewind(&mut self) -> Result<(), BoxError> {
        self.capture = open_capture(&self.path)?;
        Ok(())
    }
}

fn open_capture(path: &Path) -> Result<VideoCapture, VideoFileError> {
    // FFmpeg would take a missing file for an undecodable one.
    std::fs::File::open(path).map_err(VideoFileError::Io)?;
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
    // Beyond these a container's clock was mistaken for its frame rate.
    if (0.01..=1000.0).contains(&fps) {
        Ok(Duration::from_secs_f64(1.0 / fps))
    } else {
        Err(VideoFileError::FrameRate { fps })
    }
}
