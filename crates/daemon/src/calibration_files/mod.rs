//! Our own calibration files: YAML, like the camera_info beside them.

pub mod pose;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use magpie_camera::calibrate::{Board, HandEyeReport, Reference, ReferencePoint, Setup};
use magpie_perception::{CameraInfo, CameraPlace, StampNs};
use nalgebra::{Isometry3, Point3};
use serde::{Deserialize, Serialize};
use serde_saphyr::FlowSeq;
use sha2::{Digest, Sha256};

#[derive(Debug, thiserror::Error)]
pub enum CalibrationFileError {
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {message}")]
    Parse { path: PathBuf, message: String },
}

type Row = FlowSeq<Vec<f64>>;

/// The file that `magpie calibrate hand-eye` writes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HandEyeFile {
    setup: SetupName,
    /// T_base_camera, 4x4 in metres: with `eye_to_hand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_from_camera: Option<Vec<Row>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gripper_from_board: Option<Vec<Row>>,
    /// T_gripper_camera, 4x4 in metres: with `eye_in_hand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gripper_from_camera: Option<Vec<Row>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_from_board: Option<Vec<Row>>,
    pub made: String,
    pub pairs: usize,
    pub leave_one_out_rms_mm: f64,
    pub leave_one_out_rms_deg: f64,
    /// Standard deviations of the camera's position and direction, from leaving stops out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty_mm: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty_deg: Option<f64>,
    /// Identifies the camera_info that the pictures were read with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_info_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum SetupName {
    EyeToHand,
    EyeInHand,
}

impl HandEyeFile {
    /// `info` is the lens that the pictures were read with.
    pub fn of(report: &HandEyeReport, info: Option<&CameraInfo>, made: StampNs) -> HandEyeFile {
        let found = &report.hand_eye;
        let (camera, board) = (&found.parent_from_camera, &found.parent_from_board);
        HandEyeFile {
            pairs: report.pair_errors.len(),
            leave_one_out_rms_mm: report.leave_one_out.rms_mm,
            leave_one_out_rms_deg: report.leave_one_out.rms_deg,
            uncertainty_mm: Some(report.uncertainty_mm_deg[0]),
            uncertainty_deg: Some(report.uncertainty_mm_deg[1]),
            camera_info_id: info.map(camera_info_id),
            ..HandEyeFile::new(found.setup, camera, board, made)
        }
    }

    fn new(
        setup: Setup,
        parent_from_camera: &Isometry3<f64>,
        parent_from_board: &Isometry3<f64>,
        made: StampNs,
    ) -> HandEyeFile {
        let matrix = |pose| Some(pose::rows(pose).map(|row| FlowSeq(row.to_vec())).to_vec());
        let (camera, board) = (matrix(parent_from_camera), matrix(parent_from_board));
        let empty = HandEyeFile {
            setup: SetupName::EyeToHand,
            base_from_camera: None,
            gripper_from_board: None,
            gripper_from_camera: None,
            base_from_board: None,
            made: date(made),
            pairs: 0,
            leave_one_out_rms_mm: 0.0,
            leave_one_out_rms_deg: 0.0,
            uncertainty_mm: None,
            uncertainty_deg: None,
            camera_info_id: None,
        };
        match setup {
            Setup::EyeToHand => {
                HandEyeFile { base_from_camera: camera, gripper_from_board: board, ..empty }
            }
            Setup::EyeInHand => HandEyeFile {
                setup: SetupName::EyeInHand,
                gripper_from_camera: camera,
                base_from_board: board,
                ..empty
            },
        }
    }

    pub fn read(path: &Path) -> Result<HandEyeFile, CalibrationFileError> {
        HandEyeFile::parse(path, &read(path)?)
    }

    /// Reads the text of a file; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<HandEyeFile, CalibrationFileError> {
        if let Ok(serde_json::Value::Object(fields)) = serde_saphyr::from_str(text)
            && let Some(message) = pose::of_easy_handeye(&fields)
        {
            return Err(CalibrationFileError::Parse { path: path.to_owned(), message });
        }
        let file: HandEyeFile = parse(path, text)?;
        file.place(path)?;
        Ok(file)
    }

    /// `path` is for messages.
    pub fn place(&self, path: &Path) -> Result<CameraPlace, CalibrationFileError> {
        let refuse =
            |message: String| CalibrationFileError::Parse { path: path.to_owned(), message };
        let matrix = |key: &str, rows: &Option<Vec<Row>>| {
            let rows = rows.as_ref().ok_or_else(|| refuse(format!("{key} is missing")))?;
            isometry(rows).map_err(|why| refuse(format!("{key}: {why}")))
        };
        match self.setup {
            SetupName::EyeToHand => {
                matrix("base_from_camera", &self.base_from_camera).map(CameraPlace::InBase)
            }
            SetupName::EyeInHand => {
                matrix("gripper_from_camera", &self.gripper_from_camera).map(CameraPlace::InGripper)
            }
        }
    }

    /// `None` if the date cannot be read.
    pub fn age(&self, now: StampNs) -> Option<Duration> {
        age(&self.made, now)
    }
}

/// The file that `magpie calibrate reference` writes: fixed fiducials as the camera saw them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFile {
    board: BoardFile,
    made: String,
    camera_info_id: String,
    /// id, x, y, z in the optical frame in metres.
    points: Vec<Row>,
}

/// A board as it is written down.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BoardFile {
    Charuco {
        /// Squares: columns, rows.
        size: FlowSeq<[usize; 2]>,
        square_length_m: f64,
        marker_length_m: f64,
        dictionary: String,
    },
    Chessboard {
        /// Inner corners: columns, rows.
        size: FlowSeq<[usize; 2]>,
        square_length_m: f64,
    },
    Markers {
        marker_length_m: f64,
        dictionary: String,
    },
}

impl ReferenceFile {
    pub fn new(reference: &Reference, info: &CameraInfo, made: StampNs) -> ReferenceFile {
        let point = |point: &ReferencePoint| {
            let at = point.in_camera;
            FlowSeq(vec![point.id as f64, at.x, at.y, at.z])
        };
        ReferenceFile {
            board: BoardFile::from(&reference.board),
            made: date(made),
            camera_info_id: camera_info_id(info),
            points: reference.points.iter().map(point).collect(),
        }
    }

    /// Refuses a reference that was taken with another calibration.
    pub fn read(path: &Path, info: &CameraInfo) -> Result<Reference, CalibrationFileError> {
        let file: ReferenceFile = parse(path, &read(path)?)?;
        let refuse =
            |message: String| CalibrationFileError::Parse { path: path.to_owned(), message };
        let now = camera_info_id(info);
        if file.camera_info_id != now {
            return Err(refuse(format!(
                "it was taken with the camera_info {}, the one in use is {now}; run `magpie \
                 calibrate reference` again",
                file.camera_info_id
            )));
        }
        let board = file.board.board().map_err(refuse)?;
        board.check_unique_orientation().map_err(|error| refuse(error.to_string()))?;
        let points = file.points.iter().map(|row| match row.0[..] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            [id, x, y, z] if (0.0..1e6).contains(&id) => {
                Ok(ReferencePoint { id: id as usize, in_camera: Point3::new(x, y, z) })
            }
            _ => Err(refuse("a point must be [id, x, y, z]".into())),
        });
        Ok(Reference { board, points: points.collect::<Result<_, _>>()? })
    }
}

impl From<&Board> for BoardFile {
    fn from(board: &Board) -> BoardFile {
        match *board {
            Board::Charuco {
                squares_x,
                squares_y,
                square_length_m,
                marker_length_m,
                dictionary,
            } => BoardFile::Charuco {
                size: FlowSeq([squares_x, squares_y]),
                square_length_m,
                marker_length_m,
                dictionary: dictionary.to_string(),
            },
            Board::Chessboard { corners_x, corners_y, square_length_m } => {
                BoardFile::Chessboard { size: FlowSeq([corners_x, corners_y]), square_length_m }
            }
            Board::Markers { marker_length_m, dictionary } => {
                BoardFile::Markers { marker_length_m, dictionary: dictionary.to_string() }
            }
        }
    }
}

impl BoardFile {
    /// The board, checked.
    pub fn board(&self) -> Result<Board, String> {
        let board = match self {
            BoardFile::Charuco { size, square_length_m, marker_length_m, dictionary } => {
                let [squares_x, squares_y] = size.0;
                Board::Charuco {
                    squares_x,
                    squares_y,
                    square_length_m: *square_length_m,
                    marker_length_m: *marker_length_m,
                    dictionary: dictionary.parse()?,
                }
            }
            BoardFile::Chessboard { size, square_length_m } => {
                let [corners_x, corners_y] = size.0;
                Board::Chessboard { corners_x, corners_y, square_length_m: *square_length_m }
            }
            BoardFile::Markers { marker_length_m, dictionary } => Board::Markers {
                marker_length_m: *marker_length_m,
                dictionary: dictionary.parse()?,
            },
        };
        board.check().map_err(|error| error.to_string())?;
        Ok(board)
    }
}

fn read(path: &Path) -> Result<String, CalibrationFileError> {
    magpie_files::read_text(path, magpie_files::TEXT_BYTES_MAX)
        .map_err(|source| CalibrationFileError::Read { path: path.to_owned(), source })
}

fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<T, CalibrationFileError> {
    serde_saphyr::from_str(text).map_err(|error| {
        // Its first line says what and where; the others draw it.
        let message = error.to_string().lines().next().unwrap_or_default().to_owned();
        CalibrationFileError::Parse { path: path.to_owned(), message }
    })
}

fn isometry(rows: &[Row]) -> Result<Isometry3<f64>, String> {
    let numbers: Vec<f64> = rows.iter().flat_map(|row| row.0.iter().copied()).collect();
    let value = serde_json::json!(numbers);
    pose::read(&value, pose::Units::SI, Path::new(".")).map(|raw| raw.pose)
}

/// Twelve hex digits that change with every number that the lens is computed with.
pub fn camera_info_id(info: &CameraInfo) -> String {
    let numbers = (info.width_px, info.height_px, &info.intrinsics, &info.distortion);
    short_hash(&format!("{numbers:?}"))
}

/// Twelve hex digits.
pub fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The date and time in UTC, to the second.
fn date(stamp: StampNs) -> String {
    let since_epoch = Duration::from_secs(stamp.0 / 1_000_000_000);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch).to_string()
}

fn age(made: &str, now: StampNs) -> Option<Duration> {
    let made: SystemTime = humantime::parse_rfc3339(made).ok()?;
    let now = UNIX_EPOCH + Duration::from_nanos(now.0);
    Some(now.duration_since(made).unwrap_or_default())
}
