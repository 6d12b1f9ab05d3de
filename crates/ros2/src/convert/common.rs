//! What most messages have.

use magpie_wire as wire;
use nalgebra::{Point3, UnitQuaternion};

use crate::messages::{Header, Point, Pose, Quaternion, Time};

pub(super) fn header(stamp_unix_ns: u64, frame_id: &str) -> Header {
    Header { stamp: time(stamp_unix_ns), frame_id: frame_id.to_owned() }
}

/// ROS counts seconds in 32 bits, until 2038.
fn time(unix_ns: u64) -> Time {
    Time {
        sec: i32::try_from(unix_ns / 1_000_000_000).unwrap_or(i32::MAX),
        nanosec: u32::try_from(unix_ns % 1_000_000_000).expect("under a billion"),
    }
}

pub(super) fn quaternion(rotation: &UnitQuaternion<f64>) -> Quaternion {
    let q = rotation.coords;
    Quaternion { x: q.x, y: q.y, z: q.z, w: q.w }
}

pub(super) fn pose(position: Point3<f64>, rotation: &UnitQuaternion<f64>) -> Pose {
    let Point3 { coords: p } = position;
    Pose { position: Point { x: p.x, y: p.y, z: p.z }, orientation: quaternion(rotation) }
}

/// `None` for a pose that is not all there, which no message of ours has.
pub(super) fn pose_of(pose: &wire::Pose) -> Option<Pose> {
    let (p, q) = (pose.position_m?, pose.orientation?);
    Some(Pose {
        position: Point { x: p.x, y: p.y, z: p.z },
        orientation: Quaternion { x: q.x, y: q.y, z: q.z, w: q.w },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_seconds_and_nanoseconds() {
        let Header { stamp, .. } = header(1_700_000_000_000_000_258, "base");
        assert_eq!(stamp, Time { sec: 1_700_000_000, nanosec: 258 });
    }
}
