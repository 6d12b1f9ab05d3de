//! One cell under trial: a camera, the daemon as a process of its own, the network, and an arm that
//! takes every result it may act upon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use magpie_client::{
    CellName, Client, ClientOptions, Freshness, SystemClock, WatchEvent, WatchOptions, Watcher,
    ZenohConfig, wire,
};
use magpie_perception::{Clock, SharedClock, StampNs};
use rustix::process::{Pid, Signal, kill_process};

use super::camera::Camera;
use super::link::Link;
use super::{free_address, lateness, now};

pub(crate) const CELL: &str = "tried";
/// `[camera] frame_age_ms_max` of the daemon.
pub(crate) const FRAME_AGE_MAX: Duration = Duration::from_millis(400);
/// `[limits] result_valid_ms` of the daemon.
const RESULT_VALID: Duration = Duration::from_millis(500);
/// A picture may be under way for so long before it is stamped on arrival.
const UNDER_WAY_MAX: Duration = Duration::from_millis(500);
/// The instance of a forger, unless it claims to be the daemon's.
pub(crate) const FORGER: &str = "forger";
/// The type of packages that nobody but a forger publishes.
pub(crate) const FORGED: &str = "forged";
/// Tiny, so that the machine is busy with the trial and not with the network.
const MODEL: &[u8] = include_bytes!("../../crates/inference/tests/data/tiny_bgr8.onnx");
/// Where Debian has it; without it the linker would only warn.
fn faketime() -> String {
    let library =
        format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).is_file(), "no {library}: scripts/install --test installs it");
    library
}

/// The arm's clock: the machine's, set by as much as the trial wants.
struct ArmClock {
    machine: SharedClock,
    set_ns: AtomicI64,
}

impl Clock for ArmClock {
    fn now(&self) -> StampNs {
        self.machine.now()
    }

    fn unix_ahead_ns(&self) -> i64 {
        self.machine.unix_ahead_ns() + self.set_ns.load(Ordering::Relaxed)
    }
}

/// What arm and onlooker have seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) answer: Option<Answer>,
    /// Why it was no fresh one.
    pub(crate) why: String,
    pub(crate) state: Option<wire::State>,
    /// Codes of the daemon's reasons.
    pub(crate) reasons: Vec<String>,
    pub(crate) instance_id: String,
    /// How often the daemon has noticed that its clock was set.
    pub(crate) clock_steps: u64,
    pub(crate) accepted: u64,
    pub(crate) published: u64,
    /// Promises that were broken.
    pub(crate) broken: Vec<String>,
}

/// What the arm was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Fresh,
    Stale,
    Lost,
}

struct Shared {
    camera: Camera,
    clock: Arc<ArmClock>,
    /// How the daemon's clock was set until when, in nanoseconds, and last how it is set now.
    daemon_set_ns: Mutex<Vec<(Instant, i64)>>,
    seen: Mutex<Seen>,
    stopped: AtomicBool,
    /// The arm leaves the network, and comes back.
    arm_away: AtomicBool,
}

pub(crate) struct Cell {
    pub(crate) folder: PathBuf,
    /// Where the daemon listens.
    pub(crate) address: String,
    pub(crate) link: Link,
    daemon: Option<Child>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Cell {
    /// `folder`: an empty one of its own.
    pub(crate) fn start(folder: &Path) -> Cell {
        let address = free_address();
        let camera = Camera::start();
        fs::write(folder.join("model.onnx"), MODEL).unwrap();
        fs::create_dir(folder.join("disk")).unwrap();
        fs::write(folder.join("set"), "+0").unwrap();
        let zenoh = format!(
            r#"{{mode: "peer", listen: {{endpoints: ["tcp/{address}"]}},
                scouting: {{multicast: {{enabled: false}}, gossip: {{enabled: false}}}}}}"#
        );
        fs::write(folder.join("zenoh.json5"), zenoh).unwrap();
        let config = format!(
            "cell = \"{CELL}\"\n\
             source.gstreamer.pipeline = \"{}\"\n\
             camera = {{ frame_age_ms_max = {}, open_time_ms_max = 2000, reopen_pause_ms_min = 50, \
                         reopen_pause_ms_max = 200 }}\n\
             model = {{ path = \"model.onnx\", threads = 1 }}\n\
             limits = {{ result_valid_ms = {} }}\n\
             zenoh.config = \"zenoh.json5\"\n\
             recording = {{ folder = \"disk/ring\", segment_s = 1, minutes_max = 1, size_mb_max = 64, \
                            free_space_mb_min = 4, keep_on_degraded = false, color = \"raw\" }}\n",
            camera.pipeline(),
            FRAME_AGE_MAX.as_millis(),
            RESULT_VALID.as_millis(),
        );
        fs::write(folder.join("magpie.toml"), config).unwrap();
        let clock = ArmClock { machine: SystemClock::start(), set_ns: AtomicI64::new(0) };
        let shared = Arc::new(Shared {
            camera,
            clock: Arc::new(clock),
            daemon_set_ns: Mutex::new(vec![(now(), 0)]),
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
            arm_away: AtomicBool::new(false),
        });
        let link = Link::start(address.clone());
        let mut cell = Cell {
            folder: folder.to_owned(),
            address,
            link,
            daemon: None,
            shared,
            threads: Vec::new(),
        };
        cell.launch();
        let (shared, endpoint) = (Arc::clone(&cell.shared), cell.link.endpoint.clone());
        cell.spawn("arm", move || act(&shared, &endpoint));
        let (shared, endpoint) = (Arc::clone(&cell.shared), format!("tcp/{}", cell.address));
        cell.spawn("onlooker", move || look_on(&shared, &endpoint));
        cell
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) {
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(run).unwrap());
    }

    pub(crate) fn camera(&self) -> &Camera {
        &self.shared.camera
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.shared.seen)
    }

    /// Whether arm and onlooker still run: one that panicked has said why.
    pub(crate) fn is_watched(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.seen().answer == Some(Answer::Fresh)
    }

    /// The arm may act, and the daemon has nothing to say but that something happened a while ago.
    pub(crate) fn is_well(&self) -> bool {
        const PAST: [&str; 3] = ["clock_stepped", "recording_behind", "results_expired"];
        let seen = self.seen();
        let nothing = seen.reasons.iter().all(|code| PAST.contains(&code.as_str()));
        seen.answer == Some(Answer::Fresh) && nothing
    }

    /// Starts the daemon, as systemd would.
    pub(crate) fn launch(&mut self) {
        let log = self.folder.join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let daemon = Command::new(env!("CARGO_BIN_EXE_magpie"))
            .args(["run", "--config", "magpie.toml"])
            .current_dir(&self.folder)
            .env("RUST_LOG", "info,zenoh=error")
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME_TIMESTAMP_FILE", self.folder.join("set"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.daemon = Some(daemon.unwrap());
    }

    /// Of the daemon.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.daemon.as_ref().expect("a daemon was launched"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended hears nothing, which the promises find out.
        let _ = kill_process(self.pid(), signal);
    }

    /// The exit code, once the daemon has ended; `None` if a signal ended it.
    pub(crate) fn wait_for_exit(&mut self, patience: Duration) -> Result<Option<i32>, String> {
        let end = now() + patience;
        loop {
            if let Some(status) = self.daemon.as_mut().unwrap().try_wait().unwrap() {
                self.daemon = None;
                return Ok(status.code());
            }
            if now() > end {
                return Err(format!("it still runs after {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the daemon ended without having been asked to.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.daemon.as_mut().is_none_or(|daemon| daemon.try_wait().unwrap().is_some())
    }

    /// Sets the clock of the daemon's machine to so much before or after the true time.
    pub(crate) fn set_daemon_clock(&self, set_ns: i64) {
        // Nothing is judged meanwhile.
        let mut sets = lock(&self.shared.daemon_set_ns);
        // Replaced at once, so that no half-written file is read.
        let new = self.folder.join("set.new");
        fs::write(&new, format!("{:+.6}", set_ns as f64 / 1e9)).unwrap();
        fs::rename(new, self.folder.join("set")).unwrap();
        // What is on its way may still be from before.
        let last = sets.pop().map(|(_, before_ns)| (now(), before_ns));
        sets.retain(|(until, _)| until.elapsed() < Duration::from_secs(3));
        sets.extend(last);
        sets.push((now(), set_ns));
    }

    pub(crate) fn daemon_set_ns(&self) -> i64 {
        lock(&self.shared.daemon_set_ns).last().map_or(0, |(_, set_ns)| *set_ns)
    }

    /// Sets the clock of the arm's machine.
    pub(crate) fn set_arm_clock(&self, set_ns: i64) {
        self.shared.clock.set_ns.store(set_ns, Ordering::Relaxed);
    }

    pub(crate) fn arm_away(&self, away: bool) {
        self.shared.arm_away.store(away, Ordering::Relaxed);
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if self.daemon.is_some() {
            self.signal(Signal::CONT);
            self.signal(Signal::KILL);
            let _ = self.daemon.take().unwrap().wait();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes results until the trial ends, and holds each of them against the truth.
fn act(shared: &Shared, endpoint: &str) {
    let open = || {
        let clock: SharedClock = shared.clock.clone();
        let cell = CellName::new(CELL).unwrap();
        let zenoh = ZenohConfig::Connect(vec![endpoint.to_owned()]);
        Client::open(ClientOptions::new(cell, zenoh, clock))?.packages()
    };
    let mut arm = None;
    while !shared.stopped.load(Ordering::Relaxed) {
        if shared.arm_away.load(Ordering::Relaxed) {
            arm = None;
            lock(&shared.seen).answer = None;
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let Some(subscriber) = &mut arm else {
            arm = open().ok();
            continue;
        };
        let (answer, why) = match subscriber.next(Duration::from_millis(20)) {
            Freshness::Stale(why) => (Answer::Stale, why.to_string()),
            Freshness::Lost { why, .. } => (Answer::Lost, why.to_string()),
            Freshness::Fresh(view) => {
                // The view looks at the clock again, at this moment or later: what it gives is acted
                // upon.
                let moment = now();
                let accepted = view.packages().map(|packages| packages.to_vec());
                match accepted {
                    Ok(packages) => {
                        let wrong = wrong_with(shared, view.for_display(), &packages, moment);
                        let mut seen = lock(&shared.seen);
                        seen.accepted += 1;
                        seen.broken.extend(wrong);
                        (Answer::Fresh, String::new())
                    }
                    Err(why) => (Answer::Stale, why.to_string()),
                }
            }
        };
        let mut seen = lock(&shared.seen);
        (seen.answer, seen.why) = (Some(answer), why);
    }
}

/// What must not be wrong with a result that an arm may act upon at `moment`.
fn wrong_with(
    shared: &Shared,
    message: &wire::Packages,
    packages: &[wire::Package],
    moment: Instant,
) -> Option<String> {
    if packages.iter().any(|package| package.r#type == FORGED) {
        return Some("a forged result was accepted".into());
    }
    let clock = &shared.clock.machine;
    let true_now = i128::from(clock.now().unix_ns(clock.unix_ahead_ns()));
    let late_ns = i128::try_from(moment.elapsed().as_nanos()).unwrap();
    let sent_ago = moment.saturating_duration_since(shared.camera.sent());
    let sent_ago_ns = i128::try_from(sent_ago.as_nanos()).unwrap();
    let sets = lock(&shared.daemon_set_ns);
    let ages_ns = sets.iter().map(|(_, set_ns)| {
        true_now - late_ns - (i128::from(message.stamp_ns) - i128::from(*set_ns))
    });
    let tolerance_ns = 5_000_000;
    let valid_ns = i128::try_from(RESULT_VALID.as_nanos()).unwrap() + tolerance_ns;
    let under_way = UNDER_WAY_MAX + lateness::since(shared.camera.sent());
    let under_way_ns = i128::try_from(under_way.as_nanos()).unwrap();
    let (mut is_young, mut is_seen) = (false, false);
    for age_ns in ages_ns {
        let fits = (-tolerance_ns..=valid_ns).contains(&age_ns);
        is_young |= fits;
        // The camera may have sent more since, so that this errs on the safe side.
        is_seen |= fits && age_ns + under_way_ns >= sent_ago_ns;
    }
    match (is_young, is_seen) {
        (true, true) => None,
        (true, false) => Some(format!("frame {} is newer than any picture", message.sequence)),
        (false, _) => Some(format!("frame {} was accepted when it was too old", message.sequence)),
    }
}

/// Watches what the daemon itself publishes.
fn look_on(shared: &Shared, endpoint: &str) {
    let open = || {
        let cell = CellName::new(CELL).unwrap();
        let zenoh = ZenohConfig::Connect(vec![endpoint.to_owned()]);
        Watcher::open(cell, &zenoh, WatchOptions::default())
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_time().build().unwrap();
    let mut watcher = None;
    while !shared.stopped.load(Ordering::Relaxed) {
        let Some(onlooker) = &mut watcher else {
            watcher = open().ok();
            continue;
        };
        let next =
            async { tokio::time::timeout(Duration::from_millis(100), onlooker.next()).await };
        let Ok(event) = runtime.block_on(next) else { continue };
        let mut seen = lock(&shared.seen);
        match event {
            WatchEvent::Packages(message) => {
                if message.packages.iter().any(|package| package.r#type == FORGED) {
                    continue;
                }
                seen.published += 1;
                let is_late = message.published_ns > message.valid_until_ns;
                if is_late && !message.packages.is_empty() {
                    seen.broken.push(format!("frame {} was published late", message.sequence));
                }
                if message.stamp_ns > message.published_ns {
                    seen.broken.push(format!("frame {} is from the future", message.sequence));
                }
            }
            WatchEvent::Status(status) if status.instance_id == FORGER => {}
            WatchEvent::Status(status) => {
                seen.state = Some(status.state());
                seen.reasons =
                    status.reasons_coded.iter().map(|reason| reason.code.clone()).collect();
                seen.instance_id.clone_from(&status.instance_id);
                seen.clock_steps = status.clock_steps;
            }
            WatchEvent::Gone => (seen.state, seen.reasons) = (None, Vec::new()),
            WatchEvent::Alive | WatchEvent::Image { .. } | WatchEvent::Refused(_) => {}
        }
    }
}
