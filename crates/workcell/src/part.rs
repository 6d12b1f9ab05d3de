//! One rigid thing in a scene: of a package, of the support, or of what stands around.

use std::sync::Arc;

use rapier3d::math::Pose;

use crate::mesh::Mesh;

#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) pose: Pose,
    /// Index into `Scene::packages`.
    pub(crate) instance: Option<u16>,
    pub(crate) casts_shadow: bool,
}
