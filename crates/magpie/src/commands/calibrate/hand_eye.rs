//! `magpie calibrate hand-eye`: where the camera is on the arm or in the cell.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use magpie_camera::calibrate::{
    BoardScale, EulerOrder, HandEyeError, HandEyeLimits, HandEyeReport, HandEyeVerdict, Setup,
    Solver, Spread, Suspicion, judge_hand_eye, settle,
};
use magpie_camera::read_camera_info;
use magpie_perception::CameraInfo;
use nalgebra::Isometry3;
use serde_json::{Value, json};

use super::arguments::{AngleUnit, LengthUnit, units};
use super::board_args::BoardArgs;
use super::pairs::{self, BoardAndLens, Pairs};
use crate::present::{output, table};
use magpie_daemon::calibration_files::HandEyeFile;
use magpie_daemon::calibration_files::pose::{Units, rows};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_network::SystemClock;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SetupArg {
    /// The camera is on the arm, the board lies in the cell.
    EyeInHand,
    /// The camera is fixed in the cell, the arm holds the board.
    EyeToHand,
}

#[derive(Debug, clap::Args)]
pub(super) struct HandEyeArgs {
    /// Whether the camera stands beside the arm, or is on it.
    #[arg(long, value_enum)]
    setup: SetupArg,
    /// One JSON object a line: {"base_from_gripper": [[4x4]], "camera_from_board": [[4x4]]}, or
    /// "image": "path" in place of the board's pose. Poses may also be rotation vectors, quaternions
    /// or files.
    #[arg(long)]
    pairs: PathBuf,
    /// Where to write the calibration, as YAML.
    #[arg(long)]
    out: PathBuf,
    /// Unit of the translations in --pairs.
    #[arg(long, value_enum, default_value = "m")]
    unit: LengthUnit,
    /// Unit of base_from_gripper alone. [default: --unit]
    #[arg(long, value_enum)]
    robot_unit: Option<LengthUnit>,
    /// Unit of camera_from_board alone. [default: --unit]
    #[arg(long, value_enum)]
    board_unit: Option<LengthUnit>,
    /// Unit of the rotation vectors and Euler angles in --pairs.
    #[arg(long, value_enum, default_value = "rad")]
    angle_unit: AngleUnit,
    /// Unit of the angles of base_from_gripper alone. [default: --angle-unit]
    #[arg(long, value_enum)]
    robot_angle_unit: Option<AngleUnit>,
    /// Unit of the angles of camera_from_board alone. [default: --angle-unit]
    #[arg(long, value_enum)]
    board_angle_unit: Option<AngleUnit>,
    /// Six numbers of base_from_gripper are x, y, z and Euler angles of this order, not a rotation
    /// vector: `xyz` is roll, pitch, yaw about fixed axes, `ZYX` turns about axes that turn along.
    #[arg(long, value_name = "ORDER")]
    robot_euler: Option<EulerOrder>,
    /// The same for camera_from_board.
    #[arg(long, value_name = "ORDER")]
    board_euler: Option<EulerOrder>,
    /// ROS camera_info YAML, for pairs with pictures.
    #[arg(long)]
    camera_info: Option<PathBuf>,
    #[command(flatten)]
    board: BoardArgs,
    /// A camera whose position is less certain (one standard deviation, from leaving stops out), or
    /// a larger leave-one-out spread (rms), is not saved.
    #[arg(long, default_value_t = 5.0)]
    limit_mm: f64,
    /// The same for its direction.
    #[arg(long, default_value_t = 1.0)]
    limit_deg: f64,
    /// Save whatever the uncertainty and the spread.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn hand_eye(args: &HandEyeArgs) -> Outcome {
    let setup = match args.setup {
        SetupArg::EyeInHand => Setup::EyeInHand,
        SetupArg::EyeToHand => Setup::EyeToHand,
    };
    let info = args.camera_info.as_ref().map(|path| read_camera_info(path, None)).transpose();
    let info = info.map_err(Failure::config)?;
    let pairs = read_pairs(args, info.as_ref())?;
    let info = info.as_ref();
    let square_length_m = args.board.square_length_m();
    let judged = judge_hand_eye(setup, &pairs.lines, info, square_length_m, "line");
    let verdict = judged.map_err(|error| {
        let context = match error {
            HandEyeError::Mistaken { .. } => return Failure::config(error),
            HandEyeError::Unsolved(_) => format!("calibrate from {}", args.pairs.display()),
        };
        Failure::Config(anyhow::Error::new(error).context(context))
    })?;
    let report = &verdict.report;
    if let Some(doubt) = report.motion.doubt() {
        tracing::warn!("{doubt}");
    }
    let refusal = verdict.refusal(HandEyeLimits { mm: args.limit_mm, deg: args.limit_deg });
    let saved = refusal.is_none() || args.force;
    if saved {
        save(args, report, info)?;
    }
    if args.json {
        let document = to_json(&verdict, &pairs, saved, &args.out);
        output::line(&document.to_string())?;
    } else {
        print(&verdict, &pairs)?;
    }
    match refusal {
        Some(why) if !saved => {
            let path = args.out.display();
            Err(Failure::Fault(anyhow!("{path} is not written: {why}; --force saves it anyway")))
        }
        Some(why) => {
            tracing::warn!("{why}");
            output::line_unless(args.json, &format!("written to {} by force", args.out.display()))
        }
        None => output::line_unless(args.json, &format!("written to {}", args.out.display())),
    }
}

/// Reads the pairs and finds the board in every picture.
fn read_pairs(args: &HandEyeArgs, info: Option<&CameraInfo>) -> Result<Pairs, Failure> {
    let side = |length: Option<LengthUnit>, angle: Option<AngleUnit>, euler| {
        let units = units(length.unwrap_or(args.unit), angle.unwrap_or(args.angle_unit));
        Units { euler, ..units }
    };
    let robot = side(args.robot_unit, args.robot_angle_unit, args.robot_euler);
    let seen = side(args.board_unit, args.board_angle_unit, args.board_euler);
    let file = pairs::read(&args.pairs, [robot, seen])?;
    if !file.unused_keys.is_empty() {
        let keys = file.unused_keys.iter().cloned().collect::<Vec<_>>().join(", ");
        tracing::warn!("not used in {}: {keys}", args.pairs.display());
    }
    let pairs = match (file.first_picture(), info) {
        (None, _) => file.read_pictures(None)?,
        (Some(number), None) => {
            return Err(Failure::Config(anyhow!(
                "{} line {number}: an image needs --camera-info and the board's measures",
                args.pairs.display()
            )));
        }
        (Some(_), Some(info)) => {
            let board = args.board.board_to_scale()?;
            board.check_for_hand_eye().map_err(Failure::config)?;
            let mut pairs = file.read_pictures(Some(&BoardAndLens { board: &board, info }))?;
            settle(&board, &mut pairs.lines).map_err(Failure::config)?;
            pairs
        }
    };
    for why in &pairs.left_out {
        tracing::warn!("left out: {why}");
    }
    Ok(pairs)
}

fn save(args: &HandEyeArgs, report: &HandEyeReport, info: Option<&CameraInfo>) -> Outcome {
    let file = HandEyeFile::of(report, info, SystemClock::start().now());
    let yaml = serde_saphyr::to_string(&file).context("form the hand-eye calibration")?;
    output::write(&args.out, yaml.as_bytes())
}

/// The names of the camera's pose and of the board's.
fn names(setup: Setup) -> (&'static str, &'static str) {
    match setup {
        Setup::EyeInHand => ("gripper_from_camera", "base_from_board"),
        Setup::EyeToHand => ("base_from_camera", "gripper_from_board"),
    }
}

const UNREFINED: &str = "not refined: the best solver's solution puts the board behind the camera in \
                         some pair; the numbers below are that solution's";

fn print(verdict: &HandEyeVerdict, pairs: &Pairs) -> Outcome {
    let report = &verdict.report;
    let mut solvers = table::new(&["solver", "spread mm", "max mm", "spread deg", "max deg"]);
    let mut row = |name: &str, spread: Option<&Spread>| {
        let value = |of: fn(&Spread) -> f64| table::decimal(spread.map(of), 3);
        solvers.add_row([
            table::Cell::new(name),
            value(|spread| spread.rms_mm),
            value(|spread| spread.max_mm),
            value(|spread| spread.rms_deg),
            value(|spread| spread.max_deg),
        ]);
    };
    for (solver, found) in &report.solvers {
        row(solver.name(), found.as_ref().map(|(_, spread)| spread));
    }
    row("refined", report.refined.as_ref());
    row("leave-one-out", Some(&report.leave_one_out));
    output::line(&solvers.to_string())?;
    if report.refined.is_none() {
        output::line(UNREFINED)?;
    }

    let mut errors = table::new(&["line", "off mm", "off deg"]);
    for (line, [mm, deg]) in pairs.lines.iter().zip(&report.pair_errors) {
        let cells = [table::number(line.number), table::decimal(Some(*mm), 3)];
        errors.add_row(cells.into_iter().chain([table::decimal(Some(*deg), 3)]));
    }
    output::line(&errors.to_string())?;
    if let Some(far_off) = verdict.far_off() {
        output::line(&far_off)?;
    }
    if let Some(advice) = report.motion.advice() {
        output::line(&format!("better: {advice}"))?;
    }
    let hand_eye = &report.hand_eye;
    let (camera, board) = names(hand_eye.setup);
    output::line(&describe(camera, &hand_eye.parent_from_camera))?;
    output::line(&describe(board, &hand_eye.parent_from_board))?;
    if let (Some(solver), Some(_)) = (report.solver, report.refined) {
        output::line(&format!(
            "{solver}'s solution is handed out: it is better than the refined one"
        ))?;
    }
    if let Some(rms_px) = report.reprojection_rms_px {
        output::line(&format!("reprojection {rms_px:.3} px rms"))?;
    }
    if let Some(BoardScale { scale, std }) = report.board_scale {
        output::line(&format!(
            "the squares of the board are {scale:.4} ±{std:.4} times as long as was said"
        ))?;
    }
    let [mm, deg] = report.uncertainty_mm_deg;
    output::line(&format!(
        "from leaving stops out, the camera is known to ±{mm:.3} mm and ±{deg:.4} degrees (one \
         standard deviation)"
    ))?;
    let spread = report.leave_one_out;
    output::line(&format!(
        "predicted without itself, the board is off by {:.3} mm and {:.3} degrees (rms), {:.3} mm \
         and {:.3} degrees at most, over {} pairs",
        spread.rms_mm,
        spread.rms_deg,
        spread.max_mm,
        spread.max_deg,
        pairs.lines.len()
    ))
}

fn describe(name: &str, pose: &Isometry3<f64>) -> String {
    let t = pose.translation.vector * 1000.0;
    let (roll, pitch, yaw) = pose.rotation.euler_angles();
    format!(
        "{name}: x {:.2} y {:.2} z {:.2} mm; roll {:.3} pitch {:.3} yaw {:.3} degrees",
        t.x,
        t.y,
        t.z,
        roll.to_degrees(),
        pitch.to_degrees(),
        yaw.to_degrees()
    )
}

fn to_json(verdict: &HandEyeVerdict, pairs: &Pairs, saved: bool, out: &Path) -> Value {
    let HandEyeVerdict { report, suspicion, .. } = verdict;
    let spread = |spread: &Spread| {
        json!({
            "rms_mm": spread.rms_mm, "max_mm": spread.max_mm,
            "rms_deg": spread.rms_deg, "max_deg": spread.max_deg,
        })
    };
    let (camera, board) = names(report.hand_eye.setup);
    let solvers = report.solvers.iter().map(|(solver, found)| match found {
        Some((hand_eye, found)) => json!({
            "name": solver.name(),
            camera: rows(&hand_eye.parent_from_camera),
            "spread": spread(found),
        }),
        None => json!({"name": solver.name(), camera: null, "spread": null}),
    });
    let errors = pairs
        .lines
        .iter()
        .zip(&report.pair_errors)
        .map(|(line, [mm, deg])| json!({"line": line.number, "off_mm": mm, "off_deg": deg}));
    json!({
        "setup": match report.hand_eye.setup {
            Setup::EyeInHand => "eye_in_hand",
            Setup::EyeToHand => "eye_to_hand",
        },
        camera: rows(&report.hand_eye.parent_from_camera),
        board: rows(&report.hand_eye.parent_from_board),
        "leave_one_out": spread(&report.leave_one_out),
        "refined": report.refined.as_ref().map(spread),
        "not_refined": report.refined.is_none().then_some(UNREFINED),
        "solvers": solvers.collect::<Vec<_>>(),
        "pairs": errors.collect::<Vec<_>>(),
        "stops": report.motion.stops,
        "outlier_lines": verdict.outliers,
        "left_out": pairs.left_out,
        "reprojection_rms_px": report.reprojection_rms_px,
        "uncertainty_mm": report.uncertainty_mm_deg[0],
        "uncertainty_deg": report.uncertainty_mm_deg[1],
        "handed_out": report.solver.map_or("refined", Solver::name),
        "board_scale": report.board_scale.map(|it| json!({"scale": it.scale, "std": it.std})),
        "turned_deg": report.motion.turned_deg,
        "axes_apart_deg": report.motion.axes_cone_deg,
        "suspicion": suspicion.as_ref().map(Suspicion::to_string),
        "saved": saved,
        "out": out,
    })
}
