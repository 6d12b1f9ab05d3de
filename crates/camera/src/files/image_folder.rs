//! A folder of images in the order of their names, with aligned depth images where asked for. It stands
//! for a camera: no image is turned.

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_perception::BoxError;

use super::player::Reader;
use crate::config::ImageFolderConfig;
use crate::errors::{ImageError, OpenError, chain};
use crate::image_file::{is_picture_name, read_depth_png, read_sensor_image};
use crate::images::Images;

pub(crate) struct ImageFolder {
    entries: Vec<Entry>,
    next: usize,
    depth_unit_m: f64,
    frame_interval: Duration,
}

struct Entry {
    color: PathBuf,
    depth: Option<PathBuf>,
}

impl ImageFolder {
    /// Lists the files once and for all, and reads the first frame as a check.
    pub(crate) fn open(config: &ImageFolderConfig) -> Result<ImageFolder, OpenError> {
        if config.frame_interval.is_zero() {
            return Err(OpenError::FrameInterval);
        }
        let entries: Vec<Entry> = list_images(&config.path)?
            .into_iter()
            .map(|color| with_depth(color, config.depth_path.as_deref()))
            .collect::<Result<_, _>>()?;
        let Some(first) = entries.first() else {
            return Err(OpenError::Empty { path: config.path.clone() });
        };
        let ImageFolderConfig { depth_unit_m, frame_interval, .. } = *config;
        first.read(depth_unit_m)?;
        Ok(ImageFolder { entries, next: 0, depth_unit_m, frame_interval })
    }
}

impl Reader for ImageFolder {
    fn frame_interval(&self) -> Duration {
        self.frame_interval
    }

    fn read(&mut self) -> Option<Result<Images, String>> {
        let entry = self.entries.get(self.next)?;
        self.next += 1;
        Some(entry.read(self.depth_unit_m).map_err(|error| chain(&error)))
    }

    fn rewind(&mut self) -> Result<(), BoxError> {
        self.next = 0;
        Ok(())
    }
}

impl Entry {
    fn read(&self, depth_unit_m: f64) -> Result<Images, ImageError> {
        let color = read_sensor_image(&self.color)?;
        let Some(path) = &self.depth else { return Ok(Images::from(color)) };
        let depth = read_depth_png(path, depth_unit_m)?;
        let images = Images::new(color, Some(depth));
        images.map_err(|source| ImageError { action: "read", path: path.clone(), source })
    }
}

fn list_images(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = list().map_err(|source| OpenError::List { path: folder.to_owned(), source })?;
    paths.retain(|path| is_picture_name(path));
    paths.sort();
    Ok(paths)
}

fn with_depth(color: PathBuf, depth_folder: Option<&Path>) -> Result<Entry, OpenError> {
    let Some(folder) = depth_folder else { return Ok(Entry { color, depth: None }) };
    let stem = color.file_stem().expect("a file with an extension has a stem");
    let mut name = stem.to_owned();
    name.push(".png");
    let depth = folder.join(name);
    if depth.is_file() {
        Ok(Entry { color, depth: Some(depth) })
    } else {
        Err(OpenError::NoDepth { color, depth })
    }
}
