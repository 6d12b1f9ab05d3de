//! Walks picture files from their first to their last byte, to see that they are complete, how large
//! they are and how they are to be turned, before a decoder sees them.

use magpie_files::is_whole_jpeg;
use magpie_perception::PIXELS_MAX;

use crate::errors::ImageProblem;
use crate::exif::Directory;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_SIGNATURE: &[u8] = &[0xFF, 0xD8, 0xFF];
const EXIF_SIGNATURE: &[u8] = b"Exif\0\0";

/// A complete picture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) format: Format,
    /// EXIF's: from 1, upright, to 8.
    pub(crate) orientation: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png(PngHeader),
    WebP,
    Tiff,
    Bmp,
    /// PGM and PPM.
    Pnm,
}

/// What a PNG says of its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PngHeader {
    /// Bits of each channel.
    pub(crate) bits: u8,
    pub(crate) channels: &'static str,
}

/// What is found in a file beside its pixels.
struct Found {
    format: Format,
    size_px: Option<(u32, u32)>,
    orientation: Option<u8>,
}

impl Container {
    pub(crate) fn of(bytes: &[u8]) -> Result<Container, ImageProblem> {
        let Found { format, size_px, orientation } = find(bytes)?;
        let name = format.name();
        let (width_px, height_px) = size_px.ok_or(ImageProblem::Undecodable { format: name })?;
        if u64::from(width_px) * u64::from(height_px) > PIXELS_MAX {
            return Err(ImageProblem::TooLarge { width_px, height_px, pixels_max: PIXELS_MAX });
        }
        // Only now, since the time this takes grows with what the header promises.
        if format == Format::Jpeg && !is_whole_jpeg(bytes) {
            return Err(ImageProblem::Undecodable { format: name });
        }
        Ok(Container { format, orientation: orientation.unwrap_or(1) })
    }

    pub(crate) fn describe(&self) -> String {
        match self.format {
            Format::Png(PngHeader { bits, channels }) => {
                format!("a PNG of {bits} bits, {channels}")
            }
            other => format!("a {}", other.name()),
        }
    }
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png(_) => "PNG",
            Format::WebP => "WebP",
            Format::Tiff => "TIFF",
            Format::Bmp => "BMP",
            Format::Pnm => "PGM",
        }
    }
}

fn find(bytes: &[u8]) -> Result<Found, ImageProblem> {
    let truncated = |format| ImageProblem::Truncated { format, bytes: bytes.len() };
    let plain = |format, size_px| Found { format, size_px, orientation: None };
    if bytes.starts_with(JPEG_SIGNATURE) {
        return jpeg(&bytes[2..]).ok_or_else(|| truncated("JPEG"));
    }
    if let Some(chunks) = bytes.strip_prefix(PNG_SIGNATURE) {
        return png(chunks).ok_or_else(|| truncated("PNG"));
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return webp(bytes).ok_or_else(|| truncated("WebP"));
    }
    // The decoders of the others notice by themselves when something is missing.
    if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        let directory = Directory::of(bytes);
        let size_px = directory.as_ref().and_then(Directory::size_px);
        let orientation = directory.and_then(|directory| Some(directory.orientation()?.0));
        return Ok(Found { format: Format::Tiff, size_px, orientation });
    }
    if bytes.starts_with(b"BM") {
        return Ok(plain(Format::Bmp, bmp_size(bytes)));
    }
    let is_pnm = [b"P2", b"P3", b"P5", b"P6"].iter().any(|start| bytes.starts_with(*start));
    if is_pnm { Ok(plain(Format::Pnm, pnm_size(bytes))) } else { Err(ImageProblem::NotAnImage) }
}

/// Finds the end-of-image marker of the main image (ITU-T T.81, B.1.1), not that of a thumbnail
/// inside a segment.
fn jpeg(mut rest: &[u8]) -> Option<Found> {
    let mut found = Found { format: Format::Jpeg, size_px: None, orientation: None };
    loop {
        let (&code, after) = next_marker(rest)?;
        rest = match code {
            0xD9 => return Some(found),
            // Restart markers and TEM stand alone.
            0x01 | 0xD0..=0xD7 => after,
            // Entropy-coded data follows a scan header: the next marker ends it.
            _ => {
                let length = usize::from(be_u16(after, 0)?);
                let segment = after.get(2..length);
                match code {
                    0xC0..=0xCF if !matches!(code, 0xC4 | 0xC8 | 0xCC) => {
                        found.size_px = segment.and_then(frame_size);
                    }
                    0xE1 if found.orientation.is_none() => {
                        found.orientation = segment.and_then(exif_orientation);
                    }
                    _ => {}
                }
                after.get(length..)?
            }
        };
    }
}

/// The frame header after its length: precision, height, width.
fn frame_size(segment: &[u8]) -> Option<(u32, u32)> {
    Some((be_u16(segment, 3)?.into(), be_u16(segment, 1)?.into()))
}

/// The data may begin with EXIF's own signature.
fn exif_orientation(data: &[u8]) -> Option<u8> {
    let data = data.strip_prefix(EXIF_SIGNATURE).unwrap_or(data);
    Directory::of(data)?.orientation().map(|(value, _)| value)
}

/// The next marker's code and what comes after it; `FF 00` is a stuffed data byte, and any number
/// of `FF` may fill.
fn next_marker(mut rest: &[u8]) -> Option<(&u8, &[u8])> {
    loop {
        let at = rest.iter().position(|&byte| byte == 0xFF)?;
        let (code, after) = rest.get(at + 1..)?.split_first()?;
        match code {
            0x00 => rest = after,
            0xFF => rest = &rest[at + 1..],
            _ => return Some((code, after)),
        }
    }
}

/// Walks the chunks (length, type, data, checksum) up to a complete `IEND`.
fn png(mut rest: &[u8]) -> Option<Found> {
    let (mut header, mut size_px, mut orientation) = (None, None, None);
    loop {
        let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let kind = rest.get(4..8)?;
        let data = rest.get(8..)?.get(..length)?;
        rest = rest.get(8 + length + 4..)?;
        match kind {
            b"IHDR" => {
                header = png_header(data);
                let [width, height] = [data.first_chunk()?, data.get(4..)?.first_chunk()?];
                size_px = Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)));
            }
            b"eXIf" => orientation = exif_orientation(data),
            b"IEND" => return Some(Found { format: Format::Png(header?), size_px, orientation }),
            _ => {}
        }
    }
}

/// Bytes 8 and 9 of `IHDR` are bit depth and colour type (PNG specification, 11.2.1).
fn png_header(data: &[u8]) -> Option<PngHeader> {
    let channels = match data.get(9)? {
        0 => "grey",
        2 => "RGB",
        3 => "palette",
        4 => "grey with alpha",
        6 => "RGB with alpha",
        _ => "unknown channels",
    };
    Some(PngHeader { bits: *data.get(8)?, channels })
}

/// Walks the chunks (type, length, data, padding) of WebP's container.
fn webp(bytes: &[u8]) -> Option<Found> {
    let length = usize::try_from(le_u32(bytes, 4)?).ok()?;
    let mut rest = bytes.get(12..8 + length)?;
    let mut found = Found { format: Format::WebP, size_px: None, orientation: None };
    while !rest.is_empty() {
        let kind = rest.get(..4)?;
        let length = usize::try_from(le_u32(rest, 4)?).ok()?;
        let data = rest.get(8..)?.get(..length)?;
        match kind {
            b"VP8X" | b"VP8L" | b"VP8 " if found.size_px.is_none() => {
                found.size_px = webp_size(kind, data);
            }
            b"EXIF" => found.orientation = exif_orientation(data),
            _ => {}
        }
        rest = rest.get(8 + length + length % 2..).unwrap_or_default();
    }
    Some(found)
}

/// The first chunk says the size in one of three ways (WebP container specification; RFC 6386,
/// 9.1).
fn webp_size(kind: &[u8], data: &[u8]) -> Option<(u32, u32)> {
    match kind {
        b"VP8X" => {
            let side = |at| Some((le_u32(data, at)? & 0xFF_FFFF) + 1);
            // Three bytes each, of which the last read reaches back by one.
            Some((side(4)?, (le_u32(data, 6)? >> 8) + 1))
        }
        b"VP8L" => {
            let bits = le_u32(data, 1)?;
            Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        }
        _ => {
            let bits = le_u32(data, 6)?;
            Some((bits & 0x3FFF, bits >> 16 & 0x3FFF))
        }
    }
}

/// The header is that of OS/2 or one of Windows's, whose height is negative where rows go down.
fn bmp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    if le_u32(bytes, 14)? == 12 {
        let sides = le_u32(bytes, 18)?;
        return Some((sides & 0xFFFF, sides >> 16));
    }
    let side = |at| Some(le_u32(bytes, at)?.cast_signed().unsigned_abs());
    Some((side(18)?, side(22)?))
}

/// Width and height are the first two numbers after the signature; comments may stand between.
fn pnm_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let head = String::from_utf8_lossy(&bytes[2..bytes.len().min(PNM_HEAD_BYTES)]);
    let lines = head.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut numbers = lines.flat_map(str::split_ascii_whitespace).map(|word| word.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Both numbers and any comment before them lie within so many bytes.
const PNM_HEAD_BYTES: usize = 4096;

fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let found = match find(bytes) {
            Ok(Found { format, orientation, .. }) => {
                Container { format, orientation: orientation.unwrap_or(1) }.describe()
            }
            Err(problem) => problem.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_jpeg_ends_at_its_own_end_marker() {
        let scan = [0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 7, 0xFF, 0, 9, 0xFF, 0xD0, 5, 0xFF, 0xFF, 0xD9];
        check(&scan, "a JPEG");
        check(&scan[..scan.len() - 1], "truncated");
        check(&scan[..7], "truncated");
    }

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_count() {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9, 1, 2];
        check(&thumbnail, "truncated");
    }

    #[test]
    fn other_files_are_not_images() {
        check(b"", "it is no JPEG");
        check(b"GIF89a", "it is no JPEG");
        check(&[0xFF, 0xD8], "it is no JPEG");
    }

    #[test]
    fn a_chunk_longer_than_the_file_is_a_truncated_png() {
        check(b"\x89PNG\r\n\x1a\n\xFF\xFF\xFF\xFFIDAT", "truncated");
    }

    #[test]
    fn a_size_is_read_from_the_header_before_any_pixel() {
        let size = |bytes: &[u8]| find(bytes).unwrap().size_px;
        assert_eq!(size(b"P5 # a comment\n# another\n 640\t480 255\n"), Some((640, 480)));
        let mut bmp = [0_u8; 26];
        bmp[..2].copy_from_slice(b"BM");
        bmp[14] = 40;
        bmp[18..22].copy_from_slice(&640_i32.to_le_bytes());
        bmp[22..26].copy_from_slice(&(-480_i32).to_le_bytes());
        assert_eq!(size(&bmp), Some((640, 480)));
        let lossless = b"RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2F\x7F\xC2\x77\0\0";
        assert_eq!(size(lossless), Some((640, 480)));
        let extended = b"RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0\0\0\0\0\x7F\x02\0\xDF\x01\0";
        assert_eq!(size(extended), Some((640, 480)));
        let problem = Container::of(b"P5 70000 70000 255\n").unwrap_err().to_string();
        assert!(problem.contains("70000x70000 px") && problem.contains("scale it"), "{problem}");
    }
}
