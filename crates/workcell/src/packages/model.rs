//! One package as the physics and the renderer take it.

use std::sync::Arc;

use magpie_perception::PackageType;
use rapier3d::geometry::SharedShape;
use rapier3d::math::{Pose, Vec3};

use crate::mesh::Mesh;
use crate::print::Picture;

/// Photographs of surfaces, read from the folder that the recipe names; may be empty.
pub(crate) type Photos = [Arc<Picture>];

/// One package at rest, centred on its origin, z up as it usually lies.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) package_type: PackageType,
    /// Length, width, height of the axis-aligned box around it.
    pub(crate) size_m: Vec3,
    pub(crate) parts: Arc<[Mesh]>,
    pub(crate) shape: SharedShape,
}

impl Model {
    /// Measures the parts and moves them so that their common box is centred.
    pub(super) fn new(package_type: PackageType, parts: Vec<Mesh>) -> Model {
        let points: Vec<Vec3> = parts.iter().flat_map(Mesh::points).collect();
        let low = points.iter().copied().fold(Vec3::MAX, Vec3::min);
        let high = points.iter().copied().fold(Vec3::MIN, Vec3::max);
        let center = 0.5 * (low + high);
        let size_m = high - low;
        let to_center = Pose::from_translation(-center);
        let parts: Vec<Mesh> = parts.into_iter().map(|part| part.moved(to_center)).collect();
        let shape = match package_type {
            PackageType::Box => SharedShape::cuboid(size_m.x / 2.0, size_m.y / 2.0, size_m.z / 2.0),
            _ => hull(&parts, size_m),
        };
        Model { package_type, size_m, parts: parts.into(), shape }
    }

    /// Height of the lowest point above z = 0, for a package at this pose.
    pub(crate) fn lowest_m(&self, pose: &Pose) -> f32 {
        let vertices = self.parts.iter().flat_map(|part| &part.vertices);
        vertices.map(|vertex| pose.transform_point(vertex.position).z).fold(f32::MAX, f32::min)
    }
}

/// Directions in which the hull touches the outermost point: few enough for quick contacts, many
/// enough that nothing sticks out by more than a millimetre or so.
const HULL_DIRECTIONS: u32 = 90;

fn hull(parts: &[Mesh], size_m: Vec3) -> SharedShape {
    let points: Vec<Vec3> = parts.iter().flat_map(Mesh::points).collect();
    let outermost = |direction: Vec3| {
        let ahead = |a: &&Vec3, b: &&Vec3| a.dot(direction).total_cmp(&b.dot(direction));
        points.iter().max_by(ahead).copied()
    };
    let sample: Vec<Vec3> = (0..HULL_DIRECTIONS)
        .filter_map(|index| {
            // A spiral over the sphere, flattened like the body so that flat bodies keep their rims.
            let z = (2 * index + 1) as f32 / HULL_DIRECTIONS as f32 - 1.0;
            let (sin, cos) = (2.4 * index as f32).sin_cos();
            let ring = (1.0 - z * z).sqrt();
            outermost(Vec3::new(ring * cos, ring * sin, z) / size_m)
        })
        .collect();
    SharedShape::convex_hull(&sample)
        .unwrap_or_else(|| SharedShape::cuboid(size_m.x / 2.0, size_m.y / 2.0, size_m.z / 2.0))
}
