//! The machine: its clock, disk, limits, GPU and libraries, and the service as it is installed.

use std::path::Path;

use magpie_daemon::failure::one_line;
use rustix::process::{Resource, getrlimit};

use super::access::{SERVICE_USER, User};
use super::finding::Finding;
use super::system;
use crate::inspection::free_bytes;

const STATE: &str = "/var/lib/magpie";
/// With less, logs and updates of the system are in danger, too.
const FREE_BYTES_MIN: u64 = 2_000_000_000;
const UNITS: [&str; 3] = [
    "/etc/systemd/system/magpie@.service",
    "/usr/lib/systemd/system/magpie@.service",
    "/lib/systemd/system/magpie@.service",
];

pub(super) fn findings(user: Option<&User>) -> Vec<Finding> {
    let mut findings = libraries();
    findings.push(gpu());
    findings.extend(clock());
    findings.push(disk());
    findings.push(limits());
    findings.extend(service(user));
    findings
}

/// Versions, which a report about a fault needs first.
pub fn versions() -> Vec<(&'static str, String)> {
    let mut versions = vec![("magpie", env!("CARGO_PKG_VERSION").to_owned())];
    // The package's version has the commit.
    let package = system::ask("dpkg-query", &["-W", "-f", "${Version}", "magpie"]);
    versions.extend(package.filter(|version| !version.is_empty()).map(|it| ("package", it)));
    versions.extend(magpie_camera::library_versions());
    let system = system::read("/etc/os-release").unwrap_or_default();
    let name = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    versions.push(("system", name.unwrap_or("unknown").trim_matches('"').to_owned()));
    let kernel = system::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    versions.push(("kernel", kernel.trim().to_owned()));
    versions
}

fn libraries() -> Vec<Finding> {
    let versions: Vec<String> =
        versions().into_iter().map(|(name, version)| format!("{name} {version}")).collect();
    let runtime = match magpie_inference::load_runtime() {
        Ok(path) => Finding::good("ONNX Runtime", path.display().to_string()),
        Err(error) => Finding::mend(
            "ONNX Runtime",
            one_line(&error.into()),
            "install the Debian package, which brings it",
        ),
    };
    vec![Finding::good("versions", versions.join(", ")), runtime]
}

fn gpu() -> Finding {
    if let Some(driver) = system::read("/proc/driver/nvidia/version") {
        return Finding::good("GPU", driver.lines().next().unwrap_or_default().trim());
    }
    let renders = std::fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    let mut renders: Vec<String> = renders
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.contains("render"))
        .collect();
    renders.sort();
    match renders.is_empty() {
        true => Finding::good("GPU", "none; the model runs on the processor"),
        false => Finding::good("GPU", format!("no NVIDIA driver; {}", renders.join(", "))),
    }
}

fn clock() -> Vec<Finding> {
    let source = system::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.unwrap_or_default();
    let source = source.trim();
    let read = match source {
        "" => Finding::note("clock", "the kernel does not tell what it counts time by", ""),
        // Reading these takes microseconds, each time.
        "hpet" | "acpi_pm" | "jiffies" => Finding::note(
            "clock",
            format!("the kernel counts time by {source}, which is slow to read"),
            "look in `dmesg` why it does not trust the processor's counter (tsc)",
        ),
        _ => Finding::good("clock", format!("the kernel counts time by {source}")),
    };
    vec![read, synchronisation()]
}

/// Stamps are compared with the clocks of arms on other machines.
fn synchronisation() -> Finding {
    let remedy = "install chrony or enable systemd-timesyncd (`sudo timedatectl set-ntp true`); an \
                  arm on another machine takes results for old or new wrongly";
    match system::ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).as_deref()
    {
        Some("yes") => Finding::good("clock", "synchronised"),
        Some("no") => Finding::mend("clock", "not synchronised", remedy),
        _ if Path::new("/run/systemd/timesync/synchronized").exists() => {
            Finding::good("clock", "synchronised")
        }
        _ => Finding::note("clock", "whether it is synchronised cannot be told here", remedy),
    }
}

fn disk() -> Finding {
    let Some(free) = free_bytes(Path::new(STATE)) else {
        return Finding::note("disk", format!("the disk of {STATE} cannot be asked"), "");
    };
    let found = format!("{} MB free for {STATE}", free / 1_000_000);
    match free < FREE_BYTES_MIN {
        true => Finding::mend("disk", found, "make room: recordings stop, and models do not fit"),
        false => Finding::good("disk", found),
    }
}

/// What a process may take of the processor and the memory.
pub(super) struct Limits {
    /// 0: none at all.
    pub(super) realtime_priority: u64,
    /// `None`: as much as there is.
    pub(super) locked_bytes: Option<u64>,
}

impl Limits {
    pub(super) fn of_this_process() -> Limits {
        Limits {
            realtime_priority: getrlimit(Resource::Rtprio).current.unwrap_or(99),
            locked_bytes: getrlimit(Resource::Memlock).current,
        }
    }

    /// `None` where systemd does not run, or does not know the unit.
    pub(super) fn of_unit(unit: &str) -> Option<Limits> {
        let asked = ["show", unit, "--property=LimitRTPRIO,LimitMEMLOCK"];
        Limits::parse(&system::ask("systemctl", &asked)?)
    }

    fn parse(shown: &str) -> Option<Limits> {
        let value =
            |key: &str| shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let number = |text: &str| match text {
            "infinity" => Some(u64::MAX),
            number => number.parse().ok(),
        };
        let locked = number(value("LimitMEMLOCK")?)?;
        Some(Limits {
            realtime_priority: number(value("LimitRTPRIO")?)?.min(99),
            locked_bytes: Some(locked).filter(|bytes| *bytes < u64::MAX),
        })
    }

    pub(super) fn memory(&self) -> String {
        self.locked_bytes
            .map_or_else(|| "unlimited".to_owned(), |bytes| format!("{} kB", bytes / 1000))
    }
}

fn limits() -> Finding {
    let limits = Limits::of_this_process();
    let found = format!(
        "this shell: rtprio {}, memlock {}; a unit has its own",
        limits.realtime_priority,
        limits.memory()
    );
    Finding::good("limits", found)
}

fn service(user: Option<&User>) -> Vec<Finding> {
    let remedy = "install the Debian package (docs/run-as-a-service.md)";
    let unit = UNITS.iter().find(|unit| Path::new(unit).exists());
    let unit = match unit {
        Some(unit) => Finding::good("service", (*unit).to_owned()),
        None => Finding::note("service", "there is no unit magpie@.service", remedy),
    };
    let user = match user {
        Some(_) => Finding::good("service", format!("user {SERVICE_USER} is there")),
        None => Finding::note("service", format!("there is no user {SERVICE_USER}"), remedy),
    };
    let asked = ["list-units", "magpie@*", "--all", "--plain", "--no-legend", "--no-pager"];
    let units = system::ask("systemctl", &asked).unwrap_or_default();
    let instances = units.lines().filter_map(instance);
    [unit, user].into_iter().chain(instances).collect()
}

/// `magpie@dock-7.service loaded active running Magpie, ...`.
fn instance(line: &str) -> Option<Finding> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (name, active, sub) = (fields.first()?, fields.get(2)?, fields.get(3)?);
    let found = format!("{name} is {active} ({sub})");
    let remedy = format!("`journalctl -u {name} -n 50` says why");
    Some(match *active {
        "failed" => Finding::mend("service", found, remedy),
        "active" | "inactive" => Finding::good("service", found),
        _ => Finding::note("service", found, remedy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn limits_are_read_as_systemd_writes_them() {
        let limits = Limits::parse("LimitRTPRIO=40\nLimitMEMLOCK=infinity\n").unwrap();
        assert_eq!((limits.realtime_priority, limits.locked_bytes), (40, None));
        let limits = Limits::parse("LimitMEMLOCK=8388608\nLimitRTPRIO=0").unwrap();
        assert_eq!((limits.realtime_priority, &*limits.memory()), (0, "8388 kB"));
        assert!(Limits::parse("").is_none());
        assert!(Limits::parse("LimitRTPRIO=\nLimitMEMLOCK=").is_none());
    }

    #[test]
    fn an_instance_that_failed_is_to_be_mended() {
        let of = |state| instance(&format!("magpie@a.service loaded {state} Magpie")).unwrap();
        assert_eq!(of("active running").verdict, Verdict::Good);
        assert_eq!(of("activating auto-restart").verdict, Verdict::Note);
        assert!(of("failed failed").line().contains("journalctl -u magpie@a.service"));
        assert_eq!(instance("odd"), None);
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent() {
        assert_eq!(
            free_bytes(Path::new("/no/such")).is_some(),
            free_bytes(Path::new("/")).is_some()
        );
    }
}
