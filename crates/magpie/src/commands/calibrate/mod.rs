//! `magpie calibrate`: from a printed board to poses that an arm can trust.

use clap::Subcommand;
use magpie_daemon::failure::Outcome;

mod arguments;
mod board;
mod board_args;
mod hand_eye;
mod intrinsics;
mod live;
mod pairs;
mod plane;
mod reference;
mod same_lens;
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
    /// Name a point to touch with the tool, and say how far off it was.
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
