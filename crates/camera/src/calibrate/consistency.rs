//! Whether one lens explains all views, and whether it explains them well enough.
//!
//! A lens that was zoomed or focused between pictures, or a second camera, bends the mean of two
//! lenses over all views with small residuals: the board's distance makes up for the focal length.
//! But each tilted view tells its focal length by itself.

use std::fmt;

use magpie_perception::{CameraInfo, Intrinsics};
use nalgebra::{DVector, Isometry3, Vector3};

use super::board::View;
use super::coverage::wider_by;
use super::least_squares::{minimise, std_of_last};
use super::pose::board_pose;

/// What speaks against a lens that was found.
#[derive(Clone, Debug, PartialEq)]
pub enum LensDoubt {
    /// Views have focal lengths of their own. Where they fall into two groups: the focal length of
    /// each, and the indices of its views.
    FocalLengths { spread_percent: f64, groups: Option<[(f64, Vec<usize>); 2]> },
    /// Another model fits so much better.
    Fisheye { rms_px: f64, fisheye_rms_px: f64 },
    /// Views that were held out fit far worse than those that were used.
    HeldOut { rms_px: f64, held_out_rms_px: f64 },
}

/// Corners of one view share errors, such as a board that is not quite flat: no focal length of one
/// view is better known than this, as a share.
const FOCAL_STD_MIN: f64 = 0.002;
/// Focal lengths of one lens differ by less, in standard deviations (the mean of their squares) and
/// as a share. Simulated boards of one lens have 1 to 3.
const FOCAL_CHI_MAX: f64 = 8.0;
const FOCAL_SPREAD_MAX: f64 = 0.01;
/// A fisheye model has as many parameters as ours, so it must fit clearly better.
const FISHEYE_BETTER_BY: f64 = 1.5;
/// Views that were held out fit nearly as well as the others, if these are enough and the model is
/// right. Below this many pixels nobody minds.
const HELD_OUT_WORSE_BY: f64 = 1.6;
const HELD_OUT_RMS_PX_MIN: f64 = 0.3;

/// `used` are the indices of `views` among all that were handed in.
pub(crate) fn doubt(
    views: &[&View],
    used: &[usize],
    info: &CameraInfo,
    [rms_px, held_out_rms_px]: [f64; 2],
    fisheye_rms_px: impl FnOnce() -> Option<f64>,
) -> Option<LensDoubt> {
    let focal = focal_lengths(views, used, info);
    let minded_px = HELD_OUT_RMS_PX_MIN * wider_by(info.width_px);
    let held_out = held_out_rms_px > minded_px && held_out_rms_px > HELD_OUT_WORSE_BY * rms_px;
    if focal.is_none() && !held_out && rms_px < minded_px {
        return None;
    }
    // Residuals do not tell a wrong model from a lens that changed; a better model does.
    let fisheye = fisheye_rms_px().filter(|fisheye| FISHEYE_BETTER_BY * fisheye < rms_px);
    let fisheye = fisheye.map(|fisheye_rms_px| LensDoubt::Fisheye { rms_px, fisheye_rms_px });
    let held_out = held_out.then_some(LensDoubt::HeldOut { rms_px, held_out_rms_px });
    fisheye.or(focal).or(held_out)
}

fn focal_lengths(views: &[&View], used: &[usize], info: &CameraInfo) -> Option<LensDoubt> {
    // The share by which the focal length of each view differs, with its weight.
    let mut shares: Vec<(f64, f64, usize)> = (views.iter().zip(used))
        .filter_map(|(view, &index)| {
            let (share, std) = own_focal_length(view, info)?;
            Some((share, 1.0 / (std.powi(2) + FOCAL_STD_MIN.powi(2)), index))
        })
        .collect();
    if shares.len() < 4 {
        return None;
    }
    let mean = |shares: &[(f64, f64, usize)]| {
        let weights: f64 = shares.iter().map(|(_, weight, _)| weight).sum();
        shares.iter().map(|(share, weight, _)| share * weight).sum::<f64>() / weights
    };
    let middle = mean(&shares);
    let square: f64 =
        shares.iter().map(|(share, weight, _)| weight * (share - middle).powi(2)).sum();
    let weights: f64 = shares.iter().map(|(_, weight, _)| weight).sum();
    let spread = (square / weights).sqrt();
    if square / (shares.len() - 1) as f64 <= FOCAL_CHI_MAX || spread <= FOCAL_SPREAD_MAX {
        return None;
    }
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The widest gap, where it is wider than what lies within.
    let gaps = shares.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let (at, gap) = gaps.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (short, long) = shares.split_at(at + 1);
    let group = |shares: &[(f64, f64, usize)]| {
        let mut indices: Vec<usize> = shares.iter().map(|(.., index)| *index).collect();
        indices.sort_unstable();
        (info.intrinsics.fx_px * (1.0 + mean(shares)), indices)
    };
    let groups =
        (gap > spread && short.len() > 1 && long.len() > 1).then(|| [group(short), group(long)]);
    Some(LensDoubt::FocalLengths { spread_percent: 100.0 * spread, groups })
}

/// By which share another focal length explains one view better, and how well that is known.
fn own_focal_length(view: &View, info: &CameraInfo) -> Option<(f64, f64)> {
    let start = board_pose(&view.points, info).ok()?.camera_from_board;
    let residuals = |p: &DVector<f64>| {
        let step = Isometry3::new(Vector3::new(p[0], p[1], p[2]), Vector3::new(p[3], p[4], p[5]));
        let (pose, k) = (start * step, &info.intrinsics);
        let (fx_px, fy_px) = (k.fx_px * (1.0 + p[6]), k.fy_px * (1.0 + p[6]));
        let lens = CameraInfo { intrinsics: Intrinsics { fx_px, fy_px, ..*k }, ..info.clone() };
        let off = view.points.iter().map(|point| {
            let px = lens.project(&(pose * point.in_board))? - point.px;
            Some([px.x, px.y])
        });
        Some(DVector::from_vec(off.collect::<Option<Vec<[f64; 2]>>>()?.concat()))
    };
    let at = minimise(7, residuals)?;
    let std = std_of_last(&at, residuals)?;
    (at[6].is_finite() && at[6].abs() < 1.0 && std.is_finite()).then_some((at[6], std))
}

/// With the views by their names.
pub(crate) struct NamedDoubt<'a> {
    pub(crate) doubt: &'a LensDoubt,
    pub(crate) names: &'a [String],
}

impl fmt::Display for NamedDoubt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.doubt {
            LensDoubt::FocalLengths { spread_percent, groups } => {
                write!(
                    f,
                    "one lens does not explain all views: taken alone, their focal lengths differ by \
                     {spread_percent:.1} % (rms); did zoom or autofocus change, or are pictures of \
                     two cameras among them?"
                )?;
                let Some([short, long]) = groups else { return Ok(()) };
                let names = |indices: &[usize]| {
                    let names = indices.iter().filter_map(|&index| self.names.get(index));
                    names.cloned().collect::<Vec<_>>().join(", ")
                };
                write!(
                    f,
                    " About {:.0} px: {}. About {:.0} px: {}. Fix zoom and focus, and calibrate from \
                     pictures of one kind",
                    short.0,
                    names(&short.1),
                    long.0,
                    names(&long.1)
                )
            }
            LensDoubt::Fisheye { rms_px, fisheye_rms_px } => write!(
                f,
                "it is a fisheye lens: plumb_bob leaves {rms_px:.2} px, a fisheye model \
                 {fisheye_rms_px:.2}; calibrate it by OpenCV's fisheye::calibrate or ROS's \
                 camera_calibration (--fisheye), and give their file, which is read as equidistant"
            ),
            LensDoubt::HeldOut { rms_px, held_out_rms_px } => write!(
                f,
                "views that were held out are off by {held_out_rms_px:.2} px, those that were used by \
                 {rms_px:.2}: these views do not determine the lens; add pictures with the board at \
                 other places and tilts, and up to the picture's corners"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_perception::Distortion;
    use nalgebra::Point3;

    use super::super::board::BoardPoint;
    use super::super::coverage::guess;
    use super::super::intrinsics::calibrate_intrinsics;
    use super::*;

    fn lens(f_px: f64, distortion: Distortion) -> CameraInfo {
        CameraInfo {
            intrinsics: Intrinsics { fx_px: f_px, fy_px: f_px, cx_px: 322.0, cy_px: 238.0 },
            distortion,
            ..guess(640, 480)
        }
    }

    /// Views of a board of 9x6 corners, each corner off by a few hundredths of a pixel.
    fn views(lens: &CameraInfo, count: u8, distance_m: f64) -> Vec<View> {
        let mut state = 7_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            0.1 * (f64::from(state >> 8) / f64::from(1 << 24) - 0.5)
        };
        let view = |index: u8| {
            let angle = 2.4 * f64::from(index);
            let far = distance_m * (1.0 + 0.15 * angle.sin());
            let aside = 0.25 * distance_m;
            let pose = Isometry3::new(
                Vector3::new(
                    -0.1 + aside * (1.7 * angle).cos(),
                    -0.06 + 0.6 * aside * angle.cos(),
                    far,
                ),
                Vector3::new(0.5 * angle.cos(), 0.5 * angle.sin(), 0.1 * angle),
            );
            let points = (0..54_u8).map(|id| {
                let in_board =
                    Point3::new(0.025 * f64::from(id % 9), 0.025 * f64::from(id / 9), 0.0);
                let px = lens.project(&(pose * in_board)).unwrap()
                    + nalgebra::Vector2::new(noise(), noise());
                BoardPoint { id: id.into(), in_board, px }
            });
            View::of(points.collect())
        };
        (0..count).map(view).collect()
    }

    fn doubt_of(views: &[View]) -> Option<LensDoubt> {
        calibrate_intrinsics(views, &mut vec![None; views.len()], "x").unwrap().doubt
    }

    #[test]
    fn one_lens_is_not_doubted_and_two_are_told_apart() {
        let d = Distortion::plumb_bob([-0.15, 0.06, 0.001, -0.001, 0.0]);
        let one = views(&lens(800.0, d), 12, 0.7);
        assert_eq!(doubt_of(&one), None);
        for other_px in [850.0, 900.0] {
            let other = views(&lens(other_px, d), 12, 0.7);
            let mixed = [&one[..6], &other[6..]].concat();
            let doubt = doubt_of(&mixed).unwrap();
            let LensDoubt::FocalLengths { groups: Some([short, long]), .. } = &doubt else {
                panic!("{doubt:?}");
            };
            assert!(short.1.len() > 3 && short.1.iter().all(|&index| index < 6), "{short:?}");
            assert!(long.1.len() > 3 && long.1.iter().all(|&index| index >= 6), "{long:?}");
            let names: Vec<String> = (0..12).map(|index| format!("{index}.png")).collect();
            let said = NamedDoubt { doubt: &doubt, names: &names }.to_string();
            assert!(said.contains("zoom or autofocus"), "{said}");
            assert!(said.contains("11.png"), "{said}");
        }
    }

    #[test]
    fn a_fisheye_lens_is_called_that() {
        let fisheye = lens(330.0, Distortion::Equidistant([-0.02, 0.01, -0.005, 0.001]));
        let views = views(&fisheye, 12, 0.22);
        match calibrate_intrinsics(&views, &mut vec![None; views.len()], "x") {
            Ok(report) => {
                assert!(
                    matches!(report.doubt, Some(LensDoubt::Fisheye { .. })),
                    "{:?}",
                    report.doubt
                );
            }
            Err(error) => assert!(error.to_string().contains("fisheye lens is"), "{error}"),
        }
    }
}
