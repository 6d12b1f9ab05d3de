//! Why a calibration is not read.

use std::path::PathBuf;

use magpie_perception::{DistortionError, SensorPartError};

#[derive(Debug, thiserror::Error)]
#[error("{action} the calibration {path:?}")]
pub struct CameraInfoError {
    /// "read" or "write".
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: CameraInfoProblem,
}

/// What is wrong with a calibration file.
#[derive(Debug, thiserror::Error)]
pub enum CameraInfoProblem {
    #[error(transparent)]
    Io(std::io::Error),
    /// In the words of the YAML reader.
    #[error("parse the YAML: {0}")]
    Yaml(String),
    #[error("write the YAML")]
    Format(#[source] Box<serde_saphyr::ser::Error>),
    /// A file of somebody else's that is not read.
    #[error("it is {what}; {remedy}")]
    Foreign { what: String, remedy: String },
    #[error("{key} is missing{remedy}")]
    Missing { key: &'static str, remedy: &'static str },
    #[error("line {line}: {found} is no key of a calibration: did you mean {meant}?")]
    Misspelt { line: usize, found: String, meant: &'static str },
    /// What is passed over here would change every ray.
    #[error(
        "line {line}: {key} speaks of the lens and is not read here; write distortion_model and \
         distortion_coefficients, or take it out if it is of something else"
    )]
    Unread { line: usize, key: String },
    #[error(
        "{first} and {second} say different things about one camera; keep the one that is meant"
    )]
    Contradiction { first: String, second: String },
    #[error(
        "{key} {model:?} is no lens that is computed with; calibrate as plumb_bob, \
         rational_polynomial or equidistant (Kalibr: pinhole-radtan or pinhole-equi). A device's \
         name is written as camera_name"
    )]
    Model { key: String, model: String },
    #[error("{key} is not understood: {why}; write distortion_model and distortion_coefficients")]
    Coefficient { key: &'static str, why: &'static str },
    #[error("line {line}: {key} must be {expected}")]
    Value { line: usize, key: String, expected: &'static str },
    #[error("image_width and image_height must not be 0, they are {width_px} and {height_px}")]
    ImageSize { width_px: u32, height_px: u32 },
    #[error("{key} must be {expected_rows}x{expected_cols} values, found {rows}x{cols} with {len}")]
    Shape {
        key: &'static str,
        expected_rows: usize,
        expected_cols: usize,
        rows: usize,
        cols: usize,
        len: usize,
    },
    #[error("{key} holds a value that is not finite; calibrate again")]
    NotFinite { key: &'static str },
    #[error(
        "camera_matrix says fx = {fx_px}, fy = {fy_px}: the camera is not calibrated; run \
         `magpie calibrate intrinsics`"
    )]
    NotCalibrated { fx_px: f64, fy_px: f64 },
    #[error("camera_matrix must be [fx, 0, cx, 0, fy, cy, 0, 0, 1]")]
    NotPinhole,
    #[error(transparent)]
    Distortion(#[from] DistortionError),
    #[error(
        "the distortion turns back within the picture: no single ray leads to pixel {x_px:.0}, \
         {y_px:.0}; calibrate again with the board up to the picture's corners"
    )]
    TurnsBack { x_px: f64, y_px: f64 },
    /// Numbers that no camera has.
    #[error("{why}")]
    Impossible { why: String },
    #[error(transparent)]
    Part(#[from] SensorPartError),
}
