//! How alike two pictures are: to the network, and pixel by pixel.

use magpie_inference::OnnxSession;
use magpie_perception::{BgrImage, InferenceError, InferenceSession, InputMut, ModelSpec, Outputs};

/// A thumbnail has so many cells on each side.
const CELLS: usize = 32;
/// Grey levels, 0 to 255. Where a cell of two pictures differs more, something moved, came or went:
/// noise and compression move the mean of a cell by less.
const CELL_DIFFERENCE_MAX: u8 = 12;

/// What is kept of a picture to compare it by.
pub(super) struct Likeness {
    /// Mean and spread of each of the network's prototypes over the picture: what there is, wherever
    /// it lies.
    pub(super) features: Vec<f64>,
    thumbnail: Vec<u8>,
}

impl Likeness {
    pub(super) fn new(image: &BgrImage, features: Vec<f64>) -> Likeness {
        Likeness { features, thumbnail: thumbnail(image) }
    }

    /// No cell's mean grey differs by more: what is small and of like grey is not seen.
    pub(super) fn is_near_duplicate(&self, other: &Likeness) -> bool {
        let mut cells = self.thumbnail.iter().zip(&other.thumbnail);
        cells.all(|(a, b)| a.abs_diff(*b) <= CELL_DIFFERENCE_MAX)
    }

    #[cfg(test)]
    pub(super) fn of_grey(level: u8, features: Vec<f64>) -> Likeness {
        Likeness { features, thumbnail: vec![level; CELLS * CELLS] }
    }
}

/// Mean grey of each cell, row by row.
fn thumbnail(image: &BgrImage) -> Vec<u8> {
    let (width, height) = (image.width_px() as usize, image.height_px() as usize);
    let (mut sums, mut counts) = (vec![0_u64; CELLS * CELLS], vec![0_u64; CELLS * CELLS]);
    for (y, row) in image.data().chunks_exact(3 * width).enumerate() {
        let first = y * CELLS / height * CELLS;
        for (x, bgr) in row.chunks_exact(3).enumerate() {
            let at = first + x * CELLS / width;
            // Rec. 601's grey, in 256ths.
            let [blue, green, red] = [bgr[0], bgr[1], bgr[2]].map(u64::from);
            sums[at] += 29 * blue + 150 * green + 77 * red;
            counts[at] += 256;
        }
    }
    // A picture of few pixels leaves cells empty.
    let mean = |(sum, count): (&u64, &u64)| sum.checked_div(*count).unwrap_or(0);
    let means = sums.iter().zip(&counts).map(mean);
    means.map(|grey| u8::try_from(grey).expect("a mean of bytes is one")).collect()
}

/// A session that notes the features of what passes it.
pub(super) struct Noting<'a> {
    pub(super) session: &'a mut OnnxSession,
    pub(super) features: Vec<f64>,
}

impl InferenceSession for Noting<'_> {
    fn spec(&self) -> &ModelSpec {
        self.session.spec()
    }

    fn input(&mut self) -> InputMut<'_> {
        self.session.input()
    }

    fn run(&mut self) -> Result<Outputs<'_>, InferenceError> {
        let outputs = self.session.run()?;
        let prototypes = outputs.prototypes.outer_iter();
        let values = prototypes.map(|one| one.to_slice().expect("a tensor without gaps"));
        self.features = features(values);
        Ok(outputs)
    }
}

/// Mean and spread of each.
fn features<'a>(prototypes: impl Iterator<Item = &'a [f32]>) -> Vec<f64> {
    let of_one = |values: &[f32]| {
        let count = values.len() as f64;
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let square = |value: &f32| (f64::from(*value) - mean).powi(2);
        [mean, (values.iter().map(square).sum::<f64>() / count).sqrt()]
    };
    prototypes.flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(paint: impl Fn(usize, usize) -> u8) -> Likeness {
        let pixels = (0..96 * 128).flat_map(|at| [paint(at % 128, at / 128); 3]).collect();
        Likeness::new(&BgrImage::new(128, 96, pixels).unwrap(), Vec::new())
    }

    #[test]
    fn noise_leaves_pictures_alike_and_whatever_moved_does_not() {
        let box_at =
            |left: usize| move |x: usize, _| if (left..left + 20).contains(&x) { 200 } else { 90 };
        let (still, moved) = (picture(box_at(30)), picture(box_at(34)));
        let noisy = picture(|x, y| box_at(30)(x, y) + u8::try_from((7 * x + 13 * y) % 17).unwrap());
        assert!(still.is_near_duplicate(&noisy));
        assert!(!still.is_near_duplicate(&moved));
    }

    #[test]
    fn features_are_mean_and_spread_of_each_prototype() {
        let prototypes = [[1.0, 3.0], [5.0, 5.0]];
        assert_eq!(features(prototypes.iter().map(|one| one.as_slice())), [2.0, 1.0, 5.0, 0.0]);
    }
}
