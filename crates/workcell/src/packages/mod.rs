//! The things to be picked: boxes, padded mailers, poly bags and loose items.

mod bag;
mod boxes;
mod goods;
mod mailer;
mod pillow;

use std::sync::Arc;

use magpie_perception::PackageType;
use rapier3d::geometry::SharedShape;
use rapier3d::math::Vec3;

pub(crate) use boxes::{BoxStyle, carton};

use crate::mesh::Mesh;
use crate::print::Picture;
use crate::random::Dice;

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
    fn new(package_type: PackageType, parts: Vec<Mesh>) -> Model {
        let points: Vec<Vec3> = parts.iter().flat_map(Mesh::points).collect();
        let low = points.iter().copied().fold(Vec3::MAX, Vec3::min);
        let high = points.iter().copied().fold(Vec3::MIN, Vec3::max);
        let center = 0.5 * (low + high);
        let size_m = high - low;
        let to_center = rapier3d::math::Pose::from_translation(-center);
        let parts: Vec<Mesh> = parts.into_iter().map(|part| part.moved(to_center)).collect();
        let shape = match package_type {
            PackageType::Box => SharedShape::cuboid(size_m.x / 2.0, size_m.y / 2.0, size_m.z / 2.0),
            _ => hull(&parts, size_m),
        };
        Model { package_type, size_m, parts: parts.into(), shape }
    }
}

/// The convex hull of a sample of the points: contact does not need all of them.
fn hull(parts: &[Mesh], size_m: Vec3) -> SharedShape {
    let points: Vec<Vec3> = parts.iter().flat_map(Mesh::points).collect();
    let step = (points.len() / 160).max(1);
    let sample: Vec<Vec3> = points.iter().copied().step_by(step).collect();
    SharedShape::convex_hull(&sample)
        .unwrap_or_else(|| SharedShape::cuboid(size_m.x / 2.0, size_m.y / 2.0, size_m.z / 2.0))
}

pub(crate) fn random_package(dice: &mut Dice, package_type: PackageType, photos: &Photos) -> Model {
    match package_type {
        PackageType::Box => boxes::random_box(dice, photos),
        PackageType::PaddedMailer => mailer::random_mailer(dice, photos),
        PackageType::PolyBag => bag::random_bag(dice, photos),
        PackageType::Item => goods::random_item(dice, photos),
    }
}
