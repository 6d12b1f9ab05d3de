//! Calibration: printed boards, the lens, where the camera hangs, and whether that still holds.
//!
//! Detection and the closed solutions are OpenCV's; the joint refinement, the spread, and the
//! search for mixed-up conventions are plain geometry and mention no OpenCV type.
//!
//! # Conventions
//!
//! - A board's reference frame: origin in the upper left corner of the printed pattern (ChArUco) or
//!   in its first inner corner (chessboard), x to the right along the rows, y down, z into the
//!   paper, as OpenCV 4.7 and newer have it.
//! - ChArUco corners are numbered row by row; markers sit on the white squares, numbered row by
//!   row, and the upper left square is black. Boards of OpenCV before 4.6 with an even number of
//!   rows begin with a white square: they are recognised.
//! - Pixels follow OpenCV: the centre of the top-left pixel is `(0, 0)`.

mod board;
mod charuco;
mod chessboard;
mod convention;
mod coverage;
mod degrees;
mod detect;
mod dictionary;
mod drift;
mod errors;
mod hand_eye;
mod intrinsics;
mod least_squares;
mod matrices;
mod plane;
mod pose;
mod print;
mod readings;
mod refine;
mod select;
mod sharpness;
mod solvers;

pub use board::{Board, BoardPoint, View};
pub use convention::{Mistake, RawPose, Suspicion, find_mistake};
pub use coverage::Coverage;
pub use detect::{chessboard_of_other_size, detect, dictionary_in_view, view_of};
pub use dictionary::Dictionary;
pub use drift::{Drift, Reference, ReferencePoint, measure_drift, reference_points};
pub use errors::CalibrateError;
pub use hand_eye::{HandEye, HandEyePair, HandEyeReport, Setup, Spread, calibrate_hand_eye};
pub use intrinsics::{IntrinsicsReport, calibrate_intrinsics};
pub use plane::{CLEARED_SHARE_MIN, PlaneFit, fit_plane};
pub use pose::{BoardPose, board_pose};
pub use print::{PageFormat, board_pdf, board_svg};
pub use readings::settle_readings;
pub use select::{Rejection, select_views};
pub use solvers::Solver;
