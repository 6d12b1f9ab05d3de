//! Printed boards, and what was seen of one in a picture.

use std::fmt;

use nalgebra::{Point2, Point3};

use super::dictionary::Dictionary;
use super::errors::{CalibrateError, Mismatch};

/// A flat pattern of known size.
#[derive(Clone, Debug, PartialEq)]
pub enum Board {
    /// A chessboard with a marker in each white square. It may be partly hidden, and looks the same
    /// in one orientation only.
    Charuco {
        squares_x: usize,
        squares_y: usize,
        square_length_m: f64,
        marker_length_m: f64,
        dictionary: Dictionary,
    },
    /// A chessboard that is counted by its inner corners, all of which must be in view.
    Chessboard { corners_x: usize, corners_y: usize, square_length_m: f64 },
    /// Single markers that are fixed somewhere, each with its own reference frame: origin in its
    /// centre, x right, y up, z out of the paper.
    Markers { marker_length_m: f64, dictionary: Dictionary },
}

/// A point of the board that was found in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardPoint {
    /// The corners of boards are numbered row by row. A corner of a marker is four times the
    /// marker's number plus the corner, clockwise from the upper left.
    pub id: usize,
    pub in_board: Point3<f64>,
    pub px: Point2<f64>,
}

/// What was seen of a board in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub width_px: u32,
    pub height_px: u32,
    /// The points in the order of their ids.
    pub points: Vec<BoardPoint>,
    /// The width over which the edges of its squares go from dark to bright; 2 px is sharp. `None`
    /// where no edge could be measured.
    pub edge_width_px: Option<f64>,
    /// How the board differs from its description, if it does.
    pub mismatch: Option<Mismatch>,
    /// Whether the picture shows that the board ends where it was said to. A chessboard that
    /// reaches out of the picture may be larger than what was found of it.
    pub ends_seen: bool,
}

impl Board {
    /// Refuses what cannot be printed or told apart.
    pub fn check(&self) -> Result<(), CalibrateError> {
        let refuse = |why: String| Err(CalibrateError::Board { why });
        let plausible = |length_m: f64| (0.001..=1.0).contains(&length_m);
        match *self {
            Board::Charuco {
                squares_x,
                squares_y,
                square_length_m,
                marker_length_m,
                dictionary,
            } => {
                if !(3..=50).contains(&squares_x) || !(3..=50).contains(&squares_y) {
                    return refuse(format!("{squares_x}x{squares_y} squares; 3 to 50 each way"));
                }
                if !plausible(square_length_m) {
                    return refuse(format!("squares of {square_length_m} m; is that in metres?"));
                }
                if !(marker_length_m > 0.3 * square_length_m && marker_length_m < square_length_m) {
                    return refuse(format!(
                        "markers of {marker_length_m} m do not fit into squares of \
                         {square_length_m} m; 0.7 of the square is usual"
                    ));
                }
                let (needed, there) = (squares_x * squares_y / 2, dictionary.markers());
                if needed > there {
                    return refuse(format!("it needs {needed} markers, {dictionary} has {there}"));
                }
            }
            Board::Chessboard { corners_x, corners_y, square_length_m } => {
                if !(3..=50).contains(&corners_x) || !(3..=50).contains(&corners_y) {
                    return refuse(format!(
                        "{corners_x}x{corners_y} inner corners; 3 to 50 each way"
                    ));
                }
                if !plausible(square_length_m) {
                    return refuse(format!("squares of {square_length_m} m; is that in metres?"));
                }
            }
            Board::Markers { marker_length_m, .. } => {
                if !plausible(marker_length_m) {
                    return refuse(format!("markers of {marker_length_m} m; is that in metres?"));
                }
            }
        }
        Ok(())
    }

    /// Whether turning the sheet by half a turn gives another picture. A chessboard with an even
    /// (or an odd) number of corners both ways looks the same, and a pose from it may flip.
    pub fn has_unique_orientation(&self) -> bool {
        match self {
            Board::Chessboard { corners_x, corners_y, .. } => (corners_x + corners_y) % 2 == 1,
            _ => true,
        }
    }

    /// Refuses a board whose pose may flip.
    pub fn check_unique_orientation(&self) -> Result<(), CalibrateError> {
        if self.has_unique_orientation() {
            return Ok(());
        }
        Err(CalibrateError::AmbiguousOrientation { board: self.to_string() })
    }

    /// Refuses views of which none shows that the board ends where it was said to.
    pub fn check_ends_seen<'a>(
        &self,
        mut views: impl Iterator<Item = &'a View>,
    ) -> Result<(), CalibrateError> {
        if views.any(|view| view.ends_seen) {
            return Ok(());
        }
        Err(CalibrateError::EndsNotSeen { board: self.to_string() })
    }

    /// Refuses what tells nothing about a lens.
    pub fn check_for_lens(&self) -> Result<(), CalibrateError> {
        match self.corners() {
            Some(_) => Ok(()),
            None => Err(CalibrateError::MarkersForLens),
        }
    }

    /// Refuses what has no pose that an arm could be calibrated by.
    pub fn check_for_hand_eye(&self) -> Result<(), CalibrateError> {
        match self.corners() {
            Some(_) => Ok(()),
            None => Err(CalibrateError::MarkersForHandEye),
        }
    }

    /// Returns the inner corners each way; `None` for single markers.
    pub fn corners(&self) -> Option<(usize, usize)> {
        match *self {
            Board::Charuco { squares_x, squares_y, .. } => Some((squares_x - 1, squares_y - 1)),
            Board::Chessboard { corners_x, corners_y, .. } => Some((corners_x, corners_y)),
            Board::Markers { .. } => None,
        }
    }

    pub fn square_length_m(&self) -> Option<f64> {
        match *self {
            Board::Charuco { square_length_m, .. } | Board::Chessboard { square_length_m, .. } => {
                Some(square_length_m)
            }
            Board::Markers { .. } => None,
        }
    }

    /// Returns where an inner corner lies.
    pub(crate) fn corner_in_board(&self, id: usize) -> Point3<f64> {
        let (corners_x, _) = self.corners().expect("boards of squares have corners");
        let length_m = self.square_length_m().expect("boards of squares have squares");
        // A chessboard is measured from its first inner corner.
        let first = if matches!(self, Board::Charuco { .. }) { 1.0 } else { 0.0 };
        let along = |index: usize| (index as f64 + first) * length_m;
        Point3::new(along(id % corners_x), along(id / corners_x), 0.0)
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Board::Charuco {
                squares_x,
                squares_y,
                square_length_m,
                marker_length_m,
                dictionary,
            } => {
                write!(
                    f,
                    "ChArUco {squares_x}x{squares_y} squares of {} mm, markers {} mm, {dictionary}",
                    millimetres(*square_length_m),
                    millimetres(*marker_length_m)
                )
            }
            Board::Chessboard { corners_x, corners_y, square_length_m } => write!(
                f,
                "chessboard {corners_x}x{corners_y} inner corners, squares of {} mm",
                millimetres(*square_length_m)
            ),
            Board::Markers { marker_length_m, dictionary } => {
                write!(f, "markers of {} mm, {dictionary}", millimetres(*marker_length_m))
            }
        }
    }
}

/// Leaves out the digits that only binary fractions have.
fn millimetres(length_m: f64) -> f64 {
    (length_m * 1e6).round() / 1e3
}

impl View {
    /// Returns the mean pixel distance of the points that both views show; `None` without common
    /// points.
    pub fn distance_px(&self, other: &View) -> Option<f64> {
        let mut there = other.points.iter().peekable();
        let (mut sum, mut count) = (0.0, 0_usize);
        for point in &self.points {
            while there.peek().is_some_and(|candidate| candidate.id < point.id) {
                there.next();
            }
            if let Some(same) = there.peek().filter(|candidate| candidate.id == point.id) {
                sum += (same.px - point.px).norm();
                count += 1;
            }
        }
        (count > 0).then(|| sum / count as f64)
    }
}
#[cfg(test)]
impl View {
    /// A view in a picture of 640x480 px.
    pub(crate) fn of(points: Vec<BoardPoint>) -> View {
        View {
            width_px: 640,
            height_px: 480,
            points,
            edge_width_px: None,
            mismatch: None,
            ends_seen: true,
        }
    }
}
