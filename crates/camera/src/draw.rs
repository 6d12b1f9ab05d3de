//! Lines, dots and letters on a picture, for people.

use magpie_perception::BgrImage;
use opencv::core::{Mat, Point, Scalar};
use opencv::imgproc;
use opencv::prelude::*;

use crate::errors::ImageProblem;
use crate::image_file::mat_from_bgr;
use crate::pixels::bgr_from_mat;

/// A picture that is being drawn on. Colours are blue, green, red; positions in pixels.
pub struct Canvas {
    mat: Mat,
}

impl Canvas {
    pub fn new(image: &BgrImage) -> Result<Canvas, ImageProblem> {
        Ok(Canvas { mat: mat_from_bgr(image)?.try_clone()? })
    }

    /// Draws a ring with a dot in its centre.
    pub fn target(&mut self, at_px: [f32; 2], color: [u8; 3]) -> Result<(), ImageProblem> {
        let (center, black) = (point(at_px), scalar([0; 3]));
        for (radius, thickness, color) in
            [(7, 3, black), (7, 1, scalar(color)), (2, -1, scalar(color))]
        {
            imgproc::circle(&mut self.mat, center, radius, color, thickness, imgproc::LINE_AA, 0)?;
        }
        Ok(())
    }

    /// Draws a line through all points, with a dark rim.
    pub fn line(&mut self, points_px: &[[f32; 2]], color: [u8; 3]) -> Result<(), ImageProblem> {
        for (thickness, color) in [(3, scalar([0; 3])), (1, scalar(color))] {
            for ends in points_px.windows(2) {
                let (from, to) = (point(ends[0]), point(ends[1]));
                imgproc::line(&mut self.mat, from, to, color, thickness, imgproc::LINE_AA, 0)?;
            }
        }
        Ok(())
    }

    /// Writes letters with a dark rim; `at_px` is the centre of the line of text.
    pub fn text(
        &mut self,
        text: &str,
        at_px: [f32; 2],
        color: [u8; 3],
    ) -> Result<(), ImageProblem> {
        const FONT: i32 = imgproc::FONT_HERSHEY_SIMPLEX;
        const SCALE: f64 = 0.42;
        let mut baseline = 0;
        let size = imgproc::get_text_size(text, FONT, SCALE, 1, &mut baseline)?;
        let center = point(at_px);
        let origin = Point::new((center.x - size.width / 2).max(1), center.y + size.height / 2);
        for (thickness, color) in [(3, scalar([0; 3])), (1, scalar(color))] {
            let line = imgproc::LINE_AA;
            imgproc::put_text(
                &mut self.mat,
                text,
                origin,
                FONT,
                SCALE,
                color,
                thickness,
                line,
                false,
            )?;
        }
        Ok(())
    }

    pub fn into_image(self) -> Result<BgrImage, ImageProblem> {
        bgr_from_mat(&self.mat)
    }
}

fn point(at_px: [f32; 2]) -> Point {
    #[expect(clippy::cast_possible_truncation, reason = "pixels of an image")]
    let [x, y] = at_px.map(|value| value.round() as i32);
    Point::new(x, y)
}

fn scalar([blue, green, red]: [u8; 3]) -> Scalar {
    Scalar::new(f64::from(blue), f64::from(green), f64::from(red), 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_its_name_are_drawn_where_they_were_asked_for() {
        let black = BgrImage::new(80, 60, vec![0; 80 * 60 * 3]).unwrap();
        let mut canvas = Canvas::new(&black).unwrap();
        canvas.target([20.0, 30.0], [0, 0, 255]).unwrap();
        canvas.text("7", [60.0, 30.0], [255, 255, 255]).unwrap();
        let image = canvas.into_image().unwrap();
        assert_eq!(image.pixel(20, 30), [0, 0, 255]);
        assert_eq!(image.pixel(40, 30), [0, 0, 0]);
        // Letters have soft edges: their thin strokes need not reach full white.
        let drawn = (50..70).any(|x| (20..40).any(|y| image.pixel(x, y)[0] > 128));
        assert!(drawn, "no letter near 60, 30");
    }
}
