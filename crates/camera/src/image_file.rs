//! Single images: files to pixels and back, nothing half-read.
//!
//! A decoder fills what is missing from a truncated JPEG with grey, or even with pixels of an
//! earlier image (opencv#26488), and reports success. So the container is walked to its end
//! before a decoder sees it. A JPEG has no checksum: bytes that were altered inside a complete
//! file go unnoticed, whereas a PNG's checksums are verified.
//!
//! # Conventions
//!
//! Colour images follow their EXIF orientation, as every viewer shows them. Images that a
//! calibration is made from or used on ([`read_sensor_image`]) do not: a lens is known by the pixels
//! of its sensor, however the camera was held.

use std::path::Path;

use magpie_perception::{BgrImage, DepthImage};
use opencv::core::{CV_8U, Mat, ToInputArray, Vec3b, Vector};
use opencv::imgcodecs;
use opencv::prelude::*;

use crate::container::{Container, PngHeader};
use crate::errors::{ImageError, ImageProblem};
use crate::pixels::{bgr_from_mat, millimetres};

/// Reads a colour or grey image file, JPEG or PNG.
pub fn read_image(path: &Path) -> Result<BgrImage, ImageError> {
    let read = || decode_image(&std::fs::read(path).map_err(ImageProblem::Io)?);
    read().map_err(|source| ImageError { action: "read", path: path.to_owned(), source })
}

/// Reads a colour or grey image file as the sensor took it: JPEG, PNG, BMP, TIFF or PGM.
pub fn read_sensor_image(path: &Path) -> Result<BgrImage, ImageError> {
    let read = || decode_sensor_image(&std::fs::read(path).map_err(ImageProblem::Io)?);
    read().map_err(|source| ImageError { action: "read", path: path.to_owned(), source })
}

/// Reads a depth image file: 16-bit PNG, one step of which is `unit_m` metres; 0 and 65535 where
/// nothing was measured.
pub fn read_depth_png(path: &Path, unit_m: f64) -> Result<DepthImage, ImageError> {
    let read = || decode_depth(&std::fs::read(path).map_err(ImageProblem::Io)?, unit_m);
    read().map_err(|source| ImageError { action: "read", path: path.to_owned(), source })
}

/// Writes an image file without loss.
pub fn write_png(path: &Path, image: &BgrImage) -> Result<(), ImageError> {
    let write = || {
        let bytes = encode(".png", &mat_from_bgr(image)?, &Vector::new())?;
        std::fs::write(path, bytes).map_err(ImageProblem::Io)
    };
    write().map_err(|source| ImageError { action: "write", path: path.to_owned(), source })
}

/// Writes the file that [`read_depth_png`] reads in millimetres.
pub fn write_depth_png(path: &Path, depth: &DepthImage) -> Result<(), ImageError> {
    let write = || {
        let (rows, cols) = (side(depth.height_px()), side(depth.width_px()));
        let mat = Mat::new_rows_cols_with_data(rows, cols, depth.data_mm())?;
        let bytes = encode(".png", &mat, &Vector::new())?;
        std::fs::write(path, bytes).map_err(ImageProblem::Io)
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

/// Decodes the bytes of a colour or grey image file, JPEG or PNG.
pub fn decode_image(bytes: &[u8]) -> Result<BgrImage, ImageProblem> {
    let container = Container::of(bytes)?;
    if let Container::Png(PngHeader { bits: 16, .. }) = container {
        return Err(ImageProblem::SixteenBitColor);
    }
    bgr_from_mat(&decode(bytes, imgcodecs::IMREAD_COLOR, container.format())?)
}

/// Decodes a picture that a camera compressed, as its sensor took it.
pub(crate) fn decode_jpeg(bytes: &[u8]) -> Result<BgrImage, ImageProblem> {
    match Container::of(bytes)? {
        Container::Jpeg => {}
        other => return Err(ImageProblem::NotJpeg { found: other.format() }),
    }
    let flags = imgcodecs::IMREAD_COLOR | imgcodecs::IMREAD_IGNORE_ORIENTATION;
    bgr_from_mat(&decode(bytes, flags, "JPEG")?)
}

fn decode_sensor_image(bytes: &[u8]) -> Result<BgrImage, ImageProblem> {
    let format = match Container::of(bytes) {
        Ok(container) => container.format(),
        Err(ImageProblem::NotAnImage) => {
            plain_format(bytes).ok_or(ImageProblem::NotASensorImage)?
        }
        Err(other) => return Err(other),
    };
    let flags =
        imgcodecs::IMREAD_COLOR | imgcodecs::IMREAD_IGNORE_ORIENTATION | imgcodecs::IMREAD_ANYDEPTH;
    let mat = decode(bytes, flags, format)?;
    if mat.depth() != CV_8U {
        return Err(ImageProblem::SixteenBitColor);
    }
    bgr_from_mat(&mat)
}

/// Names the formats whose decoders notice by themselves when something is missing.
fn plain_format(bytes: &[u8]) -> Option<&'static str> {
    let starts: [(&[u8], _); 7] = [
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"P2", "PGM"),
        (b"P5", "PGM"),
        (b"P3", "PPM"),
        (b"P6", "PPM"),
    ];
    starts.into_iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, format)| format)
}

fn decode(bytes: &[u8], flags: i32, format: &'static str) -> Result<Mat, ImageProblem> {
    let mat = imgcodecs::imdecode(&Mat::from_slice(bytes)?, flags)?;
    if mat.empty() { Err(ImageProblem::Undecodable { format }) } else { Ok(mat) }
}

fn decode_depth(bytes: &[u8], unit_m: f64) -> Result<DepthImage, ImageProblem> {
    match Container::of(bytes)? {
        Container::Png(PngHeader { bits: 16, channels: "grey" }) => {}
        other => return Err(ImageProblem::NotDepth { found: other.describe() }),
    }
    let mat = decode(bytes, imgcodecs::IMREAD_UNCHANGED, "PNG")?;
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
