//! The pictures of one frame, before the frame has a number and a stamp.

use magpie_perception::{BgrImage, DepthImage, Frame, StampNs, StampSource};

use crate::errors::ImageProblem;
use crate::image_file::check_aligned;

/// One colour image, and the depth image that lies on it pixel for pixel where there is one.
#[derive(Debug)]
pub(crate) struct Images {
    color: BgrImage,
    depth: Option<DepthImage>,
}

impl Images {
    /// Refuses depth of another size than colour.
    pub(crate) fn new(color: BgrImage, depth: Option<DepthImage>) -> Result<Images, ImageProblem> {
        if let Some(depth) = &depth {
            check_aligned(&color, depth)?;
        }
        Ok(Images { color, depth })
    }

    pub(crate) fn into_frame(self, sequence: u64, stamp: StampNs) -> Frame {
        let Images { color, depth } = self;
        Frame { sequence, stamp, stamp_source: StampSource::Arrival, color, depth }
    }
}

impl From<BgrImage> for Images {
    fn from(color: BgrImage) -> Images {
        Images { color, depth: None }
    }
}

/// What a live stream delivers. One calibration serves all of a stream, so its size must not
/// change.
pub(crate) trait StreamImage: Send + 'static {
    /// Returns width and height.
    fn size_px(&self) -> (u32, u32);
}

impl StreamImage for Images {
    fn size_px(&self) -> (u32, u32) {
        (self.color.width_px(), self.color.height_px())
    }
}

impl StreamImage for DepthImage {
    fn size_px(&self) -> (u32, u32) {
        (self.width_px(), self.height_px())
    }
}
