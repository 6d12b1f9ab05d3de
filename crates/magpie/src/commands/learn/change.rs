//! What is gone between two pictures of one place, pixel by pixel.
//!
//! Depth tells most: where the surface fell by more than noise, what lay there is gone. Colour tells
//! where depth has holes or is missing. The noise is measured where nothing was picked: around the
//! outline that the model published.

use magpie_perception::{BgrImage, DepthImage, Frame};

use super::refusal::Refusal;
use super::region::{Region, Window};

/// What a region was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    Depth,
    Color,
}

impl Evidence {
    pub(super) fn name(self) -> &'static str {
        match self {
            Evidence::Depth => "depth",
            Evidence::Color => "color",
        }
    }
}

pub(super) struct Change {
    /// Where what was there is gone.
    pub(super) gone: Region,
    /// Where something is nearer to the camera than before. Without depth nobody knows.
    pub(super) came: Region,
    /// How far each pixel changed, in thresholds: what is gone changed by more than 1.
    pub(super) strength: Vec<f32>,
    pub(super) evidence: Evidence,
}

/// Around the outline the model may err by so much.
const OUTLINE_PX: usize = 4;
/// Fewer pixels tell no noise.
const SURROUNDINGS_PX_MIN: usize = 200;
/// With less of the outline measured in both pictures, depth does not decide.
const DEPTH_SHARE_MIN: f64 = 0.5;
/// A change counts from so many standard deviations of the surroundings on.
const SIGMAS: f32 = 5.0;
/// Millimetres: stored depth has steps of one, and no package is thinner than three.
const FALL_MM_MIN: f32 = 3.0;
/// At one metre: depth drifts with the sensor's temperature, but not by more than this.
const DRIFT_MM_MAX: f32 = 20.0;
/// Half the sides of the squares whose medians stand for a pixel, and the part of a square that must be
/// measured.
const DEPTH_REACH: usize = 2;
const COLOR_REACH: usize = 1;
const MEASURED_PART: usize = 4;
/// Steps of 255: less is not seen by eye either.
const COLOR_STEPS_MIN: f32 = 8.0;
/// By how much light may change where only a shadow falls or goes.
const SHADOW: std::ops::Range<f32> = 0.5..1.6;
/// From a median of absolute deviations to a standard deviation of normal noise.
const SIGMA_PER_MAD: f32 = 1.4826;

pub(super) fn change(
    before: &Frame,
    after: &Frame,
    window: &Window,
    outline: &Region,
) -> Result<Change, Refusal> {
    let surroundings = outline.grown(OUTLINE_PX);
    let around: Vec<usize> =
        (0..window.area_px()).filter(|at| !surroundings.contains(*at)).collect();
    if around.len() < SURROUNDINGS_PX_MIN {
        return Err(Refusal::NoSurroundings);
    }
    let color = color_change(&before.color, &after.color, window, &around);
    let depth = before.depth.as_ref().zip(after.depth.as_ref());
    let fallen = depth.map(|(before, after)| fall(before, after, window, outline, &around));
    Ok(match fallen.transpose()?.flatten() {
        Some(fallen) => by_depth(&fallen, &color, window, outline),
        None => by_color(&color, window, outline),
    })
}

fn by_depth(fallen: &[Option<f32>], color: &[Shade], window: &Window, outline: &Region) -> Change {
    // Within the outline a thin film may lie too low for depth, and shiny film has holes.
    let seen = |at: usize| outline.contains(at) && color[at].is_other();
    let gone = Region::from_fn(window, |at| match fallen[at] {
        Some(fall) => fall > 1.0 || (fall > -1.0 && seen(at)),
        None => seen(at),
    });
    Change {
        gone,
        came: Region::from_fn(window, |at| fallen[at].is_some_and(|fall| fall < -1.0)),
        strength: fallen.iter().map(|fall| fall.unwrap_or(0.0)).collect(),
        evidence: Evidence::Depth,
    }
}

/// Beyond the outline a change of brightness alone is a shadow that came or went.
fn by_color(color: &[Shade], window: &Window, outline: &Region) -> Change {
    let is_gone =
        |at: usize| color[at].is_other() || (outline.contains(at) && color[at].strength > 1.0);
    Change {
        gone: Region::from_fn(window, is_gone),
        came: Region::from_fn(window, |_| false),
        strength: color.iter().map(|shade| shade.strength).collect(),
        evidence: Evidence::Color,
    }
}

/// How far the surface fell at each pixel, in thresholds; `None` where it was not measured in both.
/// Nothing at all where too little of the outline was; refused where everything fell alike.
fn fall(
    before: &DepthImage,
    after: &DepthImage,
    window: &Window,
    outline: &Region,
    around: &[usize],
) -> Result<Option<Vec<Option<f32>>>, Refusal> {
    let fallen_mm: Vec<Option<f32>> = (0..window.area_px())
        .map(|at| {
            let (x, y) = window.in_picture(at);
            let (before, after) = (before.mm(x, y), after.mm(x, y));
            (before > 0 && after > 0).then(|| f32::from(after) - f32::from(before))
        })
        .collect();
    let fallen_mm = medians(&fallen_mm, window, DEPTH_REACH);
    let measured = outline.pixels().filter(|at| fallen_mm[*at].is_some()).count();
    if (measured as f64) < DEPTH_SHARE_MIN * outline.area_px() as f64 {
        return Ok(None);
    }
    // The noise of stereo depth grows with the square of the distance.
    let square_m2: Vec<f32> = (0..window.area_px())
        .map(|at| {
            let (x, y) = window.in_picture(at);
            let depth_mm = [before.mm(x, y), after.mm(x, y)].into_iter().max().unwrap_or(0);
            (f32::from(depth_mm) / 1000.0).powi(2)
        })
        .collect();
    let per_square: Vec<f32> = around
        .iter()
        .filter_map(|&at| Some(fallen_mm[at]? / square_m2[at]).filter(|value| value.is_finite()))
        .collect();
    if per_square.len() < SURROUNDINGS_PX_MIN {
        return Ok(None);
    }
    let (drift, sigma) = spread(per_square);
    if drift.abs() > DRIFT_MM_MAX {
        return Err(Refusal::SceneMoved);
    }
    let in_thresholds = |at: usize| -> Option<f32> {
        let threshold_mm = (SIGMAS * sigma * square_m2[at]).max(FALL_MM_MIN);
        Some((fallen_mm[at]? - drift * square_m2[at]) / threshold_mm)
    };
    Ok(Some((0..window.area_px()).map(in_thresholds).collect()))
}

/// The median of what is measured so near to each pixel: edges stay where they are. `None` where that
/// is too little.
fn medians(values: &[Option<f32>], window: &Window, reach: usize) -> Vec<Option<f32>> {
    let (width, height) = (window.width_px, window.height_px);
    let whole = (2 * reach + 1).pow(2);
    let mut near = Vec::with_capacity(whole);
    let median_at = |at: usize| {
        let (row, column) = (at / width, at % width);
        near.clear();
        for y in row.saturating_sub(reach)..(row + reach + 1).min(height) {
            for x in column.saturating_sub(reach)..(column + reach + 1).min(width) {
                near.extend(values[y * width + x]);
            }
        }
        (near.len() >= whole / MEASURED_PART).then(|| median(&mut near))
    };
    (0..values.len()).map(median_at).collect()
}

/// How the colour of a pixel changed.
#[derive(Clone, Copy)]
struct Shade {
    /// In thresholds.
    strength: f32,
    is_shadow: bool,
}

impl Shade {
    /// Another surface is seen, not the same one in another light.
    fn is_other(self) -> bool {
        self.strength > 1.0 && !self.is_shadow
    }
}

fn color_change(
    before: &BgrImage,
    after: &BgrImage,
    window: &Window,
    around: &[usize],
) -> Vec<Shade> {
    let channel = |image: &BgrImage, channel: usize| -> Vec<f32> {
        let value = |at| {
            let (x, y) = window.in_picture(at);
            Some(f32::from(image.pixel(x, y)[channel]))
        };
        let values: Vec<Option<f32>> = (0..window.area_px()).map(value).collect();
        medians(&values, window, COLOR_REACH).into_iter().flatten().collect()
    };
    let channels: [Channel; 3] =
        std::array::from_fn(|at| Channel::compare(channel(before, at), channel(after, at), around));
    let shade = |at: usize| {
        let strength = channels.iter().map(|channel| channel.strength(at)).fold(0.0, f32::max);
        Shade { strength, is_shadow: is_shadow(&channels, at) }
    };
    (0..window.area_px()).map(shade).collect()
}

/// One colour of both pictures.
struct Channel {
    /// With the gain of the second picture.
    before: Vec<f32>,
    after: Vec<f32>,
    threshold: f32,
}

impl Channel {
    /// Cameras expose anew when a large package is gone, so the surroundings tell the gain.
    fn compare(mut before: Vec<f32>, after: Vec<f32>, around: &[usize]) -> Channel {
        let mut ratios: Vec<f32> = (around.iter())
            .filter(|at| (16.0..240.0).contains(&before[**at]))
            .map(|at| after[*at] / before[*at])
            .collect();
        let gain = if ratios.len() < SURROUNDINGS_PX_MIN { 1.0 } else { median(&mut ratios) };
        before.iter_mut().for_each(|value| *value = (*value * gain).min(255.0));
        let (_, sigma) = spread(around.iter().map(|at| after[*at] - before[*at]).collect());
        Channel { before, after, threshold: (SIGMAS * sigma).max(COLOR_STEPS_MIN) }
    }

    fn strength(&self, at: usize) -> f32 {
        (self.after[at] - self.before[at]).abs() / self.threshold
    }
}

/// Whether all three colours changed by the same factor, but for noise.
fn is_shadow(channels: &[Channel; 3], at: usize) -> bool {
    let pairs = channels.each_ref().map(|channel| (channel.before[at], channel.after[at]));
    let squares: f32 = pairs.iter().map(|(before, _)| before * before).sum();
    let factor = pairs.iter().map(|(before, after)| before * after).sum::<f32>() / squares;
    SHADOW.contains(&factor)
        && channels
            .iter()
            .zip(pairs)
            .all(|(channel, (before, after))| (after - factor * before).abs() < channel.threshold)
}

/// The median, and a standard deviation that a minority of changed pixels does not move.
fn spread(mut values: Vec<f32>) -> (f32, f32) {
    let middle = median(&mut values);
    values.iter_mut().for_each(|value| *value = (*value - middle).abs());
    (middle, SIGMA_PER_MAD * median(&mut values))
}

/// The upper one of two middle values. Panics if there is none.
pub(super) fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_does_not_move_the_spread() {
        let mut values = vec![1000.0; 40];
        values.extend((0..60).map(|at| f32::from(at % 2 == 0)));
        let (middle, sigma) = spread(values);
        assert!((0.0..=1.0).contains(&middle) && sigma < 2.0, "{middle} {sigma}");
    }

    #[test]
    fn the_same_factor_on_all_colours_is_a_shadow() {
        let channel = |before: f32, after: f32| Channel {
            before: vec![before],
            after: vec![after],
            threshold: 8.0,
        };
        let shadow = [channel(200.0, 140.0), channel(100.0, 70.0), channel(60.0, 42.0)];
        assert!(is_shadow(&shadow, 0));
        let other = [channel(200.0, 140.0), channel(100.0, 70.0), channel(60.0, 90.0)];
        assert!(!is_shadow(&other, 0));
        let dark = [channel(200.0, 20.0), channel(100.0, 10.0), channel(60.0, 6.0)];
        assert!(!is_shadow(&dark, 0), "no shadow is that dark");
    }
}
