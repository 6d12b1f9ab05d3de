//! Which pixel belongs to which package.

use magpie_perception::Mask;

use crate::proto::Packages;

/// Row by row, `bytes_per_px` little-endian bytes a pixel: index in `packages` plus one, 0 is
/// background. Where masks overlap, the package that is picked first wins. Every mask must be whole.
pub fn paint_labels(message: &Packages, bytes_per_px: usize, bytes: &mut [u8]) {
    bytes.fill(0);
    let width = message.image_width_px as usize;
    for (index, package) in message.packages.iter().enumerate().rev() {
        let mask = package.mask.as_ref().expect("a whole message has one");
        let mask = Mask::try_from(mask).expect("a whole message has a whole one");
        let label = u16::try_from(index + 1).unwrap_or(u16::MAX).to_le_bytes();
        for (x, y_start, length) in mask.columns() {
            for y in y_start..y_start + length {
                let at = (y as usize * width + x as usize) * bytes_per_px;
                bytes[at..at + bytes_per_px].copy_from_slice(&label[..bytes_per_px]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Package;

    const WIDTH_PX: u32 = 3;
    const HEIGHT_PX: u32 = 2;

    fn message(masks: &[[&str; 2]]) -> Packages {
        let package = |rows: &[&str; 2]| {
            let bitmap: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
            let mask = Mask::from_bitmap(WIDTH_PX, HEIGHT_PX, &bitmap);
            Package { mask: Some((&mask).into()), ..Default::default() }
        };
        Packages {
            image_width_px: WIDTH_PX,
            image_height_px: HEIGHT_PX,
            packages: masks.iter().map(package).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn pixels_hold_the_index_plus_one_and_the_first_in_pick_order_is_on_top() {
        let message = message(&[["##.", "..."], [".##", "..#"]]);
        let mut bytes = [9; 6];
        paint_labels(&message, 1, &mut bytes);
        assert_eq!(bytes, [1, 1, 2, 0, 0, 2]);
        let mut bytes = [9; 12];
        paint_labels(&message, 2, &mut bytes);
        assert_eq!(bytes, [1, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 0]);
    }
}
