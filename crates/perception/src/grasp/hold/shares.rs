//! The parts of a grasp's quality, from what is measured to `0.0..=1.0`.

/// A lip needs nearly its radius of room; twice the error of a mask's edge more is better.
const CLEARANCE_RADII: std::ops::Range<f32> = 0.9..1.3;
/// Share of its compliance at which half of the seal is lost.
const SEAL_HALF: f32 = 0.85;
/// So many reaches from the centre of the tool, a package swings twice as much as is good.
const SWING_REACHES: f32 = 8.0;
/// What is left of the part at the tilt limit is 1 less this.
const TILT_LOSS: f32 = 0.5;

pub(crate) fn clearance_share(clearance_m: f32, radius_m: f32) -> f32 {
    let span = CLEARANCE_RADII.end - CLEARANCE_RADII.start;
    ((clearance_m / radius_m - CLEARANCE_RADII.start) / span).clamp(0.0, 1.0)
}

/// A cup seals well up to half of what it can follow, and hardly at all of it: depth shows less of
/// a wrinkle than there is.
pub(crate) fn seal_share(deviation_m: f32, compliance_m: f32) -> f32 {
    1.0 / (1.0 + (deviation_m / (SEAL_HALF * compliance_m)).powi(4))
}

/// Half at the limit, and soon nothing beyond it; less, too, where a light package would swing.
pub(crate) fn moment_share(lever_m: f32, lever_max_m: f32, reach_m: f32) -> f32 {
    let tears = (lever_m / lever_max_m).powi(4);
    let swings = (lever_m / (SWING_REACHES * reach_m)).powi(2);
    1.0 / ((1.0 + tears) * (1.0 + swings))
}

/// `None` beyond the limit.
pub(super) fn tilt_share(tilt_deg: f32, tilt_deg_max: f32) -> Option<f32> {
    let share = tilt_deg / tilt_deg_max;
    (share <= 1.0).then_some(1.0 - TILT_LOSS * share * share)
}
