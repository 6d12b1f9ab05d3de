//! A heap of packages with its surroundings, at rest.
//!
//! # Conventions
//! The base frame has z up; z = 0 is the support plane.

use std::sync::Arc;

use magpie_perception::{Mask, PackageType};
use rapier3d::math::{Pose, Vec3};

use crate::arrange;
use crate::distractors;
use crate::packages::{Model, Photos};
use crate::part::Part;
use crate::random::{Rng, Stream};
use crate::recipe::Recipe;
use crate::support::{Support, SupportKind};
use crate::truth::{TruePackage, isometry};

#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) kind: SupportKind,
    pub(crate) parts: Vec<Part>,
    pub(crate) packages: Vec<PlacedPackage>,
    /// Cameras look at this point, and shadows are computed around it.
    pub(crate) focus: Vec3,
    pub(crate) focus_radius_m: f32,
    /// The colour where there is no surface at all, in linear RGB.
    pub(crate) void_color: Vec3,
    /// Cameras look from the side, as at a stack on a pallet or at a shelf.
    pub(crate) is_stack: bool,
    /// The open side of a shelf, or the front of a door, faces this yaw.
    pub(crate) front_yaw: Option<f32>,
}

#[derive(Clone)]
pub(crate) struct PlacedPackage {
    pub(crate) package_type: PackageType,
    pub(crate) size_m: Vec3,
    pub(crate) base_from_package: Pose,
}

impl PlacedPackage {
    /// What a judge needs to know of it, whatever a camera sees.
    pub(crate) fn judged(&self, package_id: u32) -> TruePackage {
        self.seen(package_id, Mask::empty(0, 0), 1.0)
    }

    pub(crate) fn seen(&self, package_id: u32, mask: Mask, visible_fraction: f64) -> TruePackage {
        TruePackage {
            package_id,
            package_type: self.package_type,
            mask,
            visible_fraction,
            base_from_package: isometry(&self.base_from_package),
            length_m: f64::from(self.size_m.x),
            width_m: f64::from(self.size_m.y),
            height_m: f64::from(self.size_m.z),
        }
    }
}

impl Scene {
    pub(crate) fn random(recipe: &Recipe, photos: &Photos, seed: u64, index: u64) -> Scene {
        let mut rng = Rng::new(seed, Stream::Scene, index);
        let kind = SupportKind::ALL[rng.weighted(&recipe.supports.weights())];
        let support = Support::random(&mut rng, kind, photos);
        let mut scene = Scene::empty(&support);
        let placed = arrange::packages(&mut rng, recipe, &support, photos);
        scene.is_stack = placed.is_stack;
        for (model, pose) in placed.models {
            scene.add_package(&model, pose);
        }
        scene.parts.extend(support.parts);
        if rng.chance(recipe.distractor_share) {
            scene.parts.extend(distractors::near(&mut rng, kind, support.half_m));
        }
        scene.aim();
        scene
    }

    pub(crate) fn empty(support: &Support) -> Scene {
        Scene {
            kind: support.kind,
            parts: Vec::new(),
            packages: Vec::new(),
            focus: Vec3::ZERO,
            focus_radius_m: 1.0,
            void_color: support.void_color,
            is_stack: false,
            front_yaw: support.front_yaw,
        }
    }

    pub(crate) fn add_package(&mut self, model: &Model, pose: Pose) {
        let instance = u16::try_from(self.packages.len()).expect("a few hundred packages at most");
        for mesh in model.parts.iter() {
            let part = Part {
                mesh: Arc::new(mesh.clone()),
                pose,
                instance: Some(instance),
                casts_shadow: true,
            };
            self.parts.push(part);
        }
        self.packages.push(PlacedPackage {
            package_type: model.package_type,
            size_m: model.size_m,
            base_from_package: pose,
        });
    }

    /// The same scene with its first `carried` parts, and all packages, moved.
    pub(crate) fn shifted(&self, carried: usize, by: Vec3) -> Scene {
        let mut scene = self.clone();
        for part in &mut scene.parts[..carried] {
            part.pose.translation += by;
        }
        for package in &mut scene.packages {
            package.base_from_package.translation += by;
        }
        scene
    }

    /// Points the cameras at the centre of the packages.
    pub(crate) fn aim(&mut self) {
        let centers: Vec<Vec3> =
            self.packages.iter().map(|package| package.base_from_package.translation).collect();
        if centers.is_empty() {
            return;
        }
        self.focus = centers.iter().sum::<Vec3>() / centers.len() as f32;
        let reach = centers.iter().map(|center| center.distance(self.focus)).fold(0.0, f32::max);
        self.focus_radius_m = (1.3 * reach + 0.5).clamp(0.7, 2.6);
    }
}
