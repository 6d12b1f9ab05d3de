//! What the planner may propose.

/// What the planner may propose.
#[derive(Clone, Debug, PartialEq)]
pub struct GraspLimits {
    /// Grasps published for one package, at most [`GraspLimits::PER_PACKAGE_MAX`].
    pub per_package_max: usize,
    /// Between the approach and straight down on the support plane.
    pub tilt_deg_max: f64,
    /// Grasps of lower quality are not published.
    pub quality_min: f32,
}

impl GraspLimits {
    /// So many contacts of a package are remembered.
    pub const PER_PACKAGE_MAX: usize = 9;
}
