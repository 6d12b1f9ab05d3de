//! Converts images to Foxglove messages and back.

use std::io::Cursor;

use foxglove::messages::{CompressedImage, RawImage, Timestamp};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader,
    ImageResult,
};
use magpie_files::is_whole_jpeg;
use magpie_perception::{BgrImage, BoxError, DepthImage, PIXELS_MAX, StampNs};
use prost::Message;

use crate::pixels::{self, CameraBits, DepthUnit, swap_red_blue};
use crate::ros;

/// How colour images are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ColorCoding {
    /// Lossless.
    #[default]
    Png,
    /// Lossy; the channel's metadata says so. `quality` is `1..=100`.
    Jpeg { quality: u8 },
    /// Lossless and quick to write, but large.
    Raw,
}

/// How depth images are stored. Both are lossless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DepthCoding {
    /// `16UC1`, which Foxglove colours by depth. The chunk's compression makes it smaller.
    #[default]
    Raw,
    /// 16-bit grey PNG, for tools that do not know `16UC1`. It is about as large, and viewers that
    /// reduce it to eight bits show it dark.
    Png,
}

impl ColorCoding {
    pub(crate) fn name(self) -> String {
        match self {
            ColorCoding::Png => "png".to_owned(),
            ColorCoding::Jpeg { quality } => format!("jpeg, quality {quality}"),
            ColorCoding::Raw => "bgr8".to_owned(),
        }
    }

    pub(crate) fn is_lossless(self) -> bool {
        !matches!(self, ColorCoding::Jpeg { .. })
    }
}

impl DepthCoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DepthCoding::Raw => "16UC1",
            DepthCoding::Png => "png",
        }
    }
}

/// An image as one of Foxglove's two messages.
#[derive(Debug)]
pub(crate) enum ImageMessage {
    Compressed(CompressedImage),
    Raw(RawImage),
}

pub(crate) fn encode_color(
    color: &BgrImage,
    coding: ColorCoding,
    timestamp: Timestamp,
    frame_id: &str,
) -> ImageResult<ImageMessage> {
    let (width, height) = (color.width_px(), color.height_px());
    let rgb8 = ExtendedColorType::Rgb8;
    match coding {
        ColorCoding::Png => {
            let mut png = Vec::new();
            png_encoder(&mut png).write_image(&swap_red_blue(color.data()), width, height, rgb8)?;
            Ok(compressed(png, "png", timestamp, frame_id))
        }
        ColorCoding::Jpeg { quality } => {
            let mut jpeg = Vec::new();
            let encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
            encoder.write_image(&swap_red_blue(color.data()), width, height, rgb8)?;
            Ok(compressed(jpeg, "jpeg", timestamp, frame_id))
        }
        ColorCoding::Raw => {
            let data = color.data().to_vec();
            Ok(raw(data, "bgr8", (width, height), 3, timestamp, frame_id))
        }
    }
}

pub(crate) fn encode_depth(
    depth: &DepthImage,
    coding: DepthCoding,
    timestamp: Timestamp,
    frame_id: &str,
) -> ImageResult<ImageMessage> {
    let (width, height) = (depth.width_px(), depth.height_px());
    match coding {
        DepthCoding::Png => {
            // The encoder takes native byte order and writes PNG's big-endian.
            let bytes: Vec<u8> = depth.data_mm().iter().flat_map(|mm| mm.to_ne_bytes()).collect();
            let mut png = Vec::new();
            let encoder = png_encoder(&mut png);
            encoder.write_image(&bytes, width, height, ExtendedColorType::L16)?;
            Ok(compressed(png, "png", timestamp, frame_id))
        }
        DepthCoding::Raw => {
            let data = depth.data_mm().iter().flat_map(|mm| mm.to_le_bytes()).collect();
            Ok(raw(data, "16UC1", (width, height), 2, timestamp, frame_id))
        }
    }
}

/// `schema` is the name of the channel's schema.
pub(crate) fn decode_color(
    schema: &str,
    message: &[u8],
    camera_bits: &mut CameraBits,
) -> Result<BgrImage, BoxError> {
    match decode_message(schema, message)? {
        ImageMessage::Compressed(image) => {
            let decoded = decode_compressed(&image)?;
            let (width_px, height_px) = (decoded.width(), decoded.height());
            let rgb = if decoded.color().bytes_per_pixel() / decoded.color().channel_count() > 1 {
                camera_bits.eight(decoded.into_rgb16().as_raw().iter().copied())
            } else {
                decoded.into_rgb8().into_raw()
            };
            Ok(BgrImage::new(width_px, height_px, swap_red_blue(&rgb))?)
        }
        ImageMessage::Raw(image) => {
            let bytes_per_pixel = pixels::bytes_per_pixel(&image.encoding)?;
            let packed = packed_rows(&image, bytes_per_pixel)?;
            let bgr = pixels::to_bgr(&image.encoding, packed, camera_bits);
            Ok(BgrImage::new(image.width, image.height, bgr)?)
        }
    }
}

/// `schema` is the name of the channel's schema.
pub(crate) fn decode_depth(
    schema: &str,
    message: &[u8],
    unit: DepthUnit,
) -> Result<DepthImage, BoxError> {
    match decode_message(schema, message)? {
        ImageMessage::Compressed(image) => {
            let quantized = pixels::Quantized::of(&image.format, &image.data)?;
            let data = image.data.slice(quantized.head_bytes..);
            match decode_compressed(&CompressedImage { data, ..image })? {
                DynamicImage::ImageLuma16(grey) => {
                    let (width_px, height_px) = grey.dimensions();
                    let values = grey.into_raw().into_iter();
                    let mm = values.map(|value| quantized.mm(value, unit)).collect();
                    Ok(DepthImage::new(width_px, height_px, mm)?)
                }
                other => Err(format!("pixels are {:?}, not 16-bit grey", other.color()).into()),
            }
        }
        ImageMessage::Raw(image) => {
            let mm = match image.encoding.as_str() {
                "16UC1" | "mono16" => {
                    let packed = packed_rows(&image, 2)?;
                    let (values, _) = packed.as_chunks();
                    values.iter().map(|bits| unit.mm_of_bits(u16::from_le_bytes(*bits))).collect()
                }
                "32FC1" => {
                    let packed = packed_rows(&image, 4)?;
                    let (values, _) = packed.as_chunks();
                    values.iter().map(|m| unit.mm_of_number(f32::from_le_bytes(*m))).collect()
                }
                other => return Err(format!("encoding {other:?} is not 16UC1 or 32FC1").into()),
            };
            Ok(DepthImage::new(image.width, image.height, mm)?)
        }
    }
}

pub(crate) fn decode_message(schema: &str, message: &[u8]) -> Result<ImageMessage, BoxError> {
    match schema {
        "foxglove.CompressedImage" => Ok(ImageMessage::Compressed(Message::decode(message)?)),
        "foxglove.RawImage" => Ok(ImageMessage::Raw(Message::decode(message)?)),
        ros::COMPRESSED_IMAGE => Ok(ImageMessage::Compressed(ros::compressed_image(message)?)),
        ros::IMAGE => Ok(ImageMessage::Raw(ros::image(message)?)),
        other => Err(format!("schema {other:?} is no image of Foxglove's or ROS 2's").into()),
    }
}

/// Whether [`decode_message`] reads messages of this schema in this encoding.
pub(crate) fn is_image(schema: &str, encoding: &str) -> bool {
    match schema {
        "foxglove.CompressedImage" | "foxglove.RawImage" => encoding == "protobuf",
        ros::COMPRESSED_IMAGE | ros::IMAGE => encoding == "cdr",
        _ => false,
    }
}

/// The first fields of Foxglove's images, so that their pixels need not be copied.
#[derive(Clone, PartialEq, Message)]
struct Stamped {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
}

/// When the picture was taken, as its message says; `None` where it does not.
pub(crate) fn stamp_of(schema: &str, message: &[u8]) -> Option<StampNs> {
    let stamp = match schema {
        ros::COMPRESSED_IMAGE | ros::IMAGE => ros::header(message).ok()?.stamp,
        _ => {
            let timestamp = Stamped::decode(message).ok()?.timestamp?;
            StampNs(u64::from(timestamp.sec()) * 1_000_000_000 + u64::from(timestamp.nsec()))
        }
    };
    Some(stamp).filter(|stamp| stamp.0 > 0)
}

impl ImageMessage {
    pub(crate) fn frame_id(&self) -> &str {
        match self {
            ImageMessage::Compressed(image) => &image.frame_id,
            ImageMessage::Raw(image) => &image.frame_id,
        }
    }

    /// Whether only depth is coded so.
    pub(crate) fn is_depth(&self) -> bool {
        match self {
            ImageMessage::Compressed(image) => {
                let format = image.format.as_str();
                format.contains("compressedDepth")
                    || ["16UC1", "32FC1"].iter().any(|depth| format.starts_with(depth))
            }
            ImageMessage::Raw(image) => matches!(image.encoding.as_str(), "16UC1" | "32FC1"),
        }
    }
}

fn decode_compressed(image: &CompressedImage) -> Result<DynamicImage, BoxError> {
    // ROS writes "bgr8; jpeg compressed bgr8", for example: the bytes say it for all.
    let format = match image::guess_format(&image.data) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ => return Err(format!("format {:?} is neither png nor jpeg", image.format).into()),
    };
    let decoder = ImageReader::with_format(Cursor::new(&image.data), format).into_decoder()?;
    let (width_px, height_px) = decoder.dimensions();
    if u64::from(width_px) * u64::from(height_px) > PIXELS_MAX {
        let most = PIXELS_MAX / 1_000_000;
        return Err(
            format!("{width_px}x{height_px} px, where {most} megapixels are the most").into()
        );
    }
    // The decoder would fill what is missing with grey.
    if format == ImageFormat::Jpeg && !is_whole_jpeg(&image.data) {
        return Err("its JPEG is damaged: the picture is not the one that was taken".into());
    }
    Ok(DynamicImage::from_decoder(decoder)?)
}

/// The image's bytes without padding between rows.
fn packed_rows(image: &RawImage, bytes_per_pixel: usize) -> Result<Vec<u8>, BoxError> {
    let row = (image.width as usize).checked_mul(bytes_per_pixel);
    let (step, height) = (image.step as usize, image.height as usize);
    match row {
        Some(row)
            if row > 0 && row <= step && step.checked_mul(height) == Some(image.data.len()) =>
        {
            Ok(image.data.chunks_exact(step).flat_map(|bytes| &bytes[..row]).copied().collect())
        }
        _ => Err(format!(
            "{} bytes in rows of {step} do not make {}x{} px of {bytes_per_pixel} bytes",
            image.data.len(),
            image.width,
            image.height
        )
        .into()),
    }
}

fn png_encoder(png: &mut Vec<u8>) -> PngEncoder<&mut Vec<u8>> {
    PngEncoder::new_with_quality(png, CompressionType::Fast, FilterType::Adaptive)
}

fn compressed(data: Vec<u8>, format: &str, timestamp: Timestamp, frame_id: &str) -> ImageMessage {
    ImageMessage::Compressed(CompressedImage {
        timestamp: Some(timestamp),
        frame_id: frame_id.to_owned(),
        data: data.into(),
        format: format.to_owned(),
    })
}

fn raw(
    data: Vec<u8>,
    encoding: &str,
    (width, height): (u32, u32),
    bytes_per_pixel: u32,
    timestamp: Timestamp,
    frame_id: &str,
) -> ImageMessage {
    ImageMessage::Raw(RawImage {
        timestamp: Some(timestamp),
        frame_id: frame_id.to_owned(),
        width,
        height,
        encoding: encoding.to_owned(),
        step: width * bytes_per_pixel,
        data: data.into(),
    })
}
