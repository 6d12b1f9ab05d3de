//! Pictures that a user names, one by one or by the folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use magpie_camera::{
    check_aligned, is_picture_name, read_depth_png, read_image, read_sensor_image,
};
use magpie_daemon::failure::Failure;
use magpie_perception::{BgrImage, DepthImage, Frame, StampNs, StampSource};

/// The pictures at a path: itself, or, for a folder, those in it and below, in the order of their
/// names. A folder without any is an error.
pub fn find(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let kind = fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, &mut found)?;
    found.sort();
    anyhow::ensure!(
        !found.is_empty(),
        "no picture (JPEG, PNG, WebP, TIFF, BMP, PGM) in {}",
        path.display()
    );
    Ok(found)
}

/// A picture as viewers show it, as a frame that was exposed now.
pub fn read_frame(image: &Path, stamp: StampNs) -> Result<Frame, Failure> {
    let color = read_image(image).map_err(Failure::fault)?;
    Ok(frame(color, None, stamp))
}

/// A picture as the sensor took it, which is how its lens and its depth are known. `depth`: an image of
/// depth, and its unit in metres.
pub fn read_sensor_frame(
    image: &Path,
    depth: Option<(&Path, f64)>,
    stamp: StampNs,
) -> Result<Frame, Failure> {
    let color = read_sensor_image(image).map_err(Failure::fault)?;
    let read_depth = |(path, unit_m)| read_depth_png(path, unit_m);
    let depth = depth.map(read_depth).transpose().map_err(Failure::fault)?;
    if let Some(depth) = &depth {
        check_aligned(&color, depth).map_err(Failure::fault)?;
    }
    Ok(frame(color, depth, stamp))
}

fn frame(color: BgrImage, depth: Option<DepthImage>, stamp: StampNs) -> Frame {
    Frame { sequence: 0, stamp, stamp_source: StampSource::Arrival, color, depth }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let name_it = || format!("read folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(name_it)? {
        let entry = entry.with_context(name_it)?;
        let path = entry.path();
        // Links to folders are not followed: they may lead back here.
        if entry.file_type().with_context(name_it)?.is_dir() {
            collect(&path, found)?;
        } else if is_picture_name(&path) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_pictures_in_order_and_one_without_any_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.PNG", "a.jpeg", "b/x.jpg", "d.webp", "e.TIF", "f.bmp", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = find(folder.path()).unwrap();
        let names = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display());
        assert_eq!(
            names.map(|name| name.to_string()).collect::<Vec<_>>(),
            ["a.jpeg", "b/x.jpg", "c.PNG", "d.webp", "e.TIF", "f.bmp"]
        );
        fs::create_dir(folder.path().join("bare")).unwrap();
        let error = find(&folder.path().join("bare")).unwrap_err().to_string();
        assert!(error.contains("bare"), "{error}");
        assert!(find(&folder.path().join("nowhere")).is_err());
    }
}
