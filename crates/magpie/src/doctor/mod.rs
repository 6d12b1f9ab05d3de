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
use self::cell::{Cell, LISTEN};
use crate::arguments::ZenohArgs;
use magpie_daemon::config::collide;

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
    findings.extend(shared(&cells));
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

/// What two cells would both have, of what one alone can.
fn shared(cells: &[Cell]) -> Vec<Finding> {
    let mut by_thing: BTreeMap<(&'static str, String), (&'static str, Vec<&Cell>)> =
        BTreeMap::new();
    for cell in cells {
        for (what, thing, remedy) in cell.own_things() {
            by_thing.entry((what, thing)).or_insert((remedy, Vec::new())).1.push(cell);
        }
    }
    let shared = by_thing.into_iter().filter(|(_, (_, cells))| cells.len() > 1);
    let finding =
        |((what, thing), (remedy, cells)): ((&'static str, String), (&str, Vec<&Cell>))| {
            let is_named_twice =
                cells.windows(2).any(|two| two[0].config.cell == two[1].config.cell);
            let cells: Vec<String> = cells.iter().map(|cell| cell.shown(is_named_twice)).collect();
            let cells = cells.join(", ");
            let found = match what {
                "cell" => format!("{cells} are all called {thing}"),
                "endpoint" => format!("{thing}: cells {cells} would all listen there"),
                "recording" => format!("{thing}: cells {cells} would all record there"),
                _ => format!("{thing}: cells {cells} would all open it"),
            };
            Finding::note(what, found, format!("only one of them can have it: {remedy}"))
        };
    shared.map(finding).chain(colliding(cells)).collect()
}

/// Places of two cells that are written differently, and are one address all the same.
fn colliding(cells: &[Cell]) -> Vec<Finding> {
    let places: Vec<_> = cells.iter().map(|cell| (cell, cell.places())).collect();
    let mut findings = Vec::new();
    for (index, (cell, own)) in places.iter().enumerate() {
        for (other, others) in &places[index + 1..] {
            for ((a, at), (b, there)) in own.iter().flat_map(|a| others.iter().map(move |b| (a, b)))
            {
                if a != b && at.iter().any(|at| there.iter().any(|there| collide(*at, *there))) {
                    let (cell, other) = (&cell.config.cell, &other.config.cell);
                    let found =
                        format!("{a} of cell {cell} and {b} of cell {other} are one address");
                    let remedy = format!("only one of them can have it: {LISTEN}");
                    findings.push(Finding::note("endpoint", found, remedy));
                }
            }
        }
    }
    findings
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
