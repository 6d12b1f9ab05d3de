//! Which pictures are worth a person's time: those that the model is unsure of, and that differ.
//!
//! Greedy k-centre: the picture that the model is least sure of comes first, and then always the one
//! for which (unsure) x (distance to the nearest picture that was taken) is largest. Distances are
//! between the network's features, each divided by its spread over all pictures.

use super::likeness::Likeness;

/// Numbers of pictures.
pub(super) struct Choice {
    /// In the order of writing.
    pub(super) taken: Vec<usize>,
    /// Left out, and the picture that shows the same.
    pub(super) near_duplicates: Vec<(usize, usize)>,
}

/// Of pictures, least sure first, at most so many.
pub(super) fn choose(
    pictures: &[(f64, &Likeness)],
    pictures_max: usize,
    keeps_near_duplicates: bool,
) -> Choice {
    let (kept, near_duplicates) = if keeps_near_duplicates {
        ((0..pictures.len()).collect(), Vec::new())
    } else {
        told_apart(pictures)
    };
    Choice { taken: spread_out(pictures, &kept, pictures_max), near_duplicates }
}

/// Of pictures that show the same, the first stays.
fn told_apart(pictures: &[(f64, &Likeness)]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let (mut kept, mut near_duplicates) = (Vec::<usize>::new(), Vec::new());
    for (at, (_, likeness)) in pictures.iter().enumerate() {
        let same = |other: &&usize| likeness.is_near_duplicate(pictures[**other].1);
        match kept.iter().find(same) {
            Some(other) => near_duplicates.push((at, *other)),
            None => kept.push(at),
        }
    }
    (kept, near_duplicates)
}

fn spread_out(pictures: &[(f64, &Likeness)], kept: &[usize], pictures_max: usize) -> Vec<usize> {
    let features =
        standardized(&kept.iter().map(|at| &pictures[*at].1.features).collect::<Vec<_>>());
    let mut nearest = vec![f64::INFINITY; kept.len()];
    let mut taken = Vec::new();
    while taken.len() < pictures_max.min(kept.len()) {
        let left = (0..kept.len()).filter(|at| nearest[*at] >= 0.0);
        let worth = |at: &usize| pictures[kept[*at]].0.max(f64::MIN_POSITIVE) * nearest[*at];
        // Of equal ones the first: before anything is taken, every distance is infinite.
        let best = left.rev().max_by(|a, b| worth(a).total_cmp(&worth(b)));
        let best = best.expect("fewer were taken than there are");
        taken.push(kept[best]);
        for (distance, other) in nearest.iter_mut().zip(&features) {
            *distance = distance.min(distance_between(other, &features[best]));
        }
        nearest[best] = -1.0;
    }
    taken
}

/// Each feature less its mean, and divided by its spread; one that never changes is left out.
fn standardized(pictures: &[&Vec<f64>]) -> Vec<Vec<f64>> {
    let count = pictures.len() as f64;
    let features = pictures.first().map_or(0, |first| first.len());
    let mean = |at: usize| pictures.iter().map(|one| one[at]).sum::<f64>() / count;
    let scales: Vec<(f64, f64)> = (0..features)
        .map(|at| {
            let mean = mean(at);
            let square = |one: &&Vec<f64>| (one[at] - mean).powi(2);
            (mean, (pictures.iter().map(square).sum::<f64>() / count).sqrt())
        })
        .collect();
    let scaled = |(value, (mean, spread)): (&f64, &(f64, f64))| {
        if *spread > 1e-12 { (value - mean) / spread } else { 0.0 }
    };
    pictures.iter().map(|one| one.iter().zip(&scales).map(scaled).collect()).collect()
}

fn distance_between(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unsure, grey level and one feature of each picture.
    fn chosen(pictures: &[(f64, u8, f64)], pictures_max: usize) -> Choice {
        let likenesses: Vec<Likeness> =
            pictures.iter().map(|(_, grey, x)| Likeness::of_grey(*grey, vec![*x])).collect();
        let pictures: Vec<(f64, &Likeness)> =
            pictures.iter().zip(&likenesses).map(|((unsure, ..), one)| (*unsure, one)).collect();
        choose(&pictures, pictures_max, false)
    }

    #[test]
    fn the_least_sure_comes_first_and_then_what_is_unsure_and_unlike() {
        let burst =
            [(0.9, 0, 0.0), (0.89, 40, 0.1), (0.88, 80, 0.2), (0.5, 120, 9.0), (0.1, 160, 5.0)];
        assert_eq!(chosen(&burst, 2).taken, [0, 3]);
        // Distance 4 at 0.1 is worth more than 0.2 at 0.88.
        assert_eq!(chosen(&burst, 9).taken, [0, 3, 4, 2, 1]);
    }

    #[test]
    fn near_duplicates_are_named_with_the_picture_that_stays() {
        let choice =
            chosen(&[(0.9, 100, 0.0), (0.8, 104, 1.0), (0.7, 180, 2.0), (0.6, 96, 3.0)], 9);
        assert_eq!(choice.near_duplicates, [(1, 0), (3, 0)]);
        assert_eq!(choice.taken, [0, 2]);
    }

    #[test]
    fn pictures_without_a_difference_in_features_keep_their_order() {
        let alike = [(0.0, 0, 1.0), (0.0, 40, 1.0), (0.0, 80, 1.0)];
        assert_eq!(chosen(&alike, 3).taken, [0, 1, 2]);
    }
}
