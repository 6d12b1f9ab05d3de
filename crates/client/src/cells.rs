//! The cells of this machine, and of whatever else can be reached: who is alive, and how it is doing.

use std::time::Duration;

use magpie_network::{
    NetworkError, Note, ZenohConfig, alive, close, notes, open, open_to_ask, places,
};
use magpie_wire::freshness::decode_status;
use magpie_wire::{self as wire, CellName};
use zenoh::{Session, Wait};

/// The heartbeat comes every 100 ms.
const HEARTBEAT_MAX: Duration = Duration::from_secs(2);

/// A cell that says that it is alive.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveCell {
    pub cell: CellName,
    /// Where it was found; empty where a file of zenoh's said how to look for it.
    pub endpoint: String,
    /// Its last heartbeat; `None` where this reader may not hear it.
    pub status: Option<wire::Status>,
}

/// A daemon that runs on this machine, and does not answer: it asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenCell {
    pub cell: String,
    pub listens: Vec<String>,
}

/// What was found on this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalCells {
    pub live: Vec<LiveCell>,
    pub hidden: Vec<HiddenCell>,
}

#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(
        "no cell {cell:?} is alive on this machine{}; `magpie cells` lists them; elsewhere, name \
         an endpoint (--connect) or a file of zenoh's (--zenoh)", instead(.alive)
    )]
    Unknown { cell: String, alive: Vec<String> },
    #[error(
        "cell {cell:?} on {listens} asks for a certificate; name a file of zenoh's that has one: \
         --zenoh"
    )]
    Hidden { cell: String, listens: String },
    #[error(
        "two daemons of this machine publish cell {cell:?}, on {endpoints}; stop one, or say which \
         one is meant: --connect"
    )]
    Ambiguous { cell: String, endpoints: String },
}

fn instead(alive: &[String]) -> String {
    match alive {
        [] => String::new(),
        alive => format!("; alive are {}", alive.join(", ")),
    }
}

/// The cells of this machine, by their own words. Nobody is scouted for. Blocks for some seconds at
/// most.
pub fn cells_of_this_machine() -> LocalCells {
    let asked: Vec<_> = places()
        .into_iter()
        .map(|endpoint| {
            std::thread::Builder::new().name("magpie-ask".into()).spawn(move || {
                let session = open_to_ask(&endpoint)?;
                let cells = live_cells(&session, &endpoint);
                close(&session);
                Some(cells)
            })
        })
        .collect();
    let answers = asked.into_iter().flatten().filter_map(|thread| thread.join().ok().flatten());
    let mut live: Vec<LiveCell> = Vec::new();
    for found in answers.flatten() {
        if !live.iter().any(|known| is_same(known, &found)) {
            live.push(found);
        }
    }
    live.sort_by(|a, b| a.cell.as_str().cmp(b.cell.as_str()));
    let hidden = notes().into_iter().filter(|note| is_hidden(note, &live) && note.is_live());
    let hidden = hidden.map(|note| HiddenCell { cell: note.cell, listens: note.listens });
    LocalCells { hidden: hidden.collect(), live }
}

/// Whether a note may be of a daemon that did not answer. Where another one listens, there is none.
fn is_hidden(note: &Note, live: &[LiveCell]) -> bool {
    live.iter().all(|known| {
        let listens = known.status.iter().flat_map(|status| &status.listens);
        let mut places = listens.chain([&known.endpoint]);
        known.cell.as_str() != note.cell && !places.any(|place| note.listens.contains(place))
    })
}

/// The same daemon, found at two of its endpoints or through a router.
fn is_same(a: &LiveCell, b: &LiveCell) -> bool {
    let instance = |cell: &LiveCell| cell.status.as_ref().map(|status| status.instance_id.clone());
    a.cell == b.cell && instance(a).is_some() && instance(a) == instance(b)
}

/// The cells that can be reached as `zenoh` says.
///
/// # Errors
/// If the network cannot be joined like that.
pub fn cells_at(zenoh: &ZenohConfig) -> Result<Vec<LiveCell>, NetworkError> {
    let session = open(zenoh)?;
    let cells = live_cells(&session, "");
    close(&session);
    Ok(cells)
}

fn live_cells(session: &Session, endpoint: &str) -> Vec<LiveCell> {
    alive(session)
        .into_iter()
        .map(|cell| {
            let status = heartbeat(session, &cell);
            LiveCell { endpoint: endpoint.to_owned(), status, cell }
        })
        .collect()
}

/// The next heartbeat of a cell that is alive.
fn heartbeat(session: &Session, cell: &CellName) -> Option<wire::Status> {
    let subscriber = session.declare_subscriber(cell.key("status")).wait().ok()?;
    let sample = subscriber.recv_timeout(HEARTBEAT_MAX).ok()??;
    decode_status(&sample.payload().to_bytes(), cell.as_str()).ok()
}

/// How to reach a cell of this machine by its name. Blocks for some seconds at most.
///
/// # Errors
/// If nobody of that name is alive here, or it cannot be reached without more knowledge.
pub fn find_cell(cell: &CellName) -> Result<ZenohConfig, FindError> {
    let LocalCells { live, hidden } = cells_of_this_machine();
    let found: Vec<&LiveCell> = live.iter().filter(|known| known.cell == *cell).collect();
    match found[..] {
        [found] => Ok(ZenohConfig::Connect(vec![found.endpoint.clone()])),
        [] => {
            if let Some(hidden) = hidden.into_iter().find(|known| known.cell == cell.as_str()) {
                let listens = hidden.listens.join(", ");
                return Err(FindError::Hidden { cell: hidden.cell, listens });
            }
            let mut alive: Vec<String> = live.iter().map(|known| known.cell.to_string()).collect();
            alive.dedup();
            Err(FindError::Unknown { cell: cell.to_string(), alive })
        }
        [..] => {
            let endpoints: Vec<&str> = found.iter().map(|found| found.endpoint.as_str()).collect();
            let endpoints = endpoints.join(" and ");
            Err(FindError::Ambiguous { cell: cell.to_string(), endpoints })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_note_of_a_daemon_that_died_is_passed_over_where_another_one_listens_now() {
        let note = |cell: &str, listens: &str| Note {
            cell: cell.into(),
            pid: 1,
            listens: vec![listens.into()],
            connects: Vec::new(),
            folder: PathBuf::new(),
        };
        let (here, there) = ("tcp/127.0.0.1:17447", "tcp/127.0.0.1:17448");
        let live = |endpoint: &str, listens: &[&str]| LiveCell {
            cell: CellName::new("dock-7").unwrap(),
            endpoint: endpoint.into(),
            status: Some(wire::Status {
                listens: listens.iter().map(|place| (*place).to_owned()).collect(),
                ..Default::default()
            }),
        };
        assert!(is_hidden(&note("dock-8", there), &[live(here, &[here])]));
        assert!(!is_hidden(&note("dock-7", there), &[live(here, &[here])]));
        assert!(!is_hidden(&note("dock-8", here), &[live(here, &[])]));
        assert!(!is_hidden(&note("dock-8", there), &[live(here, &[here, there])]));
    }
}
