//! Orders to a running daemon, through its control socket.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::anyhow;
use magpie_daemon::control::{Order, ask};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_network::{Note, notes};
use magpie_wire::CellName;

use crate::present::output;

#[derive(Debug, clap::Args)]
pub(super) struct CellArgs {
    /// The cell; may be left out where one alone runs on this machine.
    #[arg(long, value_parser = CellName::new)]
    cell: Option<CellName>,
}

/// Building an engine takes half an hour; the daemon's end shows at once.
const ANSWER_MAX: Duration = Duration::from_secs(2 * 3600);

pub(super) fn give(args: &CellArgs, order: &Order) -> Outcome {
    let note = addressed(args)?;
    let socket = note.control();
    let answer = ask(&socket, order, ANSWER_MAX).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::PermissionDenied => "; only root and the service's group may: use sudo",
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => "; does it take orders?",
            _ => "",
        };
        let context =
            format!("give an order to cell {:?} at {}{what}", note.cell, socket.display());
        Failure::Fault(anyhow::Error::new(error).context(context))
    })?;
    if answer.done {
        return output::line(&format!("{}: {}", note.cell, answer.said));
    }
    Err(Failure::Fault(anyhow!("cell {:?}: {}", note.cell, answer.said)))
}

/// The one daemon that is meant.
fn addressed(args: &CellArgs) -> Result<Note, Failure> {
    let mut live: Vec<Note> = notes().into_iter().filter(Note::is_live).collect();
    let known: Vec<String> = live.iter().map(|note| note.cell.clone()).collect();
    let known = match &known[..] {
        [] => "none runs on this machine, or none that this user sees".to_owned(),
        known => format!("there are {}", known.join(", ")),
    };
    if let Some(cell) = &args.cell {
        live.retain(|note| note.cell == cell.as_str());
        let found = live.into_iter().next();
        return found.ok_or_else(|| {
            Failure::Fault(anyhow!("no daemon of cell \"{cell}\" runs on this machine; {known}"))
        });
    }
    match <[Note; 1]>::try_from(live) {
        Ok([note]) => Ok(note),
        Err(_) => Err(Failure::Fault(anyhow!("say which cell is meant by --cell: {known}"))),
    }
}
