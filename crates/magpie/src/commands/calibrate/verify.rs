//! `magpie calibrate verify`: touch a corner of the board with the tool, and see how far off it was.

use std::path::PathBuf;

use anyhow::anyhow;
use magpie_camera::calibrate::{board_pose, view_of};
use magpie_camera::read_camera_info;
use magpie_perception::CameraPlace;
use nalgebra::{Isometry3, Point3, Vector3};
use serde_json::json;

use super::arguments::{AngleUnit, LengthUnit, list, units};
use super::board_args::BoardArgs;
use super::live::PictureArgs;
use super::same_lens::check_same_lens;
use crate::present::output;
use magpie_daemon::calibration_files::pose::{self, rows};
use magpie_daemon::calibration_files::{HandEyeFile, camera_info_id};
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The file that `magpie calibrate hand-eye` wrote.
    #[arg(long)]
    hand_eye: PathBuf,
    /// ROS camera_info YAML.
    #[arg(long)]
    camera_info: PathBuf,
    #[command(flatten)]
    board: BoardArgs,
    #[command(flatten)]
    picture: PictureArgs,
    /// With the eye in hand: a file with the arm's pose at the picture, as in --pairs of hand-eye.
    #[arg(long)]
    base_from_gripper: Option<PathBuf>,
    /// Inner corner to touch, counted row by row from 0; absent: the one nearest to the board's centre.
    #[arg(long)]
    corner: Option<usize>,
    /// Where the tip of the tool was in base when it touched the corner: x,y,z in --unit.
    #[arg(long, value_parser = list::<f64, 3>, allow_hyphen_values = true)]
    touched: Option<[f64; 3]>,
    /// Unit of --touched, of --base-from-gripper and of the printed place of the corner.
    #[arg(long, value_enum, default_value = "m")]
    unit: LengthUnit,
    /// A larger error exits with 1.
    #[arg(long, default_value_t = 3.0)]
    limit_mm: f64,
    /// Print the corner and the error as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: &VerifyArgs) -> Outcome {
    let board = args.board.board_to_scale()?;
    let Some((corners_x, _)) = board.corners() else {
        return Err(Failure::Config(anyhow!(
            "verify on single markers: they have no corner to touch; use a ChArUco board or a chessboard"
        )));
    };
    board.check_unique_orientation().map_err(Failure::config)?;
    let info = read_camera_info(&args.camera_info, None).map_err(Failure::config)?;
    let base_from_camera = base_from_camera(args, &camera_info_id(&info))?;
    let picture = args.picture.take(&info)?;
    let view = view_of(&picture, &board).map_err(Failure::config)?;
    let camera_from_board = board_pose(&view.points, &info).map_err(Failure::config)?;
    let center = view.points.iter().map(|point| point.in_board.coords).sum::<Vector3<f64>>()
        / view.points.len() as f64;
    let target = match args.corner {
        Some(id) => view.points.iter().find(|point| point.id == id).ok_or_else(|| {
            Failure::Config(anyhow!(
                "find corner {id} of the board: it is not in the picture; name another --corner"
            ))
        })?,
        None => view
            .points
            .iter()
            .min_by(|a, b| {
                let distance = |p: &Point3<f64>| (p.coords - center).norm();
                distance(&a.in_board).total_cmp(&distance(&b.in_board))
            })
            .expect("a pose needs points"),
    };
    let base_from_board = base_from_camera * camera_from_board.camera_from_board;
    let base_from_target =
        base_from_board * Isometry3::translation(target.in_board.x, target.in_board.y, 0.0);
    let (column, row) = (target.id % corners_x + 1, target.id / corners_x + 1);
    let (at, touched) = (base_from_target.translation.vector, touched_m(args));
    let error_mm = touched.map(|touched| (touched - at) * 1000.0);
    if args.json {
        output::line(
            &json!({
                "corner": target.id, "column": column, "row": row,
                "base_from_target": rows(&base_from_target),
                "reprojection_rms_px": camera_from_board.rms_px,
                "error_mm": error_mm.map(|error| [error.x, error.y, error.z]),
                "distance_mm": error_mm.map(|error| error.norm()),
            })
            .to_string(),
        )?;
    } else {
        output::line(&format!(
            "touch inner corner {} (column {column}, row {row} from the upper left): in base at \
             x,y,z = {}",
            target.id,
            typed(&at, args.unit)
        ))?;
    }
    judge(args, error_mm)
}

fn judge(args: &VerifyArgs, error_mm: Option<Vector3<f64>>) -> Outcome {
    let Some(error) = error_mm else {
        return output::line_unless(
            args.json,
            "then run this again with --touched x,y,z: where the tip was in base, in --unit",
        );
    };
    let text = format!(
        "the tool touched it {:.2} mm from there (x {:+.2} y {:+.2} z {:+.2} mm)",
        error.norm(),
        error.x,
        error.y,
        error.z
    );
    if error.norm() > args.limit_mm {
        // No arm reaches further.
        let is_in_mm = matches!(args.unit, LengthUnit::M) && error.norm() > 20_000.0;
        let advice = if is_in_mm { ": are these millimetres? then add --unit mm" } else { "" };
        return Err(Failure::Fault(anyhow!("{text}, more than {} mm{advice}", args.limit_mm)));
    }
    output::line_unless(args.json, &text)
}

/// A place as --touched takes it, to a hundredth of a millimetre.
fn typed(at: &Vector3<f64>, unit: LengthUnit) -> String {
    match unit {
        LengthUnit::M => format!("{:.5},{:.5},{:.5} m", at.x, at.y, at.z),
        LengthUnit::Mm => {
            format!("{:.2},{:.2},{:.2} mm", at.x * 1000.0, at.y * 1000.0, at.z * 1000.0)
        }
        LengthUnit::Cm => format!("{:.3},{:.3},{:.3} cm", at.x * 1e2, at.y * 1e2, at.z * 1e2),
        LengthUnit::In => {
            let at = at / 0.0254;
            format!("{:.4},{:.4},{:.4} in", at.x, at.y, at.z)
        }
    }
}

fn touched_m(args: &VerifyArgs) -> Option<Vector3<f64>> {
    let units = units(args.unit, AngleUnit::Rad);
    args.touched.map(|touched| Vector3::from(touched) * units.length_m)
}

fn base_from_camera(args: &VerifyArgs, info_id: &str) -> Result<Isometry3<f64>, Failure> {
    let file = HandEyeFile::read(&args.hand_eye).map_err(Failure::config)?;
    check_same_lens(&args.hand_eye, &file, info_id)?;
    match file.place(&args.hand_eye).map_err(Failure::config)? {
        CameraPlace::InBase(base_from_camera) => Ok(base_from_camera),
        CameraPlace::InGripper(gripper_from_camera) => {
            let path = args.base_from_gripper.as_ref().ok_or_else(|| {
                Failure::Config(anyhow!(
                    "the camera is on the arm: give the arm's pose at the picture as \
                     --base-from-gripper FILE"
                ))
            })?;
            let units = units(args.unit, AngleUnit::Rad);
            let arm = pose::read_file(path, units).map_err(|why| Failure::Config(anyhow!(why)))?;
            Ok(arm.pose * gripper_from_camera)
        }
    }
}
