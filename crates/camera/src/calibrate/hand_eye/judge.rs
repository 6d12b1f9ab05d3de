//! The calibration from pairs, and whether an arm may move by it.

use magpie_perception::CameraInfo;

use super::calibration::{HandEyeReport, calibrate_hand_eye};
use super::mistakes::{Suspicion, find_mistake};
use super::model::{HandEyePair, RawPose, Setup};
use super::orientation::resolve_orientations;
use crate::calibrate::board::Board;
use crate::calibrate::errors::CalibrateError;

/// A pair with the poses as they were written, and the number that people know it by.
#[derive(Clone, Debug)]
pub struct Stop {
    pub number: usize,
    pub pair: HandEyePair,
    pub arm: RawPose,
    /// `None` where the board was found in a picture.
    pub board: Option<RawPose>,
}

impl Stop {
    fn raw(&self) -> (RawPose, RawPose) {
        (self.arm, self.board.unwrap_or_else(|| self.pair.camera_from_board.into()))
    }
}

/// Each pair is left out once, and calibrated without by every solver.
pub const PAIRS_MAX: usize = 200;

/// Checks that the pictures show where the board ends, and decides which end of it each of them
/// shows, where one picture alone leaves that open.
pub fn settle(board: &Board, stops: &mut [Stop]) -> Result<(), CalibrateError> {
    let mut views = stops.iter().filter_map(|stop| stop.pair.view.as_ref()).peekable();
    if views.peek().is_some() {
        board.check_ends_seen(views)?;
    }
    let mut settled: Vec<_> = stops.iter().map(|stop| stop.pair.clone()).collect();
    resolve_orientations(board, &mut settled)?;
    for (stop, pair) in stops.iter_mut().zip(settled) {
        stop.pair = pair;
    }
    Ok(())
}

/// A result that is less certain, or fits worse, is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandEyeLimits {
    pub mm: f64,
    pub deg: f64,
}

impl Default for HandEyeLimits {
    fn default() -> HandEyeLimits {
        HandEyeLimits { mm: 5.0, deg: 1.0 }
    }
}

/// The calibration, and what speaks against it.
#[derive(Clone, Debug)]
pub struct HandEyeVerdict {
    pub report: HandEyeReport,
    pub suspicion: Option<Suspicion>,
    /// Numbers of the pairs that are far off the others.
    pub outliers: Vec<usize>,
    pair_word: &'static str,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum HandEyeError {
    /// A mix-up explains it.
    #[error("{error}: {suspicion}")]
    Mistaken { error: CalibrateError, suspicion: Box<Suspicion> },
    #[error(transparent)]
    Unsolved(#[from] CalibrateError),
}

/// A pair that is this many times worse than the median is worth a look.
const OUTLIER_FACTOR: f64 = 3.0;
/// No arm repeats a pose better than this, so a smaller error says nothing about a pair.
const OUTLIER_MM_MIN: f64 = 0.02;

/// Solves the pairs and looks for mixed-up conventions. `pair_word` is what a pair is called: `line`
/// or `stop`. `square_length_m` is what was said of the board, for messages.
pub fn judge_hand_eye(
    setup: Setup,
    stops: &[Stop],
    info: Option<&CameraInfo>,
    square_length_m: Option<f64>,
    pair_word: &'static str,
) -> Result<HandEyeVerdict, HandEyeError> {
    let pairs: Vec<HandEyePair> = stops.iter().map(|stop| stop.pair.clone()).collect();
    let raw: Vec<_> = stops.iter().map(Stop::raw).collect();
    let report = calibrate_hand_eye(setup, &pairs, info);
    // Mixed-up conventions may leave the solvers without any solution, too.
    let mut suspicion = if stops.len() < 3 { None } else { find_mistake(setup, &raw) };
    if let Some(suspicion) = &mut suspicion {
        suspicion.square_length_m = square_length_m;
        suspicion.pair_word = pair_word;
        for line in &mut suspicion.bad_lines {
            *line = stops[*line - 1].number;
        }
    }
    let report = match (report, suspicion.as_ref().filter(|suspicion| suspicion.explains())) {
        (Ok(report), _) => report,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(suspicion)) => {
            let suspicion = Box::new(suspicion.clone());
            return Err(HandEyeError::Mistaken { error, suspicion });
        }
    };
    let outliers = outliers(&report, stops);
    Ok(HandEyeVerdict { report, suspicion, outliers, pair_word })
}

fn outliers(report: &HandEyeReport, stops: &[Stop]) -> Vec<usize> {
    let mut sorted_mm: Vec<f64> = report.pair_errors.iter().map(|error| error[0]).collect();
    sorted_mm.sort_by(f64::total_cmp);
    let median_mm = sorted_mm[(sorted_mm.len() - 1) / 2];
    let limit_mm = (OUTLIER_FACTOR * median_mm).max(OUTLIER_MM_MIN);
    let far = report.pair_errors.iter().zip(stops).filter(|(error, _)| error[0] > limit_mm);
    far.map(|(_, stop)| stop.number).collect()
}

impl HandEyeVerdict {
    /// Which pairs to measure again; `None` where none is far off.
    pub fn far_off(&self) -> Option<String> {
        (!self.outliers.is_empty()).then(|| {
            let (word, outliers) = (self.pair_word, &self.outliers);
            format!("far off the others: {word}s {outliers:?}; measure them again")
        })
    }

    /// Why the result must not be used; `None` where it may.
    pub fn refusal(&self, limits: HandEyeLimits) -> Option<String> {
        let HandEyeLimits { mm: limit_mm, deg: limit_deg } = limits;
        let spread = self.report.leave_one_out;
        let [sigma_mm, sigma_deg] = self.report.uncertainty_mm_deg;
        let within = |mm: f64, deg: f64| mm <= limit_mm && deg <= limit_deg;
        let fits = within(spread.rms_mm, spread.rms_deg);
        let suspicion = self.suspicion.as_ref();
        let suspected = suspicion.filter(|suspicion| !fits || !suspicion.mistakes.is_empty());
        match (fits, suspected) {
            (true, None) if within(sigma_mm, sigma_deg) => None,
            (true, None) => Some(format!(
                "from leaving stops out, the camera is known to ±{sigma_mm:.2} mm and \
                 ±{sigma_deg:.2} degrees only, worse than {limit_mm} mm or {limit_deg} degrees: add \
                 stops, turn the gripper further, and about more axes"
            )),
            (true, Some(suspicion)) => Some(suspicion.to_string()),
            (false, suspicion) => {
                let hint = match (suspicion, self.far_off()) {
                    (Some(suspicion), far_off) if suspicion.explains() || far_off.is_none() => {
                        suspicion.to_string()
                    }
                    (_, Some(far_off)) => far_off,
                    (_, None) => {
                        format!("look at the {}s with the largest errors", self.pair_word)
                    }
                };
                Some(format!(
                    "the board seems to move by {:.2} mm and {:.2} degrees (rms, leave-one-out), \
                     more than {limit_mm} mm or {limit_deg} degrees: {hint}",
                    spread.rms_mm, spread.rms_deg
                ))
            }
        }
    }
}
