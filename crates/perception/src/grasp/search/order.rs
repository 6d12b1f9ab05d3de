//! Which package comes first.
//!
//! What can be held comes before what cannot. What another package lies on or hides comes after
//! everything that is free, because lifting it would throw the other one. Then what can be held well
//! comes first, and among that the highest.

use crate::Package;

/// A rim hidden by more than this is no accident of two masks that touch.
const OCCLUDED_SHARE_MAX: f32 = 0.08;
/// Held well enough not to wait for a better one.
const GOOD_QUALITY: f32 = 0.6;
/// What was first stays first against anything that is not higher by more than this, and may be held
/// less well by this factor.
const FIRST_HYSTERESIS_M: f64 = 0.02;
const FIRST_QUALITY_FACTOR: f32 = 0.7;
/// A package of unknown height comes after all others.
const UNKNOWN_HEIGHT_M: f64 = f64::MIN / 2.0;

/// Sorts packages and numbers them; among equal ones, the first that was seen comes first.
/// `first_track` was first in the last frame.
pub(crate) fn sort(packages: &mut [Package], first_track: Option<u64>) {
    packages.sort_unstable_by(|a, b| {
        let (first, second) = (key(b, first_track), key(a, first_track));
        let [one, other] = [first, second].map(|(class, ..)| class);
        one.cmp(&other)
            .then(first.1.total_cmp(&second.1))
            .then(first.2.total_cmp(&second.2))
            .then(first.3.total_cmp(&second.3))
            .then(a.track_id.cmp(&b.track_id))
    });
    for (rank, package) in (0..).zip(packages) {
        package.pick_rank = rank;
    }
}

/// Larger comes first: held at all, free, held well; height; how little is hidden; score.
fn key(package: &Package, first_track: Option<u64>) -> ([bool; 3], f64, f32, f32) {
    let quality = package.best_grasp().map_or(0.0, |grasp| grasp.quality.product());
    let is_free = package.occluded_share <= OCCLUDED_SHARE_MAX;
    let stays = first_track == Some(package.track_id);
    let height_m = package.height_m.unwrap_or(UNKNOWN_HEIGHT_M);
    let height_m = height_m + if stays { FIRST_HYSTERESIS_M } else { 0.0 };
    let hidden = if is_free { 0.0 } else { package.occluded_share };
    let good = if stays { FIRST_QUALITY_FACTOR * GOOD_QUALITY } else { GOOD_QUALITY };
    let class = [quality > 0.0, is_free, quality >= good];
    (class, height_m, -hidden, package.instance.score)
}
