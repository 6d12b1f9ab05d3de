//! Whether a picture can be one of a cell: what is constant, striped or of odd proportions is more
//! likely bytes that mean something else.

use magpie_perception::BgrImage;

/// The longer side over the shorter one; line scan and 360 degree cameras have more.
const PROPORTION_MAX: u32 = 4;
/// Grey levels between the darkest and the brightest hundredth: even a covered lens has noise.
const CONTRAST_MIN: u8 = 6;
/// Grey levels between neighbours that look like the halves of something else.
const STRIPES_MIN: u64 = 8;
/// Every second, third or fourth pixel may belong together: halves of 16 bits, of YUYV, parts of RGB,
/// of RGBA.
const PERIODS: std::ops::RangeInclusive<usize> = 2..=4;
/// Pixels that decide: every so many rows and columns are looked at.
const SAMPLES: usize = 200;

/// Why a picture is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureDoubt {
    #[error(
        "it is {width_px}x{height_px} px, an odd shape for a picture: does the camera deliver the \
         pixel format that it says?"
    )]
    Proportions { width_px: u32, height_px: u32 },
    #[error(
        "it has the same brightness everywhere, {level} of 255: is the lens covered, the light off, \
         or the exposure wrong?"
    )]
    Constant { level: u8 },
    #[error(
        "every {period} {direction} belong together, and neighbours do not: these are bytes of \
         another pixel format or size, or of two half pictures"
    )]
    Striped { period: usize, direction: &'static str },
}

/// What makes a picture implausible; nothing for a usual one.
pub fn picture_doubts(picture: &BgrImage) -> Vec<PictureDoubt> {
    let (width_px, height_px) = (picture.width_px(), picture.height_px());
    let mut doubts = Vec::new();
    if width_px.max(height_px) > PROPORTION_MAX * width_px.min(height_px) {
        doubts.push(PictureDoubt::Proportions { width_px, height_px });
    }
    let grey = Grey { data: picture.data(), width: width_px as usize, height: height_px as usize };
    if let Some(level) = grey.constant() {
        doubts.push(PictureDoubt::Constant { level });
        return doubts;
    }
    let columns = grey.period((1, 0)).map(|period| (period, "columns"));
    let rows = grey.period((0, 1)).map(|period| (period, "rows"));
    let stripes = columns.into_iter().chain(rows);
    doubts.extend(stripes.map(|(period, direction)| PictureDoubt::Striped { period, direction }));
    doubts
}

/// The brightness of a BGR picture.
struct Grey<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
}

impl Grey<'_> {
    fn at(&self, x: usize, y: usize) -> u8 {
        let pixel = &self.data[3 * (y * self.width + x)..][..3];
        let sum: u16 = pixel.iter().map(|&value| u16::from(value)).sum();
        u8::try_from(sum / 3).expect("a mean of bytes")
    }

    /// Places all over the picture, off any grid of a few pixels.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let step = |side: usize| (side / SAMPLES).max(1) | 1;
        let (across, down) = (step(self.width), step(self.height));
        let (width, height) = (self.width, self.height);
        (0..height).step_by(down).flat_map(move |y| (0..width).step_by(across).map(move |x| (x, y)))
    }

    /// The brightness, if all of the picture has it.
    fn constant(&self) -> Option<u8> {
        let mut counts = [0_usize; 256];
        self.places().for_each(|(x, y)| counts[usize::from(self.at(x, y))] += 1);
        let all: usize = counts.iter().sum();
        let level_of = |share_percent: usize| {
            let mut below = 0;
            let found = counts.iter().position(|count| {
                below += count;
                below * 100 > all * share_percent
            });
            found.and_then(|level| u8::try_from(level).ok()).unwrap_or(u8::MAX)
        };
        let (dark, middle, bright) = (level_of(1), level_of(50), level_of(98));
        (bright - dark < CONTRAST_MIN).then_some(middle)
    }

    /// The distance at which pixels are much more alike than neighbours are.
    fn period(&self, direction: (usize, usize)) -> Option<usize> {
        let apart = |distance: usize| {
            let (dx, dy) = (distance * direction.0, distance * direction.1);
            let pairs = self.places().filter(|&(x, y)| x + dx < self.width && y + dy < self.height);
            let (sum, count) = pairs.fold((0, 0), |(sum, count), (x, y)| {
                let step = self.at(x, y).abs_diff(self.at(x + dx, y + dy));
                (sum + u64::from(step), count + 1)
            });
            (count > 0).then_some((sum, count))
        };
        let (neighbours, pairs) = apart(1)?;
        if neighbours < STRIPES_MIN * pairs {
            return None;
        }
        // Half as far apart, on the mean.
        PERIODS.into_iter().find(|&period| {
            apart(period).is_some_and(|(sum, count)| 2 * sum * pairs < neighbours * count)
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixels of made-up pictures"
)]
mod tests {
    use super::*;

    /// A soft scene, as a lens shows it.
    fn scene(x: u32, y: u32) -> u8 {
        let wave = (f64::from(x) / 9.0).sin() * (f64::from(y) / 13.0).cos();
        (128.0 + 90.0 * wave).round() as u8
    }

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> BgrImage {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let data = places.flat_map(|(x, y)| [value(x, y); 3]).collect();
        BgrImage::new(width, height, data).unwrap()
    }

    #[test]
    fn a_scene_is_plausible_and_so_is_a_noisy_one() {
        assert_eq!(picture_doubts(&grey(320, 240, scene)), []);
        let noise = |x: u32, y: u32| {
            (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503) ^ (x * y)) as u8
        };
        assert_eq!(picture_doubts(&grey(320, 240, noise)), []);
    }

    #[test]
    fn a_constant_picture_is_doubted_with_its_level() {
        let dark = grey(320, 240, |x, y| 3 + ((x + y) % 3) as u8);
        assert_eq!(picture_doubts(&dark), [PictureDoubt::Constant { level: 4 }]);
    }

    #[test]
    fn bytes_of_another_format_are_doubted_by_their_stripes() {
        let check = |picture: &BgrImage, period, direction| {
            assert_eq!(picture_doubts(picture), [PictureDoubt::Striped { period, direction }]);
        };
        // Brightness and colour in turn, as in YUYV; the parts of RGB; the halves of 16 bits.
        let yuyv = |x: u32, y: u32| if x.is_multiple_of(2) { scene(x / 2, y) / 2 } else { 200 };
        check(&grey(640, 240, yuyv), 2, "columns");
        let rgb = |x: u32, y: u32| scene(x / 3, y) / 3 + [0, 70, 160][(x % 3) as usize];
        check(&grey(960, 240, rgb), 3, "columns");
        let fields = |x: u32, y: u32| scene(x + 60 * (y % 2), y) / 2 + 90 * (y % 2) as u8;
        check(&grey(320, 240, fields), 2, "rows");
    }

    #[test]
    fn a_picture_one_row_high_is_doubted_by_its_shape() {
        let doubts = picture_doubts(&grey(32_716, 1, scene));
        assert!(doubts.contains(&PictureDoubt::Proportions { width_px: 32_716, height_px: 1 }));
    }
}
