//! Where the camera is on the arm or in the cell, and how far that can be trusted.
//!
//! # Conventions
//!
//! | setup | camera's parent | board's parent | what is constant |
//! |---|---|---|---|
//! | eye in hand | gripper | base | `base_from_gripper * gripper_from_camera * camera_from_board` |
//! | eye to hand | base | gripper | `base_from_gripper^-1 * base_from_camera * camera_from_board` |

use magpie_perception::CameraInfo;
use nalgebra::{Isometry3, Matrix3, Point3, Translation3, UnitQuaternion, Vector3};

use super::refine::{Observation, observe, refine};
use super::{CalibrateError, Solver, View};

/// Where the camera is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// On the arm.
    EyeInHand,
    /// Fixed in the cell; the arm holds the board.
    EyeToHand,
}

/// One stop of the arm.
#[derive(Clone, Debug, PartialEq)]
pub struct HandEyePair {
    pub base_from_gripper: Isometry3<f64>,
    pub camera_from_board: Isometry3<f64>,
    /// What was seen of the board, where there is a picture.
    pub view: Option<View>,
}

/// What hand-eye calibration finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandEye {
    pub setup: Setup,
    /// `gripper_from_camera` with the eye in hand, else `base_from_camera`.
    pub parent_from_camera: Isometry3<f64>,
    /// `base_from_board` with the eye in hand, else `gripper_from_board`.
    pub parent_from_board: Isometry3<f64>,
}

/// How far the board seems to move in base although it does not (or, held by the arm, does not move
/// as the arm says).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Spread {
    pub rms_mm: f64,
    pub max_mm: f64,
    pub rms_deg: f64,
    pub max_deg: f64,
}

/// The calibration with everything that tells how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct HandEyeReport {
    pub hand_eye: HandEye,
    /// Each pair predicted by a calibration that never saw it: the headline.
    pub leave_one_out: Spread,
    /// By pair: how far the board of the pair lies from where the others have it, in mm and degrees.
    pub pair_errors: Vec<[f64; 2]>,
    /// OpenCV's solutions and the spread of all pairs with each; `None` where it found none.
    pub solvers: Vec<(Solver, Option<(HandEye, Spread)>)>,
    /// The joint refinement's spread of all pairs; `None` if it found nothing to begin with, which
    /// leaves the best solver's solution.
    pub refined: Option<Spread>,
    /// Distance between the board's points in the pictures and where the refinement puts them. For
    /// pairs without a picture, in a camera with a focal length of 1000 px.
    pub reprojection_rms_px: Option<f64>,
    /// Standard deviations of the camera's place and direction; `None` if undetermined.
    pub uncertainty_mm_deg: Option<[f64; 2]>,
    /// The largest turn between any two poses, and the angle between the axes of the turns.
    pub turned_deg: f64,
    pub axes_cone_deg: f64,
}

pub(crate) const PAIRS_MIN: usize = 4;
/// Below, noise in the board's direction is all there is.
const TURNED_DEG_MIN: f64 = 5.0;
/// Turns about axes as close as this leave the direction along them undetermined.
const CONE_DEG_MIN: f64 = 5.0;

impl HandEye {
    /// Where the board is seen to be in base, by the camera.
    pub fn base_from_board_seen(&self, pair: &HandEyePair) -> Isometry3<f64> {
        let camera_in_base = match self.setup {
            Setup::EyeInHand => pair.base_from_gripper * self.parent_from_camera,
            Setup::EyeToHand => self.parent_from_camera,
        };
        camera_in_base * pair.camera_from_board
    }

    /// Where the board is in base, by the arm.
    pub fn base_from_board_known(&self, pair: &HandEyePair) -> Isometry3<f64> {
        match self.setup {
            Setup::EyeInHand => self.parent_from_board,
            Setup::EyeToHand => pair.base_from_gripper * self.parent_from_board,
        }
    }

    /// Where the camera must see the board.
    pub(crate) fn camera_from_board(&self, base_from_gripper: &Isometry3<f64>) -> Isometry3<f64> {
        match self.setup {
            Setup::EyeInHand => {
                (base_from_gripper * self.parent_from_camera).inverse() * self.parent_from_board
            }
            Setup::EyeToHand => {
                self.parent_from_camera.inverse() * base_from_gripper * self.parent_from_board
            }
        }
    }

    /// Millimetres and degrees between the two.
    fn error(&self, pair: &HandEyePair, center_in_board: &Point3<f64>) -> [f64; 2] {
        let (seen, known) = (self.base_from_board_seen(pair), self.base_from_board_known(pair));
        let off_m = (seen * center_in_board - known * center_in_board).norm();
        [1000.0 * off_m, seen.rotation.angle_to(&known.rotation).to_degrees()]
    }

    pub(crate) fn spread(&self, pairs: &[HandEyePair]) -> Spread {
        let center = center_in_board(pairs);
        let errors: Vec<_> = pairs.iter().map(|pair| self.error(pair, &center)).collect();
        Spread::of(&errors)
    }
}

impl Spread {
    fn of(errors: &[[f64; 2]]) -> Spread {
        let rms = |axis: usize| {
            let sum: f64 = errors.iter().map(|error| error[axis] * error[axis]).sum();
            (sum / errors.len() as f64).sqrt()
        };
        let max = |axis: usize| errors.iter().map(|error| error[axis]).fold(0.0, f64::max);
        Spread { rms_mm: rms(0), max_mm: max(0), rms_deg: rms(1), max_deg: max(1) }
    }
}

/// The middle of what was seen of the board, else its origin.
fn center_in_board(pairs: &[HandEyePair]) -> Point3<f64> {
    let views = pairs.iter().filter_map(|pair| pair.view.as_ref());
    let points: Vec<_> = views.flat_map(|view| &view.points).map(|p| p.in_board.coords).collect();
    if points.is_empty() {
        return Point3::origin();
    }
    Point3::from(points.iter().sum::<Vector3<f64>>() / points.len() as f64)
}

/// All solvers, the joint refinement, and the spread. `info` is needed for pairs with a view.
pub fn calibrate_hand_eye(
    setup: Setup,
    pairs: &[HandEyePair],
    info: Option<&CameraInfo>,
) -> Result<HandEyeReport, CalibrateError> {
    if pairs.len() < PAIRS_MIN {
        return Err(CalibrateError::TooFewPairs { pairs: pairs.len(), needed: PAIRS_MIN });
    }
    let (turned_deg, axes_cone_deg) = check_motion(pairs)?;
    let solvers = solve_all(setup, pairs);
    let start = best_of(&solvers).ok_or(CalibrateError::NoSolution)?;
    let observations: Vec<Observation> = pairs.iter().map(|pair| observe(pair, info)).collect();
    // Mixed-up poses may put the board behind the camera, where there is nothing to refine.
    let refined = refine(&start, &observations);
    let hand_eye = refined.map_or(start, |refined| refined.hand_eye);
    let center = center_in_board(pairs);
    let pair_errors: Vec<_> = (0..pairs.len())
        .map(|left_out| {
            let without = without(&hand_eye, pairs, &observations, left_out)?;
            Ok(without.error(&pairs[left_out], &center))
        })
        .collect::<Result<_, CalibrateError>>()?;
    Ok(HandEyeReport {
        hand_eye,
        leave_one_out: Spread::of(&pair_errors),
        pair_errors,
        solvers,
        refined: refined.map(|refined| refined.hand_eye.spread(pairs)),
        reprojection_rms_px: refined.map(|refined| refined.rms_px),
        uncertainty_mm_deg: refined.and_then(|refined| refined.uncertainty_mm_deg),
        turned_deg,
        axes_cone_deg,
    })
}

type Solved = Vec<(Solver, Option<(HandEye, Spread)>)>;

fn solve_all(setup: Setup, pairs: &[HandEyePair]) -> Solved {
    let solve = |solver: Solver| {
        let solved = solver.solve(setup, pairs);
        (solver, solved.map(|hand_eye| (hand_eye, hand_eye.spread(pairs))))
    };
    Solver::ALL.into_iter().map(solve).collect()
}

/// The calibration that never saw one of the pairs: refined from that of all, else solved anew.
fn without(
    start: &HandEye,
    pairs: &[HandEyePair],
    observations: &[Observation],
    left_out: usize,
) -> Result<HandEye, CalibrateError> {
    let others = || (0..pairs.len()).filter(|&index| index != left_out);
    let seen: Vec<_> = others().map(|index| observations[index].clone()).collect();
    if let Some(refined) = refine(start, &seen) {
        return Ok(refined.hand_eye);
    }
    let pairs: Vec<_> = others().map(|index| pairs[index].clone()).collect();
    best_of(&solve_all(start.setup, &pairs)).ok_or(CalibrateError::NoSolution)
}

/// The solution with the least spread: a millimetre weighs as much as a tenth of a degree.
fn best_of(solvers: &Solved) -> Option<HandEye> {
    let cost = |spread: &Spread| spread.rms_mm + 10.0 * spread.rms_deg;
    let found = solvers.iter().filter_map(|(_, found)| found.as_ref());
    let finite = found.filter(|(_, spread)| cost(spread).is_finite());
    finite.min_by(|a, b| cost(&a.1).total_cmp(&cost(&b.1))).map(|(hand_eye, _)| *hand_eye)
}

/// The largest turn and the cone of axes, in degrees; refused when the problem has no one answer.
fn check_motion(pairs: &[HandEyePair]) -> Result<(f64, f64), CalibrateError> {
    let rotations: Vec<_> = pairs.iter().map(|pair| pair.base_from_gripper.rotation).collect();
    let turns = (rotations.iter().enumerate())
        .flat_map(|(index, a)| rotations[index + 1..].iter().map(|b| a.angle_to(b)));
    let turned_deg = turns.fold(0.0, f64::max).to_degrees();
    if turned_deg < TURNED_DEG_MIN {
        return Err(CalibrateError::HardlyTurned { turned_deg });
    }
    let cone_deg = axes_cone_deg(pairs);
    if cone_deg < CONE_DEG_MIN {
        return Err(CalibrateError::OneAxis { cone_deg });
    }
    Ok((turned_deg, cone_deg))
}

/// How far the axes of all turns, relative to the first pose, spread about their main direction.
fn axes_cone_deg(pairs: &[HandEyePair]) -> f64 {
    let first = pairs[0].base_from_gripper.rotation;
    let turns: Vec<_> = pairs
        .iter()
        .map(|pair| (first.inverse() * pair.base_from_gripper.rotation).scaled_axis())
        .collect();
    let scatter: Matrix3<f64> = turns.iter().map(|turn| turn * turn.transpose()).sum();
    let eigenvalues = scatter.symmetric_eigen().eigenvalues;
    let mut sorted: Vec<f64> = eigenvalues.iter().map(|value| value.max(0.0).sqrt()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[1].atan2(sorted[2]).to_degrees()
}

/// The mean of rotations, as quaternions, and of places.
pub(crate) fn mean_pose(poses: &[Isometry3<f64>]) -> Isometry3<f64> {
    let count = poses.len() as f64;
    let place = poses.iter().map(|pose| pose.translation.vector).sum::<Vector3<f64>>() / count;
    let rotation = UnitQuaternion::mean_of(poses.iter().map(|pose| pose.rotation));
    Isometry3::from_parts(Translation3::from(place), rotation)
}
