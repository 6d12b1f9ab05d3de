//! What packages lie on, and the room around it.

use std::f32::consts::{FRAC_PI_2, PI};
use std::sync::Arc;

use rapier3d::geometry::SharedShape;
use rapier3d::math::{Pose, Rotation, Vec3};

use crate::material::{Material, srgb};
use crate::mesh::{Mesh, cuboid, plane};
use crate::packages::Photos;
use crate::part::Part;
use crate::physics::Placed;
use crate::random::Rng;
use crate::surfaces;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SupportKind {
    Belt,
    Tote,
    Pallet,
    Floor,
    Table,
    Shelf,
}

impl SupportKind {
    /// All kinds, in the order of the recipe's weights.
    pub(crate) const ALL: [SupportKind; 6] = [
        SupportKind::Belt,
        SupportKind::Tote,
        SupportKind::Pallet,
        SupportKind::Floor,
        SupportKind::Table,
        SupportKind::Shelf,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            SupportKind::Belt => "belt",
            SupportKind::Tote => "tote",
            SupportKind::Pallet => "pallet",
            SupportKind::Floor => "floor",
            SupportKind::Table => "table",
            SupportKind::Shelf => "shelf",
        }
    }
}

pub(crate) struct Support {
    pub(crate) kind: SupportKind,
    pub(crate) parts: Vec<Part>,
    pub(crate) fixed: Vec<Placed>,
    /// Packages are put within this half extent around the origin, in x and y.
    pub(crate) half_m: Vec3,
    pub(crate) void_color: Vec3,
    pub(crate) front_yaw: Option<f32>,
}

impl Support {
    pub(crate) fn random(rng: &mut Rng, kind: SupportKind, photos: &Photos) -> Support {
        let mut support = Support {
            kind,
            parts: Vec::new(),
            fixed: Vec::new(),
            half_m: Vec3::new(0.5, 0.5, 0.0),
            void_color: srgb(150, 150, 150) * rng.within(0.2..1.2),
            front_yaw: None,
        };
        match kind {
            SupportKind::Belt => support.belt(rng, photos),
            SupportKind::Tote => support.tote(rng, photos),
            SupportKind::Pallet => support.pallet(rng, photos),
            SupportKind::Floor => support.floor(rng, photos),
            SupportKind::Table => support.table(rng, photos),
            SupportKind::Shelf => support.shelf(rng, photos),
        }
        support
    }

    fn block(&mut self, size_m: Vec3, center: Vec3, material: &Arc<Material>) {
        self.turned_block(size_m, Pose::from_translation(center), material);
    }

    fn turned_block(&mut self, size_m: Vec3, pose: Pose, material: &Arc<Material>) {
        let half = 0.5 * size_m;
        self.fixed.push((SharedShape::cuboid(half.x, half.y, half.z), pose));
        self.show(cuboid(size_m, 1, material), pose, true);
    }

    /// Fills `depth_m` below the plane z = 0 for the physics alone: a body that falls fast passes
    /// through thin boards.
    fn solid_below(&mut self, length_m: f32, width_m: f32, depth_m: f32) {
        let shape = SharedShape::cuboid(0.5 * length_m, 0.5 * width_m, 0.5 * depth_m);
        self.fixed.push((shape, Pose::from_translation(Vec3::Z * -0.5 * depth_m)));
    }

    fn show(&mut self, mesh: Mesh, pose: Pose, casts_shadow: bool) {
        self.parts.push(Part { mesh: Arc::new(mesh), pose, instance: None, casts_shadow });
    }

    /// A large floor at this height, walls around it, and things along the walls.
    fn room(&mut self, rng: &mut Rng, floor_z_m: f32, photos: &Photos) {
        let floor = surfaces::floor(rng, photos);
        let pose = Pose::from_parts(Vec3::Z * floor_z_m, rng.yaw());
        self.show(plane(24.0, 24.0, &floor), pose, false);
        let slab = SharedShape::cuboid(12.0, 12.0, 0.1);
        self.fixed.push((slab, Pose::from_translation(Vec3::Z * (floor_z_m - 0.1))));
        let wall = surfaces::wall(rng, photos);
        let yaw = rng.within(0.0..FRAC_PI_2);
        for side in 0..4 {
            let turn = Rotation::from_rotation_z(yaw + FRAC_PI_2 * side as f32);
            let distance_m = rng.within(1.6..6.0);
            let stand = turn * Rotation::from_rotation_y(-FRAC_PI_2);
            let at = turn * Vec3::X * distance_m + Vec3::Z * (floor_z_m + 2.0);
            self.show(plane(4.0, 14.0, &wall), Pose::from_parts(at, stand), false);
            self.along_wall(rng, floor_z_m, turn, distance_m, photos);
        }
    }

    /// Furniture, doors, pictures: dull blocks that stand or hang before a wall.
    fn along_wall(
        &mut self,
        rng: &mut Rng,
        floor_z_m: f32,
        turn: Rotation,
        distance_m: f32,
        photos: &Photos,
    ) {
        for _ in 0..rng.count(0, 4) {
            let material = surfaces::furniture(rng, photos);
            let size_m =
                Vec3::new(rng.within(0.02..0.5), rng.within(0.2..1.4), rng.within(0.3..2.1));
            let hangs = size_m.x < 0.12;
            let z_m = floor_z_m + 0.5 * size_m.z + if hangs { rng.within(0.0..1.2) } else { 0.0 };
            let at =
                turn * Vec3::new(distance_m - 0.5 * size_m.x, rng.around(2.5), 0.0) + Vec3::Z * z_m;
            self.show(cuboid(size_m, 1, &material), Pose::from_parts(at, turn), false);
        }
    }

    fn belt(&mut self, rng: &mut Rng, photos: &Photos) {
        let width_m = rng.within(0.5..1.0);
        let length_m = 5.0;
        let belt = surfaces::belt(rng);
        self.block(Vec3::new(length_m, width_m, 0.06), Vec3::Z * -0.03, &belt);
        self.solid_below(length_m, width_m, 0.6);
        let rail = surfaces::frame_metal(rng);
        let rise_m = rng.within(-0.02..0.12);
        for side in [-1.0, 1.0] {
            let center = Vec3::new(0.0, side * (0.5 * width_m + 0.04), rise_m - 0.1);
            self.block(Vec3::new(length_m, rng.within(0.03..0.08), 0.2), center, &rail);
        }
        for leg in [-1.8, -0.6, 0.6, 1.8] {
            let center = Vec3::new(leg, 0.0, -0.5);
            self.show(
                cuboid(Vec3::new(0.06, width_m, 0.8), 1, &rail),
                Pose::from_translation(center),
                true,
            );
        }
        self.room(rng, -0.85, photos);
        self.half_m = Vec3::new(0.65, 0.42 * width_m, 0.0);
    }

    fn tote(&mut self, rng: &mut Rng, photos: &Photos) {
        let inner = Vec3::new(rng.within(0.45..0.8), rng.within(0.32..0.56), rng.within(0.12..0.4));
        let wall_m = rng.within(0.005..0.02);
        let material = surfaces::tote(rng);
        self.block(Vec3::new(inner.x, inner.y, 0.01), Vec3::Z * -0.005, &material);
        self.solid_below(inner.x, inner.y, 0.4);
        for side in [-1.0, 1.0] {
            let across = Vec3::new(wall_m, inner.y + 2.0 * wall_m, inner.z);
            self.block(
                across,
                Vec3::new(side * 0.5 * (inner.x + wall_m), 0.0, 0.5 * inner.z),
                &material,
            );
            let along = Vec3::new(inner.x, wall_m, inner.z);
            self.block(
                along,
                Vec3::new(0.0, side * 0.5 * (inner.y + wall_m), 0.5 * inner.z),
                &material,
            );
            let rim = Vec3::new(inner.x + 0.06, 0.022, 0.014);
            self.block(rim, Vec3::new(0.0, side * 0.5 * (inner.y + 0.04), inner.z), &material);
            let rim = Vec3::new(0.022, inner.y + 0.06, 0.014);
            self.block(rim, Vec3::new(side * 0.5 * (inner.x + 0.04), 0.0, inner.z), &material);
        }
        let floor_z_m = if rng.chance(0.6) { -0.012 } else { -0.8 };
        self.room(rng, floor_z_m, photos);
        self.half_m = Vec3::new(0.36 * inner.x, 0.34 * inner.y, 0.0);
    }

    fn pallet(&mut self, rng: &mut Rng, photos: &Photos) {
        let wood = surfaces::pallet_wood(rng);
        let (length_m, width_m) = (1.2, *rng.pick(&[0.8, 1.0]));
        let boards = rng.count(5, 9);
        for board in 0..boards {
            let y = (board as f32 + 0.5) / boards as f32 - 0.5;
            let center = Vec3::new(0.0, y * (width_m - 0.02), -0.011);
            self.block(Vec3::new(length_m, 0.72 * width_m / boards as f32, 0.022), center, &wood);
        }
        self.solid_below(length_m, width_m, 0.144);
        for end in [-1.0, 0.0, 1.0] {
            let center = Vec3::new(0.0, end * 0.5 * (width_m - 0.1), -0.133);
            self.block(Vec3::new(length_m, 0.1, 0.022), center, &wood);
            for place in [-1.0, 0.0, 1.0] {
                let center =
                    Vec3::new(place * 0.5 * (length_m - 0.1), end * 0.5 * (width_m - 0.1), -0.072);
                self.block(Vec3::new(0.1, 0.1, 0.1), center, &wood);
            }
        }
        self.room(rng, -0.144, photos);
        self.half_m = Vec3::new(0.5 * length_m, 0.5 * width_m, 0.0);
    }

    fn floor(&mut self, rng: &mut Rng, photos: &Photos) {
        if rng.chance(0.45) {
            self.doorstep(rng, photos);
        }
        self.room(rng, 0.0, photos);
        self.half_m = Vec3::new(0.45, 0.45, 0.0) * rng.within(0.8..1.6);
    }

    /// A house wall with a door, a frame, perhaps a step and a mat.
    fn doorstep(&mut self, rng: &mut Rng, photos: &Photos) {
        let back_m = rng.within(0.45..0.9);
        let wall = surfaces::wall(rng, photos);
        let face = Rotation::from_rotation_x(FRAC_PI_2) * Rotation::from_rotation_z(PI);
        let stand = Rotation::from_rotation_z(PI) * face;
        self.show(
            plane(9.0, 3.0, &wall),
            Pose::from_parts(Vec3::new(0.0, back_m, 1.5), stand),
            false,
        );
        let door = surfaces::furniture(rng, photos);
        let frame = surfaces::furniture(rng, photos);
        let x = rng.around(0.4);
        self.show(
            cuboid(Vec3::new(0.9, 0.05, 2.0), 1, &door),
            Pose::translation(x, back_m, 1.04),
            false,
        );
        for side in [-0.5, 0.5] {
            let at = Pose::translation(x + side, back_m - 0.02, 1.05);
            self.show(cuboid(Vec3::new(0.09, 0.1, 2.1), 1, &frame), at, true);
        }
        for _ in 0..rng.count(0, 2) {
            let panel = Vec3::new(rng.within(0.2..0.6), 0.02, rng.within(0.2..0.7));
            let at = Pose::translation(x + rng.around(0.1), back_m - 0.03, rng.within(0.4..1.7));
            let material = surfaces::furniture(rng, photos);
            self.show(cuboid(panel, 1, &material), at, false);
        }
        self.block(Vec3::new(1.1, 0.16, 0.05), Vec3::new(x, back_m - 0.02, 0.015), &frame);
        if rng.chance(0.6) {
            let mat = surfaces::mat(rng, photos);
            let size_m = Vec3::new(rng.within(0.5..0.9), rng.within(0.35..0.55), 0.012);
            let at = Pose::from_parts(
                Vec3::new(x, 0.0, 0.004),
                Rotation::from_rotation_z(rng.around(0.15)),
            );
            self.turned_block(size_m, at, &mat);
        }
        self.front_yaw = Some(-FRAC_PI_2);
    }

    fn table(&mut self, rng: &mut Rng, photos: &Photos) {
        let top = surfaces::table_top(rng, photos);
        let size_m = Vec3::new(rng.within(0.9..2.4), rng.within(0.6..1.2), 0.035);
        self.block(size_m, Vec3::Z * -0.0175, &top);
        self.solid_below(size_m.x, size_m.y, 0.6);
        let leg = surfaces::frame_metal(rng);
        for (x, y) in [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)] {
            let at = Vec3::new(x * (0.5 * size_m.x - 0.06), y * (0.5 * size_m.y - 0.06), -0.39);
            self.show(
                cuboid(Vec3::new(0.05, 0.05, 0.71), 1, &leg),
                Pose::from_translation(at),
                true,
            );
        }
        self.room(rng, -0.75, photos);
        self.half_m =
            Vec3::new(0.4 * size_m.x, 0.38 * size_m.y, 0.0).min(Vec3::new(0.55, 0.4, 0.0));
    }

    /// Boards between uprights, seen from the front (towards -y).
    fn shelf(&mut self, rng: &mut Rng, photos: &Photos) {
        let bay_m = rng.within(0.9..2.2);
        let depth_m = rng.within(0.35..0.6);
        let board = surfaces::table_top(rng, photos);
        let beam = surfaces::rack_paint(rng);
        let upright = surfaces::rack_paint(rng);
        let gap_m = rng.within(0.4..0.7);
        for level in -1..=2 {
            let z = level as f32 * gap_m;
            self.block(Vec3::new(bay_m, depth_m, 0.02), Vec3::new(0.0, 0.0, z - 0.01), &board);
            let front = Vec3::new(bay_m, 0.04, rng.within(0.04..0.11));
            self.block(front, Vec3::new(0.0, -0.5 * depth_m - 0.02, z - 0.5 * front.z), &beam);
        }
        for side in [-1.0, 1.0] {
            for y in [-1.0, 1.0] {
                let at = Vec3::new(side * (0.5 * bay_m + 0.035), y * 0.5 * depth_m, 0.5 * gap_m);
                self.block(Vec3::new(0.07, 0.06, 4.2 * gap_m), at, &upright);
            }
        }
        if rng.chance(0.5) {
            let back = Vec3::new(bay_m, 0.01, 4.0 * gap_m);
            self.block(back, Vec3::new(0.0, 0.5 * depth_m, 0.5 * gap_m), &board);
        }
        self.room(rng, -1.6 * gap_m, photos);
        self.half_m = Vec3::new(0.5 * bay_m, 0.5 * depth_m, gap_m);
        self.front_yaw = Some(-FRAC_PI_2);
    }
}
