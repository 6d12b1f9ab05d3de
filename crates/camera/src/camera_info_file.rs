//! The calibration file of ROS's `camera_calibration`, read and written.
//!
//! Only the lenses that this program computes with are accepted: a `plumb_bob` or
//! `rational_polynomial` lens at full resolution, with a ray for every pixel. Anything else is
//! refused by name, since a calibration that is half understood puts every grasp in the wrong
//! place.

use std::path::{Path, PathBuf};

use magpie_perception::{CameraInfo, Distortion, Intrinsics};
use serde::{Deserialize, Serialize};
use serde_saphyr::FlowSeq;

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
    #[error(
        "distortion_model {model:?} is not supported; calibrate with plumb_bob or \
         rational_polynomial"
    )]
    DistortionModel { model: String },
    #[error(
        "distortion_coefficients of {model} must be {expected} values in a row, found {rows}x{cols} with {len}"
    )]
    Coefficients {
        model: &'static str,
        expected: &'static str,
        rows: usize,
        cols: usize,
        len: usize,
    },
    #[error(
        "the distortion turns back within the picture: no single ray leads to pixel {x_px:.0}, \
         {y_px:.0}; calibrate again with the board up to the picture's corners"
    )]
    TurnsBack { x_px: f64, y_px: f64 },
    #[error("{key} is used; calibrate at full resolution without it")]
    NotFullFrame { key: &'static str },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    image_width: u32,
    image_height: u32,
    /// ROS's reader assumes this name too.
    #[serde(default = "unknown_name")]
    camera_name: String,
    camera_matrix: Matrix,
    #[serde(default = "plumb_bob")]
    distortion_model: String,
    distortion_coefficients: Matrix,
    #[serde(skip_serializing_if = "Option::is_none")]
    rectification_matrix: Option<Matrix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projection_matrix: Option<Matrix>,
    #[serde(default, skip_serializing)]
    binning_x: u32,
    #[serde(default, skip_serializing)]
    binning_y: u32,
    #[serde(default, skip_serializing)]
    roi: Roi,
}

/// A matrix with its values row by row.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    rows: usize,
    cols: usize,
    data: FlowSeq<Vec<f64>>,
}

#[derive(Debug, Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Roi {
    x_offset: u32,
    y_offset: u32,
    height: u32,
    width: u32,
    do_rectify: bool,
}

fn unknown_name() -> String {
    "unknown".to_owned()
}

fn plumb_bob() -> String {
    "plumb_bob".to_owned()
}

/// Reads a calibration. Without a `frame_id` the optical frame is `<camera_name>_optical_frame`.
pub fn read_camera_info(
    path: &Path,
    frame_id: Option<&str>,
) -> Result<CameraInfo, CameraInfoError> {
    let read = || {
        let yaml = magpie_files::read_text(path, magpie_files::TEXT_BYTES_MAX)
            .map_err(CameraInfoProblem::Io)?;
        parse_camera_info(&yaml, frame_id)
    };
    read().map_err(|source| CameraInfoError { action: "read", path: path.to_owned(), source })
}

/// Writes the file that ROS and [`read_camera_info`] read.
pub fn write_camera_info(path: &Path, info: &CameraInfo) -> Result<(), CameraInfoError> {
    let write =
        || magpie_files::write(path, format_camera_info(info)?).map_err(CameraInfoProblem::Io);
    write().map_err(|source| CameraInfoError { action: "write", path: path.to_owned(), source })
}

/// Reads the text of a calibration, as [`read_camera_info`] does its file.
pub fn parse_camera_info(
    yaml: &str,
    frame_id: Option<&str>,
) -> Result<CameraInfo, CameraInfoProblem> {
    // The first line of the reader's message names the place; the others quote the file.
    let file: File = serde_saphyr::from_str(yaml).map_err(|error| {
        CameraInfoProblem::Yaml(error.to_string().lines().next().unwrap_or_default().to_owned())
    })?;
    check_frame(&file)?;
    let intrinsics = intrinsics(&file.camera_matrix)?;
    let distortion = distortion(&file)?;
    for (key, matrix, cols) in [
        ("rectification_matrix", &file.rectification_matrix, 3),
        ("projection_matrix", &file.projection_matrix, 4),
    ] {
        matrix.as_ref().map_or(Ok(()), |matrix| matrix.check(key, 3, cols))?;
    }
    let default_frame_id = || format!("{}_optical_frame", file.camera_name);
    let info = CameraInfo {
        frame_id: frame_id.map_or_else(default_frame_id, str::to_owned),
        width_px: file.image_width,
        height_px: file.image_height,
        intrinsics,
        distortion,
        camera_name: file.camera_name,
    };
    match info.pixel_without_ray() {
        Some(pixel) => Err(CameraInfoProblem::TurnsBack { x_px: pixel.x, y_px: pixel.y }),
        None => Ok(info),
    }
}

/// Writes the text of a calibration, as [`write_camera_info`] does its file.
pub fn format_camera_info(info: &CameraInfo) -> Result<String, CameraInfoProblem> {
    let Intrinsics { fx_px, fy_px, cx_px, cy_px } = info.intrinsics;
    let matrix = |rows, cols, data: &[f64]| Matrix { rows, cols, data: FlowSeq(data.to_vec()) };
    let d = info.distortion.coefficients();
    let file = File {
        image_width: info.width_px,
        image_height: info.height_px,
        camera_name: info.camera_name.clone(),
        camera_matrix: matrix(3, 3, &[fx_px, 0.0, cx_px, 0.0, fy_px, cy_px, 0.0, 0.0, 1.0]),
        distortion_model: info.distortion.model().to_owned(),
        distortion_coefficients: matrix(1, d.len(), d),
        rectification_matrix: Some(matrix(3, 3, &[1., 0., 0., 0., 1., 0., 0., 0., 1.])),
        projection_matrix: Some(matrix(
            3,
            4,
            &[fx_px, 0.0, cx_px, 0.0, 0.0, fy_px, cy_px, 0.0, 0.0, 0.0, 1.0, 0.0],
        )),
        binning_x: 0,
        binning_y: 0,
        roi: Roi::default(),
    };
    serde_saphyr::to_string(&file).map_err(|source| CameraInfoProblem::Format(Box::new(source)))
}

impl Matrix {
    fn check(
        &self,
        key: &'static str,
        expected_rows: usize,
        expected_cols: usize,
    ) -> Result<(), CameraInfoProblem> {
        let (rows, cols, len) = (self.rows, self.cols, self.data.0.len());
        if (rows, cols, len) != (expected_rows, expected_cols, expected_rows * expected_cols) {
            return Err(CameraInfoProblem::Shape {
                key,
                expected_rows,
                expected_cols,
                rows,
                cols,
                len,
            });
        }
        self.check_finite(key)
    }

    fn check_finite(&self, key: &'static str) -> Result<(), CameraInfoProblem> {
        if self.data.0.iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(CameraInfoProblem::NotFinite { key })
        }
    }
}

/// Refuses partial frames. ROS counts binning 0 as 1 and an all-zero region as the full frame.
fn check_frame(file: &File) -> Result<(), CameraInfoProblem> {
    let (width_px, height_px) = (file.image_width, file.image_height);
    if width_px == 0 || height_px == 0 {
        return Err(CameraInfoProblem::ImageSize { width_px, height_px });
    }
    for (key, binning) in [("binning_x", file.binning_x), ("binning_y", file.binning_y)] {
        if binning > 1 {
            return Err(CameraInfoProblem::NotFullFrame { key });
        }
    }
    let Roi { x_offset, y_offset, width, height, do_rectify: _ } = file.roi;
    let full = [(0, 0), (width_px, height_px)].contains(&(width, height));
    if (x_offset, y_offset) == (0, 0) && full {
        return Ok(());
    }
    Err(CameraInfoProblem::NotFullFrame { key: "roi" })
}

fn intrinsics(camera_matrix: &Matrix) -> Result<Intrinsics, CameraInfoProblem> {
    camera_matrix.check("camera_matrix", 3, 3)?;
    let m: &[f64; 9] = camera_matrix.data.0.first_chunk().expect("nine were counted");
    let [fx_px, skew, cx_px, zero, fy_px, cy_px, last_row @ ..] = *m;
    if fx_px <= 0.0 || fy_px <= 0.0 {
        return Err(CameraInfoProblem::NotCalibrated { fx_px, fy_px });
    }
    if (skew, zero, last_row) != (0.0, 0.0, [0.0, 0.0, 1.0]) {
        return Err(CameraInfoProblem::NotPinhole);
    }
    Ok(Intrinsics { fx_px, fy_px, cx_px, cy_px })
}

fn distortion(file: &File) -> Result<Distortion, CameraInfoProblem> {
    // Without k3 there are four: OpenCV takes it for 0.
    let (model, counts, expected): (_, &[usize], _) = match file.distortion_model.as_str() {
        "plumb_bob" => ("plumb_bob", &[4, 5], "4 or 5"),
        "rational_polynomial" => ("rational_polynomial", &[8], "8"),
        other => return Err(CameraInfoProblem::DistortionModel { model: other.to_owned() }),
    };
    let Matrix { rows, cols, data } = &file.distortion_coefficients;
    let (rows, cols, len) = (*rows, *cols, data.0.len());
    if !counts.contains(&len) || rows.min(cols) != 1 || rows * cols != len {
        return Err(CameraInfoProblem::Coefficients { model, expected, rows, cols, len });
    }
    file.distortion_coefficients.check_finite("distortion_coefficients")?;
    let mut distortion = Distortion::default();
    distortion.d[..len].copy_from_slice(&data.0);
    Ok(distortion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::chain;

    const FILE: &str = "\
image_width: 640
image_height: 480
camera_name: acme_7
camera_matrix: {rows: 3, cols: 3, data: [610.5, 0, 318.25, 0, 612, 243, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.02, 0.001, -0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [610.5, 0, 318.25, 0, 0, 612, 243, 0, 0, 0, 1, 0]}
";

    /// The file with `from` replaced by `to` must be refused with a message that holds `expected`.
    fn check_refused(from: &str, to: &str, expected: &str) {
        assert!(FILE.contains(from), "{from}");
        let problem = parse_camera_info(&FILE.replacen(from, to, 1), None).unwrap_err();
        assert!(chain(&problem).contains(expected), "{}", chain(&problem));
        assert_eq!(chain(&problem).lines().count(), 1, "{}", chain(&problem));
    }

    #[test]
    fn a_ros_file_is_understood() {
        let info = parse_camera_info(FILE, None).unwrap();
        assert_eq!((info.width_px, info.height_px), (640, 480));
        assert_eq!((info.camera_name.as_str(), info.intrinsics.fx_px), ("acme_7", 610.5));
        assert_eq!((info.intrinsics.cx_px, info.intrinsics.cy_px), (318.25, 243.0));
        assert_eq!(info.distortion, Distortion::plumb_bob([-0.1, 0.02, 0.001, -0.002, 0.0]));
        assert_eq!(info.frame_id, "acme_7_optical_frame");
        assert_eq!(parse_camera_info(FILE, Some("left")).unwrap().frame_id, "left");
    }

    #[test]
    fn what_is_written_is_read_back_unchanged() {
        let mut info = parse_camera_info(FILE, None).unwrap();
        info.intrinsics.fx_px = 1.0 / 3.0 * 1e3;
        info.distortion.d[4] = -1e-7;
        let yaml = format_camera_info(&info).unwrap();
        assert!(yaml.contains("camera_matrix:\n  rows: 3\n  cols: 3\n  data: ["), "{yaml}");
        assert_eq!(parse_camera_info(&yaml, None).unwrap(), info);
    }

    #[test]
    fn every_lens_that_ros_calibrates_with_its_usual_flags_is_understood() {
        let parse = |model: &str, cols: usize, data: &str| {
            let yaml = FILE
                .replace(
                    "cols: 5, data: [-0.1, 0.02, 0.001, -0.002, 0]",
                    &format!("cols: {cols}, data: {data}"),
                )
                .replace("plumb_bob", model);
            parse_camera_info(&yaml, None).unwrap()
        };
        let four = parse("plumb_bob", 4, "[-0.1, 0.02, 0.001, -0.002]");
        assert_eq!(four, parse_camera_info(FILE, None).unwrap());
        let eight =
            parse("rational_polynomial", 8, "[0.5, -2.7, 0.0006, -0.0002, 1.6, 0.4, -2.5, 1.5]");
        assert_eq!(eight.distortion.d, [0.5, -2.7, 0.0006, -0.0002, 1.6, 0.4, -2.5, 1.5]);
        let yaml = format_camera_info(&eight).unwrap();
        assert!(yaml.contains("distortion_model: rational_polynomial"), "{yaml}");
        assert_eq!(parse_camera_info(&yaml, None).unwrap(), eight);
    }

    #[test]
    fn a_lens_that_turns_back_within_the_picture_is_refused_with_the_pixel() {
        check_refused("[-0.1, 0.02", "[-1.1, 0.02", "no single ray leads to pixel 0, 0");
    }

    #[test]
    fn a_numeric_camera_name_stays_a_name() {
        let mut info = parse_camera_info(FILE, None).unwrap();
        info.camera_name = "08144361".into();
        let yaml = format_camera_info(&info).unwrap();
        assert_eq!(parse_camera_info(&yaml, None).unwrap().camera_name, "08144361");
    }

    #[test]
    fn what_ros_leaves_out_has_roses_defaults() {
        let yaml = FILE.replace("distortion_model: plumb_bob\n", "");
        assert_eq!(parse_camera_info(&yaml, None).unwrap(), parse_camera_info(FILE, None).unwrap());
        let full = format!(
            "{FILE}binning_x: 1\nroi: {{x_offset: 0, y_offset: 0, height: 480, width: 640, do_rectify: false}}\n"
        );
        assert!(parse_camera_info(&full, None).is_ok());
    }

    #[test]
    fn wrong_shapes_and_values_are_refused_by_name() {
        check_refused(
            "rows: 3, cols: 3, data: [610.5",
            "rows: 3, cols: 4, data: [610.5",
            "camera_matrix must be 3x3",
        );
        check_refused("0, 0, 1]}\ndistortion_model", "0, 0]}\ndistortion_model", "with 8");
        check_refused("-0.1, 0.02", "-0.1, .nan", "distortion_coefficients holds");
        check_refused("[610.5", "[0", "fx = 0");
        check_refused("612", "-612", "fy = -612");
        check_refused("[610.5, 0,", "[610.5, 0.3,", "camera_matrix must be [fx, 0, cx");
        check_refused("image_width: 640", "image_width: 0", "image_width");
        check_refused("data: [1, 0", "data: [0", "rectification_matrix must be 3x3");
        check_refused("rows: 3, cols: 4", "rows: 4, cols: 4", "projection_matrix must be 3x4");
    }

    #[test]
    fn other_lenses_and_partial_frames_are_refused_by_name() {
        check_refused("plumb_bob", "equidistant", "\"equidistant\"");
        check_refused("plumb_bob", "rational_polynomial", "rational_polynomial must be 8 values");
        check_refused("cols: 5, data: [-0.1, ", "cols: 5, data: [", "must be 4 or 5 values");
        check_refused("0.001, -0.002, 0]", "0.001]", "with 3");
        check_refused("camera_name", "binning_x: 2\ncamera_name", "binning_x");
        let roi = "roi: {x_offset: 0, y_offset: 0, height: 100, width: 640}\ncamera_name";
        check_refused("camera_name", roi, "roi is used");
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        check_refused("distortion_model", "distorsion_model", "distorsion_model");
        check_refused("image_width: 640", "image_width: wide", "line 1");
    }
}
