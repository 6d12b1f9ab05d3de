//! The calibration itself, and how far it can be trusted.

use magpie_perception::CameraInfo;
use nalgebra::Isometry3;

use super::jackknife::jackknife_mm_deg;
use super::model::{HandEye, HandEyePair, STOPS_MIN, Setup, Spread, center_in_board, stops};
use super::motion::ArmMotion;
use super::refine::{Observation, observe, refine};
use super::scale::{self, BoardScale};
use super::solvers::Solver;
use crate::calibrate::errors::CalibrateError;

/// The calibration with everything that tells how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct HandEyeReport {
    pub hand_eye: HandEye,
    /// The solver whose solution `hand_eye` is; `None` for the joint refinement.
    pub solver: Option<Solver>,
    /// The errors of all pairs, each predicted by a calibration that never saw its stop: the
    /// headline.
    pub leave_one_out: Spread,
    /// Standard deviations of the camera's position and direction, from leaving stops out.
    pub uncertainty_mm_deg: [f64; 2],
    /// How far the board of each pair lies from where the other stops have it, in mm and degrees.
    pub pair_errors: Vec<[f64; 2]>,
    /// How the arm moved.
    pub motion: ArmMotion,
    /// OpenCV's solutions and the spread of all pairs with each; `None` where it found none.
    pub solvers: Vec<(Solver, Option<(HandEye, Spread)>)>,
    /// The joint refinement's spread of all pairs; `None` if it found nothing to begin with.
    pub refined: Option<Spread>,
    /// Root mean square of the distance between the board's points in the pictures and where the
    /// refinement puts them. Pairs without a picture are looked at by a camera with a focal length
    /// of 1000 px. `None` for a solver's solution.
    pub reprojection_rms_px: Option<f64>,
    /// How long the board's squares are, as a share of what was said; `None` where the motion does
    /// not tell.
    pub board_scale: Option<BoardScale>,
}

/// Smaller rotations are lost in the noise of the board's direction.
const TURNED_DEG_MIN: f64 = 5.0;
/// Rotations about axes as close as this leave the direction along them undetermined.
const CONE_DEG_MIN: f64 = 10.0;

/// A solution must be better by this share to be handed out in place of the refinement.
const BETTER_SHARE: f64 = 0.9;

/// Solves by all solvers, refines the best solution, and measures the spread. `info` is needed for
/// pairs with a view.
pub fn calibrate_hand_eye(
    setup: Setup,
    pairs: &[HandEyePair],
    info: Option<&CameraInfo>,
) -> Result<HandEyeReport, CalibrateError> {
    let motion = ArmMotion::of(pairs);
    check_motion(&motion)?;
    let stops = stops(pairs);
    let solvers = solve_all(setup, pairs);
    let (solver, start) = best_of(&solvers).ok_or(CalibrateError::NoSolution)?;
    let observations: Vec<Observation> = pairs.iter().map(|pair| observe(pair, info)).collect();
    // Mixed-up poses may put the board behind the camera, where there is nothing to refine.
    let refined = refine(&start, &observations);
    let closed = Solution::new(start, Some(solver), pairs, &stops, |left_out| {
        solver.solve(setup, &others(pairs, left_out))
    })?;
    let solution = match refined {
        Some(refined) => {
            let hand_eye = refined.hand_eye;
            let refined = Solution::new(hand_eye, None, pairs, &stops, |left_out| {
                refine(&hand_eye, &others(&observations, left_out)).map(|found| found.hand_eye)
            })?;
            if closed.is_better_than(&refined) { closed } else { refined }
        }
        None => closed,
    };
    let is_refined = solution.solver.is_none();
    Ok(HandEyeReport {
        hand_eye: solution.hand_eye,
        solver: solution.solver,
        leave_one_out: Spread::of(&solution.pair_errors),
        uncertainty_mm_deg: jackknife_mm_deg(&solution.cameras_without),
        pair_errors: solution.pair_errors,
        motion,
        solvers,
        refined: refined.map(|refined| refined.hand_eye.spread(pairs)),
        reprojection_rms_px: refined.filter(|_| is_refined).map(|refined| refined.rms_px),
        board_scale: scale::fit(&start, pairs),
    })
}

/// A calibration, and what becomes of it when each of the stops is left out.
struct Solution {
    hand_eye: HandEye,
    solver: Option<Solver>,
    /// The errors of the pairs, each by the calibration that never saw its stop.
    pair_errors: Vec<[f64; 2]>,
    cameras_without: Vec<Isometry3<f64>>,
}

impl Solution {
    /// Where `without` finds nothing, the pairs are solved anew.
    fn new(
        hand_eye: HandEye,
        solver: Option<Solver>,
        pairs: &[HandEyePair],
        stops: &[Vec<usize>],
        without: impl Fn(&[usize]) -> Option<HandEye>,
    ) -> Result<Solution, CalibrateError> {
        let center = center_in_board(pairs);
        let mut pair_errors = vec![[0.0; 2]; pairs.len()];
        let mut cameras_without = Vec::new();
        for left_out in stops {
            let anew = || {
                best_of(&solve_all(hand_eye.setup, &others(pairs, left_out))).map(|(_, best)| best)
            };
            let found = without(left_out).or_else(anew).ok_or(CalibrateError::NoSolution)?;
            for &index in left_out {
                pair_errors[index] = found.error(&pairs[index], &center);
            }
            cameras_without.push(found.parent_from_camera);
        }
        Ok(Solution { hand_eye, solver, pair_errors, cameras_without })
    }

    /// By the mean square and by the median: one bad pair must not decide.
    fn is_better_than(&self, other: &Solution) -> bool {
        let judged = |solution: &Solution| {
            let mut costs: Vec<f64> =
                solution.pair_errors.iter().map(|error| cost(*error)).collect();
            costs.sort_by(f64::total_cmp);
            let square: f64 = costs.iter().map(|cost| cost * cost).sum();
            [square.sqrt(), costs[costs.len() / 2]]
        };
        let (ours, theirs) = (judged(self), judged(other));
        ours.iter().zip(theirs).all(|(ours, theirs)| *ours < BETTER_SHARE * theirs)
    }
}

fn others<T: Clone>(all: &[T], left_out: &[usize]) -> Vec<T> {
    let others = all.iter().enumerate().filter(|(index, _)| !left_out.contains(index));
    others.map(|(_, one)| one.clone()).collect()
}

type Solved = Vec<(Solver, Option<(HandEye, Spread)>)>;

fn solve_all(setup: Setup, pairs: &[HandEyePair]) -> Solved {
    let solve = |solver: Solver| {
        let solved = solver.solve(setup, pairs);
        (solver, solved.map(|hand_eye| (hand_eye, hand_eye.spread(pairs))))
    };
    Solver::ALL.into_iter().map(solve).collect()
}

/// A millimetre weighs as much as a tenth of a degree.
fn cost([mm, deg]: [f64; 2]) -> f64 {
    mm + 10.0 * deg
}

/// Picks the solution with the least spread.
fn best_of(solvers: &Solved) -> Option<(Solver, HandEye)> {
    let cost = |spread: &Spread| cost([spread.rms_mm, spread.rms_deg]);
    let found = solvers.iter().filter_map(|(solver, found)| found.map(|found| (*solver, found)));
    let finite = found.filter(|(_, (_, spread))| cost(spread).is_finite());
    finite
        .min_by(|(_, a), (_, b)| cost(&a.1).total_cmp(&cost(&b.1)))
        .map(|(solver, (hand_eye, _))| (solver, hand_eye))
}

/// Refuses motions that leave the problem without a single answer.
fn check_motion(motion: &ArmMotion) -> Result<(), CalibrateError> {
    let ArmMotion { stops, turned_deg, axes_cone_deg: cone_deg } = *motion;
    if stops < STOPS_MIN {
        return Err(CalibrateError::TooFewStops { stops, needed: STOPS_MIN });
    }
    if turned_deg < TURNED_DEG_MIN {
        return Err(CalibrateError::HardlyTurned { turned_deg });
    }
    if cone_deg < CONE_DEG_MIN {
        return Err(CalibrateError::OneAxis { cone_deg });
    }
    Ok(())
}
