//! Which pixel belongs to which package.

use magpie_perception::Mask;
use magpie_wire as wire;

use super::common::header;
use crate::messages::Image;

/// `mono16`: the place of the package in [`detections_2d`](super::detections_2d), counted from 1; 0 is
/// background. Where masks overlap, the package that is picked first wins.
pub fn labels(message: &wire::Packages, camera_frame_id: &str) -> Image {
    let (width, height) = (message.image_width_px, message.image_height_px);
    let mut data = vec![0; 2 * width as usize * height as usize];
    for (index, package) in message.packages.iter().enumerate().rev() {
        let Some(mask) = package.mask.as_ref().and_then(|mask| Mask::try_from(mask).ok()) else {
            continue;
        };
        let label = u16::try_from(index + 1).unwrap_or(u16::MAX).to_le_bytes();
        for (x, y_start, length) in mask.columns() {
            for y in y_start..y_start + length {
                let at = 2 * (y as usize * width as usize + x as usize);
                data[at..at + 2].copy_from_slice(&label);
            }
        }
    }
    Image {
        header: header(message.stamp_ns, camera_frame_id),
        height,
        width,
        encoding: "mono16".into(),
        is_bigendian: 0,
        step: 2 * width,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_has_the_place_of_its_package_in_pick_order() {
        let package = |bitmap: &[u8]| wire::Package {
            mask: Some((&Mask::from_bitmap(3, 2, bitmap)).into()),
            ..wire::Package::default()
        };
        let message = wire::Packages {
            image_width_px: 3,
            image_height_px: 2,
            packages: vec![package(&[0, 1, 0, 0, 0, 0]), package(&[0, 1, 1, 0, 0, 1])],
            ..wire::Packages::default()
        };
        let image = labels(&message, "optical");
        assert_eq!((image.encoding.as_str(), image.step), ("mono16", 6));
        assert_eq!(image.data, [0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 0]);
    }
}
