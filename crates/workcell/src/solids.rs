//! The true surfaces of a frame, as a file that any viewer of meshes opens.
//!
//! # Conventions
//! Metres in the base frame. Binary little-endian PLY: vertices `x y z` (f32), faces of three
//! vertices with the property `package`, the package's id, or -1 for everything else.

use std::path::Path;

use crate::WorkcellError;
use crate::raster::Soup;
use crate::scene::Scene;

/// Everything solid in one scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Solids {
    pub vertices_in_base: Vec<[f32; 3]>,
    pub triangles: Vec<[u32; 3]>,
    /// The package that each triangle belongs to.
    pub package_ids: Vec<Option<u32>>,
}

/// A scene's surfaces have some megabytes.
const SOLIDS_BYTES_MAX: u64 = 1_000_000_000;
const VERTEX_BYTES: usize = 12;
const FACE_BYTES: usize = 1 + 12 + 4;

impl Solids {
    pub(crate) fn new(scene: &Scene, soup: &Soup) -> Solids {
        Solids {
            vertices_in_base: soup.vertices.iter().map(|v| v.in_base.to_array()).collect(),
            triangles: soup.triangles.iter().map(|triangle| triangle.corners).collect(),
            package_ids: (0_u32..)
                .take(soup.triangles.len())
                .map(|index| soup.owner(scene, index).map(u32::from))
                .collect(),
        }
    }

    /// The corners of one package's triangles.
    pub fn package(&self, package_id: u32) -> impl Iterator<Item = [[f32; 3]; 3]> + '_ {
        self.triangles
            .iter()
            .zip(&self.package_ids)
            .filter(move |(_, id)| **id == Some(package_id))
            .map(|(corners, _)| corners.map(|at| self.vertices_in_base[at as usize]))
    }

    pub fn write(&self, path: &Path) -> Result<(), WorkcellError> {
        let write = |source| WorkcellError::Write { path: path.to_owned(), source };
        let mut bytes = self.header().into_bytes();
        for vertex in &self.vertices_in_base {
            bytes.extend(vertex.iter().flat_map(|value| value.to_le_bytes()));
        }
        for (corners, id) in self.triangles.iter().zip(&self.package_ids) {
            bytes.push(3);
            bytes.extend(corners.iter().flat_map(|corner| corner.to_le_bytes()));
            let id = id.map_or(-1, |id| i32::try_from(id).expect("a few hundred packages"));
            bytes.extend(id.to_le_bytes());
        }
        magpie_files::write(path, bytes).map_err(write)
    }

    fn header(&self) -> String {
        format!(
            "ply\nformat binary_little_endian 1.0\ncomment magpie solids, metres in base\n\
             element vertex {}\nproperty float x\nproperty float y\nproperty float z\n\
             element face {}\nproperty list uchar int vertex_indices\nproperty int package\n\
             end_header\n",
            self.vertices_in_base.len(),
            self.triangles.len()
        )
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> Result<Solids, WorkcellError> {
        let bytes = magpie_files::read(path, SOLIDS_BYTES_MAX)
            .map_err(|source| WorkcellError::Read { path: path.to_owned(), source })?;
        Solids::parse(&bytes).ok_or_else(|| WorkcellError::NotSolids { path: path.to_owned() })
    }

    fn parse(bytes: &[u8]) -> Option<Solids> {
        const END: &[u8] = b"end_header\n";
        let end = bytes.windows(END.len()).take(1000).position(|window| window == END)?;
        let header = std::str::from_utf8(&bytes[..end]).ok()?;
        let count = |key: &str| -> Option<usize> {
            header.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
        };
        let (vertices, faces) = (count("element vertex")?, count("element face")?);
        let body = &bytes[end + END.len()..];
        let split = vertices.checked_mul(VERTEX_BYTES)?;
        let expected = split.checked_add(faces.checked_mul(FACE_BYTES)?)?;
        if !header.starts_with("ply\nformat binary_little_endian") || body.len() != expected {
            return None;
        }
        let word = |at: &[u8]| <[u8; 4]>::try_from(at).expect("four bytes");
        let mut solids = Solids {
            vertices_in_base: body[..split]
                .chunks_exact(VERTEX_BYTES)
                .map(|v| [&v[..4], &v[4..8], &v[8..]].map(|value| f32::from_le_bytes(word(value))))
                .collect(),
            triangles: Vec::with_capacity(faces),
            package_ids: Vec::with_capacity(faces),
        };
        for face in body[split..].chunks_exact(FACE_BYTES) {
            let corners = [&face[1..5], &face[5..9], &face[9..13]]
                .map(|value| u32::from_le_bytes(word(value)));
            if face[0] != 3 || corners.iter().any(|corner| *corner as usize >= vertices) {
                return None;
            }
            solids.triangles.push(corners);
            solids.package_ids.push(u32::try_from(i32::from_le_bytes(word(&face[13..]))).ok());
        }
        Some(solids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solids_come_back_as_written_and_a_cut_file_is_refused() {
        let solids = Solids {
            vertices_in_base: vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [0.0, 1.0, -2.0]],
            triangles: vec![[0, 1, 2], [2, 1, 0]],
            package_ids: vec![Some(7), None],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ply");
        solids.write(&path).unwrap();
        assert_eq!(Solids::read(&path).unwrap(), solids);
        assert_eq!(solids.package(7).count(), 1);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = Solids::read(&path).unwrap_err().to_string();
        assert!(error.contains("a.ply"), "{error}");
    }
}
