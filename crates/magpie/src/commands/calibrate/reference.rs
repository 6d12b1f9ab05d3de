//! `magpie calibrate reference`: where fixed fiducials are seen while the calibration is known to be
//! good, for `[drift]`.

use std::path::PathBuf;

use anyhow::Context;
use magpie_camera::calibrate::{Reference, reference_points};
use magpie_camera::read_camera_info;

use super::board_args::{BoardArgs, BoardKind};
use super::live::PictureArgs;
use crate::present::output;
use magpie_daemon::calibration_files::ReferenceFile;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_network::SystemClock;

#[derive(Debug, clap::Args)]
pub(super) struct ReferenceArgs {
    /// ROS camera_info YAML.
    #[arg(long)]
    camera_info: PathBuf,
    #[command(flatten)]
    board: BoardArgs,
    #[command(flatten)]
    picture: PictureArgs,
    /// Where to write the reference, as YAML.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn reference(args: &ReferenceArgs) -> Outcome {
    let board = match args.board.kind() {
        BoardKind::Markers => args.board.board()?,
        _ => args.board.board_to_scale()?,
    };
    board.check_unique_orientation().map_err(Failure::config)?;
    let info = read_camera_info(&args.camera_info, None).map_err(Failure::config)?;
    let picture = args.picture.take(&info)?;
    let points = reference_points(&picture, &board, &info).map_err(Failure::config)?;
    let count = points.len();
    let reference = Reference { board, points };
    let file = ReferenceFile::new(&reference, &info, SystemClock::start().now());
    let yaml = serde_saphyr::to_string(&file).context("form the reference")?;
    output::write(&args.out, yaml.as_bytes())?;
    output::line(&format!("{count} points of {}: {}", reference.board, args.out.display()))?;
    output::line("for the configuration: [drift] reference = that file")
}
