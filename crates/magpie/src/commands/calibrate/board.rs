//! `magpie calibrate board`: a sheet to print.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;
use magpie_camera::calibrate::{PageFormat, board_pdf, board_svg};

use super::board_args::BoardArgs;
use crate::present::output;
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    A4,
    A3,
    A2,
    A1,
    Letter,
}

#[derive(Debug, clap::Args)]
pub(super) struct BoardSheetArgs {
    #[command(flatten)]
    board: BoardArgs,
    /// The smallest sheet that holds the board, unless one is named.
    #[arg(long, value_enum)]
    page: Option<Page>,
    /// Where to write it: .svg or .pdf.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn board(args: &BoardSheetArgs) -> Outcome {
    let board = args.board.board()?;
    let page = args.page.map(|page| match page {
        Page::A4 => PageFormat::A4,
        Page::A3 => PageFormat::A3,
        Page::A2 => PageFormat::A2,
        Page::A1 => PageFormat::A1,
        Page::Letter => PageFormat::Letter,
    });
    let extension = args.out.extension().map(|extension| extension.to_ascii_lowercase());
    let bytes = match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("svg") => board_svg(&board, page).map_err(Failure::config)?.into_bytes(),
        Some("pdf") => board_pdf(&board, page).map_err(Failure::config)?,
        _ => {
            let path = args.out.display();
            return Err(Failure::Config(anyhow!("--out {path} must end in .svg or .pdf")));
        }
    };
    output::write(&args.out, &bytes)?;
    output::line(&format!("{board}: {}", args.out.display()))?;
    output::line(
        "print it at 100 % (\"actual size\") on stiff, flat, matt material; check the ruler",
    )
}
