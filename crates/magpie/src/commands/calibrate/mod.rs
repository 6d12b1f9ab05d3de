//! `magpie calibrate`: from a printed board to poses that an arm can trust.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use magpie_daemon::failure::{Failure, Outcome};

mod board;
mod board_args;
mod hand_eye;
mod intrinsics;
mod live;
mod pairs;
mod plane;
mod reference;
mod verify;

#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a board to print, as SVG or PDF.
    Board(board::BoardSheetArgs),
    /// Find the lens from pictures of a board.
    Intrinsics(intrinsics::IntrinsicsArgs),
    /// Find where the camera is, from poses of the arm and views of a board.
    HandEye(hand_eye::HandEyeArgs),
    /// Name a point to touch with the tool, and tell how far off it was.
    Verify(verify::VerifyArgs),
    /// Find the plane that packages rest on.
    Plane(plane::PlaneArgs),
    /// Note where fixed fiducials are seen, so that a running daemon notices when the camera moves.
    Reference(reference::ReferenceArgs),
}

pub fn calibrate(args: &CalibrateArgs) -> Outcome {
    match &args.command {
        Command::Board(args) => board::board(args),
        Command::Intrinsics(args) => intrinsics::intrinsics(args),
        Command::HandEye(args) => hand_eye::hand_eye(args),
        Command::Verify(args) => verify::verify(args),
        Command::Plane(args) => plane::plane(args),
        Command::Reference(args) => reference::reference(args),
    }
}

/// `1,2,3`.
fn list<T: std::str::FromStr + Copy + Default, const N: usize>(
    text: &str,
) -> Result<[T; N], String> {
    let mut values = [T::default(); N];
    let mut words = text.split(',');
    for value in &mut values {
        let parsed = words.next().and_then(|word| word.trim().parse().ok());
        *value =
            parsed.ok_or_else(|| format!("{text:?} must be {N} numbers with commas between"))?;
    }
    match words.next() {
        None => Ok(values),
        Some(_) => Err(format!("{text:?} has more than {N} numbers")),
    }
}

/// Whole or not at all: a reader never finds half a file, and a failure leaves the old one.
fn write_whole(path: &Path, bytes: &[u8]) -> Outcome {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        // What is left of a full disk is of no use.
        let _ = std::fs::remove_file(&part);
        Failure::fault(anyhow::Error::new(error).context(format!("write {}", path.display())))
    })
}
