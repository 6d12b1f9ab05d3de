//! `magpie calibrate hand-eye`: where the camera is on the arm or in the cell.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use magpie_camera::calibrate::{
    Board, BoardScale, EulerOrder, HandEyePair, HandEyeReport, Setup, Solver, Spread, Suspicion,
    calibrate_hand_eye, find_mistake, resolve_orientations,
};
use magpie_camera::read_camera_info;
use magpie_perception::CameraInfo;
use nalgebra::Isometry3;
use serde_json::{Value, json};

use super::arguments::{AngleUnit, LengthUnit, units};
use super::board_args::BoardArgs;
use super::pairs::{self, BoardAndLens, Line, Pairs};
use crate::distribution::Distribution;
use crate::present::{output, table};
use magpie_daemon::calibration_files::pose::{Units, rows};
use magpie_daemon::calibration_files::{HandEyeFile, camera_info_id};
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
    let found: Vec<HandEyePair> = pairs.lines.iter().map(|line| line.pair.clone()).collect();
    let raw: Vec<_> = pairs.lines.iter().map(Line::raw).collect();
    let report = calibrate_hand_eye(setup, &found, info);
    // Mixed-up conventions may leave the solvers without any solution, too.
    let mut suspicion = if found.len() < 3 { None } else { find_mistake(setup, &raw) };
    if let Some(suspicion) = &mut suspicion {
        suspicion.square_length_m = args.board.square_length_m();
        for line in &mut suspicion.bad_lines {
            *line = pairs.lines[*line - 1].number;
        }
    }
    let report = match (report, &suspicion) {
        (Ok(report), _) => report,
        (Err(error), Some(suspicion)) if suspicion.explains() => {
            return Err(Failure::Config(anyhow!("{error}: {suspicion}")));
        }
        (Err(error), _) => {
            let error = anyhow::Error::new(error);
            return Err(Failure::Config(
                error.context(format!("calibrate from {}", args.pairs.display())),
            ));
        }
    };
    if report.axes_apart_deg < AXES_DEG_WANTED {
        tracing::warn!(
            "the arm turned about axes that are only {:.0} degrees apart: along them the camera's \
             position is poorly known; tilt the gripper about another axis at some stops",
            report.axes_apart_deg
        );
    }
    let outliers = outliers(&report, &pairs.lines);
    let behind = behind(&pairs.lines);
    let refusal = refusal(args, &report, suspicion.as_ref(), &outliers).or(behind);
    let saved = refusal.is_none() || args.force;
    if saved {
        save(args, &report, info)?;
    }
    if args.json {
        let document = to_json(&report, &pairs, suspicion.as_ref(), saved, &args.out);
        output::line(&document.to_string())?;
    } else {
        print(&report, &pairs)?;
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
            if board.corners().is_none() {
                let why = "hand-eye calibration needs a board, not single markers: use --board charuco or \
                           chessboard";
                return Err(Failure::Config(anyhow!(why)));
            }
            let mut pairs = file.read_pictures(Some(&BoardAndLens { board: &board, info }))?;
            if pairs.lines.iter().any(|line| line.pair.view.is_some()) {
                let views = pairs.lines.iter().filter_map(|line| line.pair.view.as_ref());
                board.check_ends_seen(views).map_err(Failure::config)?;
            }
            settle(&board, &mut pairs)?;
            pairs
        }
    };
    for why in &pairs.left_out {
        tracing::warn!("left out: {why}");
    }
    Ok(pairs)
}

/// Decides which end of the board each picture shows, where one picture alone leaves that open.
fn settle(board: &Board, pairs: &mut Pairs) -> Outcome {
    let mut settled: Vec<_> = pairs.lines.iter().map(|line| line.pair.clone()).collect();
    resolve_orientations(board, &mut settled).map_err(Failure::config)?;
    for (line, pair) in pairs.lines.iter_mut().zip(settled) {
        line.pair = pair;
    }
    Ok(())
}

/// Pairs may fit as well where the camera's z points out of its back: then no camera has seen them.
fn behind(lines: &[Line]) -> Option<String> {
    let is_behind = |line: &&Line| line.pair.camera_from_board.translation.vector.z <= 0.0;
    let behind: Vec<usize> = lines.iter().filter(is_behind).map(|line| line.number).collect();
    let why = "is behind the camera (z of camera_from_board is not above 0)";
    let axes = "write it in the optical frame, with x right, y down and z forward; where OpenGL, \
                Blender or ARKit gave it, multiply it from the left by diag(1, -1, -1, 1)";
    match behind.len() {
        0 => None,
        count if count == lines.len() => Some(format!("the board {why}: {axes}")),
        _ => Some(format!("in lines {behind:?} the board {why}: {axes}, or measure them again")),
    }
}

/// Why the result must not be used; `None` where it may.
fn refusal(
    args: &HandEyeArgs,
    report: &HandEyeReport,
    suspicion: Option<&Suspicion>,
    outliers: &[usize],
) -> Option<String> {
    let (spread, [sigma_mm, sigma_deg]) = (report.leave_one_out, report.uncertainty_mm_deg);
    let within = |mm: f64, deg: f64| mm <= args.limit_mm && deg <= args.limit_deg;
    let fits = within(spread.rms_mm, spread.rms_deg);
    let suspected = suspicion.filter(|suspicion| !fits || !suspicion.mistakes.is_empty());
    match (fits, suspected) {
        (true, None) if within(sigma_mm, sigma_deg) => None,
        (true, None) => Some(format!(
            "from leaving stops out, the camera is known to ±{sigma_mm:.2} mm and ±{sigma_deg:.2} \
             degrees only, worse than {} mm or {} degrees: add stops, turn the gripper further, and \
             about more axes",
            args.limit_mm, args.limit_deg
        )),
        (true, Some(suspicion)) => Some(suspicion.to_string()),
        (false, suspicion) => {
            let hint = match suspicion {
                Some(suspicion) if suspicion.explains() || outliers.is_empty() => {
                    suspicion.to_string()
                }
                _ if outliers.is_empty() => "look at the pairs with the largest errors".to_owned(),
                _ => format!("far off the others: lines {outliers:?}; measure them again"),
            };
            Some(format!(
                "the board seems to move by {:.2} mm and {:.2} degrees (rms, leave-one-out), more \
                 than {} mm or {} degrees: {hint}",
                spread.rms_mm, spread.rms_deg, args.limit_mm, args.limit_deg
            ))
        }
    }
}

fn save(args: &HandEyeArgs, report: &HandEyeReport, info: Option<&CameraInfo>) -> Outcome {
    let found = &report.hand_eye;
    let (camera, board) = (&found.parent_from_camera, &found.parent_from_board);
    let mut file = HandEyeFile::new(found.setup, camera, board, SystemClock::start().now());
    file.pairs = report.pair_errors.len();
    file.leave_one_out_rms_mm = report.leave_one_out.rms_mm;
    file.leave_one_out_rms_deg = report.leave_one_out.rms_deg;
    file.uncertainty_mm = Some(report.uncertainty_mm_deg[0]);
    file.uncertainty_deg = Some(report.uncertainty_mm_deg[1]);
    file.camera_info_id = info.map(camera_info_id);
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

/// Axes that are closer leave the position along them to noise.
const AXES_DEG_WANTED: f64 = 20.0;
/// A pair that is this many times worse than the median is worth a look.
const OUTLIER_FACTOR: f64 = 3.0;
/// No arm repeats a pose better than this, so a smaller error says nothing about a pair.
const OUTLIER_MM_MIN: f64 = 0.02;
const RESOLUTION_MM: f64 = 1e-6;

fn outliers(report: &HandEyeReport, lines: &[Line]) -> Vec<usize> {
    let errors_mm = report.pair_errors.iter().map(|error| error[0]);
    let median_mm = Distribution::new(errors_mm, RESOLUTION_MM).median().unwrap_or_default();
    let limit_mm = (OUTLIER_FACTOR * median_mm).max(OUTLIER_MM_MIN);
    let far = report.pair_errors.iter().zip(lines).filter(|(error, _)| error[0] > limit_mm);
    far.map(|(_, line)| line.number).collect()
}

const UNREFINED: &str = "not refined: the best solver's solution puts the board behind the camera in \
                         some pair; the numbers below are that solution's";

fn print(report: &HandEyeReport, pairs: &Pairs) -> Outcome {
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
    let outliers = outliers(report, &pairs.lines);
    if !outliers.is_empty() {
        output::line(&format!("far off the others: lines {outliers:?}; measure them again"))?;
    }
    if report.turned_deg < 40.0 || report.axes_apart_deg < AXES_DEG_WANTED || report.stops < 12 {
        output::line(&format!(
            "better: 12 poses and more ({} now), turned by 40 degrees and more ({:.0} now) about \
             axes 20 degrees and more apart ({:.0} now)",
            report.stops, report.turned_deg, report.axes_apart_deg
        ))?;
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

fn to_json(
    report: &HandEyeReport,
    pairs: &Pairs,
    suspicion: Option<&Suspicion>,
    saved: bool,
    out: &Path,
) -> Value {
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
        "stops": report.stops,
        "outlier_lines": outliers(report, &pairs.lines),
        "left_out": pairs.left_out,
        "reprojection_rms_px": report.reprojection_rms_px,
        "uncertainty_mm": report.uncertainty_mm_deg[0],
        "uncertainty_deg": report.uncertainty_mm_deg[1],
        "handed_out": report.solver.map_or("refined", Solver::name),
        "board_scale": report.board_scale.map(|it| json!({"scale": it.scale, "std": it.std})),
        "turned_deg": report.turned_deg,
        "axes_apart_deg": report.axes_apart_deg,
        "suspicion": suspicion.map(ToString::to_string),
        "saved": saved,
        "out": out,
    })
}
