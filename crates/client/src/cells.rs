//! The cells of this machine, and of whatever else can be reached: who is alive, and how it is doing.

use std::time::Duration;

use magpie_network::{
    NetworkError, Note, ZenohConfig, alive, close, is_fork, notes, open, open_to_ask, places,
};
use magpie_wire::freshness::decode_status;
use magpie_wire::{self as wire, CellName, Refusal};
use zenoh::{Session, Wait};

/// The heartbeat comes every 100 ms.
const HEARTBEAT_MAX: Duration = Duration::from_secs(2);
/// So many heartbeats are looked at until one is of this cell and understood.
const HEARTBEATS_MAX: usize = 3;

/// A cell that says that it is alive.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveCell {
    pub cell: CellName,
    /// Where it was found; empty where a file of zenoh's said how to look for it.
    pub endpoint: String,
    /// Its last heartbeat; `None` where this reader may not hear it, or does not understand it.
    pub status: Option<wire::Status>,
    /// Why the heartbeat that it has is not understood: the daemon is of another version, for example.
    pub refused: Option<Refusal>,
}

/// A daemon that runs on this machine, and does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenCell {
    pub cell: String,
    pub listens: Vec<String>,
}

impl HiddenCell {
    /// Whether that is why it does not answer. Without a certificate everywhere it may be busy.
    pub fn asks_for_certificate(&self) -> bool {
        !self.listens.is_empty() && self.listens.iter().all(|place| place.starts_with("tls/"))
    }
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
        "no cell {cell:?} is alive on this machine{}; `magpie cells` lists them; of a cell elsewhere, \
         name the endpoint, or a zenoh file", instead(.alive)
    )]
    Unknown { cell: String, alive: Vec<String> },
    #[error(
        "cell {cell:?} on {listens} {}",
        if *.asks_for_certificate {
            "asks for a certificate; name a zenoh file that has one"
        } else {
            "does not answer: it is busy, or asks for a certificate; try again, or name a zenoh file \
             that has one"
        }
    )]
    Hidden { cell: String, listens: String, asks_for_certificate: bool },
    #[error(
        "two daemons of this machine publish cell {cell:?}, on {endpoints}; stop one, or name the \
         endpoint of the one that is meant"
    )]
    Ambiguous { cell: String, endpoints: String },
    #[error(transparent)]
    Forked(NetworkError),
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
            let (status, refused) = match heartbeat(session, &cell) {
                Ok(status) => (Some(status), None),
                Err(refused) => (None, refused),
            };
            LiveCell { endpoint: endpoint.to_owned(), status, refused, cell }
        })
        .collect()
}

/// The next heartbeat of a cell that is alive; else why none is understood, or `None` if none comes.
fn heartbeat(session: &Session, cell: &CellName) -> Result<wire::Status, Option<Refusal>> {
    let subscriber = session.declare_subscriber(cell.key("status")).wait().map_err(|_| None)?;
    let mut refused = None;
    for _ in 0..HEARTBEATS_MAX {
        let Ok(Some(sample)) = subscriber.recv_timeout(HEARTBEAT_MAX) else { break };
        match decode_status(&sample.payload().to_bytes(), cell.as_str()) {
            Ok(status) => return Ok(status),
            Err(refusal) => refused = Some(refusal),
        }
    }
    Err(refused)
}

/// How to reach a cell of this machine by its name. Blocks for some seconds at most.
///
/// # Errors
/// If nobody of that name is alive here, or it cannot be reached without more knowledge.
pub fn find_cell(cell: &CellName) -> Result<ZenohConfig, FindError> {
    if is_fork() {
        return Err(FindError::Forked(NetworkError::Forked));
    }
    let LocalCells { live, hidden } = cells_of_this_machine();
    let found: Vec<&LiveCell> = live.iter().filter(|known| known.cell == *cell).collect();
    match found[..] {
        [found] => Ok(ZenohConfig::Connect(vec![found.endpoint.clone()])),
        [] => {
            if let Some(hidden) = hidden.into_iter().find(|known| known.cell == cell.as_str()) {
                let asks_for_certificate = hidden.asks_for_certificate();
                let listens = hidden.listens.join(", ");
                return Err(FindError::Hidden { cell: hidden.cell, listens, asks_for_certificate });
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
            refused: None,
        };
        assert!(is_hidden(&note("dock-8", there), &[live(here, &[here])]));
        assert!(!is_hidden(&note("dock-7", there), &[live(here, &[here])]));
        assert!(!is_hidden(&note("dock-8", here), &[live(here, &[])]));
        assert!(!is_hidden(&note("dock-8", there), &[live(here, &[here, there])]));
    }

    #[test]
    fn only_who_listens_with_certificates_everywhere_surely_asks_for_one() {
        let told = |listens: &[&str]| {
            let listens = listens.iter().map(ToString::to_string).collect::<Vec<_>>();
            let hidden = HiddenCell { cell: "dock-7".into(), listens };
            let asks_for_certificate = hidden.asks_for_certificate();
            let listens = hidden.listens.join(", ");
            FindError::Hidden { cell: hidden.cell, listens, asks_for_certificate }.to_string()
        };
        let secured = told(&["tls/192.168.1.7:7447"]);
        assert!(secured.contains("7447 asks for a certificate"), "{secured}");
        for open in [told(&["tcp/127.0.0.1:17447"]), told(&["tls/a:1", "tcp/127.0.0.1:1"])] {
            assert!(open.contains("does not answer: it is busy, or asks"), "{open}");
        }
    }

    /// Python and C have no options of a command line.
    #[test]
    fn what_the_client_says_names_no_option_of_a_command() {
        let (cell, endpoints) = ("dock-7".to_owned(), "a and b".to_owned());
        let hidden = |asks_for_certificate| FindError::Hidden {
            cell: "dock-7".into(),
            listens: "tls/a:1".into(),
            asks_for_certificate,
        };
        for error in [
            FindError::Unknown { cell: cell.clone(), alive: vec!["dock-8".into()] },
            FindError::Ambiguous { cell, endpoints },
            hidden(true),
            hidden(false),
        ] {
            let said = error.to_string();
            assert!(!said.contains("--"), "{said}");
            assert!(said.contains("endpoint") || said.contains("zenoh file"), "{said}");
        }
    }
}
