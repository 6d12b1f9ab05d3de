//! One result, its packages and their grasps. Everything that an arm could act upon is asked of the
//! view, which looks at the clock first.

use std::sync::Arc;

use magpie_client::wire::ReferenceFrame;
use magpie_client::{PackagesView, Pick, WrongFrame, wire};
use pyo3::prelude::*;

use crate::arrays::{floats, mask, pose};
use crate::errors::{broken, expired, no_pose, wrong_frame};
use crate::states::{Reason, from_json, reasons};

/// A result that may be acted upon until it expires.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Fresh {
    view: Arc<PackagesView>,
}

impl Fresh {
    pub(crate) fn new(view: PackagesView) -> Fresh {
        Fresh { view: Arc::new(view) }
    }
}

#[pymethods]
impl Fresh {
    /// All packages, in pick order. Raises `Expired` once the time of the result is over.
    #[getter]
    fn packages(&self) -> PyResult<Vec<Package>> {
        let count = self.view.packages().map_err(expired)?.len();
        Ok((0..count).map(|index| Package { view: Arc::clone(&self.view), index }).collect())
    }

    /// The first grasp of the first package in pick order that has one; `None` if nothing can be
    /// held. Raises `Expired`.
    fn best_grasp(&self) -> PyResult<Option<Grasp>> {
        let packages = self.view.packages().map_err(expired)?;
        let best = packages.iter().position(|package| !package.grasps.is_empty());
        Ok(best.map(|package| Grasp { view: Arc::clone(&self.view), package, index: 0 }))
    }

    /// The name of the cell.
    #[getter]
    fn cell(&self) -> &str {
        &self.view.for_display().cell
    }

    /// The number of the camera's frame.
    #[getter]
    fn sequence(&self) -> u64 {
        self.view.for_display().sequence
    }

    /// When the frame was exposed: Unix time in nanoseconds, as `time.time_ns()`.
    #[getter]
    fn stamp_ns(&self) -> u64 {
        self.view.for_display().stamp_ns
    }

    /// For how many seconds this may still be acted upon; 0.0 once it has expired.
    #[getter]
    fn expires_in_s(&self) -> f64 {
        self.view.expires_in().as_secs_f64()
    }

    /// The name of the reference frame of all poses.
    #[getter]
    fn frame_id(&self) -> &str {
        &self.view.for_display().frame_id
    }

    /// `"base"`, `"camera"` or `"gripper"`; `"unspecified"` where this client does not know it.
    #[getter]
    fn reference_frame(&self) -> String {
        let found = self.view.for_display().reference_frame();
        wire::plain(found.as_str_name(), "REFERENCE_FRAME_")
    }

    /// The width of the camera's picture, in pixels.
    #[getter]
    fn image_width_px(&self) -> u32 {
        self.view.for_display().image_width_px
    }

    /// The height of the camera's picture, in pixels.
    #[getter]
    fn image_height_px(&self) -> u32 {
        self.view.for_display().image_height_px
    }

    /// Whether the publisher is another one than before: forget all track ids. Told once.
    #[getter]
    fn restarted(&self) -> bool {
        self.view.restarted()
    }

    /// Why the daemon does not run as configured; empty if it does.
    #[getter]
    fn degraded(&self) -> Vec<Reason> {
        reasons(self.view.degraded())
    }

    /// The message as it came, whatever its age, as a dict in the canonical JSON of protobuf. For
    /// display and logs, never for motion.
    fn for_display<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_json(py, &wire::to_json(self.view.for_display()).to_string())
    }

    fn __repr__(&self) -> String {
        let message = self.view.for_display();
        let expires_in_ms = self.view.expires_in().as_millis();
        let left = if expires_in_ms > 0 {
            format!("expires in {expires_in_ms} ms")
        } else {
            "expired".to_owned()
        };
        format!(
            "<Fresh frame {} of cell {:?}: {} packages, {left}>",
            message.sequence,
            message.cell,
            message.packages.len()
        )
    }
}

/// One package of a result.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Package {
    view: Arc<PackagesView>,
    index: usize,
}

impl Package {
    fn get(&self) -> PyResult<&wire::Package> {
        Ok(&self.view.packages().map_err(expired)?[self.index])
    }
}

type Corners = (f32, f32, f32, f32);

#[pymethods]
impl Package {
    /// Stays with the package from frame to frame while the daemon runs.
    #[getter]
    fn track_id(&self) -> PyResult<u64> {
        Ok(self.get()?.track_id)
    }

    /// Its class: `"box"`, `"padded_mailer"`, `"poly_bag"` or `"item"` with the universal model.
    #[getter]
    fn r#type(&self) -> PyResult<&str> {
        Ok(&self.get()?.r#type)
    }

    /// How sure the model is, 0 to 1.
    #[getter]
    fn score(&self) -> PyResult<f32> {
        Ok(self.get()?.score)
    }

    /// 0 is to be picked first.
    #[getter]
    fn pick_rank(&self) -> PyResult<u32> {
        Ok(self.get()?.pick_rank)
    }

    /// The box around it in pixels: `(x_min, y_min, x_max, y_max)`, its outer edges.
    #[getter]
    fn bbox(&self) -> PyResult<Corners> {
        let bbox = self.get()?.bbox.as_ref().ok_or_else(|| broken("a package has no bbox"))?;
        Ok((bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px))
    }

    /// What is visible of the package: a `bool` array (height, width) of the camera's picture. A new
    /// array each time, which is yours.
    #[getter]
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let coded = self.get()?.mask.as_ref().ok_or_else(|| broken("a package has no mask"))?;
        mask(py, coded)
    }

    /// Where a tool can hold it, best first.
    #[getter]
    fn grasps(&self) -> PyResult<Vec<Grasp>> {
        let count = self.get()?.grasps.len();
        let grasp = |index| Grasp { view: Arc::clone(&self.view), package: self.index, index };
        Ok((0..count).map(grasp).collect())
    }

    /// Why there is no grasp, for example `"no_seal"` or `"too_steep"`; `None` if there is one.
    #[getter]
    fn refusal(&self) -> PyResult<Option<String>> {
        let package = self.get()?;
        let refusal = || wire::plain(package.refusal().as_str_name(), "GRASP_REFUSAL_");
        Ok(package.grasps.is_empty().then(refusal))
    }

    /// The pixel `(x, y)` deepest inside the mask.
    #[getter]
    fn deepest_px(&self) -> PyResult<Option<(f32, f32)>> {
        Ok(self.get()?.deepest_px.as_ref().map(|point| (point.x_px, point.y_px)))
    }

    /// The height of the contact above the support plane in metres; `None` where it is not known.
    #[getter]
    fn height_m(&self) -> PyResult<Option<f64>> {
        Ok(self.get()?.height_m)
    }

    /// Length, width and height in metres; `None` where they were not measured.
    #[getter]
    fn size_m(&self) -> PyResult<Option<(f64, f64, f64)>> {
        Ok(self.get()?.size.as_ref().map(|size| (size.length_m, size.width_m, size.height_m)))
    }

    /// How much of its rim another package hides, 0 to 1.
    #[getter]
    fn occluded_share(&self) -> PyResult<f32> {
        Ok(self.get()?.occluded_share)
    }

    fn __repr__(&self) -> String {
        let package = &self.view.for_display().packages[self.index];
        let (track_id, grasps) = (package.track_id, package.grasps.len());
        format!("<Package {track_id}: {:?}, {grasps} grasps>", package.r#type)
    }
}

/// Where and how a suction tool can hold a package.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Grasp {
    view: Arc<PackagesView>,
    package: usize,
    index: usize,
}

impl Grasp {
    fn get(&self) -> PyResult<&wire::Grasp> {
        let package = &self.view.packages().map_err(expired)?[self.package];
        Ok(&package.grasps[self.index])
    }

    fn pose(&self) -> PyResult<Placed> {
        let pose = self.get()?.pose.ok_or_else(|| broken("a grasp has no pose"))?;
        Ok(self.placed(pose))
    }

    /// Whatever the result's age.
    pub(crate) fn pick(&self) -> PyResult<Pick> {
        let pick = self.view.pick_at(self.package, self.index);
        pick.ok_or_else(|| broken("a grasp is not of its own result"))
    }

    fn placed(&self, pose: wire::Pose) -> Placed {
        let message = self.view.for_display();
        Placed { pose, reference: message.reference_frame(), frame_id: message.frame_id.clone() }
    }
}

/// A pose with the reference frame that it is in.
#[derive(Clone)]
struct Placed {
    pose: wire::Pose,
    reference: ReferenceFrame,
    frame_id: String,
}

impl Placed {
    fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let rows = self.pose.matrix().ok_or_else(|| broken("a pose has no orientation"))?;
        floats(py, rows.as_flattened(), &[4, 4])
    }

    /// Under the name of another reference frame there is nothing to move by.
    fn array_in<'py>(
        &self,
        py: Python<'py>,
        wanted: ReferenceFrame,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.reference == wanted {
            return self.array(py);
        }
        let frame_id = self.frame_id.clone();
        Err(wrong_frame(&WrongFrame { found: self.reference, frame_id, wanted }))
    }
}

#[pymethods]
impl Grasp {
    /// The package that it holds.
    #[getter]
    fn package(&self) -> Package {
        Package { view: Arc::clone(&self.view), index: self.package }
    }

    /// The tool's reference frame in the robot's base: a `float64` 4x4 matrix, metres, whose third
    /// column is the approach into the package. Raises `WrongFrame` if the poses of this cell are not
    /// in base, and `Expired`.
    #[getter]
    fn base_from_grasp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.pose()?.array_in(py, ReferenceFrame::Base)
    }

    /// The same in the camera's optical frame (x right, y down, z forward), of a cell without a
    /// hand-eye calibration. Raises `WrongFrame` and `Expired`.
    #[getter]
    fn camera_from_grasp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.pose()?.array_in(py, ReferenceFrame::Camera)
    }

    /// The same in the gripper at `stamp_ns`, of a camera on the arm. Raises `WrongFrame` and `Expired`.
    #[getter]
    fn gripper_from_grasp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.pose()?.array_in(py, ReferenceFrame::Gripper)
    }

    /// Where the grasp will be at this Unix time in nanoseconds, since its package moves on with the
    /// belt; `None` while nobody knows how the packages move. What it gives expires with the result.
    /// Raises `ValueError` further than a minute from `stamp_ns` of the result, and `Expired`.
    fn pose_at(&self, stamp_ns: u64) -> PyResult<Option<PoseAt>> {
        let grasp = self.get()?;
        let at = self.view.at_unix_ns(stamp_ns);
        let later = self.view.pose_at(grasp, at).map_err(no_pose)?;
        Ok(later.map(|later| PoseAt {
            view: Arc::clone(&self.view),
            placed: self.placed(later.pose),
            position_sigma_m: later.position_sigma_m,
        }))
    }

    /// `base_from_grasp` of a camera on the arm: a `float64` 4x4 matrix in metres. Takes where the
    /// gripper was at `stamp_ns`, as such a matrix. Raises `WrongFrame` if the poses are not in the
    /// gripper, `ValueError` if that is no pose, and `Expired`.
    fn pose_in_base<'py>(
        &self,
        py: Python<'py>,
        base_from_gripper: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let base_from_gripper = pose(base_from_gripper)?.isometry();
        let base_from_gripper = base_from_gripper.ok_or_else(|| broken("a pose is not whole"))?;
        let pose = self.view.pose_in_base(self.get()?, &base_from_gripper).map_err(no_pose)?;
        Placed { pose, reference: ReferenceFrame::Base, frame_id: String::new() }.array(py)
    }

    /// The contact point in the camera's picture, pixels `(x, y)`.
    #[getter]
    fn contact_px(&self) -> PyResult<Option<(f32, f32)>> {
        Ok(self.get()?.contact_px.as_ref().map(|point| (point.x_px, point.y_px)))
    }

    /// How good the grasp is, 0 to 1.
    #[getter]
    fn quality(&self) -> PyResult<f32> {
        Ok(self.get()?.quality)
    }

    /// Which suction cups of the tool to switch on, by index.
    #[getter]
    fn cups(&self) -> PyResult<Vec<u32>> {
        Ok(self.get()?.cups.clone())
    }

    /// `"depth"`, or `"support_plane"` where the height of the package is not known.
    #[getter]
    fn pose_source(&self) -> PyResult<String> {
        Ok(wire::plain(self.get()?.pose_source().as_str_name(), "POSE_SOURCE_"))
    }

    /// Standard deviation of the contact along the approach in metres, the calibration's error left
    /// out; 0.0 where it is not known.
    #[getter]
    fn position_sigma_m(&self) -> PyResult<f64> {
        Ok(self.get()?.position_sigma_m)
    }

    fn __repr__(&self) -> String {
        let package = &self.view.for_display().packages[self.package];
        let quality = package.grasps[self.index].quality;
        format!("<Grasp of package {}, quality {quality:.2}>", package.track_id)
    }
}

/// Where a grasp will be, and how sure that is, until the result expires.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct PoseAt {
    view: Arc<PackagesView>,
    placed: Placed,
    position_sigma_m: f64,
}

impl PoseAt {
    fn get(&self) -> PyResult<&Placed> {
        self.view.packages().map_err(expired)?;
        Ok(&self.placed)
    }
}

#[pymethods]
impl PoseAt {
    /// As `Grasp.base_from_grasp`, at that time. Raises `WrongFrame` and `Expired`.
    #[getter]
    fn base_from_grasp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get()?.array_in(py, ReferenceFrame::Base)
    }

    /// As `Grasp.camera_from_grasp`, at that time. Raises `WrongFrame` and `Expired`.
    #[getter]
    fn camera_from_grasp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get()?.array_in(py, ReferenceFrame::Camera)
    }

    /// As `Grasp.gripper_from_grasp`, at that time. Raises `WrongFrame` and `Expired`.
    #[getter]
    fn gripper_from_grasp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.get()?.array_in(py, ReferenceFrame::Gripper)
    }

    /// Standard deviation along each axis in metres, the calibration's error left out. Raises
    /// `Expired`.
    #[getter]
    fn position_sigma_m(&self) -> PyResult<f64> {
        self.get()?;
        Ok(self.position_sigma_m)
    }

    fn __repr__(&self) -> String {
        format!("<PoseAt, give or take {:.1} mm>", 1e3 * self.position_sigma_m)
    }
}
