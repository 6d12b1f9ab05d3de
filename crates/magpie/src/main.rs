//! See `magpie --help`.

use std::alloc::System;
use std::fmt::Debug;
use std::io::{IsTerminal, Write as _};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use magpie::commands::{
    bench, bundle, calibrate, cells, check, detect, doctor, eval, export, learn, manual, model,
    pick, record, replay, run, simulate, view, watch,
};
use magpie_daemon::failure::Outcome;
use magpie_daemon::process_limits::{check_descriptors, outlive_file_size_limit};
use magpie_wire::printable_lines;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tracing::field::Field;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Counts, so that a bench can say what a frame allocates; costs a few nanoseconds each time.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The eyes of a picking arm: finds packages and where to hold them, and publishes both on zenoh.
///
/// Not a safety function.
#[derive(Debug, Parser)]
#[command(version, after_long_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::RunArgs),
    /// Show what a cell publishes.
    Watch(watch::WatchArgs),
    /// List the cells that are alive, their state and where they listen.
    Cells(cells::CellsArgs),
    /// Install models, and change the one that a running cell uses.
    Model(model::ModelArgs),
    /// Check everything that a run needs, one line each.
    Check(check::CheckArgs),
    /// Look for what stands in the way on this machine: a line each, with the remedy.
    Doctor(doctor::DoctorArgs),
    /// Put what a report about a fault needs into one archive, without passwords.
    Bundle(bundle::BundleArgs),
    /// Find the packages in pictures.
    Detect(detect::DetectArgs),
    /// Score a model on a labelled COCO dataset.
    Eval(eval::EvalArgs),
    /// Measure latency, stage by stage, against the bare model.
    Bench(bench::BenchArgs),
    /// Run the daemon and record what it sees and finds.
    Record(record::RecordArgs),
    /// Send a recording through the pipeline, and compare the results with the recorded ones.
    Replay(replay::ReplayArgs),
    /// Show a recording or a running cell in the viewer Rerun.
    View(view::ViewArgs),
    /// Let a simulated arm pick from a simulated cell, by the messages a real one gets.
    Pick(pick::PickArgs),
    /// Outline pictures or a recording for annotation tools, those worth correcting first.
    Export(export::ExportArgs),
    /// Turn what became of picks into labels: what vanished is the package.
    Learn(learn::LearnArgs),
    /// Calibrate the camera with a printed board: its lens, where it hangs, and whether that holds.
    Calibrate(calibrate::CalibrateArgs),
    /// Make frames of a simulated cell, with the truth.
    Simulate(simulate::SimulateArgs),
    /// Write the man pages and what shells complete.
    #[command(hide = true)]
    Manual(manual::ManualArgs),
}

const AFTER_HELP: &str = "\
Exit codes: 0 done or asked to stop, 1 fault, 2 wrong command line, 78 wrong configuration.

Files of the Debian package:
  /etc/magpie/CELL.toml            what `systemctl enable --now magpie@CELL` runs
  /usr/share/magpie/systemd/magpie.toml  every setting with its default
  /usr/share/magpie/docs           the documents
  /var/lib/magpie                  recordings and models";

/// What zenoh takes its threads from.
const ZENOH_RUNTIME: &str = "ZENOH_RUNTIME";

fn main() -> ExitCode {
    accept_side_by_side();
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(&error));
    start_logging();
    let ready = outlive_file_size_limit().and_then(|()| check_descriptors());
    match ready.and_then(|()| dispatch(&arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{}", failure.message());
            failure.exit_code()
        }
    }
}

/// zenoh closes a connection that was refused on the thread that takes the next ones in, and the system
/// lets it wait up to a twentieth of a second for the other side. With one such thread, forty strangers a
/// second who send nonsense keep every reader out; with eight, a hundred do not.
fn accept_side_by_side() {
    if std::env::var_os(ZENOH_RUNTIME).is_none() {
        #[expect(unsafe_code, reason = "zenoh can be told only by the environment")]
        // SAFETY: this is the first thing that the process does, so no other thread reads it.
        unsafe {
            std::env::set_var(ZENOH_RUNTIME, "(acc: (worker_threads: 8))");
        }
    }
}

/// Ends the program. What was typed may be the name of somebody else's file.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() {
        let mut stderr = std::io::stderr();
        // Without anywhere to say it there is nothing else to do.
        let _ = write!(stderr, "{}", printable_lines(&error.render().to_string()));
        std::process::exit(error.exit_code());
    }
    error.exit()
}

fn dispatch(command: &Command) -> Outcome {
    match command {
        Command::Run(args) => run::run(args),
        Command::Watch(args) => watch::watch(args),
        Command::Cells(args) => cells::cells(args),
        Command::Model(args) => model::model(args),
        Command::Check(args) => check::check(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Bundle(args) => bundle::bundle(args),
        Command::Detect(args) => detect::detect(args),
        Command::Eval(args) => eval::eval(args),
        Command::Bench(args) => bench::bench(args),
        Command::Record(args) => record::record(args),
        Command::Pick(args) => pick::pick(args),
        Command::Replay(args) => replay::replay(args),
        Command::View(args) => view::view(args),
        Command::Export(args) => export::export(args),
        Command::Learn(args) => learn::learn(args),
        Command::Calibrate(args) => calibrate::calibrate(args),
        Command::Simulate(args) => simulate::simulate(args),
        Command::Manual(args) => manual::manual(args, Arguments::command()),
    }
}

/// Logs to the journal when systemd runs the program, else to standard error.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        // The commands say themselves what zenoh cannot connect to, and strangers who connect to a
        // secured cell, or viewers who leave without a word, must not fill the journal.
        EnvFilter::new(
            "info,ort=warn,zenoh=warn,zenoh_link_tls=error,zenoh::net::routing::hat=error,\
             zenoh::net::runtime::orchestrator=error,foxglove::websocket::server=off,\
             foxglove::websocket::connected_client=off",
        )
    });
    let registry = tracing_subscriber::registry().with(filter);
    let text = tracing_subscriber::fmt::layer()
        .fmt_fields(debug_fn(write_field).delimited(" "))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time();
    if stderr_is_the_journal() {
        registry.with(text.event_format(JournalLine)).init();
    } else {
        registry.with(text).init();
    }
}

/// The same line as elsewhere, behind its level as systemd reads it (sd-daemon(3)). Fields of the
/// journal's own would be shown to nobody who does not ask for them.
struct JournalLine;

impl<S, N> FormatEvent<S, N> for JournalLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        // The journal takes each line for an entry of its own.
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        text.lines().try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
    }
}

/// Every value may hold text from outside. The lines of one message stand under its first.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    // Where a line of the crate `log` came from is left out, as usual.
    if field.name().starts_with("log.") {
        return Ok(());
    }
    let text = format!("{value:?}");
    let text = printable_lines(&text).replace('\n', "\n  ");
    match field.name() {
        "message" => write!(writer, "{text}"),
        name => write!(writer, "{name}={text}"),
    }
}

/// Compares the variable with the stream itself, as systemd asks for: a program that was started
/// from a service's shell inherits the variable alone.
fn stderr_is_the_journal() -> bool {
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    let stream = std::env::var("JOURNAL_STREAM");
    stream.is_ok_and(|stream| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}
