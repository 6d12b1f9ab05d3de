//! `magpie replay`: a recording through the pipeline of the daemon, under the recording's own time.
//!
//! ```text
//!  FrameReader -> perception::run -> results: recording, JSON lines, comparison
//!       |               ^
//!       +-> RecordedClock
//! ```

mod clock;
mod compare;
mod difference;
mod doubts;
mod results;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use magpie_perception::{
    Counters, Edges, Frame, FrameSource, InferenceSession, SourceError, run as run_pipeline,
};
use magpie_recording::{FrameReader, Losses, Pace, Playback};
use magpie_transport::StatusSnapshot;
use magpie_wire::{Reason, State};
use tokio::runtime::Runtime;

use crate::arguments::ZenohArgs;
use crate::present::output;
use crate::topics::TopicArgs;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by, not_joined};
use magpie_daemon::run::open_transport;
use magpie_daemon::{identity, model};
use magpie_network::SystemClock;

use clock::ReplayClock;
use compare::{Comparison, Pacing};
use difference::Tolerance;
use doubts::Doubts;
use results::ReplayResults;

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// A recording made by `magpie record`, a ROS 2 bag (.mcap, .db3 or its folder), or an MCAP file of
    /// Foxglove's.
    file: PathBuf,
    #[command(flatten)]
    topics: TopicArgs,
    /// At the recorded pace, as from a camera: frames that come while the pipeline is busy are left
    /// out.
    #[arg(long)]
    as_recorded: bool,
    /// Every frame, as fast as the pipeline goes, without a latency: two replays give the same
    /// bytes. This is the default.
    #[arg(long, conflicts_with = "as_recorded")]
    fast: bool,
    /// Report what differs from the recorded results, package by package; exit with 1 if it is more
    /// than the tolerance.
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    tolerance: Tolerance,
    /// Write frames and results here, as a recording.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write results here, as lines of JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Publish the results as the daemon would, at the recorded pace and stamped now: for a
    /// controller under test.
    #[arg(long, conflicts_with = "fast")]
    publish: bool,
    #[command(flatten)]
    zenoh: ZenohArgs,
    /// The model; absent: the configuration's.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The configuration; absent: the shipped one. Its source, scene, depth and tool do not matter
    /// here: the recording brings its own.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub fn replay(args: &ReplayArgs) -> Outcome {
    let mut config =
        Config::load_uncalibrated(args.config.as_deref(), None).map_err(Failure::config)?;
    args.zenoh.apply(&mut config);
    let machine = SystemClock::start();
    let as_recorded = |restamp| Pace::AsRecorded { clock: Arc::clone(&machine), restamp };
    let (clock, pace) = match (args.publish, args.as_recorded) {
        (true, _) => (ReplayClock::of_machine(Arc::clone(&machine)), as_recorded(true)),
        (false, true) => (ReplayClock::running(Arc::clone(&machine)), as_recorded(false)),
        (false, false) => (ReplayClock::stepped(), Pace::AsAsked),
    };
    let playback = Playback { looped: false, pace };
    let reader = args.topics.open(&args.file, playback, &config.tool).map_err(Failure::config)?;
    let pacing =
        Pacing { is_restamped: args.publish, leaves_out: args.publish || args.as_recorded };
    let comparison =
        args.compare.then(|| Comparison::open(&args.file, args.tolerance, pacing)).transpose()?;
    let scene = reader.scene().cloned();
    config.base_frame_id.clone_from(&reader.info().base_frame_id);
    if scene.is_none() {
        tracing::warn!(
            "{} has no calibration: masks and boxes are found, grasps are not",
            args.file.display()
        );
    }

    let model = model::chosen(args.model.as_deref(), &config)?;
    let mut session = model::load(&model, &config.session)?;
    let limits = config.limits(model.spec().score_min);
    let identities = identity::identities(&config, scene.as_ref(), &session);
    let info = identity::recording_info(&config, scene.as_ref(), &identities, &limits);
    warn_of_differences(&args.file, &reader, &info.identity);

    let doubts = Doubts::new(scene.as_ref());
    let mut results = ReplayResults::new(identities, config.cell.as_str(), comparison, doubts);
    if let Some(path) = &args.out {
        results.record_to(path, info, &config.written)?;
    }
    if let Some(path) = &args.json {
        results.write_json_to(path)?;
    }
    let counters = Arc::new(Counters::default());
    let network = if args.publish {
        let runtime = Runtime::new().map_err(Failure::fault)?;
        let (transport, zenoh) =
            open_transport(&runtime, &config, scene.as_ref(), &session, &machine, &counters, None)
                .map_err(not_joined)?;
        transport.status().set(status(&args.file, session.fallback_reason()));
        results.publish_to(zenoh);
        Some((transport, runtime))
    } else {
        None
    };
    let mut source = ReplaySource { reader, clock: &clock };
    let mut edges = Edges {
        source: &mut source,
        session: &mut session,
        publisher: &mut results,
        clock: &clock,
    };
    run_pipeline(&mut edges, scene.as_ref(), &limits, &counters).map_err(ended_by)?;
    let (losses, lossy) = (source.reader.losses(), source.reader.lossy_coding().map(str::to_owned));
    if let Some(coding) = lossy.filter(|_| args.compare) {
        tracing::warn!(
            "{} has its colour as {coding}: the model sees other pixels than it saw then, so small \
             differences may be no change of the program",
            args.file.display()
        );
    }
    debug_assert_eq!(session.spec().sha256, model.spec().sha256);
    drop(network);
    finish(&args.file, results, losses, &counters)
}

/// The status that subscribers receive during a replay.
fn status(file: &Path, fallback_reason: Option<&str>) -> StatusSnapshot {
    StatusSnapshot {
        state: if fallback_reason.is_some() { State::Degraded } else { State::Ok },
        reasons: fallback_reason
            .map(|why| Reason::ProviderFallback { why: why.to_owned() })
            .into_iter()
            .collect(),
        camera: format!("replaying {}", file.display()),
        ..StatusSnapshot::default()
    }
}

/// Prints what was read and what could not be, and whether the results are the recorded ones.
fn finish(file: &Path, results: ReplayResults, losses: Losses, counters: &Counters) -> Outcome {
    if !losses.is_none() {
        tracing::warn!("{}: {losses}", file.display());
    }
    let seen = counters.snapshot();
    output::line(&format!(
        "{} frames were replayed; {} between them are missing, because the recording does not have \
         them or the pipeline was busy; {} came too late",
        seen.results_published, seen.frames_superseded, seen.frames_stale
    ))?;
    let Some(verdict) = results.finish()? else { return Ok(()) };
    output::line(&verdict.summary())?;
    verdict.refusal(file).map_or(Ok(()), |why| Err(Failure::Fault(anyhow!(why))))
}

/// A comparison with another model or other settings is allowed, but not by oversight.
fn warn_of_differences(file: &Path, reader: &FrameReader, identity: &BTreeMap<String, String>) {
    let (file, before) = (file.display(), &reader.info().identity);
    for (key, now) in identity.iter().filter(|(key, _)| *key != "cell") {
        match before.get(key) {
            Some(recorded) if recorded == now => {}
            Some(recorded) => {
                tracing::warn!("{file} was recorded with {key} = {recorded}, now it is {now}");
            }
            // Frames that no daemon recorded, a simulated belt's for example, had no settings.
            None if !before.contains_key("model_sha256") => {}
            None => tracing::warn!("{file} does not say which {key} it was recorded with"),
        }
    }
}

/// Sets the clock to each frame's stamp as the frame is handed out.
struct ReplaySource<'a> {
    reader: FrameReader,
    clock: &'a ReplayClock,
}

impl FrameSource for ReplaySource<'_> {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        // The reader paces from here on too: the time to decode the first frame is latency.
        let asked = self.clock.asked();
        let frame = self.reader.next_frame()?;
        if let Some(frame) = &frame {
            self.clock.reach(frame.stamp, asked);
        }
        Ok(frame)
    }
}
