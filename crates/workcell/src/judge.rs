//! Judges on the true surfaces whether a grasp would hold.
//!
//! The judge knows nothing of pixels or depth. A cup seals where its lip, pressed on along the
//! approach, meets the package all around, needs to follow no more than its compliance, and is not
//! asked to turn. The grasp holds where the vacuum carries the package's weight and its moment. The
//! tool must get there without hitting anything.
//!
//! # Conventions
//! Everything in the base frame, gravity along its negative z.

use std::collections::BTreeMap;

use magpie_perception::{CupSet, PackageType, Tool};
use nalgebra::{Isometry3, Matrix3, Point3, Vector3};
use rapier3d::geometry::{TriMesh, TriMeshFlags};
use rapier3d::math::Vec3;
use rapier3d::parry::query::{Ray, RayCast as _};

use crate::truth::TruePackage;
use crate::{Solids, WorkcellError};

/// Rays along a lip, and around the tool.
const LIP_RAYS: u32 = 32;
/// How far the arm may stop short of the surface, or press on: the stroke of a small bellows cup.
const STROKE_M: f64 = 0.006;
/// A bellows cup turns by so much without opening.
const TURN_DEG_MAX: f64 = 12.0;
/// What stands higher than this above the contact is hit by the tool; a cup pushes less aside.
const BUMP_M: f64 = 0.012;
/// 0.6 bar below the atmosphere, as ejectors reach on cardboard.
const VACUUM_PA: f64 = 60_000.0;
/// Parcels are mostly air.
const DENSITY_KG_M3: f64 = 100.0;
/// The tool was chosen for the goods: it lifts three times the weight of the heaviest.
const LIFT_RESERVE: f64 = 3.0;
const GRAVITY_M_S2: f64 = 9.81;
/// Another package that is nearer than this above a surface rests on it.
const REST_M: f32 = 0.006;
/// The tool starts so far from the contact, which is more than any package is high.
const START_M: f64 = 0.4;

/// The true surfaces, prepared for rays.
pub struct Judge {
    mesh: TriMesh,
    package_ids: Vec<Option<u32>>,
    /// Samples of each package's upper side: where something may rest.
    upper: Vec<(u32, Vec3)>,
}

/// What is wrong with a grasp. A grasp is good if nothing is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// A lip reaches beyond the package, or meets something else.
    pub off_package: bool,
    /// A lip cannot follow the surface, or would have to turn too far.
    pub leaks: bool,
    /// The arm stops short of the surface, or deep in it.
    pub misplaced: bool,
    /// The weight or its moment tears the package off.
    pub drops: bool,
    /// The tool hits something on its way.
    pub hits: bool,
    /// Another package rests on this one.
    pub buried: bool,
    /// Distance of the tool's contact to the true surface, along the approach; `None` off the package.
    pub position_error_m: Option<f64>,
    /// Angle between the approach and the true surface's normal under the cups.
    pub angle_error_deg: Option<f64>,
}

impl Verdict {
    /// Seals and holds; whether something lies on the package is a question of order.
    pub fn is_accepted(&self) -> bool {
        !(self.off_package || self.leaks || self.misplaced || self.drops || self.hits)
    }
}

/// How one lip lies on the surface.
struct Lip {
    gap_mean_m: f64,
    /// Difference between the highest and the lowest point, after a plane was taken out.
    uneven_m: f64,
    normal: Vector3<f64>,
}

impl Judge {
    pub fn new(solids: &Solids) -> Result<Judge, WorkcellError> {
        let vertices = solids.vertices_in_base.iter().map(|v| Vec3::from_array(*v)).collect();
        let mesh = TriMesh::with_flags(vertices, solids.triangles.clone(), TriMeshFlags::default())
            .map_err(|source| WorkcellError::Mesh { source: source.into() })?;
        let upper = upper_samples(solids);
        Ok(Judge { mesh, package_ids: solids.package_ids.clone(), upper })
    }

    pub fn judge(
        &self,
        tool: &Tool,
        cups: CupSet,
        base_from_tool: &Isometry3<f64>,
        package: &TruePackage,
    ) -> Verdict {
        let mut verdict = Verdict {
            off_package: false,
            leaks: false,
            misplaced: false,
            drops: false,
            hits: self.is_hit(tool, base_from_tool),
            buried: self.is_buried(package.package_id),
            position_error_m: None,
            angle_error_deg: None,
        };
        let approach = base_from_tool * Vector3::z();
        let (mut gaps, mut normals, mut count) = (0.0, Vector3::zeros(), 0.0);
        for cup in cups.indices().filter_map(|index| tool.cups.get(index)) {
            let base_from_cup = base_from_tool * nalgebra::Translation3::from(cup.position_m);
            let Some(lip) = self.lip(&base_from_cup, cup.radius_m, package.package_id) else {
                verdict.off_package = true;
                continue;
            };
            let turn_deg = lip.normal.angle(&-approach).to_degrees();
            verdict.leaks |= lip.uneven_m > cup.compliance_m || turn_deg > TURN_DEG_MAX;
            verdict.misplaced |= lip.gap_mean_m.abs() > STROKE_M;
            (gaps, normals, count) = (gaps + lip.gap_mean_m, normals + lip.normal, count + 1.0);
        }
        if count > 0.0 {
            verdict.position_error_m = Some((gaps / count).abs());
            verdict.angle_error_deg = Some(normals.angle(&-approach).to_degrees());
        }
        verdict.drops = drops(tool, cups, base_from_tool, package);
        verdict
    }

    /// The package that the first of the cups meets.
    pub fn touched(
        &self,
        tool: &Tool,
        cups: CupSet,
        base_from_tool: &Isometry3<f64>,
    ) -> Option<u32> {
        let cup = cups.indices().find_map(|index| tool.cups.get(index))?;
        let base_from_cup = base_from_tool * nalgebra::Translation3::from(cup.position_m);
        let approach = base_from_cup * Vector3::z();
        self.first_hit(base_from_cup * Point3::origin(), &approach)?.1
    }

    /// The packages that come up together, each held by cups of its own: two or more, or none.
    pub fn held_together(
        &self,
        tool: &Tool,
        cups: CupSet,
        base_from_tool: &Isometry3<f64>,
        package: impl Fn(u32) -> TruePackage,
    ) -> Vec<u32> {
        let mut cups_of = BTreeMap::<u32, CupSet>::new();
        for index in cups.indices() {
            // A cup in the air takes the vacuum from the others.
            let Some(package_id) = self.touched(tool, CupSet::of(index), base_from_tool) else {
                return Vec::new();
            };
            let own = cups_of.entry(package_id).or_default();
            *own = own.with(index);
        }
        let holds = |(package_id, own): (&u32, &CupSet)| {
            self.judge(tool, *own, base_from_tool, &package(*package_id)).is_accepted()
        };
        let all_hold = cups_of.len() > 1 && cups_of.iter().all(holds);
        if all_hold { cups_of.into_keys().collect() } else { Vec::new() }
    }

    /// How far the tool's origin is above the first thing on its approach; negative inside it.
    #[cfg(test)]
    pub(crate) fn gap_m(&self, base_from_tool: &Isometry3<f64>) -> Option<f64> {
        let approach = base_from_tool * Vector3::z();
        Some(self.first_hit(base_from_tool * Point3::origin(), &approach)?.0)
    }

    /// The first thing on the way from `START_M` before a point, along the approach.
    fn first_hit(&self, to: Point3<f64>, approach: &Vector3<f64>) -> Option<(f64, Option<u32>)> {
        let from = to - approach * START_M;
        let ray = Ray::new(glam(&from.coords), glam(approach));
        let hit = self.mesh.cast_local_ray_and_get_normal(&ray, 2.0, false)?;
        let owner = self.package_ids[hit.subshape as usize];
        Some((f64::from(hit.time_of_impact) - START_M, owner))
    }

    fn lip(&self, base_from_cup: &Isometry3<f64>, radius_m: f64, package_id: u32) -> Option<Lip> {
        let approach = base_from_cup * Vector3::z();
        let mut points = Vec::with_capacity(LIP_RAYS as usize);
        for ray in 0..LIP_RAYS {
            let angle = f64::from(ray) / f64::from(LIP_RAYS) * std::f64::consts::TAU;
            let point = Point3::new(radius_m * angle.cos(), radius_m * angle.sin(), 0.0);
            let (gap_m, owner) = self.first_hit(base_from_cup * point, &approach)?;
            if owner != Some(package_id) {
                return None;
            }
            points.push(Point3::new(point.x, point.y, gap_m));
        }
        let (normal_in_cup, uneven_m) = fit_plane(&points);
        let gap_mean_m = points.iter().map(|point| point.z).sum::<f64>() / f64::from(LIP_RAYS);
        Some(Lip { gap_mean_m, uneven_m, normal: base_from_cup * normal_in_cup })
    }

    fn is_hit(&self, tool: &Tool, base_from_tool: &Isometry3<f64>) -> bool {
        let approach = base_from_tool * Vector3::z();
        [0.4, 0.7, 1.0].iter().any(|share| {
            (0..LIP_RAYS).any(|ray| {
                let angle = f64::from(ray) / f64::from(LIP_RAYS) * std::f64::consts::TAU;
                let radius_m = share * tool.approach_radius_m;
                let point =
                    Point3::new(radius_m * angle.cos(), radius_m * angle.sin(), tool.lips_z_m());
                self.first_hit(base_from_tool * point, &approach)
                    .is_some_and(|(gap_m, _)| gap_m < -BUMP_M)
            })
        })
    }

    /// Whether other packages lie on a package, at three points or more.
    pub fn is_buried(&self, package_id: u32) -> bool {
        let up = Vec3::Z;
        let rests = self.upper.iter().filter(|(id, _)| *id == package_id).filter(|(_, at)| {
            let ray = Ray::new(*at + 0.0005 * up, up);
            let hit = self.mesh.cast_local_ray_and_get_normal(&ray, REST_M, false);
            hit.is_some_and(|hit| {
                let owner = self.package_ids[hit.subshape as usize];
                owner.is_some() && owner != Some(package_id)
            })
        });
        rests.take(3).count() == 3
    }
}

/// Fits a plane to the lip's points. Returns its normal, against the approach, and the range of the
/// residuals in metres.
fn fit_plane(points: &[Point3<f64>]) -> (Vector3<f64>, f64) {
    let (mut matrix, mut right) = (Matrix3::zeros(), Vector3::zeros());
    for point in points {
        let row = Vector3::new(point.x, point.y, 1.0);
        matrix += row * row.transpose();
        right += row * point.z;
    }
    // The points of a ring never lie on one line.
    let plane = matrix.try_inverse().map_or_else(Vector3::zeros, |inverse| inverse * right);
    let left = points.iter().map(|p| p.z - plane.x * p.x - plane.y * p.y - plane.z);
    let (low, high) =
        left.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    (Vector3::new(plane.x, plane.y, -1.0).normalize(), high - low)
}

/// Compares the weight with the vacuum, and its moment with the lip that would open first.
fn drops(
    tool: &Tool,
    cups: CupSet,
    base_from_tool: &Isometry3<f64>,
    package: &TruePackage,
) -> bool {
    let chosen: Vec<_> = cups.indices().filter_map(|index| tool.cups.get(index)).collect();
    let area = |radius_m: f64| std::f64::consts::PI * radius_m * radius_m;
    let force_n: f64 = chosen.iter().map(|cup| VACUUM_PA * area(cup.radius_m)).sum();
    let whole_n: f64 = tool.cups.iter().map(|cup| VACUUM_PA * area(cup.radius_m)).sum();
    let weight_n = weight_n(package).min(whole_n / LIFT_RESERVE);
    let cups_center: Vector3<f64> =
        chosen.iter().map(|cup| Vector3::from(cup.position_m)).sum::<Vector3<f64>>()
            / (chosen.len().max(1) as f64);
    let reach_m = chosen
        .iter()
        .map(|cup| (Vector3::from(cup.position_m) - cups_center).norm() + cup.radius_m)
        .fold(0.0, f64::max);
    let cups_center_in_base = base_from_tool * Point3::from(cups_center);
    let off = package.base_from_package.translation.vector - cups_center_in_base.coords;
    force_n <= weight_n || weight_n * off.x.hypot(off.y) > (force_n - weight_n) * reach_m
}

fn weight_n(package: &TruePackage) -> f64 {
    let fill = match package.package_type {
        PackageType::Box => 1.0,
        PackageType::PaddedMailer | PackageType::PolyBag | PackageType::Item => 0.6,
    };
    let volume_m3 = package.length_m * package.width_m * package.height_m;
    fill * volume_m3 * DENSITY_KG_M3 * GRAVITY_M_S2
}

/// Points spread over the triangles of packages that face up.
fn upper_samples(solids: &Solids) -> Vec<(u32, Vec3)> {
    const PITCH_M: f32 = 0.01;
    let mut samples = Vec::new();
    for (corners, id) in solids.triangles.iter().zip(&solids.package_ids) {
        let Some(id) = id else { continue };
        let [a, b, c] =
            corners.map(|corner| Vec3::from_array(solids.vertices_in_base[corner as usize]));
        let across = (b - a).cross(c - a);
        if across.z <= 0.3 * across.length() {
            continue;
        }
        let steps = (a.distance(b).max(a.distance(c)) / PITCH_M).ceil().clamp(1.0, 60.0) as u32;
        for i in 0..steps {
            for j in 0..steps - i {
                let [s, t] = [i, j].map(|at| (at as f32 + 0.33) / steps as f32);
                samples.push((*id, a + (b - a) * s + (c - a) * t));
            }
        }
    }
    samples
}

#[expect(clippy::cast_possible_truncation, reason = "metres in a cell")]
fn glam(vector: &Vector3<f64>) -> Vec3 {
    Vec3::new(vector.x as f32, vector.y as f32, vector.z as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::Mask;
    use nalgebra::UnitQuaternion;

    /// An upright block with its top at `top_m`, centred on `x_m`.
    fn block(solids: &mut Solids, id: u32, x_m: f32, half_m: f32, bottom_m: f32, top_m: f32) {
        let first = solids.vertices_in_base.len() as u32;
        for z in [bottom_m, top_m] {
            for (dx, dy) in
                [(-half_m, -half_m), (half_m, -half_m), (half_m, half_m), (-half_m, half_m)]
            {
                solids.vertices_in_base.push([x_m + dx, dy, z]);
            }
        }
        let sides = [
            [4, 5, 6],
            [4, 6, 7],
            [0, 2, 1],
            [0, 3, 2],
            [0, 1, 5],
            [0, 5, 4],
            [1, 2, 6],
            [1, 6, 5],
            [2, 3, 7],
            [2, 7, 6],
            [3, 0, 4],
            [3, 4, 7],
        ];
        for corners in sides {
            solids.triangles.push(corners.map(|corner: u32| corner + first));
            solids.package_ids.push(Some(id));
        }
    }

    fn scene(second: Option<(f32, f32, f32)>) -> Judge {
        let mut solids =
            Solids { vertices_in_base: Vec::new(), triangles: Vec::new(), package_ids: Vec::new() };
        block(&mut solids, 1, 0.0, 0.1, 0.0, 0.1);
        if let Some((x_m, bottom_m, top_m)) = second {
            block(&mut solids, 2, x_m, 0.1, bottom_m, top_m);
        }
        Judge::new(&solids).unwrap()
    }

    fn package() -> TruePackage {
        TruePackage {
            package_id: 1,
            package_type: PackageType::Box,
            mask: Mask::empty(4, 4),
            visible_fraction: 1.0,
            base_from_package: Isometry3::translation(0.0, 0.0, 0.05),
            length_m: 0.2,
            width_m: 0.2,
            height_m: 0.1,
        }
    }

    fn check(judge: &Judge, x_m: f64, z_m: f64, tilt_deg: f64) -> Verdict {
        let down = UnitQuaternion::from_axis_angle(
            &Vector3::x_axis(),
            std::f64::consts::PI + tilt_deg.to_radians(),
        );
        let pose = Isometry3::from_parts(Vector3::new(x_m, 0.0, z_m).into(), down);
        judge.judge(&Tool::single_cup(0.02), CupSet::of(0), &pose, &package())
    }

    #[test]
    fn the_middle_of_a_box_is_accepted_and_its_errors_are_measured() {
        let verdict = check(&scene(None), 0.0, 0.101, 3.0);
        assert!(verdict.is_accepted() && !verdict.buried, "{verdict:?}");
        assert!((verdict.position_error_m.unwrap() - 0.001).abs() < 1e-4, "{verdict:?}");
        assert!((verdict.angle_error_deg.unwrap() - 3.0).abs() < 0.1, "{verdict:?}");
    }

    #[test]
    fn each_fault_has_its_name() {
        let alone = scene(None);
        assert!(check(&alone, 0.09, 0.1, 0.0).off_package);
        assert!(check(&alone, 0.0, 0.12, 0.0).misplaced);
        assert!(check(&alone, 0.0, 0.1, 20.0).leaks);
        // 400 g with its centre 70 mm away is held, 2.5 kg would not be.
        assert!(!check(&alone, 0.07, 0.1, 0.0).drops);
        let heavy = TruePackage { height_m: 0.8, ..package() };
        let down = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
        let pose = Isometry3::from_parts(Vector3::new(0.07, 0.0, 0.1).into(), down);
        assert!(alone.judge(&Tool::single_cup(0.02), CupSet::of(0), &pose, &heavy).drops);
        // A higher neighbour.
        let beside = scene(Some((0.201, 0.0, 0.2)));
        assert!(check(&beside, 0.075, 0.1, 0.0).hits);
        assert!(!check(&beside, 0.0, 0.1, 0.0).hits);
    }

    #[test]
    fn two_cups_that_seal_on_two_packages_take_both() {
        let cup = |x_m| magpie_perception::Cup {
            position_m: [x_m, 0.0, 0.0],
            ..Tool::single_cup(0.02).cups[0]
        };
        let tool = Tool { cups: vec![cup(-0.1), cup(0.1)], ..Tool::single_cup(0.02) };
        let down = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
        let pose = Isometry3::from_parts(Vector3::new(0.1, 0.0, 0.1).into(), down);
        let whole = |package_id| TruePackage {
            package_id,
            base_from_package: Isometry3::translation(
                if package_id == 1 { 0.0 } else { 0.21 },
                0.0,
                0.05,
            ),
            ..package()
        };
        let held = |judge: &Judge, cups| judge.held_together(&tool, cups, &pose, whole);
        let both = CupSet::of(0).with(1);
        let beside = scene(Some((0.21, 0.0, 0.1)));
        assert_eq!(held(&beside, both), [1, 2]);
        assert!(!beside.judge(&tool, both, &pose, &whole(1)).is_accepted());
        assert_eq!(held(&beside, CupSet::of(0)), [0; 0], "that is one");
        assert_eq!(held(&scene(None), both), [0; 0], "the other cup is in the air");
        assert_eq!(held(&scene(Some((0.21, 0.0, 0.08))), both), [0; 0], "it is too low");
    }

    #[test]
    fn what_carries_another_package_is_buried() {
        assert!(scene(Some((0.1, 0.101, 0.2))).is_buried(1));
        assert!(!scene(Some((0.1, 0.15, 0.2))).is_buried(1));
        assert!(!scene(Some((0.1, 0.101, 0.2))).is_buried(2));
    }
}
