//! Grasp quality as a probability for one cell: which grasps were held, against the parts of their
//! quality.

use std::fmt::Write;

use magpie_wire as wire;

use super::fit::Logistic;
use super::picks::Pick;

/// The parts of `quality`, as the wire names them; `depth` is the share of pixels with depth.
pub(super) const PARTS: [&str; 6] = ["clearance", "seal", "moment", "tilt", "hold", "depth"];
/// A part counts as at least this much: the logarithm of 0 is no number.
const PART_MIN: f64 = 0.02;
/// Ten outcomes of the rarer kind for each parameter: Peduzzi et al. 1996.
const RARER_PER_PARAMETER: usize = 10;
/// Each trial is predicted by a fit that has not seen it: this many fits do that for all.
const FOLDS: usize = 5;

/// A grasp that was tried.
pub(super) struct Trial {
    parts: [f64; 6],
    quality: f64,
    is_held: bool,
}

impl Trial {
    /// `None` where the outcome says nothing of the grasp: it was not tried, or took two packages up.
    pub(super) fn new(pick: &Pick) -> Option<Trial> {
        let is_held = match pick.told.outcome() {
            wire::Outcome::Held => true,
            wire::Outcome::Dropped | wire::Outcome::Missed => false,
            _ => return None,
        };
        let grasp = pick.acted.as_ref().ok()?.grasp();
        // Without depth that part does not count.
        let depth = match grasp.pose_source() {
            wire::PoseSource::Depth => 1.0 - grasp.depth_hole_fraction,
            _ => 1.0,
        };
        let parts = [grasp.clearance, grasp.seal, grasp.moment, grasp.tilt, grasp.hold, depth];
        let is_whole = parts.iter().chain([&grasp.quality]).all(|part| part.is_finite());
        let quality = f64::from(grasp.quality);
        is_whole.then_some(Trial { parts: parts.map(f64::from), quality, is_held })
    }

    fn log_parts(&self) -> Vec<f64> {
        self.parts.iter().map(|part| part.max(PART_MIN).ln()).collect()
    }

    fn log_product(&self) -> Vec<f64> {
        vec![self.log_parts().iter().sum()]
    }
}

/// How the fit was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One weight for the product of the parts.
    Product,
    /// A weight for each part.
    Parts,
}

pub(super) struct Fitted {
    pub(super) form: Form,
    pub(super) logistic: Logistic,
    pub(super) trials: usize,
    pub(super) held: usize,
    /// For each trial, by a fit that had not seen it: the prediction, the quality as published, and
    /// whether it was held.
    pub(super) predicted: Vec<(f64, f64, bool)>,
    /// Mean squares of the errors: of the fit, of the quality as published, and of saying the share
    /// that was held of every grasp.
    pub(super) brier: [f64; 3],
}

impl Form {
    fn parameters(self) -> usize {
        match self {
            Form::Product => 2,
            Form::Parts => 1 + PARTS.len(),
        }
    }

    fn rarer_min(self) -> usize {
        RARER_PER_PARAMETER * self.parameters()
    }

    fn features(self, trial: &Trial) -> Vec<f64> {
        match self {
            Form::Product => trial.log_product(),
            Form::Parts => trial.log_parts(),
        }
    }
}

/// The fit, or how many outcomes are missing for one.
pub(super) fn fit(trials: &[Trial]) -> Result<Fitted, String> {
    let held = trials.iter().filter(|trial| trial.is_held).count();
    let rarer = held.min(trials.len() - held);
    let form = [Form::Parts, Form::Product].into_iter().find(|form| rarer >= form.rarer_min());
    let Some(form) = form else {
        return Err(format!(
            "it needs {} grasps that held and as many that did not, and there are {held} and {}; \
             from {} of each on, every part gets a weight of its own",
            Form::Product.rarer_min(),
            trials.len() - held,
            Form::Parts.rarer_min()
        ));
    };
    let logistic = fit_to(form, trials.iter());
    let predicted: Vec<(f64, f64, bool)> = predict_unseen(form, trials);
    let share = held as f64 / trials.len() as f64;
    let brier = |told: &dyn Fn(&(f64, f64, bool)) -> f64| {
        let errors = predicted.iter().map(|one| (told(one) - f64::from(u8::from(one.2))).powi(2));
        errors.sum::<f64>() / predicted.len() as f64
    };
    let brier = [brier(&|one| one.0), brier(&|one| one.1), brier(&|_| share)];
    Ok(Fitted { form, logistic, trials: trials.len(), held, predicted, brier })
}

fn fit_to<'a>(form: Form, trials: impl Iterator<Item = &'a Trial>) -> Logistic {
    let (features, held): (Vec<_>, Vec<_>) =
        trials.map(|trial| (form.features(trial), trial.is_held)).unzip();
    Logistic::fit(&features, &held)
}

fn predict_unseen(form: Form, trials: &[Trial]) -> Vec<(f64, f64, bool)> {
    let fits: Vec<Logistic> = (0..FOLDS)
        .map(|fold| {
            let others = trials.iter().enumerate().filter(|(at, _)| at % FOLDS != fold);
            fit_to(form, others.map(|(_, trial)| trial))
        })
        .collect();
    let predict = |(at, trial): (usize, &Trial)| {
        let told = fits[at % FOLDS].predict(&form.features(trial));
        (told, trial.quality, trial.is_held)
    };
    trials.iter().enumerate().map(predict).collect()
}

impl Fitted {
    /// Whether it tells more than the share that was held.
    pub(super) fn tells_more(&self) -> bool {
        self.brier[0] < self.brier[2]
    }

    /// The file of the cell.
    pub(super) fn to_toml(&self, cell: &str) -> String {
        let Fitted { logistic, trials, held, brier, .. } = self;
        let names: &[&str] = match self.form {
            Form::Product => &["product"],
            Form::Parts => &PARTS,
        };
        let mut toml = format!(
            "# Grasp quality as the probability that a grasp holds in this cell, fitted by `magpie learn`.\n\
             # No program reads this file by itself.\n\
             # ln(p / (1 - p)) = intercept + the sum of weight * ln(part), each part at least part_min;\n\
             # product: all parts multiplied; depth: the share of the cup's pixels with depth, 1 where the\n\
             # pose is from the support plane.\n\
             cell = {}\noutcomes = {trials}\nheld = {held}\npart_min = {PART_MIN}\n\
             intercept = {:.6}\n\n\
             # Mean squares of the errors, smaller is better, each grasp predicted by a fit without it:\n\
             # of this file, of quality as it is published, of saying always the share that was held.\n\
             brier = [{:.4}, {:.4}, {:.4}]\n\n[weight]\n",
            toml::Value::from(cell),
            logistic.intercept,
            brier[0],
            brier[1],
            brier[2],
        );
        for (name, weight) in names.iter().zip(&logistic.weights) {
            let _ = writeln!(toml, "{name} = {weight:.6}");
        }
        toml.push_str("\n# Standard deviations.\n[weight_sigma]\n");
        for (name, sigma) in names.iter().zip(&logistic.sigmas) {
            let _ = writeln!(toml, "{name} = {sigma:.6}");
        }
        toml
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held with a probability of the product of seal and hold, by a small generator of numbers.
    fn trials(count: u32, exponent: f64) -> Vec<Trial> {
        let mut state = 1_u32;
        let mut unit = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24)
        };
        (0..count)
            .map(|_| {
                let (seal, hold) = (0.2 + 0.8 * unit(), 0.2 + 0.8 * unit());
                let odds = 4.0 * seal.powf(exponent);
                let is_held = unit() < odds / (1.0 + odds);
                let parts = [1.0, seal, 1.0, 1.0, hold, 1.0];
                Trial { parts, quality: seal * hold, is_held }
            })
            .collect()
    }

    #[test]
    fn too_few_of_either_kind_are_refused_with_the_numbers() {
        let mut few = trials(400, 2.0);
        few.iter_mut().enumerate().for_each(|(at, trial)| trial.is_held = at >= 19);
        let why = fit(&few).err().unwrap();
        assert!(why.contains("needs 20") && why.contains("381 and 19"), "{why}");
        assert!(fit(&[]).is_err());
    }

    #[test]
    fn the_weights_are_those_by_which_the_grasps_held() {
        let fitted = fit(&trials(4000, 2.0)).ok().unwrap();
        assert_eq!(fitted.form, Form::Parts);
        let weight = |name: &str| {
            let at = PARTS.iter().position(|part| *part == name).unwrap();
            (fitted.logistic.weights[at], fitted.logistic.sigmas[at])
        };
        let (seal, sigma) = weight("seal");
        assert!((seal - 2.0).abs() < 3.0 * sigma && sigma < 0.2, "{seal} {sigma}");
        let (hold, sigma) = weight("hold");
        assert!(hold.abs() < 3.0 * sigma, "{hold} {sigma}");
        assert_eq!(weight("tilt").0, 0.0, "it did not vary");
        assert!((fitted.logistic.intercept - 4.0_f64.ln()).abs() < 0.2);
        assert!(fitted.tells_more() && fitted.brier[0] < fitted.brier[1], "{:?}", fitted.brier);
    }

    #[test]
    fn few_outcomes_give_one_weight_and_the_file_says_what_it_holds() {
        let fitted = fit(&trials(120, 2.0)).ok().unwrap();
        assert_eq!(fitted.form, Form::Product);
        let file: toml::Table = fitted.to_toml("dock \"7\"").parse().unwrap();
        assert_eq!(file["cell"].as_str(), Some("dock \"7\""));
        assert_eq!(file["outcomes"].as_integer(), Some(120));
        assert!(file["weight"]["product"].as_float().unwrap() > 0.0);
        assert_eq!(file["brier"].as_array().unwrap().len(), 3);
    }
}
