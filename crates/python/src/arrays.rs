//! NumPy arrays, written by Rust into the memory that NumPy keeps.

use magpie_client::wire;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::errors::broken;

/// `float64`, row by row.
pub(crate) fn floats<'py>(
    py: Python<'py>,
    values: &[f64],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    array(py, "float64", shape, size_of_val(values), |buffer| {
        for (bytes, value) in buffer.chunks_exact_mut(size_of::<f64>()).zip(values) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
        Ok(())
    })
}

/// `bool` (height, width): `True` on the package.
pub(crate) fn mask<'py>(py: Python<'py>, mask: &wire::Mask) -> PyResult<Bound<'py, PyAny>> {
    let shape = [mask.height_px as usize, mask.width_px as usize];
    array(py, "bool", &shape, shape[0] * shape[1], |buffer| {
        mask.write_bitmap(buffer).map_err(|error| broken(&error.to_string()))
    })
}

fn array<'py>(
    py: Python<'py>,
    dtype: &str,
    shape: &[usize],
    length_bytes: usize,
    write: impl FnOnce(&mut [u8]) -> PyResult<()>,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = py.import("numpy")?;
    let shape = shape.to_vec();
    if length_bytes == 0 {
        // NumPy makes no array of an empty buffer.
        return numpy.call_method1("zeros", (shape, dtype));
    }
    let buffer = PyByteArray::new_with(py, length_bytes, write)?;
    numpy.call_method1("frombuffer", (buffer, dtype))?.call_method1("reshape", (shape,))
}

/// A homogeneous matrix in whatever NumPy takes for an array.
pub(crate) fn pose(matrix: &Bound<'_, PyAny>) -> PyResult<wire::Pose> {
    let array = matrix.py().import("numpy")?.call_method1("asarray", (matrix, "float64"))?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    if shape != [4, 4] {
        return Err(PyValueError::new_err(format!(
            "a pose is a homogeneous 4x4 matrix, and this has shape {shape:?}"
        )));
    }
    let rows: [[f64; 4]; 4] = array.call_method0("tolist")?.extract()?;
    wire::Pose::from_matrix(&rows).map_err(|error| PyValueError::new_err(error.to_string()))
}
