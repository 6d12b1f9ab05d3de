//! Single images: files to pixels and back, nothing half-read.
//!
//! A decoder fills what is missing from a truncated JPEG with grey, or even with pixels of an
//! earlier image (opencv#26488), and reports success. So the container is walked to its end
//! before a decoder sees it, and so are the codes of a JPEG, which has no checksum. What is too large
//! for memory is refused by its header.
//!
//! # Conventions
//!
//! Colour images follow their EXIF orientation in every format, as every viewer shows them. Images
//! that a calibration is made from or used on, and those that depth belongs to
//! ([`read_sensor_image`]), do not: lens and depth are known by the pixels of the sensor, however the
//! camera was held.
//!
//! What has 16 bits a channel is a picture of a camera with 8, 10, 12, 14 or 16 bits, whichever hold
//! its largest value. The highest 8 of those are taken.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Once;

use magpie_perception::{BgrImage, DepthImage};
use opencv::core::{self, CV_16U, CV_16UC1, Mat, ToInputArray, Vec3b, Vector};
use opencv::imgcodecs;
use opencv::prelude::*;

use crate::container::{Container, Format, PngHeader};
use crate::errors::{ImageError, ImageProblem};
use crate::exif;
use crate::pixels::{bgr_from_mat, eight_bits, millimetres};

/// As many pixels as are read, uncompressed in 16 bits a channel, with room for what stands beside
/// them.
const FILE_BYTES_MAX: u64 = 500_000_000;

/// How names of pictures end, in lower case.
const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "pgm", "ppm"];

/// Whether a file in a folder is taken for a picture.
pub fn is_picture_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|have| EXTENSIONS.iter().any(|one| have.eq_ignore_ascii_case(one)))
}

/// Reads a colour or grey image file: JPEG, PNG, WebP, TIFF, BMP, PGM or PPM.
pub fn read_image(path: &Path) -> Result<BgrImage, ImageError> {
    read_picture(path, Turn::AsShown)
}

/// Reads such a file as the sensor took it; says so once if viewers show it otherwise.
pub fn read_sensor_image(path: &Path) -> Result<BgrImage, ImageError> {
    read_picture(path, Turn::AsTaken)
}

/// Reads a depth image file: PNG, TIFF or PGM of 16 bits, one step of which is `unit_m` metres; 0 and
/// 65535 where nothing was measured.
pub fn read_depth_png(path: &Path, unit_m: f64) -> Result<DepthImage, ImageError> {
    let read = || decode_depth(&read_file(path)?, unit_m);
    read().map_err(|source| ImageError { action: "read", path: path.to_owned(), source })
}

/// Writes an image file without loss.
pub fn write_png(path: &Path, image: &BgrImage) -> Result<(), ImageError> {
    let write = || {
        let bytes = encode(".png", &mat_from_bgr(image)?, &Vector::new())?;
        magpie_files::write(path, bytes).map_err(ImageProblem::Io)
    };
    write().map_err(|source| ImageError { action: "write", path: path.to_owned(), source })
}

/// Writes the file that [`read_depth_png`] reads in millimetres.
pub fn write_depth_png(path: &Path, depth: &DepthImage) -> Result<(), ImageError> {
    let write = || {
        let (rows, cols) = (side(depth.height_px()), side(depth.width_px()));
        let mat = Mat::new_rows_cols_with_data(rows, cols, depth.data_mm())?;
        let bytes = encode(".png", &mat, &Vector::new())?;
        magpie_files::write(path, bytes).map_err(ImageProblem::Io)
    };
    write().map_err(|source| ImageError { action: "write", path: path.to_owned(), source })
}

/// Encodes an image with loss; `quality_percent` runs from 0 (smallest) to 100 (best).
pub fn encode_jpeg(image: &BgrImage, quality_percent: u8) -> Result<Vec<u8>, ImageProblem> {
    let quality = i32::from(quality_percent.min(100));
    let settings = Vector::from_slice(&[imgcodecs::IMWRITE_JPEG_QUALITY, quality]);
    encode(".jpg", &mat_from_bgr(image)?, &settings)
}

/// Refuses depth that does not lie on the colour image, pixel for pixel.
pub fn check_aligned(color: &BgrImage, depth: &DepthImage) -> Result<(), ImageProblem> {
    let (width_px, height_px) = (color.width_px(), color.height_px());
    let (depth_width_px, depth_height_px) = (depth.width_px(), depth.height_px());
    if (width_px, height_px) == (depth_width_px, depth_height_px) {
        return Ok(());
    }
    Err(ImageProblem::DepthSize { width_px, height_px, depth_width_px, depth_height_px })
}

/// Decodes the bytes of a colour or grey image file.
pub fn decode_image(bytes: &[u8]) -> Result<BgrImage, ImageProblem> {
    decode_picture(bytes, Turn::AsShown).map(|picture| picture.image)
}

/// Decodes a picture that a camera compressed, as its sensor took it.
pub(crate) fn decode_jpeg(bytes: &[u8]) -> Result<BgrImage, ImageProblem> {
    let container = Container::of(bytes)?;
    if !matches!(container.format, Format::Jpeg) {
        return Err(ImageProblem::NotJpeg { found: container.format.name() });
    }
    decode_contained(bytes, &container, Turn::AsTaken).map(|picture| picture.image)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    AsShown,
    AsTaken,
}

struct Picture {
    image: BgrImage,
    /// EXIF's: from 1, upright, to 8.
    orientation: u8,
    /// Of each channel, where it came with 16.
    deep_bits: Option<u32>,
}

fn read_picture(path: &Path, turn: Turn) -> Result<BgrImage, ImageError> {
    static DEEP: Once = Once::new();
    static TURNED: Once = Once::new();
    let read = || decode_picture(&read_file(path)?, turn);
    let Picture { image, orientation, deep_bits } =
        read().map_err(|source| ImageError { action: "read", path: path.to_owned(), source })?;
    if let Some(bits) = deep_bits {
        DEEP.call_once(|| {
            tracing::warn!(
                "{} has 16 bits a channel: it is taken for a picture of a camera with {bits} bits; \
                 a depth image belongs to where depth is asked for",
                path.display()
            );
        });
    }
    if turn == Turn::AsTaken && orientation != 1 {
        TURNED.call_once(|| {
            tracing::warn!(
                "{} is not turned, although its EXIF orientation is {orientation}: lens and depth are \
                 known by the pixels of the sensor; a lens that was calibrated from turned pictures \
                 does not fit",
                path.display()
            );
        });
    }
    Ok(image)
}

fn read_file(path: &Path) -> Result<Vec<u8>, ImageProblem> {
    magpie_files::read(path, FILE_BYTES_MAX).map_err(ImageProblem::Io)
}

fn decode_picture(bytes: &[u8], turn: Turn) -> Result<Picture, ImageProblem> {
    decode_contained(bytes, &Container::of(bytes)?, turn)
}

fn decode_contained(
    bytes: &[u8],
    Container { format, orientation }: &Container,
    turn: Turn,
) -> Result<Picture, ImageProblem> {
    // OpenCV leaves some formats as they lie, and turns some whatever it is asked: so it is done here.
    let flags =
        imgcodecs::IMREAD_COLOR | imgcodecs::IMREAD_ANYDEPTH | imgcodecs::IMREAD_IGNORE_ORIENTATION;
    let mut mat = match format {
        Format::Tiff => decode(&exif::without_orientation(bytes), flags, format.name())?,
        _ => decode(bytes, flags, format.name())?,
    };
    let deep_bits = if mat.depth() == CV_16U {
        let (shallow, bits) = eight_bits(&mat)?;
        mat = shallow;
        Some(bits)
    } else {
        None
    };
    let mat = if turn == Turn::AsShown { turned(mat, *orientation)? } else { mat };
    Ok(Picture { image: bgr_from_mat(&mat)?, orientation: *orientation, deep_bits })
}

/// As EXIF's orientation says: first mirrored at the diagonal, then at an axis or at both.
fn turned(mat: Mat, orientation: u8) -> Result<Mat, ImageProblem> {
    const LEFT_RIGHT: i32 = 1;
    const UP_DOWN: i32 = 0;
    const BOTH: i32 = -1;
    let (at_diagonal, at_axis) = match orientation {
        2 => (false, Some(LEFT_RIGHT)),
        3 => (false, Some(BOTH)),
        4 => (false, Some(UP_DOWN)),
        5 => (true, None),
        6 => (true, Some(LEFT_RIGHT)),
        7 => (true, Some(BOTH)),
        8 => (true, Some(UP_DOWN)),
        _ => return Ok(mat),
    };
    let mut found = mat;
    if at_diagonal {
        let mut mirrored = Mat::default();
        core::transpose(&found, &mut mirrored)?;
        found = mirrored;
    }
    if let Some(axis) = at_axis {
        let mut mirrored = Mat::default();
        core::flip(&found, &mut mirrored, axis)?;
        found = mirrored;
    }
    Ok(found)
}

fn decode(bytes: &[u8], flags: i32, format: &'static str) -> Result<Mat, ImageProblem> {
    let mat = imgcodecs::imdecode(&Mat::from_slice(bytes)?, flags)?;
    if mat.empty() { Err(ImageProblem::Undecodable { format }) } else { Ok(mat) }
}

fn decode_depth(bytes: &[u8], unit_m: f64) -> Result<DepthImage, ImageProblem> {
    let not_depth = |found: &str| ImageProblem::NotDepth { found: found.to_owned() };
    let container = Container::of(bytes).map_err(|problem| match problem {
        ImageProblem::NotAnImage if bytes.starts_with(b"\x93NUMPY") => not_depth("a NumPy array"),
        ImageProblem::NotAnImage => not_depth("no picture"),
        other => other,
    })?;
    let may_be_depth = matches!(
        container.format,
        Format::Png(PngHeader { bits: 16, channels: "grey" }) | Format::Tiff | Format::Pnm
    );
    if !may_be_depth {
        return Err(not_depth(&container.describe()));
    }
    // Depth stays where the sensor has it.
    let upright = match container.format {
        Format::Tiff => Cow::Owned(exif::without_orientation(bytes)),
        _ => Cow::Borrowed(bytes),
    };
    let mat = decode(&upright, imgcodecs::IMREAD_UNCHANGED, container.format.name())?;
    if mat.typ() != CV_16UC1 {
        return Err(not_depth(&format!("{} of other values", container.describe())));
    }
    let size = mat.size()?;
    let values = mat.data_typed::<u16>()?.iter();
    let data_mm = values.map(|&value| millimetres(value, unit_m)).collect();
    DepthImage::new(size.width.unsigned_abs(), size.height.unsigned_abs(), data_mm)
        .map_err(|_| ImageProblem::Empty)
}

fn encode(
    extension: &str,
    image: &impl ToInputArray,
    settings: &Vector<i32>,
) -> Result<Vec<u8>, ImageProblem> {
    let mut bytes = Vector::new();
    imgcodecs::imencode(extension, image, &mut bytes, settings)?;
    Ok(bytes.to_vec())
}

pub(crate) fn mat_from_bgr(
    image: &BgrImage,
) -> Result<opencv::boxed_ref::BoxedRef<'_, Mat>, ImageProblem> {
    let (rows, cols) = (side(image.height_px()), side(image.width_px()));
    Ok(Mat::new_rows_cols_with_bytes::<Vec3b>(rows, cols, image.data())?)
}

fn side(px: u32) -> i32 {
    i32::try_from(px).expect("an image in memory has sides below 2^31 px")
}
