//! Calibrations of lenses, read as people have them, and written as ROS's `camera_calibration` does.
//!
//! `fields` finds the values of one camera, whoever wrote them, by everybody's `names`; `lens` finds
//! the model and its coefficients; `others` knows what holds several cameras, or is no such text. A calibration that is half
//! understood puts every grasp in the wrong place: what is not computed with is refused by name.

mod fields;
mod lens;
mod names;
mod others;
mod problem;

use std::path::Path;

use magpie_perception::{CameraInfo, Intrinsics};
use serde::Serialize;
use serde_saphyr::FlowSeq;

pub use problem::{CameraInfoError, CameraInfoProblem};

/// Reads a calibration. Without a `frame_id` the optical frame is the one that the file names, else
/// `<camera_name>_optical_frame`. What the file holds besides is warned of.
pub fn read_camera_info(
    path: &Path,
    frame_id: Option<&str>,
) -> Result<CameraInfo, CameraInfoError> {
    let read = || {
        let bytes = magpie_files::read(path, magpie_files::TEXT_BYTES_MAX)
            .map_err(CameraInfoProblem::Io)?;
        if bytes.starts_with(GZIP) {
            return Err(others::packed());
        }
        let (info, doubts) = parse_with_doubts(&text_of(&bytes), frame_id)?;
        for doubt in doubts {
            tracing::warn!("{}: {doubt}", path.display());
        }
        Ok(info)
    };
    read().map_err(|source| CameraInfoError { action: "read", path: path.to_owned(), source })
}

/// How a file that gzip compressed begins. OpenCV does so where the name ends in `.gz`.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Editors of Windows write UTF-16, and mark it.
fn text_of(bytes: &[u8]) -> String {
    let read: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return String::from_utf8_lossy(bytes).into_owned(),
    };
    let units = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Writes the file that ROS and [`read_camera_info`] read.
pub fn write_camera_info(path: &Path, info: &CameraInfo) -> Result<(), CameraInfoError> {
    let write =
        || magpie_files::write(path, format_camera_info(info)?).map_err(CameraInfoProblem::Io);
    write().map_err(|source| CameraInfoError { action: "write", path: path.to_owned(), source })
}

/// Reads the text of a calibration, as [`read_camera_info`] does its file.
pub fn parse_camera_info(
    text: &str,
    frame_id: Option<&str>,
) -> Result<CameraInfo, CameraInfoProblem> {
    parse_with_doubts(text, frame_id).map(|(info, _)| info)
}

/// The calibration, and what was passed over or assumed.
fn parse_with_doubts(
    text: &str,
    frame_id: Option<&str>,
) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut info, doubts) = others::read(text)?;
    if let Some(frame_id) = frame_id {
        frame_id.clone_into(&mut info.frame_id);
    }
    match info.pixel_without_ray() {
        Some(pixel) => Err(CameraInfoProblem::TurnsBack { x_px: pixel.x, y_px: pixel.y }),
        None => Ok((info, doubts)),
    }
}

#[derive(Debug, Serialize)]
struct File {
    image_width: u32,
    image_height: u32,
    camera_name: String,
    camera_matrix: Matrix,
    distortion_model: String,
    distortion_coefficients: Matrix,
    rectification_matrix: Matrix,
    projection_matrix: Matrix,
}

/// A matrix with its values row by row.
#[derive(Debug, Serialize)]
struct Matrix {
    rows: usize,
    cols: usize,
    data: FlowSeq<Vec<f64>>,
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
        rectification_matrix: matrix(3, 3, &[1., 0., 0., 0., 1., 0., 0., 0., 1.]),
        projection_matrix: matrix(
            3,
            4,
            &[fx_px, 0.0, cx_px, 0.0, 0.0, fy_px, cy_px, 0.0, 0.0, 0.0, 1.0, 0.0],
        ),
    };
    serde_saphyr::to_string(&file).map_err(|source| CameraInfoProblem::Format(Box::new(source)))
}

#[cfg(test)]
mod tests {
    use magpie_perception::Distortion;

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
        info.distortion = Distortion::plumb_bob([-0.1, 0.02, 0.001, -0.002, -1e-7]);
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
        let d = [0.5, -2.7, 0.0006, -0.0002, 1.6, 0.4, -2.5, 1.5];
        assert_eq!(eight.distortion, Distortion::rational(d));
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
        check_refused("-0.1, 0.02", "-0.1, .nan", "line 6 column 58: non-finite");
        check_refused("[610.5", "[0", "fx = 0");
        check_refused("612", "-612", "fy = -612");
        check_refused("[610.5, 0,", "[610.5, 0.3,", "camera_matrix must be [fx, 0, cx");
        check_refused("image_width: 640", "image_width: 0", "image_width");
        check_refused("data: [1, 0", "data: [0", "rectification_matrix must be 3x3");
        check_refused("rows: 3, cols: 4", "rows: 4, cols: 4", "projection_matrix must be 3x4");
    }

    #[test]
    fn other_lenses_are_refused_by_name() {
        check_refused("plumb_bob", "double_sphere", "\"double_sphere\"");
        check_refused(
            "plumb_bob",
            "rational_polynomial",
            "rational_polynomial must be 8 or 12 values",
        );
        check_refused(
            "0.001, -0.002, 0]",
            "0.001]",
            "4 or 5 values (and zeros after them), found 3",
        );
        check_refused("-0.002, 0]", "-0.002, 0, 0, 0.1]", "is it a rational_polynomial one?");
    }

    /// The lens of a file with another model and other coefficients.
    fn lens(model: &str, data: &str) -> Result<Distortion, CameraInfoProblem> {
        let yaml = FILE
            .replace("data: [-0.1, 0.02, 0.001, -0.002, 0]", &format!("data: {data}"))
            .replace("plumb_bob", model);
        parse_camera_info(&yaml, None).map(|info| info.distortion)
    }

    #[test]
    fn zeros_behind_the_coefficients_are_as_good_as_none() {
        let plain = Distortion::plumb_bob([-0.05, 0.06, 0.0003, -0.0002, -0.02]);
        let eight = "[-0.05, 0.06, 0.0003, -0.0002, -0.02, 0, 0, 0]";
        assert_eq!(lens("plumb_bob", eight).unwrap(), plain);
        assert_eq!(lens("radtan", eight).unwrap(), plain);
        let rational = Distortion::rational([0.1, 0.02, 0.0, 0.0, 0.001, 0.1, 0.02, 0.001]);
        for zeros in ["", ", 0, 0, 0, 0", ", 0, 0, 0, 0, 0, 0"] {
            let data = format!("[0.1, 0.02, 0, 0, 0.001, 0.1, 0.02, 0.001{zeros}]");
            assert_eq!(lens("rational_polynomial", &data).unwrap(), rational, "{data}");
        }
        let tilted = lens("rational_polynomial", "[0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0]");
        assert!(chain(&tilted.unwrap_err()).contains("tilted sensors"));
    }

    #[test]
    fn a_thin_prism_is_read_and_written() {
        let d = [0.1, 0.02, 0.0, 0.0, 0.001, 0.1, 0.02, 0.001, 0.001, 0.0, 0.0, 0.0];
        for zeros in ["", ", 0, 0"] {
            let data = format!("{:?}", d).replace(']', &format!("{zeros}]"));
            let prism = lens("rational_polynomial", &data).unwrap();
            assert_eq!(prism, Distortion::Polynomial(d));
            let mut info = parse_camera_info(FILE, None).unwrap();
            info.distortion = prism;
            let yaml = format_camera_info(&info).unwrap();
            assert_eq!(parse_camera_info(&yaml, None).unwrap(), info);
        }
    }

    #[test]
    fn without_coefficients_there_is_no_distortion() {
        for model in ["''", "none", "plumb_bob", "rational_polynomial"] {
            assert_eq!(lens(model, "[]").unwrap(), Distortion::default(), "{model}");
        }
        assert_eq!(lens("''", "[0, 0, 0, 0, 0]").unwrap(), Distortion::default());
        assert!(lens("equidistant", "[]").is_err());
    }

    #[test]
    fn fisheye_lenses_are_read_and_written() {
        let fisheye = Distortion::Equidistant([-0.01, 0.04, -0.03, 0.005]);
        for model in ["equidistant", "fisheye", "kannala_brandt4"] {
            for data in ["[-0.01, 0.04, -0.03, 0.005]", "[-0.01, 0.04, -0.03, 0.005, 0]"] {
                assert_eq!(lens(model, data).unwrap(), fisheye, "{model}");
            }
        }
        let mut info = parse_camera_info(FILE, None).unwrap();
        info.distortion = fisheye;
        let yaml = format_camera_info(&info).unwrap();
        assert!(yaml.contains("distortion_model: equidistant"), "{yaml}");
        assert_eq!(parse_camera_info(&yaml, None).unwrap(), info);
    }

    /// By REP-104 the file is of the whole sensor, and the stream of every second pixel of a part.
    #[test]
    fn a_region_and_binning_cut_the_sensor_as_ros_has_it() {
        let cut = |more: &str| parse_camera_info(&format!("{FILE}{more}"), None);
        let roi = "roi: {x_offset: 40, y_offset: 20, height: 400, width: 520, do_rectify: true}\n";
        let part = cut(roi).unwrap();
        assert_eq!((part.width_px, part.height_px), (520, 400));
        assert_eq!((part.intrinsics.fx_px, part.intrinsics.fy_px), (610.5, 612.0));
        assert_eq!((part.intrinsics.cx_px, part.intrinsics.cy_px), (278.25, 223.0));
        let binned = cut(&format!("binning_x: 2\nbinning_y: 4\n{roi}")).unwrap();
        assert_eq!((binned.width_px, binned.height_px), (260, 100));
        assert_eq!((binned.intrinsics.fx_px, binned.intrinsics.fy_px), (305.25, 153.0));
        assert_eq!((binned.intrinsics.cx_px, binned.intrinsics.cy_px), (139.125, 55.75));
        assert_eq!(binned.distortion, part.distortion);
        let beyond = cut("roi: {x_offset: 200, y_offset: 0, height: 480, width: 640}\n");
        assert!(chain(&beyond.unwrap_err()).contains("reaches 840, 480, beyond the 640x480 px"));
    }

    #[test]
    fn an_unknown_key_is_told_and_a_misspelt_one_refused_with_its_line() {
        let more = format!("{FILE}calibration_date: 2026-01-02\nserial: \"0123\"\n");
        let (info, doubts) = parse_with_doubts(&more, None).unwrap();
        assert_eq!(info, parse_camera_info(FILE, None).unwrap());
        assert_eq!(doubts, ["not used: calibration_date, serial"]);
        let (key, model) = ("distortion_coefficients: {", "distortion_model: plumb_bob\n");
        let no_lens = FILE.replace(key, "board: {");
        let message = chain(&parse_camera_info(&no_lens, None).unwrap_err());
        assert!(message.contains("distortion_coefficients is missing"), "{message}");
        let (info, doubts) = parse_with_doubts(&no_lens.replace(model, ""), None).unwrap();
        assert_eq!(info.distortion, Distortion::default());
        assert!(doubts[1].contains("no distortion is taken"), "{doubts:?}");
        let no_model = FILE.replace("distortion_model: plumb_bob\n", "");
        let doubts = parse_with_doubts(&no_model, None).unwrap().1;
        assert!(doubts[0].contains("distortion_model is missing"), "{doubts:?}");
        check_refused("distortion_model", "distorsion_model", "line 5: distorsion_model");
        check_refused("image_width: 640", "image_width: wide", "line 1: image_width");
        check_refused("image_width: 640\n", "", "image_width is missing");
    }

    const ROS2: &str = "\
header:
  stamp:
    sec: 17
    nanosec: 5
  frame_id: left_optical
height: 480
width: 640
distortion_model: plumb_bob
d:
- -0.1
- 0.02
- 0.001
- -0.002
- 0.0
k:
- 610.5
- 0.0
- 318.25
- 0.0
- 612.0
- 243.0
- 0.0
- 0.0
- 1.0
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
";

    #[test]
    fn a_message_is_read_as_ros_prints_it() {
        let expected = parse_camera_info(FILE, Some("left_optical")).unwrap();
        let check = |text: &str| {
            let found = parse_camera_info(text, None).unwrap();
            assert_eq!(found, CameraInfo { camera_name: "unknown".into(), ..expected.clone() });
        };
        check(ROS2);
        check(&format!("{ROS2}header:\n  stamp:\n    sec: 18\n"));
        check(
            "header: \n  seq: 3\n  stamp: \n    secs: 0\n    nsecs:         0\n  frame_id: \
             \"left_optical\"\nheight: 480\nwidth: 640\ndistortion_model: \"plumb_bob\"\nD: \
             [-0.1, 0.02, 0.001, -0.002, 0.0]\nK: [610.5, 0.0, 318.25, 0.0, 612.0, 243.0, 0.0, \
             0.0, 1.0]\nR: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]\nbinning_x: 0\nroi: \n  \
             x_offset: 0\n  height: 0\n  width: 0\n  do_rectify: False\n---\n",
        );
    }

    #[test]
    fn opencvs_file_storage_is_read() {
        let yaml = "%YAML:1.0\n---\ncalibration_time: \"today\"\nimage_width: 640\nimage_height: \
                    480\nflags: 0\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: \
                    d\n   data: [ 6.105e+02, 0., 318.25, 0., 612.,\n       243., 0., 0., 1. \
                    ]\ndistortion_coefficients: !!opencv-matrix\n   rows: 5\n   cols: 1\n   dt: \
                    d\n   data: [ -1.0e-01, 2.0e-02, 1.0e-03,\n       -2.0e-03, 0. ]\n";
        let (found, doubts) = parse_with_doubts(yaml, None).unwrap();
        let expected = parse_camera_info(FILE, None).unwrap();
        assert_eq!(
            (found.intrinsics, found.distortion),
            (expected.intrinsics, expected.distortion)
        );
        assert!(doubts[0].contains("calibration_time, flags"), "{doubts:?}");
        let fisheye =
            yaml.replace("flags: 0", "fisheye_model: 1").replace("-2.0e-03, 0. ]", "-2.0e-03 ]");
        let found = parse_camera_info(&fisheye, None).unwrap().distortion;
        assert_eq!(found, Distortion::Equidistant([-0.1, 0.02, 0.001, -0.002]));
        let no_size = yaml.replace("image_width: 640\nimage_height: 480\n", "");
        let message = chain(&parse_camera_info(&no_size, None).unwrap_err());
        assert!(message.contains("image_width is missing"), "{message}");
    }

    /// Everybody's way to write the lens of `FILE`.
    #[test]
    fn others_calibrations_of_one_camera_are_read() {
        let kalibr = "cam0:\n  camera_model: pinhole\n  distortion_coeffs: [-0.1, 0.02, 0.001, \
                      -0.002]\n  distortion_model: radtan\n  intrinsics: [610.5, 612.0, 318.25, \
                      243.0]\n  resolution: [640, 480]\n  rostopic: /left\n";
        let realsense = " Intrinsic of \"Color\" / 640x480 / {RGB8}\n  Width:      \t640\n  Height: \
                         \t480\n  PPX:   \t318.25\n  PPY: \t243\n  Fx:  \t610.5\n  Fy:  \t612\n  \
                         Distortion: \tBrown Conrady\n  Coeffs:  \t-0.1 \t0.02 \t0.001 \t-0.002 \
                         \t0\n  FOV (deg): \t55 x 43\n";
        let oak = "{\"cameraData\": [[0, {\"cameraType\": 0, \"distortionCoeff\": [-0.1, 0.02, \
                   0.001, -0.002, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], \"height\": 480, \"width\": 640, \
                   \"intrinsicMatrix\": [[610.5, 0, 318.25], [0, 612.0, 243.0], [0, 0, 1]]}]]}";
        let expected = parse_camera_info(FILE, None).unwrap();
        for text in [kalibr, realsense, oak] {
            let found = parse_camera_info(text, None).unwrap();
            assert_eq!(found.intrinsics, expected.intrinsics, "{text}");
            assert_eq!(found.distortion, expected.distortion, "{text}");
            assert_eq!((found.width_px, found.height_px), (640, 480), "{text}");
        }
        let fisheye = kalibr.replace("radtan", "equidistant");
        let found = parse_camera_info(&fisheye, None).unwrap();
        assert_eq!(found.distortion.model(), "equidistant");
        // Open3D writes its matrix column by column.
        let open3d = "{\"width\": 640, \"height\": 480, \"intrinsic_matrix\": [610.5, 0, 0, 0, \
                      612.0, 0, 318.25, 243.0, 1]}";
        assert_eq!(parse_camera_info(open3d, None).unwrap().intrinsics, expected.intrinsics);
    }

    #[test]
    fn what_is_not_one_camera_is_named_with_the_way_out() {
        let check = |text: &str, what: &str, remedy: &str| {
            let message = chain(&parse_camera_info(text, None).unwrap_err());
            assert!(message.contains(what) && message.contains(remedy), "{message}");
        };
        let camera = "{camera_model: pinhole, intrinsics: [1, 1, 1, 1], resolution: [2, 2]}";
        check(&format!("cam0: {camera}\ncam1: {camera}\n"), "cam0, cam1", "file of its own");
        check(
            "cam0: {camera_model: omni, intrinsics: [1, 1]}\n",
            "camera_model \"omni\" is no lens",
            "pinhole-equi",
        );
        let stream = "  Width: 640\n  PPX: 3\n  Coeffs: 0\n";
        check(&format!("{stream}{stream}"), "listing of 2 streams", "file of its own");
        check("{\"cameraData\": []}", "an OAK's calibration of 0 cameras", "cameraData");
        check("<?xml version=\"1.0\"?><opencv_storage/>", "XML", "YAML");
        check("M1: [1]\nD1: [0]\n", "a stereo pair", "image_width");
        check("{\"rectified.0.fx\": \"970\"}", "RealSense's calibration table", "section");
        check("PK\u{3}\u{4}\0", "NumPy's or pickle's", "camera_info of ROS");
        check("Camera.fx: 500.0\n", "ORB-SLAM", "camera_info of ROS");
        check("- 1\n- 2\n", "no calibration", "camera_info of ROS");
    }

    /// A camera without a lens, as a JSON object that is still open.
    const FLAT: &str = "{\"fx\": 610.5, \"fy\": 612, \"cx\": 318.25, \"cy\": 243, \"width\": 640, \
                        \"height\": 480, ";
    const MATRIX: &str = "image_width: 640\nimage_height: 480\ncamera_matrix: [610.5, 0, 318.25, 0, \
                          612, 243, 0, 0, 1]\n";

    fn check_lens(text: &str, expected: Distortion) {
        let info = parse_camera_info(text, None);
        let info = info.unwrap_or_else(|problem| panic!("{text}: {}", chain(&problem)));
        assert_eq!(info.distortion, expected, "{text}");
        assert_eq!((info.intrinsics.fx_px, info.intrinsics.cy_px), (610.5, 243.0), "{text}");
    }

    fn check_problem(text: &str, expected: &str) {
        match parse_camera_info(text, None) {
            Ok(info) => panic!("{text}: read as {info:?}"),
            Err(problem) => {
                assert!(chain(&problem).contains(expected), "{text}: {}", chain(&problem));
            }
        }
    }

    #[test]
    fn distortion_is_read_under_everybodys_name_for_it() {
        let lens = Distortion::plumb_bob([-0.1, 0.02, 0.001, -0.002, 0.0]);
        let list = "[-0.1, 0.02, 0.001, -0.002, 0]";
        for key in [
            "distortion_coefficients",
            "distortion_coeffs",
            "distortion_coeff",
            "distortionCoeff",
            "distortion_parameters",
            "distortion",
            "dist_coeffs",
            "distCoeffs",
            "DistCoeff",
            "dist_coefs",
            "dist",
            "coeffs",
            "D",
        ] {
            check_lens(&format!("{FLAT}\"{key}\": {list}}}"), lens);
            check_lens(&format!("{MATRIX}{key}: {list}\n"), lens);
            let kalibr = "cam0:\n  camera_model: pinhole\n  distortion_model: radtan\n  \
                          intrinsics: [610.5, 612.0, 318.25, 243.0]\n  resolution: [640, 480]\n";
            check_lens(&format!("{kalibr}  {key}: {list}\n"), lens);
        }
        let scalars = "\"k1\": -0.1, \"k2\": 0.02, \"p1\": 0.001, \"p2\": -0.002";
        check_lens(&format!("{FLAT}{scalars}}}"), lens);
        check_lens(&format!("{FLAT}\"camera_model\": \"OPENCV\", {scalars}, \"k3\": 0}}"), lens);
        check_lens(&format!("{FLAT}\"distortion\": {{{scalars}}}}}"), lens);
        let nested = "model_type: PINHOLE\nimage_width: 640\nimage_height: 480\n\
                      distortion_parameters: {k1: -0.1, k2: 0.02, p1: 0.001, p2: -0.002}\n\
                      projection_parameters: {fx: 610.5, fy: 612, cx: 318.25, cy: 243}\n";
        check_lens(nested, lens);
        let rational = "\"k1\": 0.1, \"k2\": 0.02, \"k3\": 0.001, \"k4\": 0.1, \"k5\": 0.02, \
                        \"k6\": 0.001";
        let eight = Distortion::rational([0.1, 0.02, 0.0, 0.0, 0.001, 0.1, 0.02, 0.001]);
        check_lens(&format!("{FLAT}{rational}}}"), eight);
        let four = "\"k1\": -0.01, \"k2\": 0.04, \"k3\": -0.03, \"k4\": 0.005";
        let fisheye = Distortion::Equidistant([-0.01, 0.04, -0.03, 0.005]);
        check_lens(&format!("{FLAT}\"camera_model\": \"OPENCV_FISHEYE\", {four}}}"), fisheye);
        check_lens(&format!("{FLAT}\"is_fisheye\": true, {four}}}"), fisheye);
        let list = "[-0.01, 0.04, -0.03, 0.005]";
        check_lens(&format!("{MATRIX}camera_model: fisheye\nD: {list}\n"), fisheye);
        check_lens(&format!("{MATRIX}fisheye: 1\nD: {list}\n"), fisheye);
        check_problem(&format!("{FLAT}{four}}}"), "k4 is not understood");
        check_problem(&format!("{FLAT}\"k2\": 0.1}}"), "k2 is not understood: k1 is missing");
    }

    #[test]
    fn a_key_that_speaks_of_the_lens_is_read_or_refused_by_its_name() {
        let lens = "distortion_coefficients: [-0.1, 0.02, 0, 0, 0]\n";
        for (key, value) in [
            ("radial_distortion", "[-0.3, 0.1]"),
            ("lens_distortion", "{a: [0.1]}"),
            ("undistort", "true"),
            ("tangential", "[0.1, 0.1]"),
            ("d0", "-0.3"),
            ("k7", "0.1"),
            ("xi", "0.9"),
            ("skew", "0.3"),
            ("poly", "[1, 2]"),
        ] {
            check_problem(&format!("{MATRIX}{key}: {value}\n"), &format!("line 4: {key}"));
            check_problem(&format!("{MATRIX}{lens}{key}: {value}\n"), &format!("line 5: {key}"));
            let intrinsics = "intrinsics: {fx: 610.5, fy: 612, cx: 318.25, cy: 243}\n";
            let nested = format!("width: 640\nheight: 480\n{intrinsics}{key}: {value}\n");
            check_problem(&nested, key);
        }
        check_problem(&format!("{MATRIX}more: {{k1: -0.3}}\n"), "more.k1 speaks of the lens");
        check_problem(&format!("{MATRIX}more: {{dist: [-0.3]}}\n"), "more.dist speaks of the lens");
        // What says nothing, or speaks of something else, is warned of.
        for key in ["skew: 0", "radial: []", "lens_distortion: none", "distance_m: 0.7", "gain: 3"]
        {
            let text = format!("{MATRIX}{lens}{key}\n");
            let (_, doubts) = parse_with_doubts(&text, None).unwrap();
            assert!(doubts[0].starts_with("not used: "), "{doubts:?}");
        }
        for key in ["camera_model", "camera_type", "lens_model", "model"] {
            let text = format!("{MATRIX}{lens}{key}: double_sphere\n");
            check_problem(&text, &format!("{key} \"double_sphere\" is no lens"));
        }
    }

    #[test]
    fn two_statements_about_one_camera_must_agree() {
        let lens = "D: [-0.1, 0.02, 0, 0, 0]\ndistortion_model: plumb_bob\n";
        let one = Distortion::plumb_bob([-0.1, 0.02, 0.0, 0.0, 0.0]);
        let twice = "K: [610.5, 0, 318.25, 0, 612, 243, 0, 0, 1]\ndist: [-0.1, 0.02]\nwidth: 640\n\
                     fx: 610.5\nfy: 612\ncx: 318.25\ncy: 243\ncamera_model: pinhole\nk1: -0.1\nk2: 0.02\n";
        check_lens(&format!("{MATRIX}{lens}{twice}"), one);
        for other in [
            "K: [300, 0, 318.25, 0, 612, 243, 0, 0, 1]",
            "intrinsics: [300, 612, 318.25, 243]",
            "fx: 300\nfy: 612\ncx: 318.25\ncy: 243",
            "width: 1280",
            "dist: [0.2, 0, 0, 0]",
            "k1: 0.2",
            "camera_model: fisheye",
            "fisheye_model: 1",
        ] {
            let text = format!("{MATRIX}{lens}{other}\n");
            let message = parse_camera_info(&text, None).map_err(|problem| chain(&problem));
            let key = other.split(':').next().unwrap();
            let message = message.expect_err(other);
            let fits = message.contains(key) || message.contains("4 values");
            assert!(fits && message.contains("different things"), "{other}: {message}");
        }
        check_problem(&format!("{FLAT}\"ppx\": 300}}"), "say different things");
    }

    #[test]
    fn librealsense_counts_its_models() {
        let flat = FLAT.replace("\"cx\"", "\"ppx\"").replace("\"cy\"", "\"ppy\"");
        let file = |model: &str, d: &str| format!("{flat}\"model\": {model}, \"coeffs\": {d}}}");
        let d = "[-0.1, 0.02, 0.001, -0.002, 0]";
        check_lens(&file("4", d), Distortion::plumb_bob([-0.1, 0.02, 0.001, -0.002, 0.0]));
        check_lens(&file("2", "[0, 0, 0, 0, 0]"), Distortion::default());
        check_lens(&file("0", "[0, 0, 0, 0, 0]"), Distortion::default());
        let fisheye = Distortion::Equidistant([-0.01, 0.04, -0.03, 0.005]);
        check_lens(&file("5", "[-0.01, 0.04, -0.03, 0.005, 0]"), fisheye);
        for (model, name) in [
            ("0", "none"),
            ("1", "modified_brown_conrady"),
            ("2", "inverse_brown_conrady"),
            ("3", "ftheta"),
            ("\"2\"", "inverse_brown_conrady"),
            ("\"RS2_DISTORTION_INVERSE_BROWN_CONRADY\"", "INVERSE_BROWN_CONRADY"),
            ("7", "7"),
            ("\"D435\"", "D435"),
        ] {
            check_problem(&file(model, d), &format!("{name}\" is no lens"));
        }
        check_problem(&file("true", d), "model must be the name of a model");
        let no_lens = format!("{flat}\"model\": 4}}");
        check_problem(&no_lens, "distortion_coefficients is missing");
        let listing = "  Width: 640\n  Height: 480\n  PPX: 318.25\n  PPY: 243\n  Fx: 610.5\n  Fy: 612\n  \
                       Distortion: Brown Conrady\n  Coeffs: -0.1 0.02\n";
        check_problem(&listing.replace("  Distortion", "  Model"), "Distortion is missing");
        check_problem(&listing.replace("Coeffs: -0.1", "Coeffs: x"), "coeffs must be a list");
    }

    #[test]
    fn oaks_and_kalibrs_lenses_are_not_lost() {
        let oak = |camera: &str| {
            format!(
                "{{\"cameraData\": [[0, {{{camera}\"height\": 480, \"width\": 640, \
                 \"intrinsicMatrix\": [[610.5, 0, 318.25], [0, 612.0, 243.0], [0, 0, 1]]}}]]}}"
            )
        };
        check_problem(&oak(""), "distortionCoeff is missing");
        let none = "\"distortionCoeff\": [], ";
        check_lens(&oak(none), Distortion::default());
        check_problem(&oak(&format!("{none}\"cameraType\": 3, ")), "cameraType \"3\" is no lens");
        let kalibr = "cam0: {camera_model: pinhole, distortion_model: radtan, intrinsics: [610.5, \
                      612, 318.25, 243], resolution: [640, 480]}\n";
        check_problem(kalibr, "distortion_coefficients is missing");
        check_lens(&kalibr.replace("radtan", "none"), Distortion::default());
    }

    #[test]
    fn a_lens_of_another_picture_is_doubted_and_one_that_cannot_be_is_refused() {
        let doubts = |from: &str, to: &str| {
            parse_with_doubts(&FILE.replace(from, to), None).unwrap().1.join("; ")
        };
        assert_eq!(doubts("318.25", "318.25"), "");
        let found = doubts("318.25, 0, 612, 243", "964, 0, 612, 541");
        assert!(found.contains("outside the 640x480 px picture"), "{found}");
        assert!(doubts("318.25", "-1.8").contains("from its upper left corner"));
        check_refused("612", "6120", "is a digit wrong");
        check_refused("[610.5", "[4.8", "is a digit wrong");
        // The part of a sensor need not have the principal point in it.
        let roi = "roi: {x_offset: 400, y_offset: 300, height: 100, width: 200}\n";
        let (part, doubts) = parse_with_doubts(&format!("{FILE}{roi}"), None).unwrap();
        assert_eq!((part.intrinsics.cx_px, doubts.len()), (-81.75, 0));
    }

    #[test]
    fn zivids_pycolmaps_and_record3ds_lenses_are_read() {
        let d = Distortion::plumb_bob([-0.1, 0.02, 0.001, -0.002, 0.0]);
        let zivid = "__version__: {serializer: 1, data: 2}\nCameraIntrinsics:\n  CameraMatrix: {CX: \
                     318.25, CY: 243, FX: 610.5, FY: 612}\n  Distortion: {K1: -0.1, K2: 0.02, K3: 0, \
                     P1: 0.001, P2: -0.002}\n";
        check_problem(zivid, "image_width is missing");
        check_lens(&format!("image_width: 640\nimage_height: 480\n{zivid}"), d);
        // COLMAP's first pixel has its middle at 0.5.
        let colmap = |model: &str, params: &str| {
            format!(
                "{{\"camera_id\": 1, \"model\": \"{model}\", \"width\": 640, \"height\": 480, \
                 \"params\": [610.5, 612, 318.75, 243.5{params}]}}"
            )
        };
        check_lens(&colmap("OPENCV", ", -0.1, 0.02, 0.001, -0.002"), d);
        check_lens(&colmap("PINHOLE", ""), Distortion::default());
        let fisheye = Distortion::Equidistant([-0.01, 0.04, -0.03, 0.005]);
        check_lens(&colmap("OPENCV_FISHEYE", ", -0.01, 0.04, -0.03, 0.005"), fisheye);
        check_problem(&colmap("OPENCV", ""), "OPENCV has 8 params, found 4");
        check_problem(&colmap("THIN_PRISM_FISHEYE", ""), "is no lens that is computed with");
        let simple = colmap("SIMPLE_RADIAL", "").replace("612, ", "").replace("]", ", -0.05]");
        let radial = parse_camera_info(&simple, None).unwrap();
        assert_eq!((radial.intrinsics.fx_px, radial.intrinsics.fy_px), (610.5, 610.5));
        assert_eq!(radial.distortion, Distortion::plumb_bob([-0.05, 0.0, 0.0, 0.0, 0.0]));
        let record3d = "{\"w\": 640, \"h\": 480, \"fps\": 60, \
                        \"K\": [610.5, 0, 0, 0, 612, 0, 318.25, 243, 1]}";
        check_lens(record3d, Distortion::default());
    }

    #[test]
    fn what_pyrealsense_prints_is_read() {
        let printed =
            "[ 640x480  p[318.25 243]  f[610.5 612]  Brown Conrady [-0.1 0.02 0.001 -0.002 0] ]";
        let d = Distortion::plumb_bob([-0.1, 0.02, 0.001, -0.002, 0.0]);
        check_lens(printed, d);
        check_lens(
            &printed.replace("Brown Conrady [-0.1 0.02 0.001 -0.002 0]", "None [0 0 0 0 0]"),
            Distortion::default(),
        );
        let inverse = printed.replace("Brown", "Inverse Brown");
        check_problem(&inverse, "nverse");
        let older = "width: 640, height: 480, ppx: 318.25, ppy: 243, fx: 610.5, fy: 612, model: 4, \
                     coeffs: [-0.1, 0.02, 0.001, -0.002, 0]\n";
        check_lens(older, d);
    }

    #[test]
    fn bops_and_halcons_and_packed_files_are_named() {
        let bop =
            "{\"0\": {\"cam_K\": [610.5, 0, 318.25, 0, 612, 243, 0, 0, 1], \"depth_scale\": 0.1}}";
        check_problem(bop, "BOP's scene_camera.json");
        check_problem(bop, "--depth-unit-m 0.0001");
        check_problem("# INTERNAL CAMERA PARAMETERS\nParGroup: Cam1: \n", "HALCON's");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.yml.gz");
        std::fs::write(&path, [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
        let error = read_camera_info(&path, None).unwrap_err();
        assert!(chain(&error).contains("gunzip"), "{}", chain(&error));
    }

    #[test]
    fn utf_16_is_read_as_editors_of_windows_mark_it() {
        let bytes = |mark: u16, to: fn(u16) -> [u8; 2]| {
            std::iter::once(mark).chain(FILE.encode_utf16()).flat_map(to).collect::<Vec<u8>>()
        };
        for bytes in [bytes(0xfeff, u16::to_le_bytes), bytes(0xfeff, u16::to_be_bytes)] {
            let read = parse_camera_info(&text_of(&bytes), None).unwrap();
            assert_eq!(read, parse_camera_info(FILE, None).unwrap());
        }
    }

    #[test]
    fn other_programs_files_are_named() {
        check_problem("# oST version 5.0 parameters\n\n[image]\n\nwidth\n640\n", "ost.yaml");
        check_problem("[image]\nwidth\n640\n[left]\ncamera matrix\n610 0 318\n", "ost.yaml");
        check_problem("[LEFT_CAM_HD]\nfx=600\nk1=-0.1\n", "a ZED's factory calibration");
        check_problem("# Camera list\n1 OPENCV 640 480 600 600 320 240 0 0 0 0\n", "COLMAP's list");
        check_problem("model_type: KANNALA_BRANDT\nprojection_parameters: {k2: 1}\n", "camodocal");
        check_problem("RadialDistortion: [0.1, 0.2]\n", "MATLAB's");
        let camera = FLAT.trim_end_matches(", ");
        let several =
            format!("{{\"color\": {camera}}}, \"depth\": {{\"intrinsics\": {camera}}}}}}}");
        check_problem(&several, "several cameras (color, depth.intrinsics)");
        let one =
            format!("{{\"serial\": \"1\", \"color\": {camera}, \"k1\": -0.1, \"k2\": 0.02}}}}");
        check_lens(&one, Distortion::plumb_bob([-0.1, 0.02, 0.0, 0.0, 0.0]));
        assert_eq!(parse_camera_info(&one, None).unwrap().camera_name, "color");
        check_problem(&format!("{{\"dist\": 3, \"color\": {camera}, \"k1\": 0}}}}"), "dist and");
    }
}
