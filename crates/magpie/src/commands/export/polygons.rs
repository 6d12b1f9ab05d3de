//! Masks as polygons that a person can correct.

use magpie_perception::{Mask, Outline, outlines};

use super::corners::corners;

/// This tolerance left the fewest points and the least work on three datasets, among those tried.
pub(super) const TOLERANCE_SHARE: f64 = 0.05;
const TOLERANCE_PX_MIN: f64 = 1.5;
/// Pieces below this share of a mask are specks, not parts.
const PIECE_SHARE_MIN: f64 = 0.02;

/// Outlines of few points, largest piece first: a corner is moved sooner than a ragged edge.
///
/// Holes are filled: neither COCO's polygons nor the tools' can have any.
pub(super) fn polygons(mask: &Mask, tolerance_share: f64) -> Vec<Vec<[i32; 2]>> {
    let pieces = pieces(mask, tolerance_px(mask, tolerance_share));
    pieces.into_iter().map(|piece| piece.points_px).collect()
}

/// The corners of a box, where nothing hides a part of it; else [`polygons`].
pub(super) fn polygons_of_box(mask: &Mask, tolerance_share: f64) -> Vec<Vec<[i32; 2]>> {
    let size = (mask.width_px(), mask.height_px());
    let found = match pieces(mask, 0.0).as_slice() {
        [whole] => corners(&whole.points_px, whole.area_px(), size),
        _ => None,
    };
    found.map_or_else(|| polygons(mask, tolerance_share), |corners| vec![corners])
}

fn tolerance_px(mask: &Mask, tolerance_share: f64) -> f64 {
    TOLERANCE_PX_MIN.max(tolerance_share * f64::from(mask.area_px()).sqrt())
}

/// What is no hole and no speck, largest first.
fn pieces(mask: &Mask, tolerance_px: f64) -> Vec<Outline> {
    let mut pieces = outlines(mask, tolerance_px);
    pieces.retain(|piece| !piece.is_hole);
    pieces.sort_by(|a, b| b.area_px().total_cmp(&a.area_px()));
    let largest_px = pieces.first().map_or(0.0, |piece| piece.area_px());
    let area_px_min = largest_px.min(PIECE_SHARE_MIN * f64::from(mask.area_px()));
    pieces.retain(|piece| piece.area_px() >= area_px_min);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(radius: i32) -> Mask {
        let side = 2 * radius + 3;
        let bitmap: Vec<u8> = (0..side * side)
            .map(|at| {
                let (x, y) = (at % side - radius - 1, at / side - radius - 1);
                u8::from(x * x + y * y <= radius * radius)
            })
            .collect();
        let side = u32::try_from(side).unwrap();
        Mask::from_bitmap(side, side, &bitmap)
    }

    #[test]
    fn outlines_to_correct_have_few_points_whatever_their_size() {
        for radius in [7, 28, 200] {
            let pieces = polygons(&disc(radius), TOLERANCE_SHARE);
            assert_eq!(pieces.len(), 1);
            assert!((4..=12).contains(&pieces[0].len()), "{radius}: {:?}", pieces[0]);
        }
    }

    #[test]
    fn holes_are_filled_and_specks_left_out_but_parts_are_kept() {
        let mut bitmap = vec![0; 60 * 30];
        for y in 5..25 {
            for x in (2..20).chain(30..50) {
                bitmap[y * 60 + x] = 1;
            }
        }
        bitmap[10 * 60 + 10] = 0;
        bitmap[2 * 60 + 57] = 1;
        let pieces = polygons(&Mask::from_bitmap(60, 30, &bitmap), TOLERANCE_SHARE);
        let corners = |x0, x1| vec![[x0, 5], [x1, 5], [x1, 25], [x0, 25]];
        assert_eq!(pieces, [corners(30, 50), corners(2, 20)]);
    }
}
