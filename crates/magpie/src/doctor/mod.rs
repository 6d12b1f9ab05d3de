//! Looks for what stands in the way of a run on this machine, one thing after the other, and says
//! what to do about it. `check` stops at the first; this goes on.

mod access;
mod cameras;
mod cell;
mod finding;
mod machine;
mod system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::access::User;
use self::cameras::Cameras;
use self::cell::Cell;
use crate::arguments::ZenohArgs;

pub use self::finding::{Finding, Verdict};
pub use self::machine::versions;

const CONFIGURATIONS: &str = "/etc/magpie";

/// What to look at.
pub struct Scope<'a> {
    /// Empty: those in /etc/magpie, or else the shipped one.
    pub(crate) configurations: &'a [PathBuf],
    pub(crate) zenoh: &'a ZenohArgs,
    /// Whether to ask the local networks for cameras.
    pub(crate) ask_networks: bool,
}

pub fn examine(scope: &Scope<'_>) -> Vec<Finding> {
    let user = User::of_service();
    let cameras = Cameras::look(scope.ask_networks);
    let mut findings = machine::findings(user.as_ref());
    findings.extend(cameras.findings());
    let mut cells = Vec::new();
    for path in configurations(scope.configurations) {
        match Cell::load(path.as_deref(), scope.zenoh) {
            Ok(cell) => {
                findings.extend(cell.findings(&cameras, user.as_ref()));
                cells.push(cell);
            }
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(shared_endpoints(&cells));
    findings
}

/// Those that were named, or those of the service.
pub(crate) fn configurations(named: &[PathBuf]) -> Vec<Option<PathBuf>> {
    let mut found =
        if named.is_empty() { of_service(Path::new(CONFIGURATIONS)) } else { named.to_vec() };
    found.sort();
    if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() }
}

pub(crate) fn of_service(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
}

/// Two daemons cannot listen at one endpoint.
fn shared_endpoints(cells: &[Cell]) -> Vec<Finding> {
    let mut by_endpoint: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cell in cells {
        let page = cell.config.web.as_ref().map(|web| format!("http://{}", web.listen));
        for endpoint in cell.listens_at().into_iter().chain(page) {
            by_endpoint.entry(endpoint).or_default().push(cell.config.cell.to_string());
        }
    }
    let shared = by_endpoint.into_iter().filter(|(_, cells)| cells.len() > 1);
    let finding = |(endpoint, cells): (String, Vec<String>)| {
        let found = format!("{endpoint}: cells {} would all listen there", cells.join(", "));
        let remedy = "only one of them can have it: give each an address of its own, by [zenoh] listen, \
                      [web] listen or in its file of zenoh's (docs/run-as-a-service.md)";
        Finding::note("endpoint", found, remedy)
    };
    shared.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_of_the_service_are_its_toml_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "a.toml.bak", "lens.yaml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = of_service(folder.path());
        found.sort();
        assert_eq!(found, [folder.path().join("a.toml"), folder.path().join("b.toml")]);
        assert_eq!(of_service(&folder.path().join("none")), Vec::<PathBuf>::new());
        let named = [PathBuf::from("x.toml")];
        assert_eq!(configurations(&named), [Some(PathBuf::from("x.toml"))]);
    }
}
