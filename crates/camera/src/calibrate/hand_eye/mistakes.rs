//! Finds out which mix-up of conventions would explain pairs that do not fit.
//!
//! Every usual mistake, and every two of them, is undone on trial, and the closed solvers are run
//! on the result. Undoing wins if the board then stays in its place and everything is where it can
//! be: the board before the camera, the camera near what carries it.

use std::fmt;

use nalgebra::Vector3;

use super::degrees;
use super::model::{HandEye, HandEyePair, RawPose, Setup, Spread};
use super::solvers::Solver;

/// What can be mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Swapped,
    OtherSetup(Setup),
    ArmInverted,
    BoardInverted,
    ArmInMillimetres,
    BoardInMillimetres,
    ArmInDegrees,
    BoardInDegrees,
    /// The board poses are one line late or early.
    BoardLate,
    BoardEarly,
}

impl Mistake {
    const ALL: [Mistake; 11] = [
        Mistake::ArmInMillimetres,
        Mistake::BoardInMillimetres,
        Mistake::ArmInDegrees,
        Mistake::BoardInDegrees,
        Mistake::OtherSetup(Setup::EyeInHand),
        Mistake::OtherSetup(Setup::EyeToHand),
        Mistake::ArmInverted,
        Mistake::BoardInverted,
        Mistake::Swapped,
        Mistake::BoardLate,
        Mistake::BoardEarly,
    ];
}

/// What probably is wrong with the pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// Empty if no known mistake explains them.
    pub mistakes: Vec<Mistake>,
    /// The spread of the pairs as given and, where there is a mistake, with it undone.
    pub given: Option<Spread>,
    pub undone: Option<Spread>,
    /// How differently arm and board turned between stops: an angle that no convention changes.
    pub turn_mismatch_deg: f64,
}

/// How badly pairs fit. Fitting pairs are below 1.
struct Trial {
    score: f64,
    spread: Spread,
}

/// Undoing mistakes must make the pairs fit this many times better.
const BETTER_BY: f64 = 3.0;
/// Pairs that fit better than this are not questioned.
const SCORE_SUSPICIOUS: f64 = 2.5;
/// Pairs with their mistakes undone must fit about as well as real pairs do.
const SCORE_EXPLAINED: f64 = 4.0;
/// The pairs are solved about seventy times, so these are quick, and of different kinds.
const SOLVERS: [Solver; 2] = [Solver::Park, Solver::Shah];
/// Each further mistake must earn its place.
const SCORE_PER_MISTAKE: f64 = 0.4;
/// The cost of a position that cannot be.
const SCORE_IMPLAUSIBLE: f64 = 5.0;

/// Looks for the mistakes that explain why pairs do not fit. Returns `None` if nothing is
/// suspicious.
pub fn find_mistake(setup: Setup, pairs: &[(RawPose, RawPose)]) -> Option<Suspicion> {
    let given = attempt(setup, pairs, &[]);
    let given_score = given.as_ref().map_or(f64::MAX, |trial| trial.score);
    if given_score < SCORE_SUSPICIOUS {
        return None;
    }
    let mut best: Option<(f64, Vec<Mistake>, Trial)> = None;
    for mistakes in combinations() {
        let Some(trial) = attempt(setup, pairs, &mistakes) else { continue };
        let score = trial.score + SCORE_PER_MISTAKE * mistakes.len() as f64;
        if best.as_ref().is_none_or(|(best_score, ..)| score < *best_score) {
            best = Some((score, mistakes, trial));
        }
    }
    let explained = best.filter(|(score, _, trial)| {
        score * BETTER_BY < given_score && trial.score < SCORE_EXPLAINED
    });
    let (mistakes, undone) =
        explained.map_or((Vec::new(), None), |(_, mistakes, trial)| (mistakes, Some(trial.spread)));
    let turn_mismatch_deg = turn_mismatch_deg(pairs);
    Some(Suspicion { mistakes, given: given.map(|trial| trial.spread), undone, turn_mismatch_deg })
}

fn combinations() -> impl Iterator<Item = Vec<Mistake>> {
    let singles = Mistake::ALL.into_iter().map(|mistake| vec![mistake]);
    let pairs = Mistake::ALL.into_iter().enumerate().flat_map(|(index, first)| {
        Mistake::ALL[index + 1..].iter().map(move |&second| vec![first, second])
    });
    singles.chain(pairs)
}

/// Solves with the mistakes undone. Returns `None` if a mistake cannot have been made, or no solver
/// finds anything.
fn attempt(setup: Setup, pairs: &[(RawPose, RawPose)], mistakes: &[Mistake]) -> Option<Trial> {
    let (setup, pairs) = undo(setup, pairs, mistakes)?;
    let solved = SOLVERS.into_iter().filter_map(|solver| solver.solve(setup, &pairs));
    let trials = solved.map(|hand_eye| {
        let spread = hand_eye.spread(&pairs);
        let score = misfit(&pairs, &spread) + implausibility(&hand_eye, &pairs);
        Trial { score, spread }
    });
    trials.filter(|trial| trial.score.is_finite()).min_by(|a, b| a.score.total_cmp(&b.score))
}

fn undo(
    setup: Setup,
    pairs: &[(RawPose, RawPose)],
    mistakes: &[Mistake],
) -> Option<(Setup, Vec<HandEyePair>)> {
    let mut setup = setup;
    let mut arms: Vec<RawPose> = pairs.iter().map(|pair| pair.0).collect();
    let mut boards: Vec<RawPose> = pairs.iter().map(|pair| pair.1).collect();
    for mistake in mistakes {
        match mistake {
            Mistake::OtherSetup(other) if *other == setup => return None,
            Mistake::OtherSetup(other) => setup = *other,
            Mistake::Swapped => std::mem::swap(&mut arms, &mut boards),
            Mistake::ArmInMillimetres => arms.iter_mut().for_each(shrink),
            Mistake::BoardInMillimetres => boards.iter_mut().for_each(shrink),
            Mistake::ArmInDegrees => degrees::undo(&mut arms, &boards, mistakes.len() == 1)?,
            Mistake::BoardInDegrees => degrees::undo(&mut boards, &arms, mistakes.len() == 1)?,
            Mistake::ArmInverted => arms.iter_mut().for_each(invert),
            Mistake::BoardInverted => boards.iter_mut().for_each(invert),
            Mistake::BoardLate => {
                boards.remove(0);
                arms.pop();
            }
            Mistake::BoardEarly => {
                boards.pop();
                arms.remove(0);
            }
        }
    }
    let pairs = arms.into_iter().zip(boards).map(|(arm, board)| HandEyePair {
        base_from_gripper: arm.pose,
        camera_from_board: board.pose,
        view: None,
    });
    Some((setup, pairs.collect()))
}

fn shrink(raw: &mut RawPose) {
    raw.pose.translation.vector /= 1000.0;
}

fn invert(raw: &mut RawPose) {
    raw.pose.inverse_mut();
}

/// Scores how badly pairs fit. One degree counts as much as two hundredths of the way that the arm
/// moved.
fn misfit(pairs: &[HandEyePair], spread: &Spread) -> f64 {
    let travel = |of: fn(&HandEyePair) -> Vector3<f64>| {
        let mean = pairs.iter().map(of).sum::<Vector3<f64>>() / pairs.len() as f64;
        let sum: f64 = pairs.iter().map(|pair| (of(pair) - mean).norm_squared()).sum();
        (sum / pairs.len() as f64).sqrt()
    };
    let arm_m = travel(|pair| pair.base_from_gripper.translation.vector);
    spread.rms_deg + 50.0 * spread.rms_mm / 1000.0 / arm_m.max(1e-6)
}

/// Scores what speaks against a solution that fits: turning everything round often fits as well.
fn implausibility(hand_eye: &HandEye, pairs: &[HandEyePair]) -> f64 {
    let mut score = 0.0;
    let positions: Vec<_> =
        pairs.iter().map(|pair| pair.camera_from_board.translation.vector).collect();
    // A board is not seen from behind, nor from further than ten metres.
    if positions.iter().any(|position| !(0.03..10.0).contains(&position.z)) {
        score += SCORE_IMPLAUSIBLE;
    }
    // Lenses for picking see 45 degrees off their axis at most; boards are held near it.
    let off_axis_deg =
        |position: &Vector3<f64>| position.xy().norm().atan2(position.z).to_degrees();
    let mean_deg = positions.iter().map(off_axis_deg).sum::<f64>() / positions.len() as f64;
    score += ((mean_deg - 20.0) / 6.0).clamp(0.0, SCORE_IMPLAUSIBLE);
    // No arm reaches further than five metres.
    let reach = |pair: &HandEyePair| pair.base_from_gripper.translation.vector.norm();
    if pairs.iter().map(reach).fold(0.0, f64::max) > 5.0 {
        score += SCORE_IMPLAUSIBLE;
    }
    // What the gripper carries is nearer to it than what stands in the cell is to base.
    let camera_m = hand_eye.parent_from_camera.translation.vector.norm();
    let board_m = hand_eye.parent_from_board.translation.vector.norm();
    let (carried_m, fixed_m) = match hand_eye.setup {
        Setup::EyeInHand => (camera_m, board_m),
        Setup::EyeToHand => (board_m, camera_m),
    };
    if carried_m > fixed_m && carried_m > 0.3 {
        score += SCORE_IMPLAUSIBLE;
    }
    score
}

/// Measures how differently arm and board turned between stops: they turn by the same angle,
/// wherever the camera is.
fn turn_mismatch_deg(pairs: &[(RawPose, RawPose)]) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for (index, a) in pairs.iter().enumerate() {
        for b in &pairs[index + 1..] {
            let arm = a.0.pose.rotation.angle_to(&b.0.pose.rotation);
            let board = a.1.pose.rotation.angle_to(&b.1.pose.rotation);
            sum += (arm - board).powi(2);
            count += 1;
        }
    }
    (sum / count.max(1) as f64).sqrt().to_degrees()
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mistake::Swapped => "base_from_gripper and camera_from_board are swapped",
            Mistake::OtherSetup(Setup::EyeInHand) => {
                "the camera is on the arm: --setup eye-in-hand"
            }
            Mistake::OtherSetup(Setup::EyeToHand) => {
                "the camera is fixed and the arm holds the board: --setup eye-to-hand"
            }
            Mistake::ArmInverted => "base_from_gripper is inverted: it holds gripper_from_base",
            Mistake::BoardInverted => "camera_from_board is inverted: it holds board_from_camera",
            Mistake::ArmInMillimetres => {
                "base_from_gripper is in millimetres: --robot-unit mm (--unit mm if both are)"
            }
            Mistake::BoardInMillimetres => {
                "camera_from_board is in millimetres: --board-unit mm (--unit mm if both are)"
            }
            Mistake::ArmInDegrees => {
                "the rotation vectors of base_from_gripper are (or, for matrices, were) in degrees: \
                 --angle-unit deg"
            }
            Mistake::BoardInDegrees => {
                "the rotation vectors of camera_from_board are (or, for matrices, were) in degrees: \
                 --angle-unit deg"
            }
            Mistake::BoardLate => "each board pose stands one line after its arm pose",
            Mistake::BoardEarly => "each board pose stands one line before its arm pose",
        })
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mistakes.is_empty() {
            write!(f, "no usual mistake explains these pairs")?;
            if self.turn_mismatch_deg > 2.0 {
                write!(
                    f,
                    "; between stops arm and board turn by angles that differ by {:.1} degrees: \
                     look at the rotations (degrees taken for radians, or Euler angles in another \
                     order) and at whether each picture belongs to its pose",
                    self.turn_mismatch_deg
                )?;
            }
            return Ok(());
        }
        let mistakes: Vec<_> = self.mistakes.iter().map(ToString::to_string).collect();
        write!(f, "it looks as if {}", mistakes.join(", and "))?;
        if let Some(undone) = &self.undone {
            write!(
                f,
                "; undoing that brings the spread to {:.1} mm and {:.2} degrees",
                undone.rms_mm, undone.rms_deg
            )?;
        }
        Ok(())
    }
}
