//! One image with its exposure time.

use std::ops::Add;
use std::time::Duration;

use ndarray::{Array2, ArrayView2};

/// Nanoseconds on the process's clock: Unix time at start plus monotonic time since, so it never
/// steps. What others are told is Unix time, see [`StampNs::unix_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StampNs(pub u64);

impl StampNs {
    /// Time from `earlier` to `self`; zero when `earlier` lies in the future.
    pub fn since_ns(self, earlier: StampNs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Nanoseconds since the Unix epoch, where Unix time is `ahead_ns` ahead of the clock: see
    /// [`Clock::unix_ahead_ns`](crate::Clock::unix_ahead_ns).
    pub fn unix_ns(self, ahead_ns: i64) -> u64 {
        self.0.saturating_add_signed(ahead_ns)
    }

    /// The inverse of [`unix_ns`](Self::unix_ns).
    pub fn from_unix_ns(unix_ns: u64, ahead_ns: i64) -> StampNs {
        StampNs(unix_ns.saturating_add_signed(ahead_ns.saturating_neg()))
    }
}

impl Add<Duration> for StampNs {
    type Output = StampNs;

    fn add(self, duration: Duration) -> StampNs {
        StampNs(self.0 + u64::try_from(duration.as_nanos()).expect("durations of under 584 years"))
    }
}

/// Where a frame's stamp comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StampSource {
    /// The device said when the exposure was.
    Exposure,
    /// The host's clock when the frame arrived: late by exposure, readout and transfer.
    Arrival,
    /// Taken from a recording.
    Recorded,
}

/// A frame as the camera delivered it. Its stamp is the stamp of everything made from it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counts the frames of one source; a gap is a frame that a newer one replaced.
    pub sequence: u64,
    pub stamp: StampNs,
    pub stamp_source: StampSource,
    pub color: BgrImage,
    /// Same size as `color`, pixel for pixel.
    pub depth: Option<DepthImage>,
}

/// A file or a message that promises more pixels is refused before they are decoded: 67 megapixels,
/// which is 201 MB in memory. The largest sensors on arms have 65.
pub const PIXELS_MAX: u64 = 1 << 26;

/// An image's data does not fill its size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} values for an image of {width_px}x{height_px} px, which holds {expected}")]
pub struct ImageSizeError {
    pub width_px: u32,
    pub height_px: u32,
    pub expected: usize,
    pub found: usize,
}

/// u8 `[height_px, width_px, 3]`, BGR, `0..=255`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgrImage {
    width_px: u32,
    height_px: u32,
    data: Vec<u8>,
}

impl BgrImage {
    pub fn new(width_px: u32, height_px: u32, data: Vec<u8>) -> Result<BgrImage, ImageSizeError> {
        check_size(width_px, height_px, 3, data.len())?;
        Ok(BgrImage { width_px, height_px, data })
    }

    pub fn width_px(&self) -> u32 {
        self.width_px
    }

    pub fn height_px(&self) -> u32 {
        self.height_px
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Blue, green, red.
    pub fn pixel(&self, x_px: u32, y_px: u32) -> [u8; 3] {
        let at = 3 * (y_px as usize * self.width_px as usize + x_px as usize);
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

/// u16 `[y, x]`, millimetres along the optical axis, `0` where nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepthImage {
    width_px: u32,
    height_px: u32,
    /// Row by row, without gaps.
    mm: Array2<u16>,
}

impl DepthImage {
    /// `data_mm` is row-major.
    pub fn new(
        width_px: u32,
        height_px: u32,
        data_mm: Vec<u16>,
    ) -> Result<DepthImage, ImageSizeError> {
        check_size(width_px, height_px, 1, data_mm.len())?;
        let shape = [height_px as usize, width_px as usize];
        let mm = Array2::from_shape_vec(shape, data_mm).expect("the size was checked");
        Ok(DepthImage { width_px, height_px, mm })
    }

    pub fn width_px(&self) -> u32 {
        self.width_px
    }

    pub fn height_px(&self) -> u32 {
        self.height_px
    }

    /// `[y, x]`.
    pub fn view_mm(&self) -> ArrayView2<'_, u16> {
        self.mm.view()
    }

    /// Row-major.
    pub fn data_mm(&self) -> &[u16] {
        self.mm.as_slice().expect("rows lie in memory without gaps")
    }

    /// One row of millimetres.
    #[inline]
    pub(crate) fn row_mm(&self, y_px: u32) -> &[u16] {
        self.mm.row(y_px as usize).to_slice().expect("rows lie along memory")
    }

    /// Millimetres along the optical axis, `0` in a hole.
    #[inline]
    pub fn mm(&self, x_px: u32, y_px: u32) -> u16 {
        self.mm[[y_px as usize, x_px as usize]]
    }

    /// Depth along the optical axis; `None` in a hole.
    pub fn depth_m(&self, x_px: u32, y_px: u32) -> Option<f64> {
        let mm = self.mm(x_px, y_px);
        (mm != 0).then(|| f64::from(mm) / 1000.0)
    }
}

fn check_size(w: u32, h: u32, channels: usize, found: usize) -> Result<(), ImageSizeError> {
    let expected = w as usize * h as usize * channels;
    if expected == found && expected != 0 {
        return Ok(());
    }
    Err(ImageSizeError { width_px: w, height_px: h, expected, found })
}
