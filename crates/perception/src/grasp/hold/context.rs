//! One package with all that decides how it can be held.

use super::load::Load;
use crate::Tool;
use crate::grasp::limits::GraspLimits;
use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::view::View;

/// A package, what is seen of it, and what is to hold it.
#[derive(Clone, Copy)]
pub(crate) struct PackageContext<'a> {
    pub(crate) grid: &'a Grid,
    pub(crate) view: View<'a>,
    pub(crate) load: &'a Load,
    pub(crate) tool: &'a Tool,
    pub(crate) limits: &'a GraspLimits,
}
