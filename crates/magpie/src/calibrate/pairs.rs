//! The file of hand-eye pairs: one JSON object a line.

use std::path::Path;

use anyhow::anyhow;
use magpie_camera::calibrate::{Board, HandEyePair, RawPose, board_pose, detect};
use magpie_camera::read_image;
use magpie_perception::CameraInfo;
use serde_json::{Map, Value};

use super::pose::{self, Units};
use crate::failure::{Failure, one_line};

/// One line of the file, understood.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) pair: HandEyePair,
    /// The poses as they were written.
    pub(super) raw: (RawPose, RawPose),
}

/// What a picture of the board is read with.
pub(super) struct Reading<'a> {
    pub(super) board: &'a Board,
    pub(super) info: &'a CameraInfo,
}

/// The pairs, and a line of complaint for each picture in which the board was not found.
pub(super) struct Pairs {
    pub(super) lines: Vec<Line>,
    pub(super) left_out: Vec<String>,
}

pub(super) fn read(
    path: &Path,
    units: Units,
    reading: Option<&Reading<'_>>,
) -> Result<Pairs, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Config(anyhow::Error::new(error).context(format!("read {}", path.display())))
    })?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut pairs = Pairs { lines: Vec::new(), left_out: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let at = |why: String| Failure::Config(anyhow!("{} line {number}: {why}", path.display()));
        let fields = object(line).map_err(at)?;
        let arm = fields
            .get("base_from_gripper")
            .ok_or_else(|| at("\"base_from_gripper\" is missing".into()))?;
        let arm = pose::read(arm, units, folder)
            .map_err(|why| at(format!("base_from_gripper: {why}")))?;
        match (fields.get("camera_from_board"), fields.get("image")) {
            (Some(board), None) => {
                let board = pose::read(board, units, folder)
                    .map_err(|why| at(format!("camera_from_board: {why}")))?;
                pairs.lines.push(with_pose(number, arm, board));
            }
            (None, Some(Value::String(image))) => {
                let reading = reading.ok_or_else(|| {
                    at("an image needs --camera-info and the board's measures".into())
                })?;
                match see(&folder.join(image), reading).map_err(at)? {
                    Ok(seen) => pairs.lines.push(Line { number, ..with_view(arm, seen) }),
                    Err(why) => pairs.left_out.push(format!("line {number}: {image}: {why}")),
                }
            }
            _ => {
                let why = "either \"camera_from_board\" or \"image\" (a path) is needed";
                return Err(at(why.into()));
            }
        }
    }
    Ok(pairs)
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        // Its own line number is always 1.
        let what = error.to_string();
        let what = what.split(" at line").next().unwrap_or_default().to_owned();
        format!("column {}: not JSON: {what}", error.column())
    })?;
    let Value::Object(fields) = value else {
        return Err("must be a JSON object with base_from_gripper and camera_from_board".into());
    };
    let known = ["base_from_gripper", "camera_from_board", "image"];
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown key {key:?}; there are {}", known.join(", "))),
        None => Ok(fields),
    }
}

fn with_pose(number: usize, arm: RawPose, board: RawPose) -> Line {
    let pair =
        HandEyePair { base_from_gripper: arm.pose, camera_from_board: board.pose, view: None };
    Line { number, pair, raw: (arm, board) }
}

fn with_view(arm: RawPose, seen: HandEyePair) -> Line {
    let pair = HandEyePair { base_from_gripper: arm.pose, ..seen };
    Line { number: 0, raw: (arm, pair.camera_from_board.into()), pair }
}

/// The board in a picture, with an arm pose that is still to be filled in. The inner error leaves the
/// picture out, the outer one ends everything.
fn see(path: &Path, reading: &Reading<'_>) -> Result<Result<HandEyePair, String>, String> {
    let describe = |error: anyhow::Error| one_line(&error);
    let image = read_image(path).map_err(|error| describe(error.into()))?;
    let info = reading.info;
    if (image.width_px(), image.height_px()) != (info.width_px, info.height_px) {
        return Err(format!(
            "{} is {}x{} px, the calibration of {} is for {}x{} px",
            path.display(),
            image.width_px(),
            image.height_px(),
            info.camera_name,
            info.width_px,
            info.height_px
        ));
    }
    let Some(view) = detect(&image, reading.board).map_err(|error| describe(error.into()))? else {
        return Ok(Err("no board found".into()));
    };
    if let Some(doubt) = &view.doubt {
        return Ok(Err(doubt.clone()));
    }
    match board_pose(&view.points, info) {
        Ok(pose) => Ok(Ok(HandEyePair {
            base_from_gripper: nalgebra::Isometry3::identity(),
            camera_from_board: pose.camera_from_board,
            view: Some(view),
        })),
        Err(error) => Ok(Err(describe(error.into()))),
    }
}
