//! Notifications to systemd, and the unit that it runs the daemon as.

use sd_notify::NotifyState;

/// Does nothing where systemd is not listening.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "notify systemd");
    }
}

/// The kernel has some lines here.
const CGROUP_BYTES_MAX: u64 = 64 * 1024;

/// The command that starts this daemon anew, or words where systemd did not start it.
pub(crate) fn how_to_restart() -> String {
    let cgroups = magpie_files::read_text("/proc/self/cgroup".as_ref(), CGROUP_BYTES_MAX);
    match cgroups.ok().as_deref().and_then(unit_in) {
        Some(unit) => format!("sudo systemctl restart {unit}"),
        None => "end `magpie run`, and start it as before".to_owned(),
    }
}

/// The unit of Magpie's in what the kernel says of a process: its file may have another name than the
/// cell.
fn unit_in(cgroups: &str) -> Option<&str> {
    let last = cgroups.lines().filter_map(|line| line.rsplit_once('/'));
    let mut units = last.filter_map(|(_, last)| last.strip_suffix(".service"));
    units.find(|unit| unit.starts_with("magpie"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_that_of_systemd_and_not_of_a_session() {
        let service = "0::/system.slice/system-magpie.slice/magpie@north.service\n";
        assert_eq!(unit_in(service), Some("magpie@north"));
        let old = "1:name=systemd:/system.slice/magpie@north.service\n0::/\n";
        assert_eq!(unit_in(old), Some("magpie@north"));
        let shell = "0::/user.slice/user-1000.slice/user@1000.service/session-2.scope\n";
        assert_eq!(unit_in(shell), None);
    }
}
