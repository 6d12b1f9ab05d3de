//! Why something could not be calibrated.

use std::fmt;

use crate::errors::ImageProblem;

/// What was attempted, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    #[error("the board cannot be used: {why}")]
    Board { why: String },
    #[error(
        "{views} usable views of the board where at least {needed} are needed; add pictures with \
         the whole board sharp, at other places, distances and tilts"
    )]
    TooFewViews { views: usize, needed: usize },
    #[error(
        "the views do not determine the lens (fx is uncertain by {fx_std_percent:.1} %): {advice}"
    )]
    Degenerate { fx_std_percent: f64, advice: String },
    #[error(
        "the lens that explains the views turns back within the picture: no single ray leads to \
         pixel {x_px:.0}, {y_px:.0}; add pictures with the board up to the corners of the picture"
    )]
    TurnsBack { x_px: f64, y_px: f64 },
    #[error(
        "no board pose explains the {points} points that were seen of it; take a picture that \
         shows more of the board, and check that the calibration is of this camera"
    )]
    NoPose { points: usize },
    #[error("{stops} stops of the arm where at least {needed} are needed; move it to more poses")]
    TooFewStops { stops: usize, needed: usize },
    #[error(
        "the arm turned by at most {turned_deg:.1} degrees between any two poses; turn the gripper \
         by 30 degrees and more, about different axes"
    )]
    HardlyTurned { turned_deg: f64 },
    #[error(
        "the arm turned about one axis only (all axes within {cone_deg:.1} degrees of each other), \
         which leaves a direction undetermined; tilt the gripper about two different axes"
    )]
    OneAxis { cone_deg: f64 },
    #[error(
        "no solver found a solution for these pairs; are poses and pictures in the same order?"
    )]
    NoSolution,
    #[error(
        "{points} depth pixels where at least {needed} are needed for a plane; choose a larger \
         region, or check what the depth camera sees there"
    )]
    NoDepth { points: usize, needed: usize },
    #[error(
        "no plane holds half of the depth pixels (the best holds {share_percent:.0} % within \
         {tolerance_mm:.1} mm); clear the surface"
    )]
    NoPlane { share_percent: f64, tolerance_mm: f64 },
    #[error(
        "no {board} in the picture; bring it wholly and sharply into view, and check its \
         description"
    )]
    NotInView { board: String },
    #[error(
        "a {board} looks the same when it is turned by half a turn, so its pose may flip; use a \
         ChArUco board, or a chessboard with an even and an odd number of inner corners"
    )]
    AmbiguousOrientation { board: String },
    #[error(
        "the {board} reaches out of the picture, so that it may be larger than was said; bring it \
         wholly into view, with its white rim"
    )]
    EndsNotSeen { board: String },
    #[error("the board is not as it was described: {mismatch}")]
    Mismatch { mismatch: Mismatch },
    #[error("single markers do not calibrate a lens: use a board")]
    MarkersForLens,
    #[error(
        "hand-eye calibration needs a board, not single markers: use --board charuco or chessboard"
    )]
    MarkersForHandEye,
    #[error("the image cannot be used")]
    Image(#[from] ImageProblem),
    #[error("call OpenCV")]
    OpenCv(#[from] opencv::Error),
}

/// How a board in view differs from its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A whole chessboard with so many inner corners. One that something covers looks like that,
    /// too: believe it where several pictures agree.
    Corners {
        corners_x: usize,
        corners_y: usize,
    },
    Other(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Corners { corners_x: x, corners_y: y } => write!(
                f,
                "a chessboard with {x}x{y} inner corners is in view: give it as --corners {x}x{y}"
            ),
            Mismatch::Other(what) => f.write_str(what),
        }
    }
}
