//! Triangle meshes and the few shapes everything is made of.
//!
//! # Conventions
//! Lengths in metres; triangles are counter-clockwise seen from outside.
//! `uv_m` is the position on the face in metres, so that print keeps its size.

use std::sync::Arc;

use rapier3d::math::{Pose, Vec2, Vec3};

use crate::material::Material;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Vertex {
    pub(crate) position: Vec3,
    pub(crate) normal: Vec3,
    pub(crate) uv_m: Vec2,
}

/// `face` chooses the decals that can show on the triangle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Triangle {
    pub(crate) corners: [u32; 3],
    pub(crate) face: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) triangles: Vec<Triangle>,
    pub(crate) material: Arc<Material>,
}

/// Faces of [`cuboid`], in order: +x, -x, +y, -y, +z (top), -z (bottom).
pub(crate) const FACE_TOP: u8 = 4;
pub(crate) const FACE_BOTTOM: u8 = 5;

impl Mesh {
    pub(crate) fn new(material: &Arc<Material>) -> Mesh {
        Mesh { vertices: Vec::new(), triangles: Vec::new(), material: Arc::clone(material) }
    }

    pub(crate) fn moved(mut self, pose: Pose) -> Mesh {
        for vertex in &mut self.vertices {
            vertex.position = pose.transform_point(vertex.position);
            vertex.normal = pose.rotation * vertex.normal;
        }
        self
    }

    /// Adds a grid of `columns` x `rows` cells; `point` gives position and uv at (s, t) in 0..=1.
    pub(crate) fn add_sheet(
        &mut self,
        columns: u32,
        rows: u32,
        face: u8,
        point: impl Fn(f32, f32) -> (Vec3, Vec2),
    ) {
        let first = self.vertices.len() as u32;
        for row in 0..=rows {
            for column in 0..=columns {
                let (position, uv_m) =
                    point(column as f32 / columns as f32, row as f32 / rows as f32);
                self.vertices.push(Vertex { position, normal: Vec3::ZERO, uv_m });
            }
        }
        let at = |column: u32, row: u32| first + row * (columns + 1) + column;
        for row in 0..rows {
            for column in 0..columns {
                let [a, b] = [at(column, row), at(column + 1, row)];
                let [c, d] = [at(column + 1, row + 1), at(column, row + 1)];
                self.triangles.push(Triangle { corners: [a, b, c], face });
                self.triangles.push(Triangle { corners: [a, c, d], face });
            }
        }
    }

    /// Vertex normals from the triangles that share the vertex, weighted by area.
    pub(crate) fn smooth_normals(&mut self) {
        for vertex in &mut self.vertices {
            vertex.normal = Vec3::ZERO;
        }
        for triangle in &self.triangles {
            let [a, b, c] = triangle.corners.map(|corner| self.vertices[corner as usize].position);
            let normal = (b - a).cross(c - a);
            for corner in triangle.corners {
                self.vertices[corner as usize].normal += normal;
            }
        }
        for vertex in &mut self.vertices {
            vertex.normal = vertex.normal.try_normalize().unwrap_or(Vec3::Z);
        }
    }

    pub(crate) fn points(&self) -> Vec<Vec3> {
        self.vertices.iter().map(|vertex| vertex.position).collect()
    }
}

/// A cuboid centred on the origin, each face a sheet of its own, `cells` x `cells`.
pub(crate) fn cuboid(size_m: Vec3, cells: u32, material: &Arc<Material>) -> Mesh {
    let mut mesh = Mesh::new(material);
    let h = 0.5 * size_m;
    // For each face: outward axis, then the directions of u and v with u x v = outward.
    let faces = [
        (Vec3::X, Vec3::Y, Vec3::Z),
        (-Vec3::X, -Vec3::Y, Vec3::Z),
        (Vec3::Y, -Vec3::X, Vec3::Z),
        (-Vec3::Y, Vec3::X, Vec3::Z),
        (Vec3::Z, Vec3::X, Vec3::Y),
        (-Vec3::Z, -Vec3::X, Vec3::Y),
    ];
    for (face, (out, u, v)) in (0_u8..).zip(faces) {
        let first = mesh.vertices.len();
        mesh.add_sheet(cells, cells, face, |s, t| {
            let (s, t) = (2.0 * s - 1.0, 2.0 * t - 1.0);
            let position = (out + u * s + v * t) * h;
            (position, Vec2::new(u.dot(position), v.dot(position)))
        });
        for vertex in &mut mesh.vertices[first..] {
            vertex.normal = out;
        }
    }
    mesh
}

/// A body of revolution about z: `profile` holds (radius, height) from bottom to top.
pub(crate) fn lathe(profile: &[(f32, f32)], sides: u32, material: &Arc<Material>) -> Mesh {
    let mut mesh = Mesh::new(material);
    let rows = profile.len() as u32 - 1;
    let radius_max = profile.iter().map(|(radius, _)| *radius).fold(0.0, f32::max);
    mesh.add_sheet(sides, rows, 0, |s, t| {
        let (radius, height) = profile[(t * rows as f32).round() as usize];
        let angle = s * std::f32::consts::TAU;
        let position = Vec3::new(radius * angle.cos(), radius * angle.sin(), height);
        (position, Vec2::new((angle - std::f32::consts::PI) * radius_max, height))
    });
    mesh.smooth_normals();
    mesh
}

/// A horizontal rectangle in the plane z = 0, facing up.
pub(crate) fn plane(length_m: f32, width_m: f32, material: &Arc<Material>) -> Mesh {
    let mut mesh = Mesh::new(material);
    mesh.add_sheet(1, 1, FACE_TOP, |s, t| {
        let uv_m = Vec2::new((s - 0.5) * length_m, (t - 0.5) * width_m);
        (Vec3::new(uv_m.x, uv_m.y, 0.0), uv_m)
    });
    for vertex in &mut mesh.vertices {
        vertex.normal = Vec3::Z;
    }
    mesh
}
