//! Where packages lie: heaps and scatterings by physics, stacks and shelf rows by hand.

use magpie_perception::PackageType;
use rapier3d::math::{Pose, Rotation, Vec3};

use crate::packages::{BoxStyle, Model, Photos, carton, random_package};
use crate::physics::{Placed, settle};
use crate::random::Rng;
use crate::recipe::Recipe;
use crate::support::{Support, SupportKind};

pub(crate) struct Arrangement {
    pub(crate) models: Vec<(Model, Pose)>,
    pub(crate) is_stack: bool,
}

pub(crate) fn packages(
    rng: &mut Rng,
    recipe: &Recipe,
    support: &Support,
    photos: &Photos,
) -> Arrangement {
    match support.kind {
        SupportKind::Shelf => {
            Arrangement { models: shelf_rows(rng, recipe, support, photos), is_stack: true }
        }
        SupportKind::Pallet if rng.chance(0.65) => {
            Arrangement { models: stack(rng, recipe, support, photos), is_stack: true }
        }
        SupportKind::Floor if rng.chance(0.25) => {
            Arrangement { models: stack(rng, recipe, support, photos), is_stack: true }
        }
        _ => Arrangement { models: heap(rng, recipe, support, photos), is_stack: false },
    }
}

fn some_type(rng: &mut Rng, recipe: &Recipe) -> PackageType {
    PackageType::ALL[rng.weighted(&recipe.types.weights())]
}

/// Drops packages from above, one after the other: from a single package to a deep heap.
fn heap(rng: &mut Rng, recipe: &Recipe, support: &Support, photos: &Photos) -> Vec<(Model, Pose)> {
    let (few, many) = (recipe.packages_min, recipe.packages_max);
    let count = if rng.chance(0.2) {
        rng.count(few.min(2), 2)
    } else {
        rng.within_log(3.0..many.max(3) as f32 + 0.99) as u32
    };
    // Some heaps are all of one type.
    let only = rng.chance(0.25).then(|| some_type(rng, recipe));
    let models: Vec<Model> = (0..count.clamp(few, many))
        .map(|_| {
            let package_type = only.unwrap_or_else(|| some_type(rng, recipe));
            random_package(rng, package_type, photos)
        })
        .collect();
    drop_onto(rng, support, models)
}

/// Lets `models` fall in a heap onto the support.
fn drop_onto(rng: &mut Rng, support: &Support, models: Vec<Model>) -> Vec<(Model, Pose)> {
    let mut height_m = 0.0;
    let falling = models
        .into_iter()
        .map(|model| {
            let upright = rng.chance(0.75);
            let turn = if upright { rng.yaw() } else { rng.rotation() };
            let reach = if upright { model.size_m.z } else { model.size_m.length() };
            let at = Vec3::new(
                rng.around(support.half_m.x),
                rng.around(support.half_m.y),
                height_m + 0.03 + 0.5 * reach,
            );
            height_m += 0.55 * reach + 0.02;
            (model, Pose::from_parts(at, turn))
        })
        .collect();
    let_fall(&support.fixed, falling)
}

/// A package that lies deeper in the support than this is a failure of the physics, not a contact.
const SUNK_M: f32 = 0.015;

/// Lets packages fall from their poses and returns where they come to rest. Packages that roll far
/// away or sink in are left out.
pub(crate) fn let_fall(fixed: &[Placed], falling: Vec<(Model, Pose)>) -> Vec<(Model, Pose)> {
    let bodies: Vec<Placed> =
        falling.iter().map(|(model, pose)| (model.shape.clone(), *pose)).collect();
    let rest = settle(fixed, &bodies);
    let stays = |model: &Model, pose: &Pose| {
        let at = pose.translation;
        at.is_finite() && at.x.abs() < 2.2 && at.y.abs() < 1.5 && model.lowest_m(pose) > -SUNK_M
    };
    let models = falling.into_iter().map(|(model, _)| model);
    models.zip(rest).filter(|(model, pose)| stays(model, pose)).collect()
}

/// Cartons in layers on a grid, a little out of line; one or several makes, some missing, perhaps a
/// few other packages thrown on top.
fn stack(rng: &mut Rng, recipe: &Recipe, support: &Support, photos: &Photos) -> Vec<(Model, Pose)> {
    let size_m = carton_size(rng);
    let style = BoxStyle::random(rng, photos);
    let columns = ((2.0 * support.half_m.x / size_m.x) as u32).clamp(1, 5);
    let rows = ((2.0 * support.half_m.y / size_m.y) as u32).clamp(1, 4);
    let layers = rng.count(1, (1.5 / size_m.z) as u32).clamp(1, 6);
    let mixed = rng.chance(0.3);
    let pitch = size_m * rng.within(1.004..1.05);
    let mut placed = Vec::new();
    let mut supported = vec![true; (columns * rows) as usize];
    let budget = recipe.packages_max.max(8) * 2;
    for layer in 0..layers {
        let missing = if layer + 1 == layers { 0.45 } else { 0.06 };
        for row in 0..rows {
            for column in 0..columns {
                let cell = &mut supported[(row * columns + column) as usize];
                *cell &= !rng.chance(missing);
                if !*cell || placed.len() as u32 >= budget {
                    continue;
                }
                let model = if mixed {
                    let style = BoxStyle::random(rng, photos);
                    let shrink = Vec3::new(rng.within(0.8..1.0), rng.within(0.8..1.0), 1.0);
                    carton(rng, size_m * shrink, &style)
                } else {
                    carton(rng, size_m, &style)
                };
                let grid = Vec3::new(
                    column as f32 - 0.5 * (columns - 1) as f32,
                    row as f32 - 0.5 * (rows - 1) as f32,
                    layer as f32 + 0.5,
                );
                let mut at = grid * pitch.with_z(size_m.z + 0.0015);
                at += Vec3::new(rng.around(0.006), rng.around(0.006), 0.0);
                let flip = if rng.chance(0.5) { std::f32::consts::PI } else { 0.0 };
                let turn = Rotation::from_rotation_z(flip + rng.around(0.025));
                placed.push((model, Pose::from_parts(at, turn)));
            }
        }
    }
    if rng.chance(0.35) {
        throw_on_top(rng, recipe, support, photos, &mut placed);
    }
    placed
}

fn carton_size(rng: &mut Rng) -> Vec3 {
    let length_m = rng.within_log(0.18..0.6);
    let width_m = length_m * rng.within(0.5..1.0);
    Vec3::new(length_m, width_m, (length_m * rng.within(0.35..1.0)).min(0.45))
}

fn throw_on_top(
    rng: &mut Rng,
    recipe: &Recipe,
    support: &Support,
    photos: &Photos,
    placed: &mut Vec<(Model, Pose)>,
) {
    let mut fixed: Vec<Placed> = support.fixed.clone();
    fixed.extend(placed.iter().map(|(model, pose)| (model.shape.clone(), *pose)));
    let top_m = placed
        .iter()
        .map(|(model, pose)| pose.translation.z + 0.5 * model.size_m.z)
        .fold(0.0, f32::max);
    let falling = (0..rng.count(1, 5))
        .map(|index| {
            let package_type = some_type(rng, recipe);
            let model = random_package(rng, package_type, photos);
            let height_m = top_m + 0.1 + 0.2 * index as f32;
            let at = Vec3::new(rng.around(0.3), rng.around(0.25), height_m);
            (model, Pose::from_parts(at, rng.yaw()))
        })
        .collect();
    placed.extend(let_fall(&fixed, falling));
}

/// Puts packages side by side on each board, front faces roughly in line, some stacked.
fn shelf_rows(
    rng: &mut Rng,
    recipe: &Recipe,
    support: &Support,
    photos: &Photos,
) -> Vec<(Model, Pose)> {
    let mut placed: Vec<(Model, Pose)> = Vec::new();
    let gap_m = support.half_m.z;
    for level in 0..2 {
        let mut x = -support.half_m.x + rng.within(0.01..0.2);
        let style = BoxStyle::random(rng, photos);
        let uniform =
            rng.chance(0.5).then(|| carton_size(rng).min(Vec3::new(0.4, 0.4, 0.85 * gap_m)));
        while x < support.half_m.x && (placed.len() as u32) < 2 * recipe.packages_max {
            let model = shelved(rng, recipe, photos, uniform.map(|size_m| (size_m, &style)));
            let flat = model.size_m;
            let stands = uniform.is_none() && flat.x < 0.9 * gap_m && rng.chance(0.3);
            let (size_m, lay) = if stands {
                (
                    Vec3::new(flat.z, flat.y, flat.x),
                    Rotation::from_rotation_y(std::f32::consts::FRAC_PI_2),
                )
            } else {
                (flat, Rotation::IDENTITY)
            };
            if x + size_m.x > support.half_m.x {
                break;
            }
            let y = (-support.half_m.y + 0.5 * size_m.y + rng.within(0.0..0.06)).min(0.1);
            let fits = ((0.92 * gap_m / size_m.z) as u32).clamp(1, 5);
            for high in 0..rng.count(1, fits) {
                let z = level as f32 * gap_m + (high as f32 + 0.5) * (size_m.z + 0.001);
                let shift = Vec3::new(rng.around(0.004), rng.around(0.008), 0.0);
                let at = Vec3::new(x + 0.5 * size_m.x, y, z) + shift;
                let turn = Rotation::from_rotation_z(rng.around(0.03)) * lay;
                placed.push((model.clone(), Pose::from_parts(at, turn)));
            }
            x += size_m.x + rng.within_log(0.004..0.15);
        }
    }
    placed
}

fn shelved(
    rng: &mut Rng,
    recipe: &Recipe,
    photos: &Photos,
    uniform: Option<(Vec3, &BoxStyle)>,
) -> Model {
    if let Some((size_m, style)) = uniform {
        return carton(rng, size_m, style);
    }
    let package_type = if rng.chance(0.6) { PackageType::Box } else { some_type(rng, recipe) };
    random_package(rng, package_type, photos)
}
