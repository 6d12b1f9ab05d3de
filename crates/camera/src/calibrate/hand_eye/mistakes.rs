//! Finds out which mix-up of conventions would explain pairs that do not fit.
//!
//! Every usual mistake, and every two of them, is undone on trial, and the closed solvers are run
//! on the result. Undoing wins if the board then stays in its place and everything is where it can
//! be: the board before the camera, the camera near what carries it.

use std::fmt;

use nalgebra::{Point3, Vector3};

use super::model::{HandEye, HandEyePair, RawPose, Setup, Spread};
use super::scale::{self, BoardScale};
use super::solvers::Solver;
use super::{degrees, euler};
use crate::calibrate::euler::EulerOrder;

/// What can be mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Swapped,
    OtherSetup(Setup),
    ArmInverted,
    BoardInverted,
    ArmInMillimetres,
    BoardInMillimetres,
    /// Millimetres were said.
    ArmInMetres,
    BoardInMetres,
    ArmInCentimetres,
    BoardInCentimetres,
    ArmInInches,
    BoardInInches,
    ArmInDegrees,
    BoardInDegrees,
    /// The angles are Euler angles, in degrees where radians were said or as was said.
    ArmInEulerAngles {
        order: EulerOrder,
        degrees: bool,
    },
    BoardInEulerAngles {
        order: EulerOrder,
        degrees: bool,
    },
    /// The board poses are one line late or early.
    BoardLate,
    BoardEarly,
    /// The board's squares have another length.
    BoardScale,
}

impl Mistake {
    /// Units that few use: one side alone, or both. Inches on both sides look like centimetres on
    /// both that are further away.
    const RARE_UNITS: [&'static [Mistake]; 5] = [
        &[Mistake::ArmInCentimetres],
        &[Mistake::BoardInCentimetres],
        &[Mistake::ArmInCentimetres, Mistake::BoardInCentimetres],
        &[Mistake::ArmInInches],
        &[Mistake::BoardInInches],
    ];

    /// Those that need no more than their name to be undone, and are tried in pairs.
    const ALL: [Mistake; 14] = [
        Mistake::ArmInMillimetres,
        Mistake::BoardInMillimetres,
        Mistake::ArmInMetres,
        Mistake::BoardInMetres,
        Mistake::ArmInDegrees,
        Mistake::BoardInDegrees,
        Mistake::OtherSetup(Setup::EyeInHand),
        Mistake::OtherSetup(Setup::EyeToHand),
        Mistake::ArmInverted,
        Mistake::BoardInverted,
        Mistake::Swapped,
        Mistake::BoardLate,
        Mistake::BoardEarly,
        Mistake::BoardScale,
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
    /// How long the board's squares are, as a share of what was said, where that is a mistake.
    pub board_scale: Option<f64>,
    /// What was said, for the message.
    pub square_length_m: Option<f64>,
    /// The pairs without which the others fit, by the number of their line in a file that has a
    /// line for each pair.
    pub bad_lines: Vec<usize>,
    /// What a pair is called in the message: a `line` of a file, or a `stop` of the arm.
    pub pair_word: &'static str,
}

/// How badly pairs fit. Fitting pairs are below 1.
#[derive(Clone, Copy)]
struct Trial {
    score: f64,
    spread: Spread,
    board_scale: Option<f64>,
}

/// Undoing mistakes must make the pairs fit this many times better.
const BETTER_BY: f64 = 3.0;
/// Pairs that fit better than this are not questioned.
const SCORE_SUSPICIOUS: f64 = 2.5;
/// Pairs with their mistakes undone must fit about as well as real pairs do.
const SCORE_EXPLAINED: f64 = 4.0;
/// The pairs are solved about a hundred times, so these are quick, and of different kinds.
const SOLVERS: [Solver; 2] = [Solver::Park, Solver::Shah];
/// Each further mistake must earn its place.
const SCORE_PER_MISTAKE: f64 = 0.4;
/// Boards are seen from about this far. A factor of e counts for so little that it decides between
/// equals only.
const USUAL_DISTANCE_M: f64 = 0.6;
const SCORE_PER_E_FOLD: f64 = 0.03;
/// The cost of a position that cannot be.
const SCORE_IMPLAUSIBLE: f64 = 5.0;
/// Another length of the squares must lower the spread this many times to be told.
const SCALE_BETTER_BY: f64 = 1.5;
/// Beyond this, or below its inverse, a unit was mixed up, or something else.
const SCALE_MAX: f64 = 3.0;
/// More bad pairs are no accident, and fewer than so many for each bad one do not show it.
const BAD_PAIRS_MAX: usize = 4;
const PAIRS_PER_BAD_ONE: usize = 6;
const WORST_TRIED: usize = 8;

/// Looks for the mistakes that explain why pairs do not fit. Returns `None` if nothing is
/// suspicious.
pub fn find_mistake(setup: Setup, pairs: &[(RawPose, RawPose)]) -> Option<Suspicion> {
    let given = attempt(setup, pairs, &[]);
    let given_score = given.map_or(f64::MAX, |trial| trial.score);
    let suspect = |mistakes: Vec<Mistake>, trial: Option<Trial>| Suspicion {
        mistakes,
        given: given.map(|trial| trial.spread),
        undone: trial.map(|trial| trial.spread),
        turn_mismatch_deg: turn_mismatch_deg(pairs),
        board_scale: trial.and_then(|trial| trial.board_scale),
        square_length_m: None,
        bad_lines: Vec::new(),
        pair_word: "line",
    };
    let squares = || {
        let trial = attempt(setup, pairs, &[Mistake::BoardScale])?;
        let better = SCALE_BETTER_BY * trial.spread.rms_mm < given?.spread.rms_mm;
        better.then(|| suspect(vec![Mistake::BoardScale], Some(trial)))
    };
    if given_score < SCORE_SUSPICIOUS {
        return squares();
    }
    if let Some((bad, trial)) = bad_pairs(setup, pairs, given_score) {
        let bad_lines = bad.into_iter().map(|index| index + 1).collect();
        return Some(Suspicion { bad_lines, ..suspect(Vec::new(), Some(trial)) });
    }
    let combined = combinations().filter_map(|mistakes| {
        let trial = attempt(setup, pairs, &mistakes)?;
        Some((mistakes, trial))
    });
    let score = |mistakes: &[Mistake], trial: &Trial| {
        trial.score + SCORE_PER_MISTAKE * mistakes.len() as f64
    };
    let best = combined
        .chain(in_euler_angles(setup, pairs))
        .min_by(|(a, trial_a), (b, trial_b)| score(a, trial_a).total_cmp(&score(b, trial_b)));
    let explained = best.filter(|(mistakes, trial)| {
        score(mistakes, trial) * BETTER_BY < given_score && trial.score < SCORE_EXPLAINED
    });
    match explained {
        Some((mistakes, trial)) => Some(suspect(mistakes, Some(trial))),
        None => squares().or_else(|| Some(suspect(Vec::new(), None))),
    }
}

/// The pairs that spoil the rest, where there are few of them and the rest then fits. A convention
/// that is mixed up spoils every pair.
fn bad_pairs(
    setup: Setup,
    pairs: &[(RawPose, RawPose)],
    given_score: f64,
) -> Option<(Vec<usize>, Trial)> {
    let mut kept: Vec<usize> = (0..pairs.len()).collect();
    let mut bad = Vec::new();
    for _ in 0..BAD_PAIRS_MAX.min(pairs.len() / PAIRS_PER_BAD_ONE) {
        let without = |left_out: usize| {
            let rest = kept.iter().filter(|index| **index != left_out);
            let rest: Vec<_> = rest.map(|&index| pairs[index]).collect();
            Some((left_out, attempt(setup, &rest, &[])?))
        };
        let tried = worst(setup, pairs, &kept).into_iter().filter_map(without);
        let (index, trial) = tried.min_by(|a, b| a.1.score.total_cmp(&b.1.score))?;
        kept.retain(|other| *other != index);
        bad.push(index);
        if trial.score < SCORE_SUSPICIOUS && trial.score * BETTER_BY < given_score {
            bad.sort_unstable();
            return Some((bad, trial));
        }
    }
    None
}

/// The pairs that fit worst by either solver: a bad one bends the solution, and hides among them.
fn worst(setup: Setup, pairs: &[(RawPose, RawPose)], kept: &[usize]) -> Vec<usize> {
    let (arms, boards): (Vec<_>, Vec<_>) = kept.iter().map(|&index| pairs[index]).unzip();
    let joined = joined(&arms, &boards);
    let solved = SOLVERS.into_iter().filter_map(|solver| solver.solve(setup, &joined));
    let mut worst: Vec<usize> = solved
        .flat_map(|hand_eye| {
            let off = |pair: &HandEyePair| {
                let [mm, deg] = hand_eye.error(pair, &Point3::origin());
                mm + 10.0 * deg
            };
            let mut errors: Vec<(f64, usize)> =
                joined.iter().zip(kept).map(|(pair, &index)| (off(pair), index)).collect();
            errors.sort_by(|a, b| b.0.total_cmp(&a.0));
            errors.into_iter().take(WORST_TRIED).map(|(_, index)| index)
        })
        .collect();
    worst.sort_unstable();
    worst.dedup();
    worst
}

/// Reads the angles of either side as Euler angles, and undoes one more mistake on trial.
fn in_euler_angles(
    setup: Setup,
    pairs: &[(RawPose, RawPose)],
) -> impl Iterator<Item = (Vec<Mistake>, Trial)> {
    let (arms, boards): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let of_arm = euler::readings(&arms, &boards).into_iter().map(|reading| {
        let (order, degrees) = (reading.order, reading.degrees);
        let pairs: Vec<_> = reading.poses.into_iter().zip(boards.iter().copied()).collect();
        (Mistake::ArmInEulerAngles { order, degrees }, pairs)
    });
    let of_board = euler::readings(&boards, &arms).into_iter().map(|reading| {
        let (order, degrees) = (reading.order, reading.degrees);
        let pairs: Vec<_> = arms.iter().copied().zip(reading.poses).collect();
        (Mistake::BoardInEulerAngles { order, degrees }, pairs)
    });
    let readings: Vec<_> = of_arm.chain(of_board).collect();
    readings.into_iter().flat_map(move |(mistake, pairs)| {
        let more = std::iter::once(None).chain(Mistake::ALL.into_iter().map(Some));
        let trials: Vec<_> = more
            .filter_map(|more| {
                let trial = attempt(setup, &pairs, more.as_slice())?;
                Some((std::iter::once(mistake).chain(more).collect(), trial))
            })
            .collect();
        trials
    })
}

fn combinations() -> impl Iterator<Item = Vec<Mistake>> {
    let singles = Mistake::ALL.into_iter().map(|mistake| vec![mistake]);
    let pairs = Mistake::ALL.into_iter().enumerate().flat_map(|(index, first)| {
        // One line late and one line early would only drop the first line and the last.
        let both =
            move |second: Mistake| (first, second) != (Mistake::BoardLate, Mistake::BoardEarly);
        let others = Mistake::ALL[index + 1..].iter().filter(move |second| both(**second));
        others.map(move |&second| vec![first, second])
    });
    let rare = Mistake::RARE_UNITS.into_iter().map(<[Mistake]>::to_vec);
    singles.chain(pairs).chain(rare)
}

/// Solves with the mistakes undone. Returns `None` if a mistake cannot have been made, or no solver
/// finds anything.
fn attempt(setup: Setup, pairs: &[(RawPose, RawPose)], mistakes: &[Mistake]) -> Option<Trial> {
    let Undone { setup, pairs, board_scale } = undo(setup, pairs, mistakes)?;
    let solved = SOLVERS.into_iter().filter_map(|solver| solver.solve(setup, &pairs));
    let trials = solved.map(|hand_eye| {
        let spread = hand_eye.spread(&pairs);
        let score = misfit(&pairs, &spread) + implausibility(&hand_eye, &pairs);
        Trial { score, spread, board_scale }
    });
    trials.filter(|trial| trial.score.is_finite()).min_by(|a, b| a.score.total_cmp(&b.score))
}

/// The pairs as they would be without the mistakes.
struct Undone {
    setup: Setup,
    pairs: Vec<HandEyePair>,
    board_scale: Option<f64>,
}

fn undo(setup: Setup, pairs: &[(RawPose, RawPose)], mistakes: &[Mistake]) -> Option<Undone> {
    let mut setup = setup;
    let mut arms: Vec<RawPose> = pairs.iter().map(|pair| pair.0).collect();
    let mut boards: Vec<RawPose> = pairs.iter().map(|pair| pair.1).collect();
    let mut board_scale = None;
    for mistake in mistakes {
        match mistake {
            Mistake::OtherSetup(other) if *other == setup => return None,
            Mistake::OtherSetup(other) => setup = *other,
            Mistake::Swapped => std::mem::swap(&mut arms, &mut boards),
            Mistake::ArmInMillimetres => stretch(&mut arms, 0.001),
            Mistake::BoardInMillimetres => stretch(&mut boards, 0.001),
            Mistake::ArmInMetres => stretch(&mut arms, 1000.0),
            Mistake::BoardInMetres => stretch(&mut boards, 1000.0),
            Mistake::ArmInCentimetres => stretch(&mut arms, 0.01),
            Mistake::BoardInCentimetres => stretch(&mut boards, 0.01),
            Mistake::ArmInInches => stretch(&mut arms, 0.0254),
            Mistake::BoardInInches => stretch(&mut boards, 0.0254),
            Mistake::BoardScale => {
                let scale = fit_scale(setup, &arms, &boards)?;
                stretch(&mut boards, scale);
                board_scale = Some(scale);
            }
            // Their poses were read anew before.
            Mistake::ArmInEulerAngles { .. } | Mistake::BoardInEulerAngles { .. } => {}
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
    Some(Undone { setup, pairs: joined(&arms, &boards), board_scale })
}

fn joined(arms: &[RawPose], boards: &[RawPose]) -> Vec<HandEyePair> {
    let pair = |(arm, board): (&RawPose, &RawPose)| HandEyePair {
        base_from_gripper: arm.pose,
        camera_from_board: board.pose,
        view: None,
    };
    arms.iter().zip(boards).map(pair).collect()
}

fn stretch(poses: &mut [RawPose], scale: f64) {
    poses.iter_mut().for_each(|raw| raw.pose.translation.vector *= scale);
}

/// How long the squares must be for the board to stay in its place; `None` where they are as long
/// as was said, or that explains nothing.
fn fit_scale(setup: Setup, arms: &[RawPose], boards: &[RawPose]) -> Option<f64> {
    let pairs = joined(arms, boards);
    let hand_eye = SOLVERS[0].solve(setup, &pairs)?;
    let fitted = scale::fit(&hand_eye, &pairs).filter(BoardScale::is_off)?;
    (1.0 / SCALE_MAX..SCALE_MAX).contains(&fitted.scale).then_some(fitted.scale)
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
    // Of two units that fit as well, the one with which the board is at a usual distance.
    let mean_m =
        positions.iter().map(|position| position.norm()).sum::<f64>() / positions.len() as f64;
    score += SCORE_PER_E_FOLD * (mean_m.max(1e-3) / USUAL_DISTANCE_M).ln().abs();
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
            Mistake::ArmInMetres => {
                "base_from_gripper is in metres: --robot-unit m (--unit m if both are)"
            }
            Mistake::BoardInMetres => {
                "camera_from_board is in metres: --board-unit m (--unit m if both are)"
            }
            Mistake::ArmInCentimetres => {
                "base_from_gripper is in centimetres: --robot-unit cm (--unit cm if both are)"
            }
            Mistake::BoardInCentimetres => {
                "camera_from_board is in centimetres: --board-unit cm (--unit cm if both are)"
            }
            Mistake::ArmInInches => {
                "base_from_gripper is in inches: --robot-unit in (--unit in if both are)"
            }
            Mistake::BoardInInches => {
                "camera_from_board is in inches: --board-unit in (--unit in if both are)"
            }
            Mistake::ArmInDegrees => {
                "the rotation vectors of base_from_gripper are (or, for matrices, were) in degrees: \
                 --robot-angle-unit deg (--angle-unit deg if both are)"
            }
            Mistake::BoardInDegrees => {
                "the rotation vectors of camera_from_board are (or, for matrices, were) in degrees: \
                 --board-angle-unit deg (--angle-unit deg if both are)"
            }
            Mistake::ArmInEulerAngles { order, degrees } => {
                return write_euler(f, "base_from_gripper", "robot", *order, *degrees);
            }
            Mistake::BoardInEulerAngles { order, degrees } => {
                return write_euler(f, "camera_from_board", "board", *order, *degrees);
            }
            Mistake::BoardLate => "each board pose stands one line after its arm pose",
            Mistake::BoardEarly => "each board pose stands one line before its arm pose",
            Mistake::BoardScale => "the squares of the board have another length than was said",
        })
    }
}

fn write_euler(
    f: &mut fmt::Formatter<'_>,
    pose: &str,
    side: &str,
    order: EulerOrder,
    degrees: bool,
) -> fmt::Result {
    write!(f, "the angles of {pose} are Euler angles of the order {order}")?;
    if degrees {
        write!(f, " in degrees: --{side}-euler {order} --{side}-angle-unit deg")
    } else {
        write!(f, ": --{side}-euler {order}")
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [first, more @ ..] = &self.bad_lines[..] {
            let word = self.pair_word;
            match more {
                [] => write!(
                    f,
                    "{word} {first} does not fit the others: is its picture of another pose"
                )?,
                _ => write!(
                    f,
                    "{word}s {:?} do not fit the others: are their pictures of other poses",
                    self.bad_lines
                )?,
            }
            write!(f, ", or did the arm still move? Measure again, or leave out")?;
            return self.write_undone(f, "without");
        }
        if self.mistakes.is_empty() {
            write!(f, "no usual mistake explains these pairs")?;
            if self.turn_mismatch_deg > 2.0 {
                write!(
                    f,
                    "; between stops arm and board turn by angles that differ by {:.1} degrees: \
                     look at the rotations (degrees taken for radians, or rounded to few digits) \
                     and at whether each picture belongs to its pose",
                    self.turn_mismatch_deg
                )?;
            }
            return Ok(());
        }
        write!(f, "it looks as if ")?;
        for (index, mistake) in self.mistakes.iter().enumerate() {
            write!(f, "{}{mistake}", if index > 0 { ", and " } else { "" })?;
            if *mistake == Mistake::BoardScale {
                self.write_squares(f)?;
            }
        }
        self.write_undone(f, "undoing that")
    }
}

impl Suspicion {
    /// Whether something is named that explains why the pairs do not fit.
    pub fn explains(&self) -> bool {
        !self.mistakes.is_empty() || !self.bad_lines.is_empty()
    }

    fn write_undone(&self, f: &mut fmt::Formatter<'_>, how: &str) -> fmt::Result {
        let Some(undone) = &self.undone else { return Ok(()) };
        let (mm, deg) = (undone.rms_mm, undone.rms_deg);
        write!(f, "; {how} the spread is {mm:.1} mm and {deg:.2} degrees")
    }

    fn write_squares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(scale) = self.board_scale else { return Ok(()) };
        let Some(said_mm) = self.square_length_m.map(|length_m| 1000.0 * length_m) else {
            return write!(
                f,
                ": {scale:.4} times as long (the squares are {:.2} mm, not 30, if 30 was said; \
                 {:.2} mm, not 20, if 20 was); measure them, and estimate the board's poses again or \
                 multiply their translations by it",
                30.0 * scale,
                20.0 * scale
            );
        };
        write!(
            f,
            ": the squares are {:.2} mm, not {}; measure them, and give --square-length-m {:.5}",
            scale * said_mm,
            (said_mm * 1e3).round() / 1e3,
            scale * said_mm / 1000.0
        )
    }
}
