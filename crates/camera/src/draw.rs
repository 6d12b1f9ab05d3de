//! Lines, dots and letters on a picture, for people.

use magpie_perception::BgrImage;
use opencv::core::{Mat, Point, Scalar};
use opencv::imgproc;
use opencv::prelude::*;

use crate::errors::ImageProblem;
use crate::image_file::mat_from_bgr;
use crate::pixels::bgr_from_mat;

const FONT: i32 = imgproc::FONT_HERSHEY_SIMPLEX;
/// Of letters, in a picture of 720 pixels' height.
const LETTERS: f64 = 0.42;
const RING_RADIUS_PX: f32 = 11.0;

/// A picture that is being drawn on. Colours are blue, green, red; positions in pixels. What is drawn
/// grows with pictures of more than 720 pixels' height, as far as it must stay legible.
pub struct Canvas {
    mat: Mat,
    /// How much larger than in a picture of 720 pixels' height.
    scale: f32,
}

impl Canvas {
    pub fn new(image: &BgrImage) -> Result<Canvas, ImageProblem> {
        let scale = (image.height_px() as f32 / 720.0).clamp(1.0, 4.0);
        Ok(Canvas { mat: mat_from_bgr(image)?.try_clone()?, scale })
    }

    /// Draws a ring with a text of few letters in it.
    pub fn ring(
        &mut self,
        text: &str,
        at_px: [f32; 2],
        color: [u8; 3],
    ) -> Result<(), ImageProblem> {
        let center = point(at_px);
        let radius = whole(RING_RADIUS_PX * self.scale);
        for (thickness, color) in [(-1, [0; 3]), (self.stroke(), color)] {
            let color = scalar(color);
            imgproc::circle(&mut self.mat, center, radius, color, thickness, imgproc::LINE_AA, 0)?;
        }
        self.text(text, at_px, color)
    }

    /// Half the side of the square that a [`ring`](Self::ring) takes.
    pub fn ring_radius_px(&self) -> f32 {
        RING_RADIUS_PX * self.scale + 1.0
    }

    /// Draws a line through all points, with a dark rim.
    pub fn line(&mut self, points_px: &[[f32; 2]], color: [u8; 3]) -> Result<(), ImageProblem> {
        let stroke = self.stroke();
        for (thickness, color) in [(stroke + 2, scalar([0; 3])), (stroke, scalar(color))] {
            for ends in points_px.windows(2) {
                let (from, to) = (point(ends[0]), point(ends[1]));
                imgproc::line(&mut self.mat, from, to, color, thickness, imgproc::LINE_AA, 0)?;
            }
        }
        Ok(())
    }

    /// Width and height of a text, in pixels.
    pub fn text_size_px(&self, text: &str) -> Result<[f32; 2], ImageProblem> {
        let size = imgproc::get_text_size(text, FONT, self.letters(), self.stroke(), &mut 0)?;
        Ok([size.width as f32, size.height as f32])
    }

    /// Writes letters with a dark rim; `at_px` is the centre of the line of text.
    pub fn text(
        &mut self,
        text: &str,
        at_px: [f32; 2],
        color: [u8; 3],
    ) -> Result<(), ImageProblem> {
        let [width, height] = self.text_size_px(text)?;
        let origin = point([at_px[0] - width / 2.0, at_px[1] + height / 2.0]);
        let (size, stroke) = (self.letters(), self.stroke());
        for (thickness, color) in [(stroke + 2, scalar([0; 3])), (stroke, scalar(color))] {
            let line = imgproc::LINE_AA;
            imgproc::put_text(
                &mut self.mat,
                text,
                origin,
                FONT,
                size,
                color,
                thickness,
                line,
                false,
            )?;
        }
        Ok(())
    }

    fn letters(&self) -> f64 {
        LETTERS * f64::from(self.scale)
    }

    fn stroke(&self) -> i32 {
        whole(self.scale)
    }

    pub fn into_image(self) -> Result<BgrImage, ImageProblem> {
        bgr_from_mat(&self.mat)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a pen")]
fn whole(px: f32) -> i32 {
    px.round() as i32
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
    fn a_ring_and_a_text_are_drawn_where_they_were_asked_for() {
        let black = BgrImage::new(80, 60, vec![0; 80 * 60 * 3]).unwrap();
        let mut canvas = Canvas::new(&black).unwrap();
        canvas.ring("", [20.0, 30.0], [0, 0, 255]).unwrap();
        canvas.text("7", [60.0, 30.0], [255, 255, 255]).unwrap();
        let image = canvas.into_image().unwrap();
        assert_eq!(image.pixel(20, 30), [0, 0, 0]);
        assert!(image.pixel(20, 41)[2] > 128, "{:?}", image.pixel(20, 41));
        assert_eq!(image.pixel(40, 30), [0, 0, 0]);
        // Letters have soft edges: their thin strokes need not reach full white.
        let drawn = (50..70).any(|x| (20..40).any(|y| image.pixel(x, y)[0] > 128));
        assert!(drawn, "no letter near 60, 30");
    }

    #[test]
    fn what_is_drawn_grows_with_the_picture() {
        let canvas = |height_px: u32| {
            let black = vec![0; 16 * height_px as usize * 3];
            Canvas::new(&BgrImage::new(16, height_px, black).unwrap()).unwrap()
        };
        let [width, _] = canvas(720).text_size_px("box").unwrap();
        assert_eq!(canvas(480).text_size_px("box").unwrap()[0], width);
        let [twice, _] = canvas(1440).text_size_px("box").unwrap();
        assert!((twice / width - 2.0).abs() < 0.2, "{width} and {twice} px");
    }
}
