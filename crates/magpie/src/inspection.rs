//! What a configuration means on this machine, in words: for `check`, which runs all of it, and for
//! `doctor`, which looks at one thing after the other.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_daemon::config::{Config, RecordingConfig, RecordingTarget};
use magpie_network::{NetworkError, try_as_publisher};
use magpie_perception::{ReferenceFrame, Scene};
use rustix::fs::statvfs;

/// How often, and after how long, an endpoint that is taken is tried again.
const JOIN_AGAIN: u32 = 3;
const JOIN_PAUSE: Duration = Duration::from_millis(300);

/// Whether nobody else was there, and where this one listened. An endpoint that is taken may be another
/// check's, which leaves soon.
pub(crate) fn join(config: &Config) -> Result<(bool, Vec<String>), NetworkError> {
    let join = || {
        let joined = try_as_publisher(&config.zenoh, &config.cell);
        joined.map(|(is_joined, listens)| (!is_joined, listens))
    };
    for _ in 0..JOIN_AGAIN {
        match join() {
            Err(NetworkError::EndpointTaken { .. }) => std::thread::sleep(JOIN_PAUSE),
            joined => return joined,
        }
    }
    join()
}

/// What is known of the camera's lens and place.
pub(crate) fn calibration(scene: Option<&Scene>) -> String {
    let Some(scene) = scene else {
        return "none: masks and boxes only, no grasps; set scene.camera_info".into();
    };
    let info = &scene.camera_info;
    let frame = match scene.reference_frame() {
        ReferenceFrame::Base => "base",
        ReferenceFrame::Gripper => "the gripper, the camera being on the arm",
        ReferenceFrame::Camera => "the camera's optical frame",
    };
    let plane = if scene.support_plane_in_camera.is_some() { "" } else { ", no support plane" };
    format!(
        "{} of {}, {}x{} px, poses in {frame}{plane}",
        scene.calibration_id, info.camera_name, info.width_px, info.height_px
    )
}

/// What is recorded, where, and how much of it.
pub(crate) fn recording(config: &Config) -> String {
    match &config.recording.target {
        Some(RecordingTarget::Ring { folder, ring }) => format!(
            "the last {} min to {}, {} MB at most",
            ring.span.as_secs() / 60,
            folder.display(),
            ring.bytes_max / 1_000_000
        ),
        Some(RecordingTarget::File { path, .. }) => path.display().to_string(),
        None => "none".to_owned(),
    }
}

/// What to do where the page could save no calibration.
pub(crate) const SAVE_ELSEWHERE: &str = "name a folder that the daemon's user may write as [web] \
     calibration_folder, such as one below /var/lib/magpie";

/// Why the page could save no calibration. `None` where it could, or where nobody may ask it to.
pub(crate) fn unsaved_calibrations(config: &Config) -> Option<String> {
    let web = config.web.as_ref().filter(|web| web.token.is_some())?;
    magpie_files::unwritable(&web.calibration_folder)
}

/// What is free for users on the disk of a folder, or of the one in which it would be made.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let disk = statvfs(existing).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Why a ring gets no room on its disk, or less than it may fill.
pub(crate) fn cramped(config: &RecordingConfig) -> Option<Cramped> {
    let Some(RecordingTarget::Ring { folder, ring }) = &config.target else { return None };
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let lengths = entries.filter_map(|entry| entry.metadata().ok().filter(Metadata::is_file));
    let held_bytes = lengths.map(|file| file.len()).sum();
    room(free_bytes(folder)?, config.free_bytes_min, held_bytes, ring.bytes_max)
}

/// How a ring is short of room, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cramped {
    Stopped(String),
    Short(String),
}

/// `held_bytes`: what the ring has on the disk already.
fn room(free: u64, free_min: u64, held_bytes: u64, bytes_max: u64) -> Option<Cramped> {
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let (free_mb, free_mb_min) = (megabytes(free), megabytes(free_min));
    let room = free.saturating_add(held_bytes).saturating_sub(free_min);
    if room == 0 {
        let why =
            format!("{free_mb} MB are free on its disk, and {free_mb_min} MB are to stay free");
        return Some(Cramped::Stopped(why));
    }
    let room_mb = megabytes(room);
    (room < bytes_max)
        .then(|| Cramped::Short(format!("its disk has room for {room_mb} MB of them")))
}

/// Where a configuration names files: sections and key.
const FILE_KEYS: [&[&str]; 11] = [
    &["source", "video_file", "path"],
    &["source", "image_folder", "path"],
    &["source", "recording", "path"],
    &["scene", "camera_info"],
    &["scene", "hand_eye"],
    &["drift", "reference"],
    &["depth", "camera_info"],
    &["model", "path"],
    &["model", "engine_cache"],
    &["zenoh", "config"],
    &["web", "token"],
];

/// A file that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    /// As in `scene.camera_info`.
    pub(crate) key: String,
    pub(crate) path: PathBuf,
}

/// The files that the configuration at `path` names, by what is written in it.
pub(crate) fn named_files(path: &Path, written: &str) -> Vec<NamedFile> {
    let Ok(table) = toml::from_str::<toml::Table>(written) else { return Vec::new() };
    let named = |keys: &&[&str]| {
        let (first, inner) = keys.split_first()?;
        let value = inner.iter().try_fold(table.get(*first)?, |value, key| value.get(key))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        Some(NamedFile { key: keys.join("."), path: folder.join(value.as_str()?) })
    };
    FILE_KEYS.iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_its_disk_cannot_hold_is_told() {
        const MB: u64 = 1_000_000;
        let stopped = "3 MB are free on its disk, and 1000 MB are to stay free";
        assert_eq!(room(3 * MB, 1000 * MB, 0, 50 * MB), Some(Cramped::Stopped(stopped.into())));
        let short = "its disk has room for 2 MB of them";
        assert_eq!(room(3 * MB, MB, 0, 50 * MB), Some(Cramped::Short(short.into())));
        assert_eq!(room(3 * MB, MB, 49 * MB, 50 * MB), None, "it is full already");
    }

    #[test]
    fn files_are_found_where_a_configuration_names_them() {
        let written = "cell = \"a\"\n[scene]\ncamera_info = \"lens.yaml\"\n\
                       [source.recording]\npath = \"/data/cell.mcap\"\n[model]\npath = 3\n";
        let named = named_files(Path::new("/etc/magpie/a.toml"), written);
        let named: Vec<_> =
            named.iter().map(|file| (&*file.key, file.path.to_str().unwrap())).collect();
        assert_eq!(
            named,
            [
                ("source.recording.path", "/data/cell.mcap"),
                ("scene.camera_info", "/etc/magpie/lens.yaml"),
            ]
        );
        assert_eq!(named_files(Path::new("a.toml"), "no toml ="), []);
    }
}
