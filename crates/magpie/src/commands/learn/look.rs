//! A label to look at: before the pick with what vanished, and after it.

use anyhow::Context;
use magpie_camera::Canvas;
use magpie_daemon::failure::Failure;
use magpie_perception::{BgrImage, Frame, Mask, outlines};

use super::picks::Acted;
use super::region::Window;
use crate::present::overlay::tint;

/// Blue, green, red: what vanished.
const COLORS: [[u8; 3]; 2] = [[115, 158, 0], [233, 180, 86]];
const WHITE: [u8; 3] = [255; 3];
/// Between the two pictures.
const GAP_PX: usize = 4;

/// Coloured: what vanished. White: what the model had published, with the contact point.
pub(super) fn draw(
    before: &Frame,
    after: &Frame,
    acted: &Acted,
    regions: &[Mask],
) -> Result<BgrImage, Failure> {
    let outline = acted.outline().context("draw what vanished")?;
    let mut picture = before.color.clone();
    for (region, color) in regions.iter().zip(COLORS.iter().cycle()) {
        tint(&mut picture, region, *color);
    }
    let mut canvas = Canvas::new(&picture).context("draw what vanished")?;
    for line in outlines(&outline, 1.0) {
        let closed = line.points_px.iter().chain(line.points_px.first());
        let points: Vec<[f32; 2]> = closed.map(|point| point.map(|value| value as f32)).collect();
        canvas.line(&points, WHITE).context("draw an outline")?;
    }
    if let Some(contact_px) = acted.contact_px() {
        canvas.ring("", contact_px, WHITE).context("draw a contact")?;
    }
    let picture = canvas.into_image().context("draw what vanished")?;
    let window = Window::around(&outline).expect("what was learned has an outline");
    Ok(beside(&picture, &after.color, &window))
}

/// The same window of both pictures.
fn beside(left: &BgrImage, right: &BgrImage, window: &Window) -> BgrImage {
    let width = 2 * window.width_px + GAP_PX;
    let mut data = Vec::with_capacity(3 * width * window.height_px);
    for y in window.y_px..window.y_px + window.height_px {
        for (image, gap_px) in [(left, GAP_PX), (right, 0)] {
            let first = 3 * (y * image.width_px() as usize + window.x_px);
            data.extend(&image.data()[first..first + 3 * window.width_px]);
            data.extend(std::iter::repeat_n(255_u8, 3 * gap_px));
        }
    }
    let small = |value: usize| u32::try_from(value).expect("pixels of an image");
    BgrImage::new(small(width), small(window.height_px), data).expect("three bytes per pixel")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_window_of_both_pictures_stands_side_by_side() {
        let image = |first: u8| BgrImage::new(3, 2, (first..first + 18).collect()).unwrap();
        let window = Window { x_px: 1, y_px: 1, width_px: 2, height_px: 1 };
        let both = beside(&image(0), &image(100), &window);
        assert_eq!((both.width_px(), both.height_px()), (8, 1));
        assert_eq!(both.pixel(0, 0), [12, 13, 14]);
        assert_eq!(both.pixel(3, 0), [255; 3]);
        assert_eq!(both.pixel(7, 0), [115, 116, 117]);
    }
}
