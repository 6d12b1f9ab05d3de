//! Photographs of surfaces from a folder of the user's.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{DynamicImage, ImageDecoder, ImageReader};
use magpie_perception::PIXELS_MAX;
use rayon::prelude::*;

use crate::WorkcellError;
use crate::print::Picture;

/// Larger photographs are reduced to this width: a few hundred of them are held in memory.
const WIDTH_PX: u32 = 320;

/// Photographs of phones have some megabytes.
const PHOTO_BYTES_MAX: u64 = 100_000_000;

/// Reads every jpg and png in the folder and below it, in the order of their paths.
pub(crate) fn load(folder: &Path) -> Result<Vec<Arc<Picture>>, WorkcellError> {
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    paths.sort();
    let photos: Vec<Arc<Picture>> =
        paths.par_iter().filter_map(|path| read(path).map(Arc::new)).collect();
    if photos.is_empty() {
        return Err(WorkcellError::NoTextures { folder: folder.to_owned() });
    }
    Ok(photos)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), WorkcellError> {
    let fail = |source| WorkcellError::Read { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        if path.is_dir() {
            collect(&path, paths)?;
        } else if extension.is_some_and(|e| e == "jpg" || e == "jpeg" || e == "png") {
            paths.push(path);
        }
    }
    Ok(())
}

/// `None` for a file that is no image, or too large a one: the rest of the folder still serves.
fn read(path: &Path) -> Option<Picture> {
    let bytes = magpie_files::read(path, PHOTO_BYTES_MAX).ok()?;
    let photo = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let decoder = photo.into_decoder().ok()?;
    let (width_px, height_px) = decoder.dimensions();
    if u64::from(width_px) * u64::from(height_px) > PIXELS_MAX {
        return None;
    }
    let photo = DynamicImage::from_decoder(decoder).ok()?;
    let height = WIDTH_PX * photo.height().max(1) / photo.width().max(1);
    let small = photo.thumbnail_exact(WIDTH_PX, height.clamp(1, 4 * WIDTH_PX)).to_rgba8();
    let pixels = small.pixels().map(|pixel| pixel.0).collect();
    Some(Picture { width: small.width(), height: small.height(), pixels })
}
