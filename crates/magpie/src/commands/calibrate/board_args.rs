//! How a board is described on the command line.

use anyhow::anyhow;
use clap::ValueEnum;
use magpie_camera::calibrate::{Board, Dictionary};

use magpie_daemon::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BoardKind {
    Charuco,
    Chessboard,
    /// Single ArUco markers.
    Markers,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct BoardArgs {
    /// What kind of board it is.
    #[arg(long, value_enum, default_value = "charuco")]
    board: BoardKind,
    /// Squares of a ChArUco board, columns x rows.
    #[arg(long, value_parser = grid, default_value = "7x5")]
    squares: (usize, usize),
    /// Inner corners of a chessboard, columns x rows: one fewer than squares, each way.
    #[arg(long, value_parser = grid)]
    corners: Option<(usize, usize)>,
    /// Side of a square as measured on the print. [default where only proportions matter: 0.030]
    #[arg(long)]
    square_length_m: Option<f64>,
    /// Side of a marker. [default: 0.7 of the square]
    #[arg(long)]
    marker_length_m: Option<f64>,
    /// OpenCV's name, such as DICT_4X4_50 or DICT_APRILTAG_36h11.
    #[arg(long, default_value = "DICT_4X4_50", value_parser = str::parse::<Dictionary>)]
    dictionary: Dictionary,
}

const SQUARE_LENGTH_M: f64 = 0.030;
/// Markers have 21 mm in the default square: seven modules of 3 mm, and a good rim around them.
const MARKER_SHARE: f64 = 0.7;

impl BoardArgs {
    /// The length that was given for a square.
    pub(super) fn square_length_m(&self) -> Option<f64> {
        self.square_length_m
    }

    pub(super) fn kind(&self) -> BoardKind {
        self.board
    }

    /// The board for a result whose scale it sets: its size must have been given.
    pub(super) fn board_to_scale(&self) -> Result<Board, Failure> {
        if self.square_length_m.is_none() && self.board != BoardKind::Markers {
            return Err(Failure::Config(anyhow!(
                "measure a square of the printed board and give it as --square-length-m: it sets \
                 the scale of everything"
            )));
        }
        self.board()
    }

    pub(super) fn board(&self) -> Result<Board, Failure> {
        let square_length_m = self.square_length_m.unwrap_or(SQUARE_LENGTH_M);
        let board = match self.board {
            BoardKind::Charuco => Board::Charuco {
                squares_x: self.squares.0,
                squares_y: self.squares.1,
                square_length_m,
                marker_length_m: self.marker_length_m.unwrap_or(MARKER_SHARE * square_length_m),
                dictionary: self.dictionary,
            },
            BoardKind::Chessboard => {
                let Some((corners_x, corners_y)) = self.corners else {
                    return Err(Failure::Config(anyhow!(
                        "count the inner corners of the chessboard and give them as --corners, for \
                         example 11x8 for 12x9 squares"
                    )));
                };
                Board::Chessboard { corners_x, corners_y, square_length_m }
            }
            BoardKind::Markers => {
                let Some(marker_length_m) = self.marker_length_m else {
                    return Err(Failure::Config(anyhow!(
                        "measure the black square of a marker and give it as --marker-length-m"
                    )));
                };
                Board::Markers { marker_length_m, dictionary: self.dictionary }
            }
        };
        board.check().map_err(Failure::config)?;
        Ok(board)
    }
}

/// `7x5`.
fn grid(text: &str) -> Result<(usize, usize), String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)));
    sides.ok_or_else(|| format!("{text:?} must look like 7x5: columns x rows"))
}
