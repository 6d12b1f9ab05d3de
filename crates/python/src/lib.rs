//! `magpie_client` for Python: the Rust client, with poses and masks as NumPy arrays.
//!
//! # Conventions
//!
//! Nothing here judges whether a result may be acted upon: that is the client's. Each question to a
//! view goes through it, so that none is answered after the view has expired.
//!
//! Whoever waits holds no lock of Python's, and looks for Ctrl-C twenty times a second.

mod arrays;
mod client;
mod errors;
mod packages;
mod states;
mod view;
mod waiting;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use super::client::{Client, connect};
    #[pymodule_export]
    use super::packages::Packages;
    #[pymodule_export]
    use super::states::{CameraInfo, Lost, Reason, Stale, Status};
    #[pymodule_export]
    use super::view::{Fresh, Grasp, Package, PoseAt};
}
