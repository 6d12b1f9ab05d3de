//! Where a label's picture lies, and how large it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ImageDecoder, ImageReader};
use unicode_normalization::UnicodeNormalization;

use super::document::Picture;
use super::shape::Wrong;

/// What Label Studio puts before the path of a local file.
const LOCAL_FILES: &str = "?d=";

/// Finds pictures beside their labels, in `images` there, or as the only file of their name below.
pub(super) struct Finder {
    file: PathBuf,
    folder: PathBuf,
    /// By composed names; made when it is needed first.
    by_name: Option<HashMap<String, Vec<PathBuf>>>,
}

impl Finder {
    pub(super) fn new(file: &Path) -> Finder {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new(".")).to_owned();
        Finder { file: file.to_owned(), folder, by_name: None }
    }

    pub(super) fn find(&mut self, picture: &Picture) -> Result<PathBuf, Wrong> {
        let file = self.file.display().to_string();
        if let Some(wrong) = &picture.wrong {
            return Err(Wrong(format!("{file}: {wrong}")));
        }
        let name = local(&picture.file_name);
        let above = self.folder.join("..").join("images");
        for folder in [self.folder.clone(), above, self.folder.join("images")] {
            let path = folder.join(&name);
            if path.is_file() {
                return Ok(path.canonicalize().unwrap_or(path));
            }
        }
        let folder = &self.folder;
        let by_name = self.by_name.get_or_insert_with(|| files_by_name(folder));
        let bare = composed(name.rsplit('/').next().unwrap_or_default());
        let same = by_name.get(&bare).or_else(|| by_name.get(without_upload(&bare)));
        match same.map_or(&[] as &[PathBuf], Vec::as_slice) {
            [only] => Ok(only.canonicalize().unwrap_or_else(|_| only.clone())),
            same => {
                let others = match same.len() {
                    0 => String::new(),
                    count => format!(" ({count} others have that name)"),
                };
                Err(Wrong(format!(
                    "{file}: its picture {} is missing; put it beside the labels{others}",
                    picture.file_name
                )))
            }
        }
    }
}

/// A path as this machine writes it, of one that Windows or Label Studio wrote.
fn local(name: &str) -> String {
    let name = name.replace('\\', "/");
    match name.split_once(LOCAL_FILES) {
        Some((_, path)) => unquoted(path),
        None => name,
    }
}

/// `%20` is a space.
fn unquoted(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A name without the eight hexadecimal digits that Label Studio puts before those of uploaded files.
/// Without a letter among them they are a date.
fn without_upload(name: &str) -> &str {
    const DIGITS: usize = 8;
    match name.split_once('-') {
        Some((digits, rest))
            if digits.len() == DIGITS
                && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
                && !digits.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            rest
        }
        _ => name,
    }
}

/// macOS writes `ö` as two letters, others as one.
fn composed(name: &str) -> String {
    name.nfc().collect()
}

fn files_by_name(folder: &Path) -> HashMap<String, Vec<PathBuf>> {
    let mut table: HashMap<String, Vec<PathBuf>> = HashMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A folder that may not be read holds nothing for us: what is missing is told then.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            // Links to folders are not followed: they may lead back here.
            if kind.is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.is_file() {
                let name = composed(&entry.file_name().to_string_lossy());
                table.entry(name).or_default().push(path);
            }
        }
    }
    table
}

/// Width and height as viewers show the picture, and whether its EXIF orientation turns it.
pub(super) fn shown_size(path: &Path) -> Result<((u32, u32), bool), Wrong> {
    if let Ok((size, orientation)) = header(path) {
        let (width, height) = size;
        let turned = orientation != Orientation::NoTransforms;
        let lying = matches!(
            orientation,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        return Ok((if lying { (height, width) } else { (width, height) }, turned));
    }
    // Not a format whose header tells, or damaged: reading it whole says which.
    let color = magpie_camera::read_image(path)
        .map_err(|err| Wrong(format!("{:#}", anyhow::Error::new(err))))?;
    Ok(((color.width_px(), color.height_px()), false))
}

fn header(path: &Path) -> image::ImageResult<((u32, u32), Orientation)> {
    let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
    Ok((decoder.dimensions(), decoder.orientation()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_before_a_name_is_no_upload() {
        assert_eq!(without_upload("3fa2b81c-belt.png"), "belt.png");
        assert_eq!(without_upload("20261002-0001.png"), "20261002-0001.png");
    }
}
