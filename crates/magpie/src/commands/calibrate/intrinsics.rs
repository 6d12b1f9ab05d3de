//! `magpie calibrate intrinsics`: the lens.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use magpie_camera::calibrate::{
    Board, IntrinsicsReport, LensViews, Mismatch, Offered, Rejection, View, calibrate_selected,
    detect, select_views, without_board,
};
use magpie_camera::{format_camera_info, read_sensor_image};
use magpie_perception::BgrImage;
use serde_json::{Value, json};

use super::board_args::BoardArgs;
use super::live::LiveCamera;
use crate::present::{output, progress, table};
use magpie_daemon::failure::{Failure, Outcome, one_line};

#[derive(Debug, clap::Args)]
pub(super) struct IntrinsicsArgs {
    #[command(flatten)]
    board: BoardArgs,
    /// Where to write ROS camera_info YAML.
    #[arg(long)]
    out: PathBuf,
    /// Pictures of the board (JPEG, PNG, WebP, TIFF, BMP or PGM), all of one camera at one resolution.
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    images: Vec<PathBuf>,
    /// Watch the camera that --config names, and say which views are still wanted.
    #[arg(long, requires = "config")]
    live: bool,
    /// Configuration with the camera, for --live.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How many views to take with --live.
    #[arg(long, default_value_t = 25)]
    views: usize,
    /// How long to watch with --live.
    #[arg(long, default_value_t = 180)]
    duration_s: u64,
    /// Letters, digits and `_`; absent: the device's own name with --live, else `camera`.
    #[arg(long)]
    camera_name: Option<String>,
    /// A lens that is further off on views that were held out (rms) is not saved. It is scaled up
    /// with pictures wider than 1280 px.
    #[arg(long, default_value_t = IntrinsicsReport::LIMIT_PX)]
    limit_px: f64,
    /// Save whatever speaks against the lens.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Views with the names that the report calls them by.
#[derive(Default)]
struct BoardViews {
    names: Vec<String>,
    views: Vec<View>,
    /// Names of pictures without a usable board, each with the reason.
    unusable: Vec<(String, String)>,
    device_name: Option<String>,
}

pub(super) fn intrinsics(args: &IntrinsicsArgs) -> Outcome {
    let board = args.board.board()?;
    board.check_for_lens().map_err(Failure::config)?;
    if let Some(name) = &args.camera_name
        && (name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    {
        return Err(Failure::Config(anyhow!(
            "--camera-name {name:?} may have letters, digits and `_` only"
        )));
    }
    let gathered = if args.live { watch(args, &board)? } else { read_all(&args.images, &board)? };
    let name = args.camera_name.clone().or_else(|| gathered.device_name.clone());
    let mut rejected = select_views(&gathered.views);
    if let Err(failure) = refuse_wrong_board(&gathered, &rejected) {
        warn_of_left_out(&gathered, &rejected);
        return Err(failure);
    }
    let name = name.as_deref().unwrap_or("camera");
    let report = calibrate_selected(&board, &gathered.views, &mut rejected, name);
    let report = report.map_err(|error| {
        warn_of_left_out(&gathered, &rejected);
        Failure::config(error)
    })?;
    let refusal = report.refusal(args.limit_px, &gathered.names);
    let saved = refusal.is_none() || args.force;
    if saved {
        let yaml = format_camera_info(&report.info).context("form the camera_info")?;
        output::write(&args.out, yaml.as_bytes())?;
    }
    let path = args.out.display();
    if args.json {
        let mut document = to_json(&report, &gathered, &args.out);
        document["saved"] = saved.into();
        document["doubt"] = refusal.clone().into();
        output::line(&document.to_string())?;
    } else {
        print(&report, &gathered)?;
    }
    match refusal {
        Some(why) if !saved => {
            Err(Failure::Fault(anyhow!("{path} is not written: {why}; --force saves it anyway")))
        }
        Some(why) => {
            tracing::warn!("{why}");
            output::line_unless(args.json, &format!("written to {path} by force"))
        }
        None => output::line_unless(args.json, &format!("written to {path}")),
    }
}

fn read_all(images: &[PathBuf], board: &Board) -> Result<BoardViews, Failure> {
    let mut gathered = BoardViews::default();
    let mut first: Option<BgrImage> = None;
    let bar = progress::bar(images.len() as u64, "pictures");
    let mut told_s = 0;
    for path in bar.wrap_iter(images.iter()) {
        progress::tell(&bar, "pictures", &mut told_s);
        let name = path.display().to_string();
        let image = match read_sensor_image(path) {
            Ok(image) => image,
            Err(error) if !path.exists() => return Err(Failure::config(error)),
            Err(error) => {
                let why = one_line(&error.into());
                bar.suspend(|| tracing::warn!("left out: {why}"));
                gathered.unusable.push((name, why));
                continue;
            }
        };
        if let Some(first) = &first {
            let size = |image: &BgrImage| format!("{}x{} px", image.width_px(), image.height_px());
            if size(first) != size(&image) {
                return Err(Failure::Config(anyhow!(
                    "{name} is {}, the first picture {}; all must be of one camera at one \
                     resolution",
                    size(&image),
                    size(first)
                )));
            }
        }
        match detect(&image, board).map_err(Failure::fault)? {
            Some(view) => {
                gathered.names.push(name);
                gathered.views.push(view);
            }
            None => gathered.unusable.push((name, "no board found".into())),
        }
        first.get_or_insert(image);
    }
    match first {
        Some(image) if gathered.views.is_empty() => Err(no_board(&image, board, images.len())),
        Some(_) => Ok(gathered),
        None => Err(Failure::Config(anyhow!(
            "none of the {} pictures can be read: {}",
            images.len(),
            gathered.unusable[0].1
        ))),
    }
}

/// Names each picture that did not count, since the calibration failed.
fn warn_of_left_out(gathered: &BoardViews, rejected: &[Option<Rejection>]) {
    for (name, why) in &gathered.unusable {
        tracing::warn!("left out: {name}: {why}");
    }
    for (name, why) in gathered.names.iter().zip(rejected) {
        match why {
            Some(why @ Rejection::Duplicate { of, .. }) => {
                tracing::warn!("left out: {name}: {why} since {}", gathered.names[*of]);
            }
            Some(why) => tracing::warn!("left out: {name}: {why}"),
            None => {}
        }
    }
}

/// The error that no board was found; it says what is in the picture instead.
fn no_board(image: &BgrImage, board: &Board, pictures: usize) -> Failure {
    let hint = without_board(image, board);
    Failure::Config(anyhow!("no {board} was found in any of {pictures} pictures; {hint}"))
}

/// Some pictures may show something else; most of those that were given mean that the board is not
/// as described. Another size is believed where most of them agree on it: a board that something
/// covers has one in each picture.
fn refuse_wrong_board(gathered: &BoardViews, rejected: &[Option<Rejection>]) -> Outcome {
    let given = gathered.views.len() + gathered.unusable.len();
    let doubts: Vec<&Mismatch> = rejected
        .iter()
        .filter_map(|rejection| match rejection {
            Some(Rejection::Mismatch(mismatch)) => Some(mismatch),
            _ => None,
        })
        .collect();
    // What most of them show; of two as frequent, the first.
    let count = |doubt: &Mismatch| doubts.iter().filter(|other| **other == doubt).count();
    let Some(most) = doubts.iter().rev().max_by_key(|doubt| count(doubt)) else { return Ok(()) };
    if 2 * doubts.len() <= given {
        return Ok(());
    }
    let pictures = format!("in {} of {given} pictures", doubts.len());
    let is_size = doubts.iter().any(|doubt| matches!(doubt, Mismatch::Corners { .. }));
    if is_size && 2 * count(most) <= doubts.len() {
        return Err(Failure::Config(anyhow!(
            "the board is not as it was described, and looks different each time ({pictures}): \
             take away what lies on it, bring it wholly into view, and count its inner corners"
        )));
    }
    Err(Failure::Config(anyhow!("the board is not as it was described: {most} ({pictures})")))
}

/// Takes a view whenever the board is somewhere new, until enough is covered or time is up.
fn watch(args: &IntrinsicsArgs, board: &Board) -> Result<BoardViews, Failure> {
    let mut live = LiveCamera::open(args.config.as_deref(), None)?;
    let mut views = LensViews::new(board.clone()).map_err(Failure::config)?;
    let (start, mut last_line) = (live.clock.now(), String::new());
    tracing::info!("show the {board} to the camera; hold it still for a moment at each place");
    while live.clock.now().since_ns(start) < args.duration_s * 1_000_000_000 {
        let Some(frame) = live.next()? else { break };
        let found = detect(&frame.color, board).map_err(Failure::fault)?;
        let offered = found.map(|view| views.offer(format!("frame {}", frame.sequence), view));
        let advice = views.coverage().advice();
        let line = match &offered {
            Some(Offered::LeftOut(Rejection::Mismatch(doubt))) => doubt.to_string(),
            _ => advice.first().cloned().unwrap_or_else(|| "all is covered".into()),
        };
        let line = format!("{} views; {line}", views.views().len());
        if line != last_line {
            tracing::info!("{line}");
            last_line = line;
        }
        let is_enough = views.views().len() >= args.views && advice.is_empty();
        if is_enough || offered == Some(Offered::Full) {
            break;
        }
    }
    let (names, views) = views.into_parts();
    Ok(BoardViews { names, views, unusable: Vec::new(), device_name: live.device_name.clone() })
}

fn print(report: &IntrinsicsReport, gathered: &BoardViews) -> Outcome {
    let mut views = table::new(&["view", "corners", "rms px", ""]);
    for ((name, view), result) in gathered.names.iter().zip(&gathered.views).zip(&report.views) {
        views.add_row([
            table::Cell::new(name),
            table::number(view.points.len()),
            table::decimal(result.as_ref().ok().copied(), 3),
            table::Cell::new(result.as_ref().err().map(ToString::to_string).unwrap_or_default()),
        ]);
    }
    for (name, why) in &gathered.unusable {
        views.add_row([
            table::Cell::new(name),
            table::number(0),
            table::number("-"),
            table::Cell::new(why),
        ]);
    }
    let used = report.views.iter().filter(|view| view.is_ok()).count();
    let k = &report.info.intrinsics;
    let [fx_std, fy_std, cx_std, cy_std] = report.std_px;
    output::line(&views.to_string())?;
    output::line(&format!("corners seen, by ninths of the picture:\n{}", report.coverage.map()))?;
    for doubt in report.doubts() {
        output::line(&format!("better: {doubt}"))?;
    }
    output::line(&format!(
        "fx {:.2} ±{fx_std:.2} px, fy {:.2} ±{fy_std:.2} px, cx {:.2} ±{cx_std:.2} px, cy {:.2} \
         ±{cy_std:.2} px",
        k.fx_px, k.fy_px, k.cx_px, k.cy_px
    ))?;
    output::line(&format!(
        "plumb_bob k1 k2 p1 p2 k3: {:.5?}",
        report.info.distortion.coefficients()
    ))?;
    output::line(&format!(
        "reprojection {:.3} px rms over {used} views; {:.3} px on views that were held out",
        report.rms_px, report.held_out_rms_px
    ))
}

fn to_json(report: &IntrinsicsReport, gathered: &BoardViews, out: &Path) -> Value {
    let k = &report.info.intrinsics;
    let [fx, fy, cx, cy] = report.std_px;
    let views = gathered.names.iter().zip(&gathered.views).zip(&report.views);
    let views = views.map(|((name, view), result)| match result {
        Ok(rms_px) => {
            json!({"name": name, "corners": view.points.len(), "used": true, "rms_px": rms_px})
        }
        Err(why) => {
            let (corners, why) = (view.points.len(), why.to_string());
            json!({"name": name, "corners": corners, "used": false, "why": why})
        }
    });
    let unusable = gathered
        .unusable
        .iter()
        .map(|(name, why)| json!({"name": name, "corners": 0, "used": false, "why": why}));
    json!({
        "out": out,
        "camera_name": report.info.camera_name,
        "image_width_px": report.info.width_px,
        "image_height_px": report.info.height_px,
        "fx_px": k.fx_px, "fy_px": k.fy_px, "cx_px": k.cx_px, "cy_px": k.cy_px,
        "std_px": {"fx": fx, "fy": fy, "cx": cx, "cy": cy},
        "distortion_model": report.info.distortion.model(),
        "d": report.info.distortion.coefficients(),
        "rms_px": report.rms_px,
        "held_out_rms_px": report.held_out_rms_px,
        "views_used": report.views.iter().filter(|view| view.is_ok()).count(),
        "views": views.chain(unusable).collect::<Vec<_>>(),
        "coverage": {
            "corners_by_ninths": report.coverage.corners,
            "fill_share": report.coverage.fill_share,
            "tilts_deg": report.coverage.tilts_deg,
        },
        "advice": report.doubts(),
    })
}
