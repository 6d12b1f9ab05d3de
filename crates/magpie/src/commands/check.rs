//! `magpie check`: everything that a run needs, one line each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use magpie_perception::{Counters, InferenceSession, ReferenceFrame, Scene, check_image_size};

use crate::present::output;
use magpie_daemon::config::{Config, RecordingTarget, Source};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::model::load_scheduled;
use magpie_daemon::process_limits::check_descriptors;
use magpie_daemon::source::{OpenSource, SourceWatch};
use magpie_daemon::{model, source};
use magpie_network::SystemClock;

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration; absent: the shipped one.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// A live camera has this long to show itself.
const CAMERA_TIME_MAX: Duration = Duration::from_secs(6);

pub fn check(args: &CheckArgs) -> Outcome {
    check_descriptors()?;
    let config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    say(
        "configuration",
        args.config.as_ref().map_or_else(|| "shipped".to_owned(), |p| p.display().to_string()),
    )?;
    config.zenoh.check().map_err(Failure::config)?;
    say("cell", format!("{}, on zenoh as {}", config.cell, config.cell.key("packages")))?;

    let file = model::chosen(None, &config)?;
    let spec = file.spec();
    say(
        "model",
        format!(
            "{}, {}x{} px, {}, sha256 {}",
            spec.name,
            spec.width_px,
            spec.height_px,
            spec.class_names.join(", "),
            spec.sha256
        ),
    )?;
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let session = load_scheduled(&file, &config)?;
    let fallback = session.fallback_reason().map(|why| format!(" (DEGRADED: {why})"));
    say("provider", format!("{}{}", session.provider(), fallback.unwrap_or_default()))?;
    debug_assert_eq!(session.spec().sha256, spec.sha256);

    let clock = SystemClock::start();
    let mut open = source::open(&config, &clock, &Arc::new(Counters::default()))?;
    say("calibration", calibration(open.scene.as_ref()))?;
    say("recording", recording(&config))?;
    check_source(&config, &mut open)?;
    output::line("ok: `magpie run` would run")
}

/// Checks that frames come, and that the first one has the size that the calibration is for.
fn check_source(config: &Config, open: &mut OpenSource) -> Outcome {
    if let (Source::Camera(_), SourceWatch::Camera { color, .. }) = (&config.source, &open.watch) {
        color.wait_while_opening(CAMERA_TIME_MAX);
    }
    say("source", open.watch.describe())?;
    if let Some(reason) = open.watch.lost() {
        open.watch.stop();
        // This is no fault of the configuration: the camera may only be unplugged.
        return Err(Failure::Fault(anyhow::anyhow!(
            "the camera gives no frames: {reason}; a run would wait for it, DEGRADED"
        )));
    }
    let frame = open.frames.next_frame();
    open.watch.stop();
    let Some(frame) = frame.map_err(Failure::fault)? else { return Ok(()) };
    check_image_size((frame.color.width_px(), frame.color.height_px()), open.scene.as_ref())
        .map_err(Failure::config)
}

fn calibration(scene: Option<&Scene>) -> String {
    let Some(scene) = scene else {
        return "none: masks and boxes only, no grasps; set scene.camera_info".into();
    };
    let info = &scene.camera_info;
    let frame = match scene.reference_frame() {
        ReferenceFrame::Base => "base",
        ReferenceFrame::Gripper => "the gripper, the camera being on the arm",
        ReferenceFrame::Camera => "the camera's optical frame",
    };
    let plane = if scene.support_plane_in_camera.is_some() { "" } else { ", no support plane" };
    format!(
        "{} of {}, {}x{} px, poses in {frame}{plane}",
        scene.calibration_id, info.camera_name, info.width_px, info.height_px
    )
}

fn recording(config: &Config) -> String {
    match &config.recording.target {
        Some(RecordingTarget::Ring { folder, ring }) => format!(
            "the last {} min to {}, {} MB at most",
            ring.span.as_secs() / 60,
            folder.display(),
            ring.bytes_max / 1_000_000
        ),
        Some(RecordingTarget::File { path, .. }) => path.display().to_string(),
        None => "none".to_owned(),
    }
}

fn say(what: &str, found: String) -> Outcome {
    output::line(&format!("{what:<14} {found}"))
}
