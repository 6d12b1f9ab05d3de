//! How domain types become messages, and back.
//!
//! Domain types change freely; message fields are only ever added. The functions here are the only
//! place where one becomes the other.

use magpie_perception as domain;
use magpie_perception::{FrameReport, MaskError, Provider};
use nalgebra::Isometry3;

use crate::proto::{
    BboxPx, CameraInfo, Counters, Grasp, GraspRefusal, Mask, Model, Package, Packages, PointPx,
    Pose, PoseSource, Quaternion, ReferenceFrame, SCHEMA_VERSION, SizeM, StageLatencies,
    StampSource, State, Vector3, Velocity,
};

/// The reference frame of what an arm with a camera moves, in messages and recordings.
pub const GRIPPER_FRAME_ID: &str = "gripper";

/// What every message says about where it comes from. Constant while one model is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    pub model_name: String,
    /// Lower-case hex SHA-256 of the model file.
    pub model_sha256: String,
    /// By class id.
    pub class_names: Vec<String>,
    pub calibration_id: String,
    /// In the order of asking.
    pub providers_asked: Vec<Provider>,
    pub provider_got: Provider,
    /// Names of the reference frames that poses can be in.
    pub base_frame_id: String,
    pub camera_frame_id: String,
}

/// What only the publisher knows about one publication.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    pub cell: &'a str,
    pub instance_id: &'a str,
    pub publication: u64,
    pub published: domain::StampNs,
    /// How far Unix time, which messages are in, is ahead of the publisher's clock.
    pub unix_ahead_ns: i64,
    pub state: State,
    pub results_superseded: u64,
}

/// Wire form of one frame's result.
pub fn to_wire(report: &FrameReport, identities: &Identities, envelope: &Envelope) -> Packages {
    rewritten(Packages::default(), &mut Spare::default(), report, identities, envelope)
}

/// Parts of messages that were shortened, for messages that grow.
#[derive(Debug, Default)]
pub struct Spare {
    packages: Vec<Package>,
    grasps: Vec<Grasp>,
}

/// [`to_wire`] in the memory of an earlier message.
pub fn rewritten(
    old: Packages,
    spare: &mut Spare,
    report: &FrameReport,
    identities: &Identities,
    envelope: &Envelope,
) -> Packages {
    let found = &report.packages;
    let frame_id = match found.reference_frame {
        domain::ReferenceFrame::Base => &identities.base_frame_id,
        domain::ReferenceFrame::Gripper => GRIPPER_FRAME_ID,
        domain::ReferenceFrame::Camera => &identities.camera_frame_id,
    };
    let model = old.model.unwrap_or_default();
    let unix_ns = |stamp: domain::StampNs| stamp.unix_ns(envelope.unix_ahead_ns);
    let Spare { packages, grasps } = spare;
    Packages {
        schema_version: SCHEMA_VERSION,
        cell: text(old.cell, envelope.cell),
        instance_id: text(old.instance_id, envelope.instance_id),
        publication: envelope.publication,
        sequence: found.sequence,
        stamp_ns: unix_ns(found.stamp),
        stamp_source: StampSource::from(found.stamp_source).into(),
        published_ns: unix_ns(envelope.published),
        valid_until_ns: unix_ns(found.valid_until),
        frame_id: text(old.frame_id, frame_id),
        reference_frame: ReferenceFrame::from(found.reference_frame).into(),
        image_width_px: found.image_width_px,
        image_height_px: found.image_height_px,
        state: envelope.state.into(),
        model: Some(Model {
            name: text(model.name, &identities.model_name),
            sha256: text(model.sha256, &identities.model_sha256),
        }),
        calibration_id: text(old.calibration_id, &identities.calibration_id),
        providers_asked: each(
            old.providers_asked,
            &identities.providers_asked,
            &mut Vec::new(),
            |name, asked| text(name, asked.name()),
        ),
        provider_got: text(old.provider_got, identities.provider_got.name()),
        latencies: Some((&report.latencies).into()),
        counters: Some(counters_to_wire(&report.counters, envelope.results_superseded)),
        packages: each(old.packages, &found.packages, packages, |old, package| {
            package_to_wire(old, grasps, package, identities)
        }),
        velocity: found.velocity.map(Velocity::from),
        depth_problem: found.depth_problem.map(|problem| problem.to_string()).unwrap_or_default(),
    }
}

/// Takes the packages out of a message that nobody may act on any more.
pub fn withhold(message: &mut Packages, spare: &mut Spare) {
    spare.packages.append(&mut message.packages);
}

/// `new` in the memory of `old`.
fn text(mut old: String, new: &str) -> String {
    new.clone_into(&mut old);
    old
}

/// Each of `all`, made over what `items` holds at its place.
fn each<T: Default, S>(
    mut items: Vec<T>,
    all: &[S],
    spare: &mut Vec<T>,
    mut make: impl FnMut(T, &S) -> T,
) -> Vec<T> {
    spare.extend(items.drain(all.len().min(items.len())..));
    items.resize_with(all.len(), || spare.pop().unwrap_or_default());
    for (item, one) in items.iter_mut().zip(all) {
        *item = make(std::mem::take(item), one);
    }
    items
}

impl Identities {
    pub fn provider_names(&self) -> Vec<String> {
        self.providers_asked.iter().map(|provider| provider.name().into()).collect()
    }
}

pub fn counters_to_wire(counters: &domain::CountersSnapshot, results_superseded: u64) -> Counters {
    Counters {
        frames: counters.frames,
        frames_stale: counters.frames_stale,
        frames_superseded: counters.frames_superseded,
        frames_corrupt: counters.frames_corrupt,
        results_published: counters.results_published,
        results_superseded,
        deadline_misses: counters.deadline_misses,
        results_expired: counters.results_expired,
    }
}

fn package_to_wire(
    old: Package,
    spare: &mut Vec<Grasp>,
    package: &domain::Package,
    identities: &Identities,
) -> Package {
    let instance = &package.instance;
    let [x_px, y_px] = package.deepest_px;
    Package {
        track_id: package.track_id,
        // The decoder never reports a class that the model does not have.
        r#type: text(old.r#type, &identities.class_names[instance.class_id]),
        score: instance.score,
        bbox: Some(instance.bbox.into()),
        mask: Some(mask_to_wire(old.mask.unwrap_or_default(), &instance.mask)),
        grasps: each(old.grasps, package.grasps(), spare, grasp_to_wire),
        deepest_px: Some(PointPx { x_px, y_px }),
        height_m: package.height_m,
        pick_rank: package.pick_rank,
        position_m: package.position_in_reference.map(|p| Vector3 { x: p.x, y: p.y, z: p.z }),
        size: package.size.map(SizeM::from),
        occluded_share: package.occluded_share,
        refusal: package.refusal().map_or(GraspRefusal::Unspecified, Into::into).into(),
    }
}

impl From<&Identities> for Model {
    fn from(identities: &Identities) -> Model {
        Model { name: identities.model_name.clone(), sha256: identities.model_sha256.clone() }
    }
}

impl From<domain::StampSource> for StampSource {
    fn from(source: domain::StampSource) -> StampSource {
        match source {
            domain::StampSource::Exposure => StampSource::Exposure,
            domain::StampSource::Arrival => StampSource::Arrival,
            domain::StampSource::Recorded => StampSource::Recorded,
        }
    }
}

impl From<domain::ReferenceFrame> for ReferenceFrame {
    fn from(reference: domain::ReferenceFrame) -> ReferenceFrame {
        match reference {
            domain::ReferenceFrame::Base => ReferenceFrame::Base,
            domain::ReferenceFrame::Gripper => ReferenceFrame::Gripper,
            domain::ReferenceFrame::Camera => ReferenceFrame::Camera,
        }
    }
}

impl From<domain::PoseSource> for PoseSource {
    fn from(source: domain::PoseSource) -> PoseSource {
        match source {
            domain::PoseSource::Depth => PoseSource::Depth,
            domain::PoseSource::SupportPlane => PoseSource::SupportPlane,
        }
    }
}

impl From<domain::GraspRefusal> for GraspRefusal {
    fn from(refusal: domain::GraspRefusal) -> GraspRefusal {
        match refusal {
            domain::GraspRefusal::NotCalibrated => GraspRefusal::NotCalibrated,
            domain::GraspRefusal::NoSurface => GraspRefusal::NoSurface,
            domain::GraspRefusal::ToolTooLarge => GraspRefusal::ToolTooLarge,
            domain::GraspRefusal::TooSteep => GraspRefusal::TooSteep,
            domain::GraspRefusal::Blocked => GraspRefusal::Blocked,
            domain::GraspRefusal::NoSeal => GraspRefusal::NoSeal,
            domain::GraspRefusal::OffBalance => GraspRefusal::OffBalance,
        }
    }
}

impl From<domain::SizeM> for SizeM {
    fn from(size: domain::SizeM) -> SizeM {
        let domain::SizeM { length_m, width_m, height_m } = size;
        SizeM { length_m, width_m, height_m }
    }
}

impl From<domain::Velocity> for Velocity {
    fn from(velocity: domain::Velocity) -> Velocity {
        let linear = velocity.linear_m_s;
        Velocity {
            linear_m_s: Some(Vector3 { x: linear.x, y: linear.y, z: linear.z }),
            sigma_m_s: velocity.sigma_m_s,
        }
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a tool has a handful of cups")
}

impl From<&domain::StageLatencies> for StageLatencies {
    fn from(latencies: &domain::StageLatencies) -> StageLatencies {
        StageLatencies {
            wait_ns: latencies.wait_ns,
            preprocess_ns: latencies.preprocess_ns,
            inference_ns: latencies.inference_ns,
            decode_ns: latencies.decode_ns,
            plan_ns: latencies.plan_ns,
            total_ns: latencies.total_ns,
        }
    }
}

impl From<domain::BboxPx> for BboxPx {
    fn from(bbox: domain::BboxPx) -> BboxPx {
        BboxPx {
            x_min_px: bbox.x_min_px,
            y_min_px: bbox.y_min_px,
            x_max_px: bbox.x_max_px,
            y_max_px: bbox.y_max_px,
        }
    }
}

fn mask_to_wire(old: Mask, mask: &domain::Mask) -> Mask {
    let mut counts = old.counts;
    mask.write_coco_bytes(&mut counts);
    Mask { width_px: mask.width_px(), height_px: mask.height_px(), counts }
}

impl From<&domain::Mask> for Mask {
    fn from(mask: &domain::Mask) -> Mask {
        mask_to_wire(Mask::default(), mask)
    }
}

impl TryFrom<&Mask> for domain::Mask {
    type Error = MaskError;

    fn try_from(mask: &Mask) -> Result<domain::Mask, MaskError> {
        let counts = str::from_utf8(&mask.counts)
            .map_err(|error| MaskError::Coding { at: error.valid_up_to() })?;
        domain::Mask::from_coco_string(mask.width_px, mask.height_px, counts)
    }
}

impl From<&Isometry3<f64>> for Pose {
    fn from(pose: &Isometry3<f64>) -> Pose {
        let (p, q) = (&pose.translation.vector, &pose.rotation.coords);
        Pose {
            position_m: Some(Vector3 { x: p.x, y: p.y, z: p.z }),
            orientation: Some(Quaternion { x: q.x, y: q.y, z: q.z, w: q.w }),
        }
    }
}

fn grasp_to_wire(old: Grasp, grasp: &domain::Grasp) -> Grasp {
    let [x_px, y_px] = grasp.contact_px;
    let mut cups = old.cups;
    cups.clear();
    cups.extend(grasp.cups.indices().map(small));
    Grasp {
        pose: Some((&grasp.reference_from_grasp).into()),
        contact_px: Some(PointPx { x_px, y_px }),
        quality: grasp.quality.product(),
        clearance: grasp.quality.clearance,
        seal: grasp.quality.seal,
        pose_source: PoseSource::from(grasp.pose_source).into(),
        depth_hole_fraction: grasp.quality.depth_hole_fraction(),
        cups,
        moment: grasp.quality.moment,
        tilt: grasp.quality.tilt,
        hold: grasp.quality.hold,
        position_sigma_m: grasp.position_sigma_m,
    }
}

impl From<&domain::CameraInfo> for CameraInfo {
    fn from(info: &domain::CameraInfo) -> CameraInfo {
        let k = &info.intrinsics;
        let (fx, fy, cx, cy) = (k.fx_px, k.fy_px, k.cx_px, k.cy_px);
        CameraInfo {
            camera_name: info.camera_name.clone(),
            frame_id: info.frame_id.clone(),
            width: info.width_px,
            height: info.height_px,
            distortion_model: info.distortion.model().into(),
            d: info.distortion.coefficients().to_vec(),
            k: vec![fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
            r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p: vec![fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{Translation3, UnitQuaternion};

    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn any_mask() -> impl Strategy<Value = domain::Mask> {
        (1u32..60, 1u32..60).prop_flat_map(|(w, h)| {
            proptest::collection::vec(0u8..2, (w * h) as usize)
                .prop_map(move |bitmap| domain::Mask::from_bitmap(w, h, &bitmap))
        })
    }

    proptest! {
        #[test]
        fn a_mask_survives_the_wire(mask in any_mask()) {
            let bytes = Mask::from(&mask).encode_to_vec();
            let received = Mask::decode(&bytes[..]).unwrap();
            prop_assert_eq!(domain::Mask::try_from(&received), Ok(mask));
        }

        #[test]
        fn any_bytes_are_a_mask_or_an_error(
            width_px in 0u32..9, height_px in 0u32..9,
            counts in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let _ = domain::Mask::try_from(&Mask { width_px, height_px, counts });
        }

        #[test]
        fn a_pose_survives_the_wire(
            x in -9.0..9.0f64, y in -9.0..9.0f64, z in -9.0..9.0f64,
            roll in -3.0..3.0f64, pitch in -1.5..1.5f64, yaw in -3.0..3.0f64,
        ) {
            let rotation = UnitQuaternion::from_euler_angles(roll, pitch, yaw);
            let pose = Isometry3::from_parts(Translation3::new(x, y, z), rotation);
            let grasp = grasp_to_wire(Grasp::default(), &domain::Grasp {
                contact_px: [1.0, 2.0],
                reference_from_grasp: pose,
                pose_source: domain::PoseSource::Depth,
                quality: domain::Quality {
                    clearance: 1.0,
                    seal: 0.5,
                    moment: 1.0,
                    tilt: 1.0,
                    hold: 1.0,
                    depth_share: Some(1.0),
                },
                cups: domain::CupSet::of(0),
                position_sigma_m: 0.001,
            });
            let sent = Grasp::decode(&grasp.encode_to_vec()[..]).unwrap().pose.unwrap();
            let (p, q) = (sent.position_m.unwrap(), sent.orientation.unwrap());
            prop_assert_eq!((p.x, p.y, p.z), (x, y, z));
            let back = UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(q.w, q.x, q.y, q.z));
            prop_assert!(back.angle_to(&rotation) < 1e-12);
        }
    }

    #[test]
    fn camera_info_has_the_matrices_that_ros_expects() {
        let info = CameraInfo::from(&domain::CameraInfo {
            camera_name: "left".into(),
            frame_id: "camera_optical_frame".into(),
            width_px: 640,
            height_px: 480,
            intrinsics: domain::Intrinsics {
                fx_px: 610.0,
                fy_px: 612.0,
                cx_px: 318.0,
                cy_px: 243.0,
            },
            distortion: domain::Distortion::plumb_bob([0.1, 0.2, 0.3, 0.4, 0.5]),
        });
        assert_eq!(info.k, [610.0, 0.0, 318.0, 0.0, 612.0, 243.0, 0.0, 0.0, 1.0]);
        assert_eq!(info.p[..4], [610.0, 0.0, 318.0, 0.0]);
        assert_eq!((info.p.len(), info.r.len(), info.d[4]), (12, 9, 0.5));
    }
}
