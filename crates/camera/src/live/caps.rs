//! What a GStreamer pipeline delivers, by its caps: into our images, or refused by name.
//!
//! Raw formats are converted by GStreamer's own converter, which knows their planes, strides and
//! ranges. A mosaic and JPEG are decoded by OpenCV.

use gstreamer as gst;
use gstreamer::{BufferRef, CapsRef, StructureRef};
use gstreamer_video::prelude::*;
use gstreamer_video::{
    VideoConverter, VideoFormat, VideoFrameRef, VideoInfo, VideoInterlaceMode, VideoMeta,
};
use magpie_perception::{BgrImage, DepthImage};
use opencv::core::Mat;
use opencv::imgproc;
use opencv::prelude::*;

use crate::errors::ImageProblem;
use crate::image_file::decode_jpeg;
use crate::images::Images;
use crate::pixels::{bgr_from_mat, millimetres};

/// Makes an image of a buffer whose caps are known.
pub(super) type Decode<I> = dyn FnMut(&BufferRef) -> Result<I, ImageProblem>;

/// What caps mean, or why they cannot be used.
pub(super) type Decoder<I> = dyn Fn(&CapsRef) -> Result<Box<Decode<I>>, String>;

const RAW: &str = "video/x-raw";
const BAYER: &str = "video/x-bayer";
const JPEG: &str = "image/jpeg";

/// The pixel format in its usual name, such as `I420`, `Bayer rggb` or `JPEG`.
pub(super) fn format_name(caps: &CapsRef) -> String {
    let Some(structure) = caps.structure(0) else { return "nothing".to_owned() };
    let format = structure.get::<&str>("format").unwrap_or("of unknown format");
    match structure.name().as_str() {
        RAW => format.to_owned(),
        BAYER => format!("Bayer {format}"),
        JPEG => "JPEG".to_owned(),
        other => other.to_owned(),
    }
}

/// Colour from every raw format, from 8-bit mosaics and from JPEG; grey as grey.
fn color_decoder(caps: &CapsRef) -> Result<Box<Decode<BgrImage>>, String> {
    check_memory(caps)?;
    let structure = caps.structure(0).ok_or("the pipeline delivers nothing")?;
    match structure.name().as_str() {
        RAW => raw_decoder(caps),
        BAYER => bayer_decoder(structure),
        JPEG => jpeg_decoder(structure),
        other => Err(format!(
            "the pipeline delivers {other}, which is not decoded; add `decodebin ! videoconvert ! \
             video/x-raw,format=BGR` before appsink"
        )),
    }
}

/// As [`color_decoder`], for a device that gives colour alone.
pub(super) fn images_decoder(caps: &CapsRef) -> Result<Box<Decode<Images>>, String> {
    let mut decode = color_decoder(caps)?;
    Ok(Box::new(move |buffer| decode(buffer).map(Images::from)))
}

/// Depth from 16-bit grey, one step of which is `unit_m`.
pub(super) fn depth_decoder(
    caps: &CapsRef,
    unit_m: f64,
) -> Result<Box<Decode<DepthImage>>, String> {
    check_memory(caps)?;
    let is_raw = caps.structure(0).is_some_and(|structure| structure.name() == RAW);
    let info = is_raw.then(|| VideoInfo::from_caps(caps).ok()).flatten();
    let read: fn([u8; 2]) -> u16 = match info.as_ref().map(VideoInfo::format) {
        Some(VideoFormat::Gray16Le) => u16::from_le_bytes,
        Some(VideoFormat::Gray16Be) => u16::from_be_bytes,
        _ => {
            let name = format_name(caps);
            return Err(format!(
                "depth is 16-bit grey, but the pipeline delivers {name}; end it in `! \
                 video/x-raw,format=GRAY16_LE ! appsink`, without videoconvert"
            ));
        }
    };
    let info = info.expect("its format was just read");
    Ok(Box::new(move |buffer| {
        let frame = map_rows(buffer, &info, 2)?;
        let mut data_mm = Vec::with_capacity(info.width() as usize * info.height() as usize);
        for row in rows(&frame, 2 * info.width() as usize) {
            let values = row.as_chunks().0.iter().map(|&value| read(value));
            data_mm.extend(values.map(|value| millimetres(value, unit_m)));
        }
        DepthImage::new(info.width(), info.height(), data_mm).map_err(|_| ImageProblem::Empty)
    }))
}

/// Refuses buffers that only the graphics processor can read.
fn check_memory(caps: &CapsRef) -> Result<(), String> {
    let features = caps.features(0).into_iter().flat_map(|features| features.iter());
    let mut foreign = features
        .filter(|feature| feature.starts_with("memory:") && *feature != "memory:SystemMemory");
    match foreign.next() {
        None => Ok(()),
        Some(memory) => Err(format!(
            "the pipeline delivers pictures in {memory}, which only a graphics processor reads; \
             bring them to system memory: `nvvidconv ! video/x-raw,format=BGRx` on a Jetson, \
             `gldownload` or `vapostproc` elsewhere"
        )),
    }
}

fn raw_decoder(caps: &CapsRef) -> Result<Box<Decode<BgrImage>>, String> {
    let name = format_name(caps);
    let info = VideoInfo::from_caps(caps)
        .map_err(|_| format!("the pipeline's caps {caps} are no picture"))?;
    let interlace = info.interlace_mode();
    if matches!(interlace, VideoInterlaceMode::Fields | VideoInterlaceMode::Alternate) {
        return Err(format!("the pipeline delivers half pictures of {name}; add `deinterlace`"));
    }
    match info.format() {
        VideoFormat::Bgr => Ok(Box::new(move |buffer| {
            let frame = map_rows(buffer, &info, 3)?;
            image(&info, packed(&frame, 3 * info.width() as usize))
        })),
        VideoFormat::Gray8 => Ok(Box::new(move |buffer| {
            let frame = map_rows(buffer, &info, 1)?;
            let mut data = Vec::with_capacity(3 * info.width() as usize * info.height() as usize);
            for row in rows(&frame, info.width() as usize) {
                data.extend(row.iter().flat_map(|&value| [value; 3]));
            }
            image(&info, data)
        })),
        VideoFormat::Gray16Le | VideoFormat::Gray16Be => Err(format!(
            "the pipeline delivers {name}: depth belongs into [depth]; grey of a camera needs \
             `videoconvert ! video/x-raw,format=GRAY8` before appsink"
        )),
        _ => converting_decoder(info, &name),
    }
}

fn converting_decoder(info: VideoInfo, name: &str) -> Result<Box<Decode<BgrImage>>, String> {
    let refused = |_| {
        format!(
            "the pipeline delivers {name}, which GStreamer cannot convert to BGR; choose another \
             pixel format in the camera"
        )
    };
    let bgr = VideoInfo::builder(VideoFormat::Bgr, info.width(), info.height())
        .fps(info.fps())
        .interlace_mode(info.interlace_mode())
        .build()
        .map_err(refused)?;
    let converter = VideoConverter::new(&info, &bgr, None).map_err(refused)?;
    let mut converted = gst::Buffer::with_size(bgr.size()).map_err(refused)?;
    Ok(Box::new(move |buffer| {
        let frame = map(buffer, &info)?;
        let target = converted.get_mut().expect("nobody else holds it");
        let mut out = VideoFrameRef::from_buffer_ref_writable(target, &bgr)
            .expect("it was made of this size");
        converter.frame_ref(&frame, &mut out);
        image(&bgr, packed(&out, 3 * bgr.width() as usize))
    }))
}

/// GStreamer names a mosaic by its first two rows, and pads rows to four bytes.
fn bayer_decoder(structure: &StructureRef) -> Result<Box<Decode<BgrImage>>, String> {
    let format = structure.get::<&str>("format").unwrap_or("of unknown pattern").to_owned();
    let code = match &*format {
        "rggb" => imgproc::COLOR_BayerRGGB2BGR,
        "bggr" => imgproc::COLOR_BayerBGGR2BGR,
        "grbg" => imgproc::COLOR_BayerGRBG2BGR,
        "gbrg" => imgproc::COLOR_BayerGBRG2BGR,
        _ => {
            return Err(format!(
                "the pipeline delivers Bayer {format}, of which only 8 bits are read here; choose \
                 8 bits in the camera, or convert by `bayer2rgb ! videoconvert ! \
                 video/x-raw,format=BGR` before appsink"
            ));
        }
    };
    let (width, height) = size(structure).ok_or("the pipeline's mosaic has no size in its caps")?;
    let stride = width.next_multiple_of(4);
    let bytes_expected = stride as usize * height as usize;
    Ok(Box::new(move |buffer| {
        let bytes = buffer.map_readable().map_err(|_| ImageProblem::Empty)?;
        if bytes.len() != bytes_expected {
            return Err(ImageProblem::BufferSize {
                format: format!("Bayer {format}"),
                width_px: width,
                height_px: height,
                bytes: bytes.len(),
                bytes_expected,
            });
        }
        let mosaic = Mat::from_slice(&bytes)?;
        let mosaic = mosaic.reshape(1, i32::try_from(height).map_err(|_| ImageProblem::Empty)?)?;
        let width = i32::try_from(width).map_err(|_| ImageProblem::Empty)?;
        let mosaic = mosaic.col_range(&opencv::core::Range::new(0, width)?)?;
        let mut bgr = Mat::default();
        imgproc::cvt_color_def(&mosaic, &mut bgr, code)?;
        bgr_from_mat(&bgr)
    }))
}

fn jpeg_decoder(structure: &StructureRef) -> Result<Box<Decode<BgrImage>>, String> {
    let expected = size(structure);
    Ok(Box::new(move |buffer| {
        let bytes = buffer.map_readable().map_err(|_| ImageProblem::Empty)?;
        let image = decode_jpeg(&bytes)?;
        let found = (image.width_px(), image.height_px());
        match expected.filter(|&expected| expected != found) {
            None => Ok(image),
            Some((width_px, height_px)) => Err(ImageProblem::JpegSize {
                width_px,
                height_px,
                found_width_px: found.0,
                found_height_px: found.1,
            }),
        }
    }))
}

/// Width and height.
fn size(structure: &StructureRef) -> Option<(u32, u32)> {
    let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok().filter(|side| *side > 0);
    Some((side("width")?, side("height")?))
}

/// Refuses a buffer that is not of the size that its caps say. Where the buffer describes its own
/// planes it may be larger.
fn map<'a>(
    buffer: &'a BufferRef,
    info: &VideoInfo,
) -> Result<VideoFrameRef<&'a BufferRef>, ImageProblem> {
    let mismatch = || ImageProblem::BufferSize {
        format: info.name().to_owned(),
        width_px: info.width(),
        height_px: info.height(),
        bytes: buffer.size(),
        bytes_expected: info.size(),
    };
    if buffer.meta::<VideoMeta>().is_none() && buffer.size() != info.size() {
        return Err(mismatch());
    }
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|_| mismatch())?;
    let is_as_said = (frame.width(), frame.height(), frame.format())
        == (info.width(), info.height(), info.format());
    if is_as_said { Ok(frame) } else { Err(mismatch()) }
}

/// [`map`], for pixels of so many bytes that are read row by row: rows go down, and hold their pixels.
fn map_rows<'a>(
    buffer: &'a BufferRef,
    info: &VideoInfo,
    bytes_per_px: usize,
) -> Result<VideoFrameRef<&'a BufferRef>, ImageProblem> {
    if let Some(meta) = buffer.meta::<VideoMeta>() {
        let stride = meta.stride().first().copied().unwrap_or_default();
        let bytes = bytes_per_px * info.width() as usize;
        if usize::try_from(stride).is_ok_and(|stride| stride < bytes) || stride < 0 {
            return Err(ImageProblem::Stride { format: info.name().to_owned(), stride });
        }
    }
    map(buffer, info)
}

/// The first `bytes` of each row of the first plane.
fn rows<T>(frame: &VideoFrameRef<T>, bytes: usize) -> impl Iterator<Item = &[u8]> {
    let plane = frame.plane_data(0).expect("a picture has a plane");
    let stride = usize::try_from(frame.plane_stride()[0]).expect("rows go forward");
    plane.chunks(stride).take(frame.height() as usize).map(move |row| &row[..bytes])
}

/// The first `bytes` of each row, one after another.
fn packed<T>(frame: &VideoFrameRef<T>, bytes: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes * frame.height() as usize);
    for row in rows(frame, bytes) {
        data.extend_from_slice(row);
    }
    data
}

fn image(info: &VideoInfo, data: Vec<u8>) -> Result<BgrImage, ImageProblem> {
    BgrImage::new(info.width(), info.height(), data).map_err(|_| ImageProblem::Empty)
}
