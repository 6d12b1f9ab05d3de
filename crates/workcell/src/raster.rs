//! Which triangle is seen in each pixel: a scan-line rasteriser with a depth buffer.
//!
//! # Conventions
//! Screen points are (x px, y px, key), the key being larger for what is nearer: the inverse of the
//! depth in perspective, the height towards the light in a shadow map. Both are linear on screen.

use rapier3d::math::{Pose, Vec2, Vec3};

use crate::scene::Scene;

/// No triangle.
pub(crate) const NOTHING: u32 = u32::MAX;
/// Nothing nearer than this is drawn.
const NEAR_M: f32 = 0.05;

#[derive(Clone, Copy, Debug)]
pub(crate) struct SoupVertex {
    pub(crate) in_base: Vec3,
    pub(crate) normal_in_base: Vec3,
    pub(crate) in_part: Vec3,
    pub(crate) uv_m: Vec2,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SoupTriangle {
    pub(crate) corners: [u32; 3],
    pub(crate) part: u16,
    pub(crate) face: u8,
    pub(crate) casts_shadow: bool,
}

/// A triangle soup: all triangles of a scene, in its base frame.
pub(crate) struct Soup {
    pub(crate) vertices: Vec<SoupVertex>,
    pub(crate) triangles: Vec<SoupTriangle>,
}

impl Soup {
    pub(crate) fn new(scene: &Scene) -> Soup {
        let (mut vertices, mut triangles) = (Vec::new(), Vec::new());
        for (index, part) in scene.parts.iter().enumerate() {
            let first = vertices.len() as u32;
            vertices.extend(part.mesh.vertices.iter().map(|vertex| SoupVertex {
                in_base: part.pose.transform_point(vertex.position),
                normal_in_base: part.pose.rotation * vertex.normal,
                in_part: vertex.position,
                uv_m: vertex.uv_m,
            }));
            triangles.extend(part.mesh.triangles.iter().map(|triangle| SoupTriangle {
                corners: triangle.corners.map(|corner| corner + first),
                part: index as u16,
                face: triangle.face,
                casts_shadow: part.casts_shadow,
            }));
        }
        Soup { vertices, triangles }
    }

    /// The package that a triangle belongs to, as an index into `Scene::packages`.
    pub(crate) fn owner(&self, scene: &Scene, triangle: u32) -> Option<u16> {
        let triangle = self.triangles.get(triangle as usize)?;
        scene.parts[triangle.part as usize].instance
    }
}

/// An ideal pinhole camera.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinhole {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) fx_px: f32,
    pub(crate) fy_px: f32,
    pub(crate) cx_px: f32,
    pub(crate) cy_px: f32,
    pub(crate) base_from_camera: Pose,
}

impl Pinhole {
    /// Direction in the base frame through a pixel's centre, with depth 1.
    pub(crate) fn ray(&self, x_px: u32, y_px: u32) -> Vec3 {
        let x = (x_px as f32 - self.cx_px) / self.fx_px;
        let y = (y_px as f32 - self.cy_px) / self.fy_px;
        self.base_from_camera.rotation * Vec3::new(x, y, 1.0)
    }

    fn on_screen(&self, in_camera: Vec3) -> Vec3 {
        let key = 1.0 / in_camera.z;
        Vec3::new(
            self.fx_px * in_camera.x * key + self.cx_px,
            self.fy_px * in_camera.y * key + self.cy_px,
            key,
        )
    }
}

/// Per pixel the triangle seen and the inverse of its depth.
pub(crate) struct Visibility {
    pub(crate) triangle: Vec<u32>,
    pub(crate) inverse_depth: Vec<f32>,
}

/// Pixels an instance covers, seen and counted as if nothing stood before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) alone_px: u32,
}

/// Draws the scene; also counts what each instance would cover if it stood alone.
pub(crate) fn draw(scene: &Scene, soup: &Soup, camera: &Pinhole) -> (Visibility, Vec<Coverage>) {
    let pixels = camera.width_px as usize * camera.height_px as usize;
    let mut seen = Visibility { triangle: vec![NOTHING; pixels], inverse_depth: vec![0.0; pixels] };
    let mut coverage = vec![Coverage::default(); scene.packages.len()];
    let mut counted_for = vec![u16::MAX; pixels];
    let camera_from_base = camera.base_from_camera.inverse();
    let in_camera: Vec<Vec3> = soup
        .vertices
        .iter()
        .map(|vertex| camera_from_base.transform_point(vertex.in_base))
        .collect();
    let screen = ScreenSize { width_px: camera.width_px, height_px: camera.height_px };
    for (index, triangle) in (0_u32..).zip(&soup.triangles) {
        let instance = scene.parts[triangle.part as usize].instance;
        let corners = triangle.corners.map(|corner| in_camera[corner as usize]);
        for_each_front(corners, |front| {
            let points = front.map(|corner| camera.on_screen(corner));
            spans(points, screen, |row, columns, key, slope| {
                let start = row * camera.width_px as usize;
                let mut key = key;
                for at in start + columns.start..start + columns.end {
                    if key > seen.inverse_depth[at] {
                        seen.inverse_depth[at] = key;
                        seen.triangle[at] = index;
                    }
                    key += slope;
                }
                if let Some(instance) = instance {
                    for owner in &mut counted_for[start + columns.start..start + columns.end] {
                        if *owner != instance {
                            *owner = instance;
                            coverage[instance as usize].alone_px += 1;
                        }
                    }
                }
            });
        });
    }
    (seen, coverage)
}

/// The parts of a triangle before the near plane: none, one or two triangles.
fn for_each_front(corners: [Vec3; 3], mut draw: impl FnMut([Vec3; 3])) {
    if corners.iter().all(|corner| corner.z >= NEAR_M) {
        return draw(corners);
    }
    let mut front = [Vec3::ZERO; 4];
    let mut count = 0;
    for index in 0..3 {
        let (a, b) = (corners[index], corners[(index + 1) % 3]);
        if a.z >= NEAR_M {
            front[count] = a;
            count += 1;
        }
        if (a.z >= NEAR_M) != (b.z >= NEAR_M) {
            front[count] = a + (b - a) * ((NEAR_M - a.z) / (b.z - a.z));
            count += 1;
        }
    }
    if count >= 3 {
        draw([front[0], front[1], front[2]]);
    }
    if count == 4 {
        draw([front[0], front[2], front[3]]);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct ScreenSize {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
}

/// Calls `span(row, columns, key of the first column, change of the key per column)` for each row
/// of pixel centres inside the triangle, whichever way it winds.
pub(crate) fn spans(
    points: [Vec3; 3],
    screen: ScreenSize,
    mut span: impl FnMut(usize, std::ops::Range<usize>, f32, f32),
) {
    // f64: the ground's triangles reach far outside the picture.
    let p = points.map(|point| [f64::from(point.x), f64::from(point.y), f64::from(point.z)]);
    let area =
        (p[1][0] - p[0][0]) * (p[2][1] - p[0][1]) - (p[2][0] - p[0][0]) * (p[1][1] - p[0][1]);
    if area.abs() < 1e-9 {
        return;
    }
    let low = p[0][1].min(p[1][1]).min(p[2][1]);
    let high = p[0][1].max(p[1][1]).max(p[2][1]);
    let first = low.ceil().max(0.0);
    let last = high.floor().min(f64::from(screen.height_px) - 1.0);
    if first > last {
        return;
    }
    let slope_x = ((p[1][2] - p[0][2]) * (p[2][1] - p[0][1])
        - (p[2][2] - p[0][2]) * (p[1][1] - p[0][1]))
        / area;
    let slope_y = ((p[2][2] - p[0][2]) * (p[1][0] - p[0][0])
        - (p[1][2] - p[0][2]) * (p[2][0] - p[0][0]))
        / area;
    for row in first as usize..=last as usize {
        let y = row as f64;
        let (mut left, mut right) = (f64::MAX, f64::MIN);
        for index in 0..3 {
            let (a, b) = (p[index], p[(index + 1) % 3]);
            if (a[1] - y) * (b[1] - y) <= 0.0 && a[1] != b[1] {
                let x = a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]);
                left = left.min(x);
                right = right.max(x);
            }
        }
        let start = left.ceil().max(0.0);
        let end = right.floor().min(f64::from(screen.width_px) - 1.0);
        if start <= end {
            let key = p[0][2] + slope_x * (start - p[0][0]) + slope_y * (y - p[0][1]);
            span(row, start as usize..end as usize + 1, key as f32, slope_x as f32);
        }
    }
}
