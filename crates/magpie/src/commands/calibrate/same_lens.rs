//! Whether pictures and calibrations belong to the lens that they are used with.

use std::path::Path;

use anyhow::anyhow;
use magpie_daemon::calibration_files::HandEyeFile;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_perception::CameraInfo;

/// Refuses a picture of another size than the calibration's; `what` names the picture.
pub(super) fn check_size(what: &str, size_px: (u32, u32), info: &CameraInfo) -> Outcome {
    if size_px == (info.width_px, info.height_px) {
        return Ok(());
    }
    Err(Failure::Config(anyhow!(
        "{what} is {}x{} px, the calibration of {} is for {}x{} px: use pictures of that size, or \
         calibrate the lens at this one",
        size_px.0,
        size_px.1,
        info.camera_name,
        info.width_px,
        info.height_px
    )))
}

/// A hand-eye calibration holds for the lens that it was made with.
pub(super) fn check_same_lens(path: &Path, file: &HandEyeFile, info_id: &str) -> Outcome {
    match &file.camera_info_id {
        Some(id) if id != info_id => Err(Failure::Config(anyhow!(
            "{} was made with the camera_info {id}, this one is {info_id}: run `magpie calibrate \
             hand-eye` again",
            path.display()
        ))),
        _ => Ok(()),
    }
}
