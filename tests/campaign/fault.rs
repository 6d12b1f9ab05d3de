//! The faults: what each does to a cell, what the cell must show meanwhile, and how it ends.

use std::fs;
use std::hint::black_box;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_client::wire;
use prost::Message;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use zenoh::Wait;

use super::camera::Mode;
use super::cell::{CELL, Cell, FORGED, FORGER, FRAME_AGE_MAX};
use super::link::Flow;

/// From when on silence counts, in the arm's subscriber.
const SILENCE_MAX: Duration = Duration::from_millis(500);
/// Beyond a limit, everything is noticed within this.
const NOTICED: Duration = Duration::from_millis(200);
const ONE_S: Duration = Duration::from_secs(1);
/// Until a daemon that was started has published a result.
const LAUNCH_MAX: Duration = Duration::from_secs(10);

macro_rules! faults {
    ($($name:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault { $($name,)* }
        use Fault::{$($name,)*};
        pub(crate) const ALL: &[Fault] = &[$($name,)*];
    };
}

faults! {
    CameraDead,
    CameraFrozen,
    CameraGarbage,
    CameraTorn,
    CameraSlow,
    CameraResized,
    CameraBlinks,
    ClockSet,
    ClockSetThere,
    ClockCreeps,
    DiskFull,
    DiskGone,
    DiskTaken,
    FileLimit,
    LinkBlocked,
    LinkCut,
    PeerForges,
    PeerFloods,
    PeerAsks,
    PeersSilent,
    ArmLeaves,
    ProcessorBusy,
    ProcessorStopped,
    DaemonKilled,
    DaemonStopped,
    ModelMissing,
    ModelBroken,
    ModelReplaced,
}

/// What a cell must show while a fault lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promise {
    /// The daemon gives this reason, and does not say that it is well.
    Reason(&'static str),
    /// The daemon has noticed more often that its clock was set than this, and says so.
    ClockSteps { before: u64 },
    /// The arm is told that nothing may be acted upon.
    NotFresh,
    /// The daemon ends with this exit code.
    Exit(i32),
}

/// A fault that is going on.
pub(crate) struct Struck {
    /// What must be seen, within which time.
    pub(crate) promise: Option<(Promise, Duration)>,
    /// How long the fault lasts.
    pub(crate) lasts: Duration,
    /// Until the arm may act again, once it is over.
    pub(crate) recovers: Duration,
    workers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    silent: Vec<TcpStream>,
}

impl Fault {
    /// Faults that need a file system of their own.
    pub(crate) fn needs_mount(self) -> bool {
        self == DiskFull
    }

    /// Begins.
    pub(crate) fn strike(self, cell: &mut Cell, random: &mut ChaCha8Rng) -> Struck {
        let mut ms = |from: u64, to: u64| Duration::from_millis(random.random_range(from..to));
        let camera_lost = Some((Promise::Reason("camera_lost"), FRAME_AGE_MAX + NOTICED));
        let recording = Some((Promise::Reason("recording_stopped"), Duration::from_secs(2)));
        let silence = Some((Promise::NotFresh, SILENCE_MAX + NOTICED));
        let mut struck = Struck {
            promise: None,
            lasts: ms(50, 1500),
            recovers: Duration::from_secs(5),
            workers: Vec::new(),
            stop: Arc::default(),
            silent: Vec::new(),
        };
        match self {
            CameraDead => (struck.promise, struck.lasts) = (camera_lost, ms(20, 2500)),
            CameraFrozen => (struck.promise, struck.lasts) = (camera_lost, ms(20, 2500)),
            CameraGarbage => (struck.promise, struck.lasts) = (camera_lost, ms(20, 2500)),
            CameraResized => {
                // Only a person can say which size is right, so the daemon ends.
                struck.promise = Some((Promise::Exit(1), Duration::from_secs(3)));
                struck.recovers = LAUNCH_MAX;
            }
            LinkBlocked | LinkCut => struck.promise = silence,
            ProcessorStopped => struck.promise = silence,
            DiskFull | DiskTaken | FileLimit => {
                (struck.promise, struck.lasts) = (recording, ms(2200, 3500));
                struck.recovers = Duration::from_secs(15);
            }
            ClockSet => {
                let before = cell.seen().clock_steps;
                let noticed = Some((Promise::ClockSteps { before }, ONE_S));
                (struck.promise, struck.lasts) = (noticed, ms(1000, 1500));
            }
            ClockSetThere => {
                (struck.promise, struck.lasts) = (Some((Promise::NotFresh, ONE_S)), ms(1000, 1500));
            }
            DaemonKilled | DaemonStopped => {
                (struck.promise, struck.recovers) = (silence, LAUNCH_MAX);
            }
            ModelMissing | ModelBroken => {
                struck.promise = Some((Promise::Exit(78), LAUNCH_MAX));
                struck.recovers = LAUNCH_MAX;
            }
            _ => {}
        }
        self.begin(cell, random, &mut struck);
        struck
    }

    fn begin(self, cell: &mut Cell, random: &mut ChaCha8Rng, struck: &mut Struck) {
        match self {
            CameraDead => cell.camera().set(Mode::Dead),
            CameraFrozen => cell.camera().set(Mode::Frozen),
            CameraGarbage => cell.camera().set(Mode::Garbage),
            CameraTorn => cell.camera().set(Mode::Torn),
            CameraSlow => cell.camera().set(Mode::Slow),
            CameraResized => cell.camera().set(Mode::Resized),
            CameraBlinks => {
                for _ in 0..random.random_range(2..6) {
                    cell.camera().set(Mode::Dead);
                    std::thread::sleep(Duration::from_millis(random.random_range(1..150)));
                    cell.camera().set(Mode::Streams);
                    std::thread::sleep(Duration::from_millis(random.random_range(1..150)));
                }
            }
            ClockSet | ClockSetThere => {
                // A result of a machine that is behind by less than its validity may still be young.
                let least_ms = if self == ClockSet { 50 } else { 700 };
                let set_ns = another_setting(cell.daemon_set_ns(), least_ms, random);
                if self == ClockSet {
                    cell.set_arm_clock(set_ns);
                }
                cell.set_daemon_clock(set_ns);
            }
            ClockCreeps => {
                for _ in 0..10 {
                    let set_ns = cell.daemon_set_ns() + 4_000_000;
                    cell.set_arm_clock(set_ns);
                    cell.set_daemon_clock(set_ns);
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            DiskFull => {
                // Else the ring would give up its oldest files, and go on.
                let _ = fs::remove_dir_all(cell.folder.join("disk/ring"));
                let bytes = vec![0; 64 << 20];
                // It ends when the disk is full.
                let _ = fs::write(cell.folder.join("disk/filler"), bytes);
            }
            DiskGone => drop(fs::remove_dir_all(cell.folder.join("disk/ring"))),
            DiskTaken => {
                let ring = cell.folder.join("disk/ring");
                // The daemon may be making a file there at this moment.
                while fs::remove_dir_all(&ring).is_err() || fs::write(&ring, "taken").is_err() {}
            }
            FileLimit => limit_files(cell, Some(1 << 16)),
            LinkBlocked => cell.link.set(Flow::Blocked),
            LinkCut => cell.link.set(Flow::Cut),
            PeerForges => {
                // The arm joins while the forger speaks.
                cell.arm_away(true);
                struck.work(forge(cell));
                std::thread::sleep(Duration::from_millis(100));
                cell.arm_away(false);
            }
            PeerFloods => struck.work(flood(cell)),
            PeerAsks => struck.work(ask(cell)),
            PeersSilent => {
                let connect =
                    |_| TcpStream::connect(&cell.address).expect("a stranger may connect");
                struck.silent = (0..50).map(connect).collect();
            }
            ArmLeaves => cell.arm_away(true),
            ProcessorBusy => {
                for _ in 0..4 {
                    struck.work(|stop: &AtomicBool| {
                        while !stop.load(Ordering::Relaxed) {
                            black_box((0..10_000).fold(1_u64, |a, b| a.wrapping_mul(b | 1)));
                        }
                    });
                }
            }
            ProcessorStopped => cell.signal(Signal::STOP),
            DaemonKilled => end(cell, Signal::KILL),
            DaemonStopped => end(cell, Signal::TERM),
            ModelMissing | ModelBroken => {
                let model = cell.folder.join("model.onnx");
                fs::rename(&model, cell.folder.join("model.away")).unwrap();
                if self == ModelBroken {
                    fs::write(&model, [8, 7, 18, 255, 255, 255, 255]).unwrap();
                }
                end(cell, Signal::KILL);
                cell.launch();
            }
            ModelReplaced => {
                let model = cell.folder.join("model.onnx");
                fs::copy(&model, cell.folder.join("model.away")).unwrap();
                fs::write(&model, "no model").unwrap();
            }
        }
    }

    /// Ends.
    pub(crate) fn lift(self, cell: &mut Cell, struck: Struck) {
        struck.stop.store(true, Ordering::Relaxed);
        for worker in struck.workers {
            worker.join().unwrap();
        }
        drop(struck.silent);
        match self {
            CameraDead | CameraFrozen | CameraGarbage | CameraTorn | CameraSlow => {
                cell.camera().set(Mode::Streams);
            }
            CameraResized => {
                cell.camera().set(Mode::Streams);
                cell.launch();
            }
            ClockSetThere => cell.set_arm_clock(cell.daemon_set_ns()),
            DiskFull => drop(fs::remove_file(cell.folder.join("disk/filler"))),
            DiskTaken => fs::remove_file(cell.folder.join("disk/ring")).unwrap(),
            FileLimit => limit_files(cell, None),
            LinkBlocked | LinkCut => cell.link.set(Flow::Open),
            ArmLeaves => cell.arm_away(false),
            ProcessorStopped => cell.signal(Signal::CONT),
            DaemonKilled | DaemonStopped => cell.launch(),
            ModelMissing | ModelBroken | ModelReplaced => {
                let (away, model) = ("model.away", "model.onnx");
                fs::rename(cell.folder.join(away), cell.folder.join(model)).unwrap();
                if self != ModelReplaced {
                    cell.launch();
                }
            }
            CameraBlinks | ClockSet | ClockCreeps | DiskGone | PeerForges | PeerFloods
            | PeerAsks | PeersSilent | ProcessorBusy => {}
        }
    }
}

impl Struck {
    /// Does something until the fault is over.
    fn work(&mut self, run: impl FnOnce(&AtomicBool) + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name("fault".into());
        self.workers.push(thread.spawn(move || run(&stop)).unwrap());
    }
}

/// Up to three days from the true time, and at least so much from the last setting.
fn another_setting(before_ns: i64, least_ms: u64, random: &mut ChaCha8Rng) -> i64 {
    const MS: i64 = 1_000_000;
    let magnitudes_ms = [100, 1_000, 60_000, 7_200_000, 259_200_000];
    loop {
        let most_ms = magnitudes_ms[random.random_range(0..magnitudes_ms.len())];
        let set_ns = random.random_range(-most_ms..most_ms) * MS;
        if set_ns.abs_diff(before_ns) > least_ms * MS.unsigned_abs() {
            return set_ns;
        }
    }
}

fn end(cell: &mut Cell, signal: Signal) {
    cell.signal(signal);
    match cell.wait_for_exit(LAUNCH_MAX) {
        Ok(code) if signal == Signal::TERM && code != Some(0) => {
            cell.seen().broken.push(format!("asked to stop, the daemon ends with {code:?}"));
        }
        Ok(_) => {}
        Err(why) => {
            let why = format!("{signal:?} does not end the daemon: {why}");
            cell.seen().broken.push(why);
            cell.signal(Signal::KILL);
            let _ = cell.wait_for_exit(LAUNCH_MAX);
        }
    }
}

/// Gives the disk of a cell a file system of its own, of 24 MB; `false` where that is not allowed.
pub(crate) fn mount_disk(cell_folder: &std::path::Path) -> bool {
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tried"])
        .arg(cell_folder.join("disk"))
        .output();
    mount.is_ok_and(|output| output.status.success())
}

pub(crate) fn unmount_disk(cell_folder: &std::path::Path) {
    let _ = Command::new("umount").arg("-l").arg(cell_folder.join("disk")).output();
}

fn limit_files(cell: &Cell, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(cell.pid()), Resource::Fsize, limit).unwrap();
}

/// A peer of the daemon's network, which knows what anybody there can know.
fn join(address: &str) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", "\"client\"".to_owned()),
        ("connect/endpoints", format!("[\"tcp/{address}\"]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().expect("a peer may join")
}

/// Publishes results of its own, as another instance and as the true one.
fn forge(cell: &Cell) -> impl FnOnce(&AtomicBool) + Send + 'static {
    let (session, instance_id) = (join(&cell.address), cell.seen().instance_id.clone());
    let set_ns = cell.daemon_set_ns();
    move |stop| {
        let clock = magpie_client::SystemClock::start();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let now_ns = clock.now().unix_ns(set_ns);
            let package = wire::Package {
                r#type: FORGED.into(),
                // One pixel of background.
                mask: Some(wire::Mask { width_px: 1, height_px: 1, counts: b"1".to_vec() }),
                bbox: Some(wire::BboxPx::default()),
                ..Default::default()
            };
            let whole = wire::Packages {
                schema_version: wire::SCHEMA_VERSION,
                cell: CELL.into(),
                instance_id: FORGER.into(),
                publication: u64::MAX,
                sequence: u64::MAX,
                stamp_ns: now_ns,
                published_ns: now_ns,
                valid_until_ns: now_ns + 400_000_000,
                reference_frame: wire::ReferenceFrame::Base.into(),
                image_width_px: 1,
                image_height_px: 1,
                packages: vec![package],
                ..Default::default()
            };
            let hour_ns = 3_600_000_000_000;
            let forged = match number % 5 {
                0 | 1 => whole,
                2 => wire::Packages { valid_until_ns: now_ns + hour_ns, ..whole },
                3 => wire::Packages {
                    instance_id: instance_id.clone(),
                    valid_until_ns: now_ns + hour_ns,
                    ..whole
                },
                _ => wire::Packages {
                    instance_id: instance_id.clone(),
                    stamp_ns: now_ns + hour_ns,
                    published_ns: now_ns + hour_ns,
                    valid_until_ns: now_ns + hour_ns + 400_000_000,
                    ..whole
                },
            };
            // Who is heard first after joining must not be believed for that.
            let status = wire::Status {
                schema_version: wire::SCHEMA_VERSION,
                cell: CELL.into(),
                instance_id: forged.instance_id.clone(),
                state: wire::State::Ok.into(),
                ..Default::default()
            };
            for (key, bytes) in
                [("status", status.encode_to_vec()), ("packages", forged.encode_to_vec())]
            {
                let _ = session.put(format!("magpie/{CELL}/{key}"), bytes).wait();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Sends garbage, long and short, on every key of the cell.
fn flood(cell: &Cell) -> impl FnOnce(&AtomicBool) + Send + 'static {
    let session = join(&cell.address);
    move |stop| {
        let mut number = 0_usize;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            for what in ["packages", "status", "image", "label_image", "capture"] {
                let bytes = vec![number as u8; number * 997 % 40_000];
                let _ = session.put(format!("magpie/{CELL}/{what}"), bytes).wait();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Asks for pictures faster than any camera takes them.
fn ask(cell: &Cell) -> impl FnOnce(&AtomicBool) + Send + 'static {
    let session = join(&cell.address);
    move |stop| {
        while !stop.load(Ordering::Relaxed) {
            let answers: Vec<_> = (0..40)
                .filter_map(|number| {
                    let asked = ["capture?timeout_ms=200", "capture?timeout_ms=x", "camera_info"];
                    let selector = format!("magpie/{CELL}/{}", asked[number % 3]);
                    session.get(selector).timeout(Duration::from_millis(300)).wait().ok()
                })
                .collect();
            for answer in answers {
                while answer.recv().is_ok() {}
            }
        }
    }
}
