//! Logistic regression of few parameters: iteratively reweighted least squares, with a prior that
//! keeps weights finite where the outcomes are told apart exactly.

use nalgebra::{DMatrix, DVector};

/// `logit p = intercept + sum of weights * features`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logistic {
    pub(super) intercept: f64,
    pub(super) weights: Vec<f64>,
    /// Standard deviations of the weights, as the curvature of the likelihood gives them.
    pub(super) sigmas: Vec<f64>,
}

/// Standard deviation of a weight before anything is known, for a feature of spread 1 (a change of
/// one spread then changes the odds by a factor of 12 at most likely): Gelman et al. 2008.
const PRIOR_SIGMA: f64 = 2.5;
const STEPS_MAX: usize = 100;
/// Halved so often, a step no longer moves anything.
const HALVINGS_MAX: usize = 30;
const STEP_MIN: f64 = 1e-9;
/// What varies less is a constant.
const SPREAD_MIN: f64 = 1e-9;

impl Logistic {
    pub(super) fn predict(&self, features: &[f64]) -> f64 {
        let sum: f64 = self.weights.iter().zip(features).map(|(w, x)| w * x).sum();
        sigmoid(self.intercept + sum)
    }

    /// Features of all trials, of one length; at least one trial.
    pub(super) fn fit(features: &[Vec<f64>], held: &[bool]) -> Logistic {
        let (trials, width) = (features.len(), features[0].len());
        let n = trials as f64;
        let column = |at: usize| features.iter().map(move |row| row[at]);
        let means: Vec<f64> = (0..width).map(|at| column(at).sum::<f64>() / n).collect();
        let spreads: Vec<f64> = (0..width)
            .map(|at| (column(at).map(|x| (x - means[at]).powi(2)).sum::<f64>() / n).sqrt())
            .collect();
        let scaled = |row: usize, at: usize| match at {
            0 => 1.0,
            _ if spreads[at - 1] < SPREAD_MIN => 0.0,
            _ => (features[row][at - 1] - means[at - 1]) / spreads[at - 1],
        };
        let x = DMatrix::from_fn(trials, width + 1, scaled);
        let y = DVector::from_iterator(trials, held.iter().map(|held| f64::from(u8::from(*held))));
        let precision = DVector::from_fn(width + 1, |at, _| match at {
            // Nothing is known of the share that is held.
            0 => 1e-6,
            _ => PRIOR_SIGMA.powi(-2),
        });
        let weights = newton(&x, &y, &precision);
        let covariance = curvature(&x, &weights, &precision)
            .cholesky()
            .map_or_else(|| DMatrix::zeros(width + 1, width + 1), |found| found.inverse());
        let unscaled = |at: usize, value: f64| {
            if spreads[at] < SPREAD_MIN { 0.0 } else { value / spreads[at] }
        };
        let back: Vec<f64> = (0..width).map(|at| unscaled(at, weights[at + 1])).collect();
        let shift: f64 = back.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        Logistic {
            intercept: weights[0] - shift,
            sigmas: (0..width)
                .map(|at| unscaled(at, covariance[(at + 1, at + 1)].sqrt()))
                .collect(),
            weights: back,
        }
    }
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

fn newton(x: &DMatrix<f64>, y: &DVector<f64>, precision: &DVector<f64>) -> DVector<f64> {
    let mut weights = DVector::zeros(x.ncols());
    let mut cost = cost_of(x, y, precision, &weights);
    for _ in 0..STEPS_MAX {
        let p = (x * &weights).map(sigmoid);
        let slope = x.transpose() * (y - p) - precision.component_mul(&weights);
        let Some(curvature) = curvature(x, &weights, precision).cholesky() else { break };
        let mut step = curvature.solve(&slope);
        let better = (0..HALVINGS_MAX).find_map(|_| {
            let next = &weights + &step;
            let next_cost = cost_of(x, y, precision, &next);
            step *= 0.5;
            (next_cost <= cost).then_some((next, next_cost))
        });
        let Some((next, next_cost)) = better else { break };
        let moved = (&next - &weights).amax();
        (weights, cost) = (next, next_cost);
        if moved < STEP_MIN {
            break;
        }
    }
    weights
}

fn curvature(x: &DMatrix<f64>, weights: &DVector<f64>, precision: &DVector<f64>) -> DMatrix<f64> {
    let p = (x * weights).map(sigmoid);
    let mut weighted = x.clone();
    for (mut row, p) in weighted.row_iter_mut().zip(p.iter()) {
        row *= p * (1.0 - p);
    }
    x.transpose() * weighted + DMatrix::from_diagonal(precision)
}

/// The negative logarithm of likelihood and prior.
fn cost_of(
    x: &DMatrix<f64>,
    y: &DVector<f64>,
    precision: &DVector<f64>,
    weights: &DVector<f64>,
) -> f64 {
    let sums = x * weights;
    // ln(1 + e^s), without overflow.
    let softplus = |s: f64| s.max(0.0) + (-s.abs()).exp().ln_1p();
    let likelihood: f64 = sums.iter().zip(y.iter()).map(|(s, y)| softplus(*s) - y * s).sum();
    let prior: f64 = weights.iter().zip(precision.iter()).map(|(w, p)| p * w * w).sum();
    likelihood + 0.5 * prior
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_features_that_vary_it_is_the_share_that_was_held() {
        let features = vec![vec![0.7]; 40];
        let held: Vec<bool> = (0..40).map(|at| at % 4 != 0).collect();
        let fit = Logistic::fit(&features, &held);
        assert_eq!(fit.weights, [0.0]);
        assert!((fit.predict(&[0.7]) - 0.75).abs() < 1e-6);
        assert!((fit.intercept - 3.0_f64.ln()).abs() < 1e-5);
    }

    #[test]
    fn two_groups_are_fitted_by_their_log_odds() {
        // 60 of 80 at 0, 20 of 80 at 1: ln 3 and -ln 3. The prior takes little of 160 outcomes.
        let features: Vec<Vec<f64>> = (0..160).map(|at| vec![f64::from(at >= 80)]).collect();
        let held: Vec<bool> = (0..160).map(|at| (at % 4 != 0) == (at < 80)).collect();
        let fit = Logistic::fit(&features, &held);
        assert!((fit.predict(&[0.0]) - 0.75).abs() < 0.01, "{fit:?}");
        assert!((fit.predict(&[1.0]) - 0.25).abs() < 0.01, "{fit:?}");
        // The variance of a log odds ratio is the sum of the counts' reciprocals.
        let expected = (1.0_f64 / 60.0 + 1.0 / 20.0 + 1.0 / 20.0 + 1.0 / 60.0).sqrt();
        assert!((fit.sigmas[0] / expected - 1.0).abs() < 0.05, "{fit:?}");
    }

    #[test]
    fn what_is_told_apart_exactly_keeps_finite_weights() {
        let features: Vec<Vec<f64>> = (0..60).map(|at| vec![f64::from(at)]).collect();
        let held: Vec<bool> = (0..60).map(|at| at >= 30).collect();
        let fit = Logistic::fit(&features, &held);
        assert!(fit.weights[0].is_finite() && fit.weights[0] > 0.0);
        assert!(fit.predict(&[0.0]) < 0.05 && fit.predict(&[59.0]) > 0.95);
    }
}
