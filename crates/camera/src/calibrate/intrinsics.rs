//! The lens, from views of a board.

use magpie_perception::{CameraInfo, Distortion, Intrinsics};
use opencv::calib3d;
use opencv::core::{Mat, Point2f, Point3f, Size, TermCriteria, TermCriteria_Type, Vector};
use opencv::prelude::*;

use super::board::View;
use super::consistency::{LensDoubt, NamedDoubt, doubt};
use super::coverage::{Coverage, guess, wider_by};
use super::errors::CalibrateError;
use super::hand_eye::jackknife::deviation;
use super::matrices::{CvResult, camera_matrix, objects, pixels};
use super::pose::{board_pose, reprojection_rms_px};
use super::select::Rejection;

/// A lens with everything that tells how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct IntrinsicsReport {
    pub info: CameraInfo,
    /// The error over all corners of the views that were used.
    pub rms_px: f64,
    /// The error over views that the solution never saw, a fifth at a time.
    pub held_out_rms_px: f64,
    /// The error of each view as handed in, or why it was left out.
    pub views: Vec<Result<f64, Rejection>>,
    /// The standard deviations of fx, fy, cx, cy: by the residuals or, where that is more, by what
    /// they become when a fifth of the views is left out.
    pub std_px: [f64; 4],
    /// Whether the third radial coefficient earned its place on held-out views.
    pub uses_k3: bool,
    pub coverage: Coverage,
    /// Why the lens must not be used.
    pub doubt: Option<LensDoubt>,
}

pub(crate) const VIEWS_MIN: usize = 4;
/// Boards that are parallel to each other leave the focal length open.
const NORMALS_DEG_MIN: f64 = 8.0;
const FX_STD_SHARE_MAX: f64 = 0.02;
const FOLDS: usize = 5;
/// Sharp pictures of a flat board stay below a third of that.
const HELD_OUT_PX_WANTED: f64 = 0.5;
/// A view this many times worse than the median is misread.
const MISFIT_FACTOR: f64 = 3.0;
/// The third radial coefficient must lower the held-out error by this share.
const K3_GAIN_MIN: f64 = 0.01;

struct Solution {
    info: CameraInfo,
    rms_px: f64,
    per_view_px: Vec<f64>,
    std_px: [f64; 4],
}

/// Solves with the views that are not rejected yet; views that fit far worse than the rest are
/// then marked in `rejected`, too. All must have the size of the first.
pub fn calibrate_intrinsics(
    views: &[View],
    rejected: &mut [Option<Rejection>],
    camera_name: &str,
) -> Result<IntrinsicsReport, CalibrateError> {
    let usable = |rejected: &[Option<Rejection>]| -> Vec<usize> {
        (0..views.len()).filter(|&index| rejected[index].is_none()).collect()
    };
    let mut used = usable(rejected);
    check_views(views, &used)?;
    let first = solve(&pick(views, &used), false)?;
    let mut errors = first.per_view_px.clone();
    errors.sort_by(f64::total_cmp);
    let median_px = errors[errors.len() / 2];
    for (&index, &rms_px) in used.iter().zip(&first.per_view_px) {
        if rms_px > MISFIT_FACTOR * median_px && rms_px > median_px + 0.3 {
            rejected[index] = Some(Rejection::Misfit { rms_px, median_px });
        }
    }
    used = usable(rejected);
    check_views(views, &used)?;

    let picked = pick(views, &used);
    let [plain, with_k3] = [hold_out(&picked, false)?, hold_out(&picked, true)?];
    let mut uses_k3 = with_k3.rms_px < (1.0 - K3_GAIN_MIN) * plain.rms_px;
    let mut solution = solve(&picked, uses_k3)?;
    if uses_k3 && solution.info.pixel_without_ray().is_some() {
        uses_k3 = false;
        solution = solve(&picked, uses_k3)?;
    }
    let coverage = Coverage::of(&picked, &solution.info);
    check_determined(&solution, &coverage)?;
    if let Some(pixel) = solution.info.pixel_without_ray() {
        return Err(CalibrateError::TurnsBack { x_px: pixel.x, y_px: pixel.y });
    }
    let held_out = if uses_k3 { with_k3 } else { plain };
    let rms_px = [solution.rms_px, held_out.rms_px];
    let doubt =
        doubt(&picked, &used, &solution.info, rms_px, || fisheye_rms_px(&picked, &solution.info));
    let mut std_px = solution.std_px;
    for (std_px, without) in std_px.iter_mut().zip(held_out.std_px) {
        *std_px = std_px.max(without);
    }
    let mut errors = solution.per_view_px.iter();
    let views = rejected
        .iter()
        .map(|rejection| match rejection {
            Some(rejection) => Err(rejection.clone()),
            None => Ok(*errors.next().expect("one for each view that was used")),
        })
        .collect();
    let mut info = solution.info;
    camera_name.clone_into(&mut info.camera_name);
    info.frame_id = format!("{camera_name}_optical_frame");
    Ok(IntrinsicsReport {
        info,
        rms_px: solution.rms_px,
        held_out_rms_px: held_out.rms_px,
        views,
        std_px,
        uses_k3,
        coverage,
        doubt,
    })
}

impl IntrinsicsReport {
    /// Views that were held out may be off by so much, in a picture of 1280 px or less.
    pub const LIMIT_PX: f64 = 1.0;

    /// Why the lens must not be used; `None` where it may. `names`: of the views, in their order.
    pub fn refusal(&self, limit_px: f64, names: &[String]) -> Option<String> {
        if let Some(doubt) = &self.doubt {
            return Some(NamedDoubt { doubt, names }.to_string());
        }
        let limit_px = limit_px * wider_by(self.info.width_px);
        (self.held_out_rms_px > limit_px).then(|| {
            format!(
                "views that were held out are off by {:.2} px (rms), more than {limit_px:.2}: is the \
                 board flat, were the pictures sharp, and is it no fisheye lens?",
                self.held_out_rms_px
            )
        })
    }

    /// What would make the lens better known, most important first; empty where it is good.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.held_out_rms_px > HELD_OUT_PX_WANTED * wider_by(self.info.width_px) {
            doubts.push(format!(
                "corners are off by {:.2} px where the lens never saw them: is the board flat, its \
                 description right, the focus fixed and the light bright enough for a short exposure?",
                self.held_out_rms_px
            ));
        }
        doubts.extend(self.coverage.advice());
        doubts
    }
}

fn pick<'a>(views: &'a [View], used: &[usize]) -> Vec<&'a View> {
    used.iter().map(|&index| &views[index]).collect()
}

fn check_views(views: &[View], used: &[usize]) -> Result<(), CalibrateError> {
    if used.len() < VIEWS_MIN {
        return Err(CalibrateError::TooFewViews { views: used.len(), needed: VIEWS_MIN });
    }
    let picked = pick(views, used);
    let coverage = Coverage::so_far(&picked);
    if coverage.normals_deg < NORMALS_DEG_MIN {
        let advice = format!(
            "the board has the same tilt in all of them, within {:.1} degrees; tilt it by 30 \
             degrees and more, each way",
            coverage.normals_deg
        );
        return Err(CalibrateError::Degenerate { fx_std_percent: 100.0, advice });
    }
    Ok(())
}

fn check_determined(solution: &Solution, coverage: &Coverage) -> Result<(), CalibrateError> {
    let fx_std_share = solution.std_px[0] / solution.info.intrinsics.fx_px;
    if fx_std_share.is_finite() && fx_std_share < FX_STD_SHARE_MAX {
        return Ok(());
    }
    let advice = coverage.advice();
    let advice = if advice.is_empty() {
        "take views with the board closer and more tilted".to_owned()
    } else {
        advice.join("; ")
    };
    Err(CalibrateError::Degenerate { fx_std_percent: 100.0 * fx_std_share, advice })
}

/// What OpenCV's calibrations take.
struct Corners {
    object_points: Vector<Vector<Point3f>>,
    image_points: Vector<Vector<Point2f>>,
    size: Size,
}

impl Corners {
    fn of(views: &[&View]) -> Corners {
        let side = |px: u32| i32::try_from(px).expect("an image in memory has sides below 2^31 px");
        Corners {
            object_points: views.iter().map(|view| objects(&view.points)).collect(),
            image_points: views.iter().map(|view| pixels(&view.points)).collect(),
            size: Size::new(side(views[0].width_px), side(views[0].height_px)),
        }
    }
}

fn until_it_settles() -> CvResult<TermCriteria> {
    let kind = TermCriteria_Type::COUNT as i32 + TermCriteria_Type::EPS as i32;
    TermCriteria::new(kind, 100, f64::EPSILON)
}

fn solve(views: &[&View], with_k3: bool) -> CvResult<Solution> {
    let Corners { object_points, image_points, size } = Corners::of(views);
    let (mut camera, mut lens) = (Mat::default(), Mat::default());
    let (mut rotations, mut translations) = (Mat::default(), Mat::default());
    let (mut std, mut poses_std, mut per_view) = (Mat::default(), Mat::default(), Mat::default());
    let rms_px = calib3d::calibrate_camera_extended(
        &object_points,
        &image_points,
        size,
        &mut camera,
        &mut lens,
        &mut rotations,
        &mut translations,
        &mut std,
        &mut poses_std,
        &mut per_view,
        if with_k3 { 0 } else { calib3d::CALIB_FIX_K3 },
        until_it_settles()?,
    )?;
    let k = camera.data_typed::<f64>()?;
    let mut d = [0.0; 5];
    for (ours, theirs) in d.iter_mut().zip(lens.data_typed::<f64>()?) {
        *ours = *theirs;
    }
    let std = std.data_typed::<f64>()?;
    let guess = guess(views[0].width_px, views[0].height_px);
    Ok(Solution {
        info: CameraInfo {
            intrinsics: Intrinsics { fx_px: k[0], fy_px: k[4], cx_px: k[2], cy_px: k[5] },
            distortion: Distortion::plumb_bob(d),
            ..guess
        },
        rms_px,
        per_view_px: per_view.data_typed::<f64>()?.to_vec(),
        std_px: [std[0], std[1], std[2], std[3]],
    })
}

/// How well a fisheye model fits; `None` where it finds nothing.
fn fisheye_rms_px(views: &[&View], start: &CameraInfo) -> Option<f64> {
    let Corners { object_points, image_points, size } = Corners::of(views);
    // Without a start it fails on many sets of pictures.
    let mut camera = camera_matrix(start).ok()?;
    let mut lens = Mat::from_slice(&[0.0_f64; 4]).ok()?.try_clone().ok()?;
    let (mut rotations, mut translations) = (Mat::default(), Mat::default());
    let rms_px = calib3d::calibrate(
        &object_points,
        &image_points,
        size,
        &mut camera,
        &mut lens,
        &mut rotations,
        &mut translations,
        calib3d::Fisheye_CALIB_RECOMPUTE_EXTRINSIC
            | calib3d::Fisheye_CALIB_FIX_SKEW
            | calib3d::Fisheye_CALIB_USE_INTRINSIC_GUESS,
        until_it_settles().ok()?,
    );
    rms_px.ok().filter(|rms_px| rms_px.is_finite())
}

/// What becomes of the lens, and of views, when a fifth of them is left out after the other.
struct HeldOut {
    rms_px: f64,
    std_px: [f64; 4],
}

/// Solves without a fifth of the views, then asks how well their poses alone explain those.
fn hold_out(views: &[&View], with_k3: bool) -> Result<HeldOut, CalibrateError> {
    let folds = FOLDS.min(views.len());
    let (mut sum, mut count) = (0.0, 0_usize);
    let mut found: [Vec<f64>; 4] = Default::default();
    for fold in 0..folds {
        let (held_out, seen): (Vec<_>, Vec<_>) =
            views.iter().enumerate().partition(|(index, _)| index % folds == fold);
        let seen: Vec<&View> = seen.into_iter().map(|(_, view)| *view).collect();
        let solution = solve(&seen, with_k3)?;
        let k = &solution.info.intrinsics;
        for (all, one) in found.iter_mut().zip([k.fx_px, k.fy_px, k.cx_px, k.cy_px]) {
            all.push(one);
        }
        for (_, view) in held_out {
            let pose = board_pose(&view.points, &solution.info)?.camera_from_board;
            let rms_px = reprojection_rms_px(&view.points, &solution.info, &pose)
                .ok_or(CalibrateError::NoPose { points: view.points.len() })?;
            sum += rms_px * rms_px * view.points.len() as f64;
            count += view.points.len();
        }
    }
    let std_px = found.map(|values| {
        let mean = values.iter().sum::<f64>() / folds as f64;
        deviation(values.iter().map(|value| (value - mean).powi(2)).sum(), folds)
    });
    Ok(HeldOut { rms_px: (sum / count as f64).sqrt(), std_px })
}

#[cfg(test)]
mod tests {
    use nalgebra::{Isometry3, Point3, Vector3};

    use super::super::board::BoardPoint;
    use super::*;

    /// Exact corners have one lens.
    #[test]
    fn exact_corners_give_the_lens_that_made_them() {
        let truth = CameraInfo {
            intrinsics: Intrinsics { fx_px: 605.0, fy_px: 608.0, cx_px: 322.0, cy_px: 238.0 },
            distortion: Distortion::plumb_bob([-0.1, 0.03, 0.001, -0.0005, 0.0]),
            ..guess(640, 480)
        };
        let views: Vec<View> = (0..8_u8)
            .map(|view| {
                let angle = 0.8 * f64::from(view);
                let pose = Isometry3::new(
                    Vector3::new(-0.1 + 0.02 * angle.sin(), -0.07, 0.4 + 0.03 * angle.cos()),
                    Vector3::new(0.4 * angle.cos(), 0.4 * angle.sin(), 0.1 * angle),
                );
                let points = (0..35_u8).map(|id| {
                    let in_board =
                        Point3::new(0.03 * f64::from(id % 7), 0.03 * f64::from(id / 7), 0.0);
                    let px = truth.project(&(pose * in_board)).unwrap();
                    BoardPoint { id: id.into(), in_board, px }
                });
                View::of(points.collect())
            })
            .collect();
        let found = solve(&views.iter().collect::<Vec<_>>(), false).unwrap();
        assert!(found.rms_px < 1e-3, "{}", found.rms_px);
        let (k, t) = (found.info.intrinsics, truth.intrinsics);
        let off = [k.fx_px - t.fx_px, k.fy_px - t.fy_px, k.cx_px - t.cx_px, k.cy_px - t.cy_px];
        assert!(off.iter().all(|off| off.abs() < 0.02), "{k:?}");
        let d = found.info.distortion.coefficients();
        assert!(d.iter().zip(truth.distortion.coefficients()).all(|(a, b)| (a - b).abs() < 1e-3));
    }
}
