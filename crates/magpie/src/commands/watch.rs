//! `magpie watch`: shows what a cell publishes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use magpie_camera::{decode_image, write_png};
use magpie_client::{CellName, WatchEvent, WatchOptions, Watcher, find_cell, wire};
use magpie_wire::printable;
use tokio::time::Instant;

use crate::arguments::{ZenohArgs, endpoint, place, seconds};
use crate::present::overlay::{Drawn, draw};
use crate::present::{output, status_line, table, why_silent};
use crate::recent::RecentResults;
use magpie_daemon::failure::{Failure, Outcome, not_joined};

#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// End after this many messages; absent: go on until interrupted.
    #[arg(long)]
    count: Option<u64>,
    /// Print each message as one line of JSON, in protobuf's canonical form, instead of a table.
    #[arg(long)]
    json: bool,
    /// The cell to watch; absent: demo.
    #[arg(value_name = "CELL", value_parser = CellName::new)]
    name: Option<CellName>,
    /// The cell to watch, as an option.
    #[arg(long, value_parser = CellName::new, conflicts_with = "name")]
    cell: Option<CellName>,
    /// Where its daemon, or a zenoh router, listens; absent: the cell is looked for on this machine.
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint, conflicts_with = "zenoh")]
    connect: Option<String>,
    #[command(flatten)]
    zenoh: ZenohArgs,
    /// Write one picture with masks, types, track ids and grasps here, as PNG.
    #[arg(long)]
    overlay: Option<PathBuf>,
    /// Give up when nothing comes for this long.
    #[arg(long, value_parser = seconds, default_value_t = 10.0)]
    silence_s_max: f64,
}

pub fn watch(args: &WatchArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    let cell = args.cell();
    let zenoh = match args.zenoh.told(args.connect.as_deref()) {
        Some(zenoh) => zenoh,
        None => find_cell(&cell).map_err(|error| {
            Failure::fault(anyhow!("{error} (--connect ENDPOINT, --zenoh FILE)"))
        })?,
    };
    let options = WatchOptions { images: args.overlay.is_some() };
    let mut watcher =
        runtime.block_on(async { Watcher::open(cell, &zenoh, options) }).map_err(not_joined)?;
    runtime.block_on(follow(args, &place(&zenoh), &mut watcher))
}

impl WatchArgs {
    fn cell(&self) -> CellName {
        let named = self.name.as_ref().or(self.cell.as_ref()).cloned();
        named.unwrap_or_else(|| CellName::new("demo").expect("letters"))
    }
}

async fn follow(args: &WatchArgs, place: &str, watcher: &mut Watcher) -> Outcome {
    let silence = Duration::from_secs_f64(args.silence_s_max);
    args.overlay.as_deref().map_or(Ok(()), output::check)?;
    let mut messages = 0;
    let mut picture = args.overlay.as_deref().map(Picture::new);
    let (mut last_status, mut last_picks) = (String::new(), wire::PickCounters::default());
    let mut heard = Instant::now();
    loop {
        let enough = args.count.is_some_and(|count| messages >= count);
        if enough && picture.as_ref().is_none_or(|picture| picture.written) {
            return Ok(());
        }
        let event = tokio::time::timeout_at(heard + silence, watcher.next()).await;
        let event = event.map_err(|_| {
            why_silent(args.cell().as_str(), place, args.silence_s_max, &last_status)
        })?;
        // Who waits for results is not helped by a status.
        if args.count.is_none() || !matches!(event, WatchEvent::Status(_)) {
            heard = Instant::now();
        }
        match event {
            WatchEvent::Packages(message) => {
                if !enough {
                    messages += 1;
                    show(&message, messages == 1, args)?;
                }
                if let Some(picture) = &mut picture {
                    picture.results.keep(*message);
                }
            }
            WatchEvent::Image { header, jpeg } => {
                if let Some(picture) = &mut picture {
                    picture.write(&header, &jpeg, enough)?;
                }
            }
            WatchEvent::Status(status) => {
                let line = status_line(&status);
                if line != last_status && !args.json {
                    say(args, &line)?;
                }
                last_status = line;
                let picks = status.picks.unwrap_or_default();
                if picks != last_picks && !args.json {
                    output::line(&format!("picks so far: {}", picks.line()))?;
                }
                last_picks = picks;
            }
            WatchEvent::Gone => tracing::warn!(cell = args.cell().as_str(), "the daemon left"),
            WatchEvent::Alive => {}
            WatchEvent::Refused(refusal) => tracing::warn!(%refusal, "message refused"),
        }
    }
}

/// Whoever waits for a picture gets it, read or not, where the number of results says when to end.
fn say(args: &WatchArgs, text: &str) -> Outcome {
    let is_bounded = args.overlay.is_some() && args.count.is_some();
    if is_bounded { output::line(text) } else { output::line_or_end(text) }
}

fn show(message: &wire::Packages, first: bool, args: &WatchArgs) -> Outcome {
    let line = |text: &str| say(args, text);
    if args.json {
        return line(&wire::to_json(message).to_string());
    }
    if first {
        line(&format!(
            "cell {}, model {} on {}, poses in {}",
            printable(&message.cell),
            printable(message.model.as_ref().map_or("?", |model| &model.name)),
            printable(&message.provider_got),
            printable(&message.frame_id)
        ))?;
    }
    let latency = message.latencies.unwrap_or_default();
    line(&format!(
        "\nframe {}: {} packages, {:.1} ms from exposure to publisher ({:.1} ms of it the model)",
        message.sequence,
        message.packages.len(),
        latency.total_ns as f64 / 1e6,
        latency.inference_ns as f64 / 1e6
    ))?;
    if message.published_ns > message.valid_until_ns {
        let late_ms = (message.published_ns - message.valid_until_ns) / 1_000_000;
        line(&format!("EXPIRED {late_ms} ms before it was published: nothing is shown"))?;
    }
    if !message.depth_problem.is_empty() {
        line(&format!("depth not used: {}", printable(&message.depth_problem)))?;
    }
    line(&packages_table(message))
}

fn packages_table(message: &wire::Packages) -> String {
    let mut table = table::new(&[
        "pick",
        "track",
        "type",
        "score",
        "grasp x, y, z m",
        "quality",
        "from",
        "size mm",
    ]);
    for package in &message.packages {
        let grasp = package.grasps.first();
        let position = grasp.and_then(|grasp| grasp.pose.as_ref()?.position_m);
        let position = position
            .map_or_else(|| "-".to_owned(), |p| format!("{:7.3} {:7.3} {:7.3}", p.x, p.y, p.z));
        table.add_row([
            table::number(package.pick_rank),
            table::number(package.track_id),
            table::Cell::new(&package.r#type),
            table::number(format!("{:.2}", package.score)),
            table::number(position),
            table::decimal(grasp.map(|grasp| grasp.quality), 2),
            table::Cell::new(
                grasp.map_or_else(|| table::refusal(package.refusal()), |grasp| pose_source(grasp)),
            ),
            table::size(package.size),
        ]);
    }
    table.to_string()
}

fn pose_source(grasp: &wire::Grasp) -> &'static str {
    match grasp.pose_source() {
        wire::PoseSource::Depth => "depth",
        wire::PoseSource::SupportPlane => "support plane",
        wire::PoseSource::Unspecified => "?",
    }
}

/// Waits for a picture and the message of the same frame.
struct Picture<'a> {
    path: &'a Path,
    results: RecentResults,
    written: bool,
}

impl Picture<'_> {
    fn new(path: &Path) -> Picture<'_> {
        Picture { path, results: RecentResults::default(), written: false }
    }

    /// `even_empty`: also of a frame without packages, which show more.
    fn write(&mut self, header: &wire::ImageHeader, jpeg: &[u8], even_empty: bool) -> Outcome {
        let shows_any = |message: &&wire::Packages| even_empty || !message.packages.is_empty();
        let Some(message) = self.results.of(header).filter(shows_any) else {
            return Ok(());
        };
        if self.written {
            return Ok(());
        }
        let image = decode_image(jpeg).context("decode the picture").map_err(Failure::Fault)?;
        let drawn: Vec<Drawn> = message.packages.iter().filter_map(Drawn::from_wire).collect();
        let picture = draw(&image, &drawn).map_err(Failure::fault)?;
        write_png(self.path, &picture).map_err(Failure::fault)?;
        self.written = true;
        tracing::info!(path = %self.path.display(), frame = header.sequence, "picture written");
        Ok(())
    }
}
