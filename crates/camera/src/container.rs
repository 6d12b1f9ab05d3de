//! Walks JPEG and PNG files from their first to their last byte, to see that they are complete.

use crate::errors::ImageProblem;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_SIGNATURE: &[u8] = &[0xFF, 0xD8, 0xFF];

/// The format of a complete image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Jpeg,
    Png(PngHeader),
}

/// What a PNG says of its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PngHeader {
    /// Bits of each channel.
    pub(crate) bits: u8,
    pub(crate) channels: &'static str,
}

impl Container {
    pub(crate) fn of(bytes: &[u8]) -> Result<Container, ImageProblem> {
        let truncated = |format| ImageProblem::Truncated { format, bytes: bytes.len() };
        if let Some(segments) = bytes.strip_prefix(&JPEG_SIGNATURE[..2])
            && bytes.starts_with(JPEG_SIGNATURE)
        {
            return jpeg_end(segments).map(|()| Container::Jpeg).ok_or_else(|| truncated("JPEG"));
        }
        match bytes.strip_prefix(PNG_SIGNATURE) {
            Some(chunks) => png_end(chunks).map(Container::Png).ok_or_else(|| truncated("PNG")),
            None => Err(ImageProblem::NotAnImage),
        }
    }

    pub(crate) fn format(&self) -> &'static str {
        match self {
            Container::Jpeg => "JPEG",
            Container::Png(_) => "PNG",
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Container::Jpeg => "a JPEG".to_owned(),
            Container::Png(header) => {
                format!("a PNG of {} bits, {}", header.bits, header.channels)
            }
        }
    }
}

/// Finds the end-of-image marker of the main image (ITU-T T.81, B.1.1), not that of a thumbnail
/// inside a segment.
fn jpeg_end(mut rest: &[u8]) -> Option<()> {
    loop {
        let (&code, after) = next_marker(rest)?;
        rest = match code {
            0xD9 => return Some(()),
            // Restart markers and TEM stand alone.
            0x01 | 0xD0..=0xD7 => after,
            // Entropy-coded data follows a scan header: the next marker ends it.
            _ => after.get(usize::from(u16::from_be_bytes(*after.first_chunk()?))..)?,
        };
    }
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
fn png_end(mut rest: &[u8]) -> Option<PngHeader> {
    let mut header = None;
    loop {
        let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let kind = rest.get(4..8)?;
        let data = rest.get(8..)?.get(..length)?;
        rest = rest.get(8 + length + 4..)?;
        match kind {
            b"IHDR" => header = png_header(data),
            b"IEND" => return header,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let found = match Container::of(bytes) {
            Ok(container) => container.describe(),
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
        check(b"", "neither");
        check(b"GIF89a", "neither");
        check(&[0xFF, 0xD8], "neither");
    }

    #[test]
    fn a_chunk_longer_than_the_file_is_a_truncated_png() {
        check(b"\x89PNG\r\n\x1a\n\xFF\xFF\xFF\xFFIDAT", "truncated");
    }
}
