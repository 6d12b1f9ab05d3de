//! One configured cell: does its configuration load, and is there on this machine what it names?

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use magpie_camera::{CameraConfig, LiveSource};
use magpie_daemon::config::{Config, RecordingTarget, Source, addresses_of, is_at};
use magpie_daemon::failure::one_line;
use magpie_network::{Certificate, NetworkError, SystemClock, notes};
use magpie_perception::Provider;

use super::access::{SERVICE_USER, User};
use super::cameras::Cameras;
use super::finding::Finding;
use super::machine::Limits;
use super::system::{self, Process};
use crate::arguments::ZenohArgs;
use crate::inspection::{
    Cramped, NamedFile, SAVE_ELSEWHERE, calibration, cramped, join, named_files, recording,
    unsaved_calibrations,
};

/// A configuration that could be loaded.
pub(super) struct Cell {
    path: Option<PathBuf>,
    pub(super) config: Config,
}

/// What to do where two would listen at one address.
pub(super) const LISTEN: &str = "give each an address of its own, by [zenoh] listen, [web] listen, \
                                 [foxglove] listen or in its file of zenoh's \
                                 (docs/run-as-a-service.md)";

impl Cell {
    pub(super) fn load(path: Option<&Path>, zenoh: &ZenohArgs) -> Result<Cell, Finding> {
        match Config::load(path) {
            Ok(mut config) => {
                zenoh.apply(&mut config);
                Ok(Cell { path: path.and_then(|path| std::path::absolute(path).ok()), config })
            }
            Err(error) => {
                Err(Finding::misconfigured("configuration", one_line(&error.into()), "correct it"))
            }
        }
    }

    pub(super) fn findings(&self, cameras: &Cameras, user: Option<&User>) -> Vec<Finding> {
        let mut findings = vec![self.named()];
        findings.extend(cameras.check(&self.config));
        findings.extend(self.lens());
        findings.extend(user.into_iter().flat_map(|user| self.access(user)));
        findings.extend(self.exposed());
        findings.extend(self.endpoint());
        findings.extend(self.page());
        findings.extend(self.foxglove());
        findings.extend(self.calibrations(user));
        findings.extend(self.recording(user));
        findings.extend(self.scheduling());
        findings.extend(self.provider());
        findings
    }

    fn named(&self) -> Finding {
        let from = self
            .path
            .as_ref()
            .map_or_else(|| "shipped".to_owned(), |path| path.display().to_string());
        let source = match &self.config.source {
            Source::Demo => "the demo recording".to_owned(),
            Source::Recording { path, .. } => format!("the recording {}", path.display()),
            Source::Camera(camera) => camera.describe(),
        };
        Finding::good("configuration", format!("{from}: cell {}, {source}", self.config.cell))
    }

    /// Lenses without a calibration. Recordings bring their own.
    fn lens(&self) -> Option<Finding> {
        let Source::Camera(camera) = &self.config.source else { return None };
        let Some(scene) = &self.config.scene else {
            let remedy = "`magpie calibrate intrinsics`, then `magpie calibrate hand-eye` \
                          (docs/calibrate.md), and name what they write in [scene]";
            let found = "the lens is not calibrated, so nothing gets a grasp";
            return Some(Finding::note("calibration", found, remedy));
        };
        let described = calibration(Some(scene));
        let is_placed = scene.camera_place.is_some();
        let is_live = matches!(camera, CameraConfig::Live(_));
        Some(match (is_placed, is_live) {
            (false, true) => Finding::note(
                "calibration",
                format!("{described}; the arm does not know where the camera is"),
                "`magpie calibrate hand-eye` (docs/calibrate.md)",
            ),
            _ => Finding::good("calibration", described),
        })
    }

    /// The configuration, and the files that it names.
    fn files(&self) -> Vec<NamedFile> {
        let Some(path) = &self.path else { return Vec::new() };
        let itself = NamedFile { key: "configuration".to_owned(), path: path.clone() };
        std::iter::once(itself).chain(named_files(path, &self.config.written)).collect()
    }

    /// Files with a secret that everybody may read.
    fn exposed(&self) -> Vec<Finding> {
        let holds_secret = |text: &str| magpie_camera::redact(text) != text;
        let is_secret = |file: &NamedFile| match file.key.as_str() {
            "configuration" => match &self.config.source {
                Source::Camera(CameraConfig::Live(live)) => match &live.source {
                    LiveSource::Rtsp(stream) => holds_secret(&stream.url),
                    LiveSource::GStreamer(stream) => holds_secret(&stream.pipeline),
                    LiveSource::V4l2(_) => false,
                },
                Source::Demo | Source::Recording { .. } | Source::Camera(_) => false,
            },
            "zenoh.config" => system::read(&file.path).is_some_and(|text| holds_secret(&text)),
            "web.token" => true,
            _ => false,
        };
        let is_open = |file: &NamedFile| {
            std::fs::metadata(&file.path).is_ok_and(|found| found.mode() & 0o004 != 0)
        };
        let exposed = self.files().into_iter().filter(|file| is_open(file) && is_secret(file));
        let finding = |NamedFile { key, path }| {
            let shown = path.display();
            let found = format!("{key} {shown}: it holds a secret, and everybody may read it");
            let remedy =
                format!("`sudo chown root:{SERVICE_USER} {shown}`, and `sudo chmod 640 {shown}`");
            Finding::note("secret", found, remedy)
        };
        exposed.map(finding).collect()
    }

    /// Files that the service's user cannot read.
    fn access(&self, user: &User) -> Vec<Finding> {
        if self.path.is_none() {
            return Vec::new();
        }
        let mut findings: Vec<Finding> = self
            .files()
            .into_iter()
            .filter_map(|NamedFile { key, path }| {
                let why = user.cannot_read(&path)?;
                let found = format!("{key} {}: {why}", path.display());
                let remedy = "put it into /etc/magpie, `sudo chgrp magpie` and `sudo chmod g+r` it";
                Some(Finding::mend("permissions", found, remedy))
            })
            .collect();
        if findings.is_empty() {
            findings.push(Finding::good("permissions", "the service can read what it needs"));
        }
        findings
    }

    fn endpoint(&self) -> Vec<Finding> {
        let joining = match self.config.zenoh.check() {
            Ok(joining) => joining,
            Err(error) => {
                let is_configuration = error.is_configuration();
                let found = one_line(&error.into());
                let finding = if is_configuration { Finding::misconfigured } else { Finding::mend };
                return vec![finding("zenoh", found, "docs/secure-a-cell.md")];
            }
        };
        let places = [&joining.listen[..], &joining.connect[..]].concat().join(", ");
        let mut findings = vec![match join(&self.config) {
            Ok((_, listens)) => {
                let places = [&listens[..], &joining.connect[..]].concat().join(", ");
                Finding::good("endpoint", format!("{places}: free for this cell"))
            }
            Err(NetworkError::CellTaken { cell, through }) => {
                let at = std::slice::from_ref(&through);
                let who = holder(at).map_or_else(|| "its daemon".to_owned(), |who| who.to_string());
                Finding::good("endpoint", format!("{through}: {who} publishes cell {cell} already"))
            }
            Err(error @ NetworkError::EndpointTaken { .. }) => {
                let who = holder(&joining.listen);
                let hidden = || "another user's process; root sees whose".to_owned();
                let who = who.map_or_else(hidden, |who| who.to_string());
                Finding::mend("endpoint", format!("{places}: taken by {who}"), error.to_string())
            }
            Err(error) => Finding::mend(
                "endpoint",
                one_line(&error.into()),
                "a run would wait for the network; look whether its address is up",
            ),
        }];
        let now = SystemClock::start().now();
        for certificate in &joining.certificates {
            let days = certificate.days_left(now);
            let text = format!("{}, for {days} more days", certificate.common_name);
            findings.push(match days < Certificate::RENEW_DAYS {
                true => Finding::note("certificate", text, "renew it (scripts/certificates)"),
                false => Finding::good("certificate", text),
            });
        }
        if !joining.exposure.is_secured() {
            findings.push(Finding::note("access", joining.exposure.to_string(), ""));
        }
        findings
    }

    /// Where the page would be.
    fn page(&self) -> Option<Finding> {
        let address = self.config.web.as_ref()?.listen;
        Some(self.place("page", &format!("http://{address}"), "[web] listen", address))
    }

    /// Where Foxglove would connect.
    fn foxglove(&self) -> Option<Finding> {
        let address = self.config.foxglove.as_ref()?.listen;
        Some(self.place("foxglove", &format!("ws://{address}"), "[foxglove] listen", address))
    }

    /// Whether the cell can listen at an address, or does.
    fn place(
        &self,
        what: &'static str,
        shown: &str,
        key: &'static str,
        address: SocketAddr,
    ) -> Finding {
        let Err(error) = TcpListener::bind(address) else {
            let zenoh = self.listens_at();
            return match zenoh.into_iter().find(|endpoint| is_at(endpoint, address)) {
                None => Finding::good(what, format!("{shown}: free for this cell")),
                Some(endpoint) => Finding::misconfigured(
                    what,
                    format!(
                        "{shown}: zenoh of this cell would listen there as well, on {endpoint}"
                    ),
                    format!("choose another address in {key}"),
                ),
            };
        };
        match system::listener_at(address) {
            Some(who) if self.is_own(&who) => {
                Finding::good(what, format!("{shown}: {who}, the daemon of this cell, is there"))
            }
            Some(who) => Finding::mend(
                what,
                format!("{shown}: taken by {who}"),
                format!("choose another address in {key}, or stop what has this one"),
            ),
            None if error.kind() == std::io::ErrorKind::AddrInUse => Finding::note(
                what,
                format!("{shown}: taken by another user's process"),
                "if this cell's daemon runs, that is it; root sees whose it is",
            ),
            None => Finding::mend(
                what,
                format!("{shown}: {error}"),
                format!("choose another address in {key}"),
            ),
        }
    }

    /// Whether a process says that it is the daemon of this cell.
    fn is_own(&self, process: &Process) -> bool {
        let cell = self.config.cell.as_str();
        notes().iter().any(|note| note.cell == cell && note.pid == process.number)
    }

    /// Where the page writes calibrations.
    fn calibrations(&self, user: Option<&User>) -> Option<Finding> {
        let web = self.config.web.as_ref().filter(|web| web.token.is_some())?;
        let folder = &web.calibration_folder;
        let why = match user {
            Some(user) => user.cannot_write(folder),
            None => unsaved_calibrations(&self.config),
        };
        let found = format!("the page could save nothing in {}: {}", folder.display(), why?);
        Some(Finding::mend("calibration", found, SAVE_ELSEWHERE))
    }

    fn recording(&self, user: Option<&User>) -> Option<Finding> {
        let settings = &self.config.recording;
        let Some(RecordingTarget::Ring { folder, .. }) = &settings.target else {
            let remedy = "set [recording] folder to see later what the cell saw";
            return Some(Finding::note("recording", "nothing is recorded", remedy));
        };
        let why = match user {
            Some(user) => user.cannot_write(folder),
            None => magpie_files::unwritable(folder)
                .map(|why| format!("{why}; nothing would be recorded")),
        };
        if let Some(why) = why {
            let found = format!("{}: {why}", folder.display());
            let remedy = "set [recording] folder to one below /var/lib/magpie";
            return Some(Finding::mend("recording", found, remedy));
        }
        let described = recording(&self.config);
        let remedy = "make room, or lower [recording] free_space_mb_min";
        Some(match cramped(&self.config.recording) {
            Some(Cramped::Stopped(why)) => {
                Finding::mend("recording", format!("{described}; {why}"), remedy)
            }
            Some(Cramped::Short(why)) => {
                Finding::note("recording", format!("{described}; {why}"), remedy)
            }
            None => Finding::good("recording", described),
        })
    }

    /// What `[scheduling]` asks for, against what the unit of this cell allows.
    fn scheduling(&self) -> Vec<Finding> {
        let scheduling = &self.config.scheduling;
        let unit = self.unit();
        let limits =
            unit.as_deref().and_then(Limits::of_unit).unwrap_or_else(Limits::of_this_process);
        let remedy = "allow it by systemd/magpie-realtime.conf as a drop-in of the unit \
                      (docs/run-as-a-service.md)";
        let mut findings = Vec::new();
        if let Some(priority) = scheduling.fifo_priority {
            let found = format!(
                "scheduling.fifo_priority = {priority}, and rtprio is {}",
                limits.realtime_priority
            );
            findings.push(match u64::from(priority) <= limits.realtime_priority {
                true => Finding::good("rtprio", found),
                false => Finding::mend("rtprio", found, remedy),
            });
        }
        if scheduling.lock_memory {
            let found = format!("scheduling.lock_memory, and memlock is {}", limits.memory());
            findings.push(match limits.locked_bytes {
                None => Finding::good("memlock", found),
                Some(_) => Finding::mend("memlock", found, remedy),
            });
        }
        findings
    }

    /// `magpie@dock-7` for /etc/magpie/dock-7.toml.
    fn unit(&self) -> Option<String> {
        let path = self.path.as_ref().filter(|path| path.starts_with("/etc/magpie"))?;
        Some(format!("magpie@{}.service", path.file_stem()?.to_str()?))
    }

    /// A GPU that is asked for has to be there; `check` tells whether the model runs on it.
    fn provider(&self) -> Option<Finding> {
        let asked = &self.config.session.providers;
        let needs_gpu =
            |provider: &Provider| matches!(provider, Provider::Cuda | Provider::TensorRt);
        asked.iter().find(|provider| needs_gpu(provider))?;
        let driver = system::read("/proc/driver/nvidia/version");
        Some(match driver {
            Some(_) => Finding::good("provider", "a GPU is asked for, and its driver is loaded"),
            None => Finding::mend(
                "provider",
                "model.providers asks for an NVIDIA GPU, and no NVIDIA driver is loaded",
                "install the driver until `nvidia-smi` lists the GPU, or ask for cpu",
            ),
        })
    }

    /// What no other cell may have at the same time, by name, and what to do where one would.
    pub(super) fn own_things(&self) -> Vec<(&'static str, String, &'static str)> {
        let config = &self.config;
        let mut things =
            vec![("cell", config.cell.to_string(), "give each `cell` a name of its own")];
        things.extend(self.places().into_iter().map(|(place, _)| ("endpoint", place, LISTEN)));
        if let Some(RecordingTarget::Ring { folder, .. }) = &config.recording.target {
            let remedy = "give each a [recording] folder of its own";
            things.push(("recording", folder.display().to_string(), remedy));
        }
        let remedy = "a camera has one daemon: name another one in [source]";
        things.extend(self.device().map(|device| ("camera", device, remedy)));
        things
    }

    /// The camera that the cell opens for itself alone, as far as the configuration says which one.
    fn device(&self) -> Option<String> {
        let Source::Camera(CameraConfig::Live(live)) = &self.config.source else { return None };
        let named = match &live.source {
            LiveSource::V4l2(camera) => camera.device.clone(),
            LiveSource::GStreamer(stream) => {
                let words = stream.pipeline.split_whitespace();
                let names = |word: &str| {
                    let (key, value) = word.split_once('=')?;
                    matches!(key, "device" | "camera-name" | "serial" | "serial-number")
                        .then(|| PathBuf::from(value.trim_matches(['"', '\''])))
                };
                words.filter_map(names).next()?
            }
            LiveSource::Rtsp(_) => return None,
        };
        // Links of several names lead to one device.
        Some(named.canonicalize().unwrap_or(named).display().to_string())
    }

    /// Every place where the cell would listen, and its addresses.
    pub(super) fn places(&self) -> Vec<(String, Vec<SocketAddr>)> {
        let zenoh = self.listens_at().into_iter();
        let mut places: Vec<_> = zenoh.map(|place| (place.clone(), addresses_of(&place))).collect();
        let page = self.config.web.as_ref().map(|web| ("http", web.listen));
        let foxglove = self.config.foxglove.map(|foxglove| ("ws", foxglove.listen));
        let served = page.into_iter().chain(foxglove);
        places.extend(served.map(|(scheme, at)| (format!("{scheme}://{at}"), vec![at])));
        places
    }

    /// Its name, and the file where another one has the same.
    pub(super) fn shown(&self, is_named_twice: bool) -> String {
        let path = self.path.as_ref().filter(|_| is_named_twice);
        path.map_or_else(|| self.config.cell.to_string(), |path| path.display().to_string())
    }

    /// Where the cell must listen; nothing where it takes what is free, or while its network settings
    /// are wrong.
    pub(super) fn listens_at(&self) -> Vec<String> {
        if self.config.zenoh.is_automatic() {
            return Vec::new();
        }
        self.config.zenoh.check().map(|joining| joining.listen).unwrap_or_default()
    }
}

/// Who listens at the first of these endpoints where somebody does.
fn holder(endpoints: &[String]) -> Option<Process> {
    let addresses = endpoints.iter().filter_map(|endpoint| {
        let (_, address) = endpoint.split(['?', '#']).next()?.split_once('/')?;
        address.to_socket_addrs().ok()
    });
    addresses.flatten().find_map(system::listener_at)
}
