//! `magpie check`: everything that a run needs, one line each.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use magpie_camera::{CameraConfig, picture_doubts};
use magpie_perception::{
    Clock, Counters, Frame, InferenceSession, Packages, Pipeline, check_image_size, doubt_packages,
};

use crate::arguments::ZenohArgs;
use crate::inspection::{
    Cramped, SAVE_ELSEWHERE, calibration, cramped, join, recording, unsaved_calibrations,
};
use crate::present::output;
use magpie_daemon::config::{Config, RecordingTarget, Source, is_at};
use magpie_daemon::failure::{Failure, Outcome, ended_by, not_joined, one_line, source_ended};
use magpie_daemon::model::load_scheduled;
use magpie_daemon::models::{Selection, present};
use magpie_daemon::source::{OpenSource, SourceWatch};
use magpie_daemon::{model, source};
use magpie_network::{Certificate, Joining, NetworkError, SystemClock};
use magpie_ros2::{Node, NodeOptions};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration; absent: the shipped one.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

/// How long depth may come later than colour.
const DEPTH_TIME_MAX: Duration = Duration::from_secs(8);
/// The watch of a camera decides when it is lost; this is for its telling.
const GRACE: Duration = Duration::from_secs(1);

pub fn check(args: &CheckArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    args.zenoh.apply(&mut config);
    say(
        "configuration",
        args.config.as_ref().map_or_else(|| "shipped".to_owned(), |p| p.display().to_string()),
    )?;
    let joining = config.zenoh.check().map_err(not_joined)?;
    check_addresses(&config, &joining.listen)?;
    say("cell", format!("{}, on zenoh as {}", config.cell, config.cell.key("packages")))?;

    let file = present(&config)?;
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
    let configured = model::chosen(None, &config)?;
    if configured.spec().sha256 != spec.sha256 {
        let name = &configured.spec().name;
        say("note", format!("in use by `magpie model use`; the configuration names {name}"))?;
    }
    if let Err(error) = Selection::read(&config.model_store.folder, &config.cell) {
        say("note", unread_selection(&config.model_store.folder, &error))?;
    }
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let mut session = load_scheduled(&file, &config)?;
    let fallback = session.fallback_reason().map(|why| format!(" (DEGRADED: {why})"));
    say("provider", format!("{}{}", session.provider(), fallback.unwrap_or_default()))?;
    debug_assert_eq!(session.spec().sha256, spec.sha256);

    let clock = SystemClock::start();
    let mut open = source::open(&config, &clock, &Arc::new(Counters::default()))?;
    say("calibration", calibration(open.scene.as_ref()))?;
    say("recording", recording(&config) + &recording_problem(&config))?;
    say("page", page(&config))?;
    if let Some(why) = unsaved_calibrations(&config) {
        say("note", format!("the page could save no calibration: {why}; {SAVE_ELSEWHERE}"))?;
    }
    say("foxglove", foxglove(&config))?;
    say("ros 2", ros2(&config))?;
    let frame = check_source(&config, &mut open, clock.as_ref())?;
    let scene = open.scene.take();
    // The camera is closed before somebody asks it what else it could do.
    drop(open);
    let mut doubts = 0;
    if let Some(frame) = frame {
        let limits = config.limits(spec.score_min);
        let (packages, _) = Pipeline::new(spec.clone())
            .process(&frame, &mut session, clock.as_ref(), scene.as_ref(), &limits)
            .map_err(ended_by)?;
        say("first frame", found(&frame, &packages))?;
        for doubt in doubts_of(&frame, &packages) {
            doubts += 1;
            say("doubtful", doubt)?;
        }
    }
    if let Source::Camera(camera) = &config.source {
        camera.offers().into_iter().try_for_each(|offer| say("camera offers", offer))?;
    }
    let runs_already = check_zenoh(&config, &joining)?;
    output::line(match (doubts, runs_already) {
        (0, false) => "ok: `magpie run` would run",
        (0, true) => "ok: `magpie run` would run, once the daemon that runs now has stopped",
        _ => "`magpie run` would run; look at what is doubtful first",
    })
}

/// What the file of zenoh's says is known only here.
fn check_addresses(config: &Config, endpoints: &[String]) -> Outcome {
    if config.zenoh.is_automatic() {
        return Ok(());
    }
    let page = config.web.as_ref().map(|web| ("web.listen", web.listen));
    let foxglove = config.foxglove.map(|foxglove| ("foxglove.listen", foxglove.listen));
    for (key, address) in page.into_iter().chain(foxglove) {
        if let Some(endpoint) = endpoints.iter().find(|endpoint| is_at(endpoint, address)) {
            return Err(Failure::Config(anyhow::anyhow!(
                "{key} = {address}: zenoh of this cell listens there as well, on {endpoint}; give each \
                 one of its own"
            )));
        }
    }
    Ok(())
}

/// Why the recording would not be what it is configured to be; else nothing.
fn recording_problem(config: &Config) -> String {
    let Some(RecordingTarget::Ring { folder, .. }) = &config.recording.target else {
        return String::new();
    };
    match (magpie_files::unwritable(folder), cramped(&config.recording)) {
        (Some(why), _) => format!(" (DEGRADED: {why}; nothing would be recorded)"),
        (None, Some(Cramped::Stopped(why))) => format!(" (DEGRADED: {why})"),
        (None, Some(Cramped::Short(why))) => format!("; {why}"),
        (None, None) => String::new(),
    }
}

/// Joins the network as a run would, and leaves it. Whether a daemon of this cell runs already.
fn check_zenoh(config: &Config, joining: &Joining) -> Result<bool, Failure> {
    let Joining { listen, connect, exposure, certificates } = joining;
    let places = [("listening on", listen), ("connecting to", connect)];
    let places = places.iter().filter(|(_, endpoints)| !endpoints.is_empty());
    let places = places.map(|(how, endpoints)| format!("{how} {}", endpoints.join(", ")));
    say("zenoh", places.collect::<Vec<_>>().join(", "))?;
    let note = if exposure.is_secured() { "access" } else { "note" };
    say(note, exposure.to_string())?;
    let now = SystemClock::start().now();
    for certificate in certificates {
        let days = certificate.days_left(now);
        let is_soon = days < Certificate::RENEW_DAYS;
        let soon = if is_soon { ": renew it (scripts/certificates)" } else { "" };
        say("certificate", format!("{}, for {days} more days{soon}", certificate.common_name))?;
    }
    match join(config) {
        Ok((is_alone, listens)) => {
            if listens != *listen {
                let elsewhere = format!(
                    "{} is taken by another cell; a run would listen on {}",
                    listen.join(", "),
                    listens.join(", ")
                );
                say("note", elsewhere)?;
            }
            if is_alone && !connect.is_empty() {
                let nobody =
                    format!("nobody answers at {}; a run would go on trying", connect.join(", "));
                say("note", nobody)?;
            }
            Ok(false)
        }
        Err(error @ NetworkError::CellTaken { .. }) => {
            say("note", error.to_string())?;
            Ok(true)
        }
        Err(error) if error.may_pass() => {
            let error = anyhow::Error::new(error);
            Err(Failure::fault(error.context("a run would wait for the network")))
        }
        Err(error) => Err(not_joined(error)),
    }
}

/// Checks that frames come, and that the first one has the size that the calibration is for. Returns
/// it, with depth where that should come too.
fn check_source(
    config: &Config,
    open: &mut OpenSource,
    clock: &dyn Clock,
) -> Result<Option<Frame>, Failure> {
    if let (Source::Camera(CameraConfig::Live(live)), SourceWatch::Camera { color, .. }) =
        (&config.source, &open.watch)
    {
        color.wait_while_opening(live.limits.open_time_max + GRACE);
    }
    say("source", open.watch.describe())?;
    if let Some(reason) = open.watch.lost() {
        open.watch.stop();
        // This is no fault of the configuration: the camera may only be unplugged.
        return Err(Failure::Fault(anyhow::anyhow!(
            "the camera gives no frames: {reason}; a run would wait for it, DEGRADED"
        )));
    }
    let began = clock.now();
    let is_patient = || Duration::from_nanos(clock.now().since_ns(began)) < DEPTH_TIME_MAX;
    let mut frame = open.frames.next_frame().map_err(source_ended)?;
    while let Some(without) = &frame
        && config.depth.is_some()
        && without.depth.is_none()
        && open.watch.depth_reason().is_none()
        && is_patient()
    {
        frame = open.frames.next_frame().map_err(source_ended)?;
    }
    if let Some(reason) = open.watch.depth_reason() {
        open.watch.stop();
        return Err(Failure::Fault(anyhow::anyhow!(
            "no depth comes: {reason}; a run would go on without it, DEGRADED"
        )));
    }
    open.watch.stop();
    let Some(frame) = frame else { return Ok(None) };
    check_image_size((frame.color.width_px(), frame.color.height_px()), open.scene.as_ref())
        .map_err(Failure::config)?;
    Ok(Some(frame))
}

/// What the model and the planner make of a frame.
fn found(frame: &Frame, packages: &Packages) -> String {
    let depth = match (&frame.depth, packages.depth_problem) {
        (None, _) => "no depth".to_owned(),
        (Some(_), Some(_)) => "depth not used".to_owned(),
        (Some(depth), None) => {
            let mut mm: Vec<u16> = depth.data_mm().iter().copied().filter(|mm| *mm > 0).collect();
            mm.sort_unstable();
            let median = mm.get(mm.len() / 2).map(|mm| f64::from(*mm) / 1000.0);
            median.map_or_else(
                || "depth without a measurement".to_owned(),
                |median_m| format!("depth of {median_m:.2} m at the median"),
            )
        }
    };
    format!("{} packages, {depth}", packages.packages.len())
}

/// Everything that is possible and yet not likely.
fn doubts_of(frame: &Frame, packages: &Packages) -> Vec<String> {
    let picture = picture_doubts(&frame.color).into_iter().map(|doubt| format!("picture: {doubt}"));
    let depth = packages.depth_problem.map(|problem| format!("depth is not used: {problem}"));
    let scale = doubt_packages(packages);
    let scale = scale.map(|doubt| format!("sizes: {doubt} see depth.unit_m and [scene]"));
    picture.chain(depth).chain(scale).collect()
}

fn page(config: &Config) -> String {
    let Some(web) = &config.web else { return "none: set web.listen".to_owned() };
    let token = if web.token.is_some() { "with" } else { "without" };
    let seen = if web.listen.ip().is_loopback() {
        "this machine"
    } else {
        "everybody who can reach that address"
    };
    let taken = taken(web.listen);
    format!(
        "http://{}/, seen by {seen}, {token} a token to keep recordings and to calibrate{taken}",
        web.listen
    )
}

fn foxglove(config: &Config) -> String {
    let Some(foxglove) = &config.foxglove else { return "none: set foxglove.listen".to_owned() };
    format!("ws://{}, seen by this machine{}", foxglove.listen, taken(foxglove.listen))
}

/// Joins ROS as a run would, and leaves it.
fn ros2(config: &Config) -> String {
    let Some(ros2) = &config.ros2 else { return "none: set ros2.enabled".to_owned() };
    let NodeOptions { router, domain_id, namespace, .. } = &ros2.node;
    let joined = Node::join(&ros2.node).err();
    let trouble = joined.map(|error| format!(" (DEGRADED: {})", one_line(&error.into())));
    let trouble = trouble.unwrap_or_default();
    format!("{namespace} in domain {domain_id}, by the router at {router}{trouble}")
}

fn unread_selection(folder: &Path, error: &io::Error) -> String {
    format!(
        "DEGRADED: which model is in use cannot be read from {}: {error}; the configured one would run, \
         and no other could be used: see model.folder",
        folder.display()
    )
}

/// Why a run could not listen there yet; else nothing.
fn taken(listen: SocketAddr) -> String {
    let taken = magpie_web::check_free(listen).err();
    taken.map(|why| format!(" (DEGRADED: {why})")).unwrap_or_default()
}

fn say(what: &str, found: String) -> Outcome {
    output::line(&format!("{what:<14} {found}"))
}
