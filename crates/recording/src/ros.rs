//! ROS 2 messages of cameras, out of CDR, the encoding that bags store them in.
//!
//! # Conventions
//! Messages are those of `sensor_msgs` and `tf2_msgs`; lengths are metres.

use foxglove::messages::{CompressedImage, RawImage, Timestamp};
use magpie_perception::{BoxError, StampNs};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};

use crate::lens::CameraMessage;

pub(crate) const IMAGE: &str = "sensor_msgs/msg/Image";
pub(crate) const COMPRESSED_IMAGE: &str = "sensor_msgs/msg/CompressedImage";
pub(crate) const CAMERA_INFO: &str = "sensor_msgs/msg/CameraInfo";
pub(crate) const TF_MESSAGE: &str = "tf2_msgs/msg/TFMessage";

pub(crate) struct Header {
    pub(crate) stamp: StampNs,
    pub(crate) frame_id: String,
}

pub(crate) struct Transform {
    pub(crate) parent: String,
    pub(crate) child: String,
    pub(crate) parent_from_child: Isometry3<f64>,
}

pub(crate) fn header(message: &[u8]) -> Result<Header, BoxError> {
    Cdr::new(message)?.header()
}

pub(crate) fn image(message: &[u8]) -> Result<RawImage, BoxError> {
    let mut cdr = Cdr::new(message)?;
    let header = cdr.header()?;
    let (height, width) = (cdr.u32()?, cdr.u32()?);
    let encoding = cdr.string()?;
    let is_big_endian = cdr.u8()? != 0;
    let step = cdr.u32()?;
    let mut data = cdr.bytes()?.to_vec();
    if is_big_endian {
        // Foxglove's images, which these become, are little-endian.
        match bytes_per_number(&encoding) {
            1 => {}
            count => data.chunks_exact_mut(count).for_each(<[u8]>::reverse),
        }
    }
    Ok(RawImage {
        timestamp: timestamp(header.stamp),
        frame_id: header.frame_id,
        width,
        height,
        encoding,
        step,
        data: data.into(),
    })
}

fn bytes_per_number(encoding: &str) -> usize {
    match encoding {
        "16UC1" | "16SC1" | "mono16" | "bgr16" | "rgb16" | "16UC3" => 2,
        "32FC1" => 4,
        _ => 1,
    }
}

pub(crate) fn compressed_image(message: &[u8]) -> Result<CompressedImage, BoxError> {
    let mut cdr = Cdr::new(message)?;
    let header = cdr.header()?;
    let format = cdr.string()?;
    let data = cdr.bytes()?.to_vec().into();
    let (timestamp, frame_id) = (timestamp(header.stamp), header.frame_id);
    Ok(CompressedImage { timestamp, frame_id, data, format })
}

pub(crate) fn camera_info(message: &[u8]) -> Result<CameraMessage, BoxError> {
    let mut cdr = Cdr::new(message)?;
    let frame_id = cdr.header()?.frame_id;
    let (height, width) = (cdr.u32()?, cdr.u32()?);
    let distortion_model = cdr.string()?;
    let count = cdr.length(8)?;
    let d = cdr.numbers(count)?;
    let (k, r, p) = (cdr.numbers(9)?, cdr.numbers(9)?, cdr.numbers(12)?);
    let binning = [cdr.u32()?, cdr.u32()?];
    let region_offset_px = [cdr.u32()?, cdr.u32()?];
    let (region_height, region_width) = (cdr.u32()?, cdr.u32()?);
    Ok(CameraMessage {
        frame_id,
        sensor_px: [width, height],
        distortion_model,
        d,
        k,
        r,
        p,
        binning,
        region_offset_px,
        region_px: [region_width, region_height],
    })
}

pub(crate) fn transforms(message: &[u8]) -> Result<Vec<Transform>, BoxError> {
    let mut cdr = Cdr::new(message)?;
    // A transform takes at least its stamp, two empty names and seven numbers.
    let count = cdr.length(8 + 2 * 5 + 7 * 8)?;
    let read = (0..count).map(|_| -> Result<Option<Transform>, BoxError> {
        let parent = cdr.header()?.frame_id;
        let child = cdr.string()?;
        let mut values = [0.0; 7];
        for value in &mut values {
            *value = cdr.f64()?;
        }
        let transform = |parent_from_child| Transform { parent, child, parent_from_child };
        Ok(pose(values).map(transform))
    });
    // One that was never filled in says nothing.
    read.filter_map(Result::transpose).collect()
}

/// `[x, y, z, qx, qy, qz, qw]`; `None` where that is no pose.
pub(crate) fn pose(values: [f64; 7]) -> Option<Isometry3<f64>> {
    let [x, y, z, qx, qy, qz, qw] = values;
    let rotation = UnitQuaternion::try_new(Quaternion::new(qw, qx, qy, qz), 1e-6)?;
    let is_finite = values.iter().all(|value| value.is_finite());
    is_finite.then(|| Isometry3::from_parts(Translation3::new(x, y, z), rotation))
}

fn timestamp(stamp: StampNs) -> Option<Timestamp> {
    let seconds = u32::try_from(stamp.0 / 1_000_000_000).ok()?;
    let nanos = u32::try_from(stamp.0 % 1_000_000_000).ok()?;
    Some(Timestamp::new(seconds, nanos))
}

/// Plain CDR: numbers lie at multiples of their size, counted from behind the first four bytes.
struct Cdr<'a> {
    body: &'a [u8],
    at: usize,
    is_little_endian: bool,
}

impl<'a> Cdr<'a> {
    fn new(message: &'a [u8]) -> Result<Cdr<'a>, BoxError> {
        match message {
            [0, order @ 0..=1, _, _, body @ ..] => {
                Ok(Cdr { body, at: 0, is_little_endian: *order == 1 })
            }
            [0x28, 0xB5, 0x2F, 0xFD, ..] => {
                Err("each message is compressed by zstd, which is not \
                 read; write the bag anew without compression by `ros2 bag convert`"
                    .into())
            }
            [first, second, ..] => Err(format!(
                "it begins with the bytes {first} {second}, which are not those of plain CDR"
            )
            .into()),
            _ => Err("it is shorter than CDR's head".into()),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], BoxError> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let taken = rest.get(..bytes).ok_or("it ends too soon")?;
        self.at += bytes;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], BoxError> {
        self.at = self.at.next_multiple_of(N);
        let mut bytes: [u8; N] = self.take(N)?.try_into()?;
        if !self.is_little_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, BoxError> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, BoxError> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn f64(&mut self) -> Result<f64, BoxError> {
        Ok(f64::from_le_bytes(self.number()?))
    }

    fn numbers(&mut self, count: usize) -> Result<Vec<f64>, BoxError> {
        (0..count).map(|_| self.f64()).collect()
    }

    /// How many items follow, of which each takes so many bytes at least.
    fn length(&mut self, bytes_each_min: usize) -> Result<usize, BoxError> {
        let count = self.u32()? as usize;
        let left = self.body.len().saturating_sub(self.at);
        if count.saturating_mul(bytes_each_min) > left {
            return Err(format!("it claims {count} items in its last {left} bytes").into());
        }
        Ok(count)
    }

    fn bytes(&mut self) -> Result<&'a [u8], BoxError> {
        let length = self.length(1)?;
        self.take(length)
    }

    fn string(&mut self) -> Result<String, BoxError> {
        let bytes = self.bytes()?;
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn header(&mut self) -> Result<Header, BoxError> {
        let (seconds, nanos) = (self.u32()?, self.u32()?);
        let stamp = StampNs(u64::from(seconds) * 1_000_000_000 + u64::from(nanos));
        Ok(Header { stamp, frame_id: self.string()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_that_was_never_filled_in_is_no_pose() {
        assert_eq!(pose([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0]), None);
        assert_eq!(pose([f64::NAN, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0]), None);
        let half_turn = pose([0.1, 0.2, 0.3, 0.0, 0.0, 2.0, 0.0]).unwrap();
        assert!((half_turn.rotation.angle() - std::f64::consts::PI).abs() < 1e-12);
    }
}
