//! The calibration itself, and how far it can be trusted.

use magpie_perception::CameraInfo;
use nalgebra::Matrix3;

use super::model::{HandEye, HandEyePair, PAIRS_MIN, Setup, Spread, center_in_board};
use super::refine::{Observation, observe, refine};
use super::solvers::Solver;
use crate::calibrate::errors::CalibrateError;

/// The calibration with everything that tells how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct HandEyeReport {
    pub hand_eye: HandEye,
    /// The errors of all pairs, each predicted by a calibration that never saw it: the headline.
    pub leave_one_out: Spread,
    /// How far the board of each pair lies from where the other pairs have it, in mm and degrees.
    pub pair_errors: Vec<[f64; 2]>,
    /// OpenCV's solutions and the spread of all pairs with each; `None` where it found none.
    pub solvers: Vec<(Solver, Option<(HandEye, Spread)>)>,
    /// The joint refinement's spread of all pairs; `None` if it found nothing to begin with, which
    /// leaves the best solver's solution.
    pub refined: Option<Spread>,
    /// Root mean square of the distance between the board's points in the pictures and where the
    /// refinement puts them. Pairs without a picture are looked at by a camera with a focal length
    /// of 1000 px.
    pub reprojection_rms_px: Option<f64>,
    /// Standard deviations of the camera's position and direction; `None` if undetermined.
    pub uncertainty_mm_deg: Option<[f64; 2]>,
    /// The largest rotation between any two poses, and the angle between the axes of the rotations.
    pub turned_deg: f64,
    pub axes_cone_deg: f64,
}

/// Smaller rotations are lost in the noise of the board's direction.
const TURNED_DEG_MIN: f64 = 5.0;
/// Rotations about axes as close as this leave the direction along them undetermined.
const CONE_DEG_MIN: f64 = 5.0;

/// Solves by all solvers, refines the best solution, and measures the spread. `info` is needed for
/// pairs with a view.
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

/// Calibrates without one of the pairs: refined from the calibration of all, else solved anew.
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

/// Picks the solution with the least spread: a millimetre weighs as much as a tenth of a degree.
fn best_of(solvers: &Solved) -> Option<HandEye> {
    let cost = |spread: &Spread| spread.rms_mm + 10.0 * spread.rms_deg;
    let found = solvers.iter().filter_map(|(_, found)| found.as_ref());
    let finite = found.filter(|(_, spread)| cost(spread).is_finite());
    finite.min_by(|a, b| cost(&a.1).total_cmp(&cost(&b.1))).map(|(hand_eye, _)| *hand_eye)
}

/// Returns the largest rotation and the cone of axes, in degrees; refuses motions that leave the
/// problem without a single answer.
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

/// Measures how far the axes of all rotations, relative to the first pose, spread about their main
/// direction.
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
