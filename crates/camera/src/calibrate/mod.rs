//! Calibration: printed boards, the lens, where the camera hangs, and whether that still holds.
//!
//! OpenCV detects boards and finds the closed solutions; the joint refinement, the spread, and the
//! search for mixed-up conventions are plain geometry and mention no OpenCV type.
//!
//! # Conventions
//!
//! - A board's reference frame has its origin in the upper left corner of the printed pattern
//!   (ChArUco) or in its first inner corner (chessboard). Its x points to the right along the rows,
//!   y down, z into the paper, as OpenCV 4.7 and newer have it.
//! - ChArUco corners are numbered row by row; markers sit on the white squares, numbered row by
//!   row, and the upper left square is black. Boards of OpenCV before 4.6 with an even number of
//!   rows begin with a white square: they are recognised.
//! - Pixels follow OpenCV: the centre of the top-left pixel is `(0, 0)`.

mod board;
mod charuco;
mod chessboard;
mod collect;
mod consistency;
mod coverage;
mod detect;
mod dictionary;
mod drift;
mod errors;
mod euler;
mod hand_eye;
mod intrinsics;
mod least_squares;
mod matrices;
mod plane;
mod pose;
mod print;
mod select;
mod sharpness;

pub use board::{Board, BoardPoint, View};
pub use collect::{LENS_VIEWS_MAX, LensViews, Offered, calibrate_selected};
pub use consistency::LensDoubt;
pub use coverage::Coverage;
pub use detect::{detect, view_of, without_board};
pub use dictionary::Dictionary;
pub use drift::{Drift, Reference, ReferencePoint, measure_drift, reference_points};
pub use errors::{CalibrateError, Mismatch};
pub use euler::EulerOrder;
pub use hand_eye::calibration::{HandEyeReport, calibrate_hand_eye};
pub use hand_eye::judge::{
    HandEyeError, HandEyeLimits, HandEyeVerdict, PAIRS_MAX, Stop, judge_hand_eye, settle,
};
pub use hand_eye::mistakes::{Mistake, Suspicion, find_mistake};
pub use hand_eye::model::{HandEye, HandEyePair, RawPose, Setup, Spread};
pub use hand_eye::motion::ArmMotion;
pub use hand_eye::orientation::resolve_orientations;
pub use hand_eye::scale::BoardScale;
pub use hand_eye::solvers::Solver;
pub use hand_eye::stop::NoStop;
pub use intrinsics::{IntrinsicsReport, calibrate_intrinsics};
pub use plane::{CLEARED_SHARE_MIN, PlaneFit, fit_plane};
pub use pose::{BoardPose, board_pose};
pub use print::{PageFormat, board_pdf, board_svg};
pub use select::{Rejection, blurred, select_views};
