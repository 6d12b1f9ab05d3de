//! `magpie_client` for Python: the Rust client, with poses and masks as NumPy arrays.
//!
//! # Conventions
//!
//! Nothing here judges whether a result may be acted upon: that is the client's. Each question to a
//! view goes through it, so that none is answered after the view has expired.
//!
//! Whoever waits holds no lock of Python's, and looks for Ctrl-C twenty times a second.

// A test program could not be linked: it is Python that brings Python's symbols.
#[cfg(not(test))]
mod arrays;
#[cfg(not(test))]
mod client;
#[cfg(not(test))]
mod errors;
#[cfg(not(test))]
mod held;
#[cfg(not(test))]
mod packages;
#[cfg(not(test))]
mod states;
#[cfg(not(test))]
mod view;
#[cfg(not(test))]
mod waiting;

#[cfg(not(test))]
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
