//! Fits a camera image into the model's input and maps results back.
//!
//! # Conventions
//!
//! As Ultralytics does it: the image keeps its proportions, is centred, and grey (114) fills the
//! rest. Resampling is bilinear with half-pixel centres and equals OpenCV's `INTER_LINEAR` for
//! bytes (imgproc/src/resize.cpp) bit for bit, so that a model sees what it saw in training.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod pair;

use self::pair::pair_at;
use crate::number::{floor_px, round_even_px, to_byte, to_f32, to_i16, to_u16, to_u32};
use crate::{BboxPx, BgrImage, InputMut};

/// Value of the padding in each channel (Ultralytics' choice).
pub const PAD_VALUE: u8 = 114;

/// OpenCV's weights are shares of this (`INTER_RESIZE_COEF_SCALE`): eleven bits.
const WEIGHT_ONE: f32 = 2048.0;

/// How an image of one size sits in the model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Letterbox {
    pub image_width_px: u32,
    pub image_height_px: u32,
    pub input_width_px: u32,
    pub input_height_px: u32,
    /// Input pixels per image pixel; they differ where the content's size was rounded.
    pub scale_x: f32,
    pub scale_y: f32,
    /// Size of the image's part of the input.
    pub content_width_px: u32,
    pub content_height_px: u32,
    /// Input pixels left of and above the content.
    pub pad_x_px: u32,
    pub pad_y_px: u32,
}

impl Letterbox {
    pub fn new(image: (u32, u32), input: (u32, u32)) -> Letterbox {
        let scale =
            (f64::from(input.0) / f64::from(image.0)).min(f64::from(input.1) / f64::from(image.1));
        let fit = |image_px: u32, input_px: u32| {
            (to_u32((f64::from(image_px) * scale).round_ties_even())).clamp(1, input_px)
        };
        let content = (fit(image.0, input.0), fit(image.1, input.1));
        // An odd remainder goes to the right and the bottom.
        let pad = ((input.0 - content.0) / 2, (input.1 - content.1) / 2);
        Letterbox {
            image_width_px: image.0,
            image_height_px: image.1,
            input_width_px: input.0,
            input_height_px: input.1,
            scale_x: to_f32(f64::from(content.0) / f64::from(image.0)),
            scale_y: to_f32(f64::from(content.1) / f64::from(image.1)),
            content_width_px: content.0,
            content_height_px: content.1,
            pad_x_px: pad.0,
            pad_y_px: pad.1,
        }
    }

    /// A box from input pixels to image pixels, clipped to the image.
    pub fn bbox_to_image(&self, bbox: &BboxPx) -> BboxPx {
        let x = |x: f32| {
            ((x - self.pad_x_px as f32) / self.scale_x).clamp(0.0, self.image_width_px as f32)
        };
        let y = |y: f32| {
            ((y - self.pad_y_px as f32) / self.scale_y).clamp(0.0, self.image_height_px as f32)
        };
        BboxPx {
            x_min_px: x(bbox.x_min_px),
            y_min_px: y(bbox.y_min_px),
            x_max_px: x(bbox.x_max_px),
            y_max_px: y(bbox.y_max_px),
        }
    }

    /// Along x, the coordinate `u` in an image of the input shrunk by `stride` of the pixel `x` of
    /// the camera image is `u = slope * x + offset`, both counted from pixel centres.
    pub(crate) fn x_map(&self, stride: f32) -> (f32, f32) {
        axis_map(self.content_width_px, self.image_width_px, self.pad_x_px, stride)
    }

    /// [`Letterbox::x_map`] along y.
    pub(crate) fn y_map(&self, stride: f32) -> (f32, f32) {
        axis_map(self.content_height_px, self.image_height_px, self.pad_y_px, stride)
    }
}

fn axis_map(content_px: u32, image_px: u32, pad_px: u32, stride: f32) -> (f32, f32) {
    let slope = content_px as f32 / image_px as f32 / stride;
    (slope, 0.5 * slope + pad_px as f32 / stride - 0.5)
}

/// Buffers of [`preprocess`], kept from frame to frame: one for each half of the content.
#[derive(Debug, Default)]
pub struct PreprocessScratch([RowScratch; 2]);

#[derive(Debug, Default)]
struct RowScratch {
    columns: Columns,
    columns_of: Option<(u32, u32)>,
    /// Two source rows, shrunk along x.
    rows: [ShrunkRow; 2],
    /// u8 `[content_width_px, 3]`, on its way to floats.
    line: Vec<u8>,
}

/// u16 `[content_width_px, 3]` and some to spare, 8.7 fixed point.
#[derive(Debug, Default)]
struct ShrunkRow {
    source_y: Option<u32>,
    values: Vec<u16>,
}

/// How source columns make content columns, laid out for arithmetic on many at once.
#[derive(Debug, Default)]
struct Columns {
    /// For each content column, where its left neighbour begins in a source row; the right one
    /// follows it.
    offsets: Vec<u32>,
    /// `[content_width_px, 3]`, in parts of [`WEIGHT_ONE`]. Signed, so that the compiler sees 16-bit products.
    first_weights: Vec<i16>,
    second_weights: Vec<i16>,
    /// `[content_width_px, 3]`: the neighbours of one source row, gathered.
    first: Vec<u8>,
    second: Vec<u8>,
    #[cfg(target_arch = "x86_64")]
    taps: avx2::Taps,
}

/// Two neighbours and their weights, in parts of [`WEIGHT_ONE`].
#[derive(Clone, Copy, Debug)]
struct Tap {
    first: u32,
    second: u32,
    first_weight: u32,
    second_weight: u32,
}

/// Writes the letterboxed image into the model's input buffer. Half of the rows of an input of bytes
/// are made on a second thread of rayon's pool, with the same result.
pub fn preprocess(
    image: &BgrImage,
    letterbox: &Letterbox,
    input: InputMut<'_>,
    scratch: &mut PreprocessScratch,
) {
    assert_eq!(
        (image.width_px(), image.height_px()),
        (letterbox.image_width_px, letterbox.image_height_px)
    );
    let pixels = letterbox.input_width_px as usize * letterbox.input_height_px as usize;
    let values = match &input {
        InputMut::Bgr8Nhwc(values) => values.len(),
        InputMut::RgbF32Nchw(values) => values.len(),
    };
    assert_eq!(values, 3 * pixels);
    let PreprocessScratch([scratch, more_scratch]) = scratch;
    let arch = pulp::Arch::new();
    match input {
        InputMut::Bgr8Nhwc(values) => {
            let stride = 3 * letterbox.input_width_px as usize;
            let top = letterbox.pad_y_px as usize;
            let bottom = top + letterbox.content_height_px as usize;
            values[..top * stride].fill(PAD_VALUE);
            values[bottom * stride..].fill(PAD_VALUE);
            let half = letterbox.content_height_px / 2;
            let (upper, lower) =
                values[top * stride..bottom * stride].split_at_mut(half as usize * stride);
            let fill = |first_y, values, scratch| {
                arch.dispatch(FillBgr8 { image, letterbox, first_y, values, scratch });
            };
            rayon::join(|| fill(0, upper, scratch), || fill(half, lower, more_scratch));
        }
        InputMut::RgbF32Nchw(values) => {
            arch.dispatch(FillRgbF32 { image, letterbox, values, scratch });
        }
    }
}

/// Fills rows of the content from `first_y` on, as many as `values` holds. Compiled for several
/// instruction sets, of which the processor's best is taken: what it calls has to be inlined.
struct FillBgr8<'a> {
    image: &'a BgrImage,
    letterbox: &'a Letterbox,
    first_y: u32,
    values: &'a mut [u8],
    scratch: &'a mut RowScratch,
}

impl pulp::WithSimd for FillBgr8<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let FillBgr8 { image, letterbox, first_y, values, scratch } = self;
        let left = 3 * letterbox.pad_x_px as usize;
        let right = left + 3 * letterbox.content_width_px as usize;
        scratch.start(letterbox);
        let lines = values.chunks_exact_mut(3 * letterbox.input_width_px as usize);
        for (y, line) in (first_y..).zip(lines) {
            line[..left].fill(PAD_VALUE);
            line[right..].fill(PAD_VALUE);
            scratch.write_row(image, letterbox, y, &mut line[left..right]);
        }
    }
}

/// Fills the whole input; compiled as [`FillBgr8`] is.
struct FillRgbF32<'a> {
    image: &'a BgrImage,
    letterbox: &'a Letterbox,
    values: &'a mut [f32],
    scratch: &'a mut RowScratch,
}

impl pulp::WithSimd for FillRgbF32<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let FillRgbF32 { image, letterbox, values, scratch } = self;
        let width = letterbox.input_width_px as usize;
        let (left, top) = (letterbox.pad_x_px as usize, letterbox.pad_y_px as usize);
        values.fill(f32::from(PAD_VALUE) / 255.0);
        let plane = width * letterbox.input_height_px as usize;
        let (red, rest) = values.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        scratch.start(letterbox);
        let mut line = std::mem::take(&mut scratch.line);
        line.resize(3 * letterbox.content_width_px as usize, 0);
        for y in 0..letterbox.content_height_px {
            let at = (top + y as usize) * width + left;
            let content = at..at + letterbox.content_width_px as usize;
            scratch.write_row(image, letterbox, y, &mut line);
            let planes = red[content.clone()]
                .iter_mut()
                .zip(green[content.clone()].iter_mut())
                .zip(blue[content].iter_mut());
            for (((r, g), b), bgr) in planes.zip(line.chunks_exact(3)) {
                let share = |byte: u8| f32::from(byte) / 255.0;
                (*b, *g, *r) = (share(bgr[0]), share(bgr[1]), share(bgr[2]));
            }
        }
        scratch.line = line;
    }
}

impl RowScratch {
    /// Forgets the rows of the last image.
    fn start(&mut self, letterbox: &Letterbox) {
        let sizes = (letterbox.image_width_px, letterbox.content_width_px);
        if self.columns_of != Some(sizes) {
            self.columns = Columns::new(sizes.0, sizes.1);
            self.columns_of = Some(sizes);
        }
        for row in &mut self.rows {
            row.source_y = None;
            row.values.resize(self.columns.room(), 0);
        }
    }

    /// Writes content row `y`. A source row that the row before had is used again.
    #[inline(always)]
    fn write_row(&mut self, image: &BgrImage, letterbox: &Letterbox, y: u32, bytes: &mut [u8]) {
        let tap = row_tap(y, letterbox.image_height_px, letterbox.content_height_px);
        if self.rows[1].source_y == Some(tap.first) {
            self.rows.swap(0, 1);
        }
        let stride = 3 * letterbox.image_width_px as usize;
        for (row, source_y) in self.rows.iter_mut().zip([tap.first, tap.second]) {
            if row.source_y != Some(source_y) {
                self.columns.shrink(&image.data()[source_y as usize * stride..], &mut row.values);
                row.source_y = Some(source_y);
            }
        }
        let [first, second] = &self.rows;
        interpolate(&first.values, &second.values, tap, bytes);
    }
}

/// Mixes two rows along y, rounded as OpenCV's `VResizeLinear` rounds.
#[inline(always)]
fn interpolate(first: &[u16], second: &[u16], tap: Tap, bytes: &mut [u8]) {
    // As u16, so that the compiler sees the high half of a 16-bit product.
    let [first_weight, second_weight] =
        [tap.first_weight, tap.second_weight].map(|weight| u32::from(to_u16(weight)));
    let high = |value: u16, weight: u32| to_u16((u32::from(value) * weight) >> 16);
    for (byte, (&first, &second)) in bytes.iter_mut().zip(first.iter().zip(second)) {
        let sum = high(first, first_weight).wrapping_add(high(second, second_weight));
        *byte = to_byte(u32::from(sum.wrapping_add(2) >> 2));
    }
}

impl Columns {
    fn new(source_size: u32, target_size: u32) -> Columns {
        let taps: Vec<(u32, i16, i16)> = (0..target_size)
            .map(|x| column_tap(x, source_size, target_size))
            .map(|tap| (tap.first, to_i16(tap.first_weight), to_i16(tap.second_weight)))
            .collect();
        Columns {
            offsets: taps.iter().map(|tap| tap.0).collect(),
            first_weights: taps.iter().flat_map(|tap| [tap.1; 3]).collect(),
            second_weights: taps.iter().flat_map(|tap| [tap.2; 3]).collect(),
            first: vec![0; 3 * taps.len()],
            second: vec![0; 3 * taps.len()],
            #[cfg(target_arch = "x86_64")]
            taps: avx2::Taps::new(&taps),
        }
    }

    /// How many values a shrunk row needs room for.
    fn room(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        return self.taps.room();
        #[cfg(not(target_arch = "x86_64"))]
        self.first.len()
    }

    /// Shrinks one source row to `u16 [content_width_px, 3]`, 8.7 fixed point. `source` goes on behind the
    /// row, up to the end of the image.
    #[inline(always)]
    fn shrink(&mut self, source: &[u8], values: &mut [u16]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            return avx2::shrink(simd, &self.taps, source, values);
        }
        self.shrink_portably(source, values);
    }

    #[inline(always)]
    fn shrink_portably(&mut self, source: &[u8], values: &mut [u16]) {
        let gathered = self.first.chunks_exact_mut(3).zip(self.second.chunks_exact_mut(3));
        for (&offset, (first, second)) in self.offsets.iter().zip(gathered) {
            let pair = pair_at(source, offset).to_le_bytes();
            first.copy_from_slice(&pair[..3]);
            second.copy_from_slice(&pair[3..6]);
        }
        let first = self.first.iter().zip(&self.first_weights);
        let second = self.second.iter().zip(&self.second_weights);
        for (value, ((a, a_weight), (b, b_weight))) in values.iter_mut().zip(first.zip(second)) {
            let sum = i32::from(*a) * i32::from(*a_weight) + i32::from(*b) * i32::from(*b_weight);
            // Four of the eleven fractional bits go, as in OpenCV.
            *value = to_u16(sum.cast_unsigned() >> 4);
        }
    }
}

/// The columns around a content column's centre, as offsets of their first bytes. What is right of
/// the last column has no weight.
fn column_tap(target: u32, source_size: u32, target_size: u32) -> Tap {
    let center = source_position(target, source_size, target_size).max(0.0);
    let first = floor_px(center).min(source_size - 1);
    let share = if first == source_size - 1 { 0.0 } else { center - first as f32 };
    Tap { first: 3 * first, second: 3 * (first + 1), ..weights(share) }
}

/// The rows around a content row's centre.
fn row_tap(target: u32, source_size: u32, target_size: u32) -> Tap {
    let center = source_position(target, source_size, target_size);
    let first = center.floor();
    let row = |y: f32| floor_px(y.max(0.0)).min(source_size - 1);
    Tap { first: row(first), second: row(first + 1.0), ..weights(center - first) }
}

/// Where a target pixel's centre lies among the source's pixel centres.
fn source_position(target: u32, source_size: u32, target_size: u32) -> f32 {
    let ratio = f64::from(source_size) / f64::from(target_size);
    to_f32((f64::from(target) + 0.5) * ratio - 0.5)
}

/// Both weights are rounded on their own, to even, as OpenCV's `saturate_cast` does.
fn weights(share: f32) -> Tap {
    let weight = |share: f32| round_even_px(share * WEIGHT_ONE);
    Tap { first: 0, second: 0, first_weight: weight(1.0 - share), second_weight: weight(share) }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn gradient(width: u32, height: u32) -> BgrImage {
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                data.extend([(x * 3 % 256) as u8, (y * 5 % 256) as u8, ((x + y) % 256) as u8]);
            }
        }
        BgrImage::new(width, height, data).unwrap()
    }

    fn bgr8(image: &BgrImage, input: (u32, u32)) -> (Letterbox, Vec<u8>) {
        let letterbox = Letterbox::new((image.width_px(), image.height_px()), input);
        let mut values = vec![1; 3 * (input.0 * input.1) as usize];
        let mut scratch = PreprocessScratch::default();
        preprocess(image, &letterbox, InputMut::Bgr8Nhwc(&mut values), &mut scratch);
        (letterbox, values)
    }

    fn check(image: (u32, u32), input: (u32, u32), expected: Expect) {
        let l = Letterbox::new(image, input);
        let (w, h) = (l.content_width_px, l.content_height_px);
        expected.assert_eq(&format!("{w}x{h} at {},{}", l.pad_x_px, l.pad_y_px));
    }

    #[test]
    fn an_image_keeps_its_proportions_and_is_centred() {
        check((1280, 720), (640, 640), expect!["640x360 at 0,140"]);
        check((480, 640), (512, 512), expect!["384x512 at 64,0"]);
        check((641, 480), (512, 512), expect!["512x383 at 0,64"]);
        check((1, 4000), (320, 320), expect!["1x320 at 159,0"]);
    }

    #[test]
    fn an_image_of_the_inputs_size_is_copied() {
        let image = gradient(32, 32);
        assert_eq!(bgr8(&image, (32, 32)).1, image.data());
    }

    #[test]
    fn padding_is_grey_and_content_is_not() {
        let image = BgrImage::new(4, 2, vec![7; 24]).unwrap();
        let (letterbox, values) = bgr8(&image, (8, 8));
        assert_eq!((letterbox.pad_y_px, letterbox.content_height_px), (2, 4));
        for (i, pixel) in values.chunks(3).enumerate() {
            let inside = (2..6).contains(&(i / 8));
            assert_eq!(pixel, if inside { [7; 3] } else { [PAD_VALUE; 3] }, "pixel {i}");
        }
    }

    #[test]
    fn both_input_forms_hold_the_same_picture() {
        let image = gradient(37, 23);
        let (letterbox, bytes) = bgr8(&image, (32, 32));
        let mut floats = vec![0.0; 3 * 32 * 32];
        let mut scratch = PreprocessScratch::default();
        preprocess(&image, &letterbox, InputMut::RgbF32Nchw(&mut floats), &mut scratch);
        for i in 0..32 * 32 {
            for c in 0..3 {
                let expected = f32::from(bytes[3 * i + c]) / 255.0;
                assert!((floats[(2 - c) * 1024 + i] - expected).abs() < 1e-6);
            }
        }
    }

    proptest! {
        #[test]
        fn interpolation_is_within_one_of_the_exact_value(
            w in 2u32..90, h in 2u32..90, input in 8u32..64,
        ) {
            let image = gradient(w, h);
            let (l, values) = bgr8(&image, (input, input));
            let sample = |x: f64, y: f64, c: usize| {
                let (x, y) = (x.clamp(0.0, f64::from(w - 1)), y.clamp(0.0, f64::from(h - 1)));
                let (x0, y0) = (x.floor() as u32, y.floor() as u32);
                let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
                let (fx, fy) = (x - f64::from(x0), y - f64::from(y0));
                let p = |x, y| f64::from(image.pixel(x, y)[c]);
                (p(x0, y0) * (1.0 - fx) + p(x1, y0) * fx) * (1.0 - fy)
                    + (p(x0, y1) * (1.0 - fx) + p(x1, y1) * fx) * fy
            };
            for y in 0..l.content_height_px {
                for x in 0..l.content_width_px {
                    let at = 3 * ((y + l.pad_y_px) * input + x + l.pad_x_px) as usize;
                    let u = (f64::from(x) + 0.5) * f64::from(w) / f64::from(l.content_width_px) - 0.5;
                    let v = (f64::from(y) + 0.5) * f64::from(h) / f64::from(l.content_height_px) - 0.5;
                    for c in 0..3 {
                        let exact = sample(u, v, c);
                        prop_assert!((f64::from(values[at + c]) - exact).abs() <= 1.5);
                    }
                }
            }
        }

        #[test]
        fn every_instruction_set_gives_the_same_row(
            source in 1u32..70, target in 1u32..40, seed in 1usize..251, rest in 0usize..9,
        ) {
            let bytes: Vec<u8> = (0..3 * source as usize + rest)
                .map(|i| (i * i * seed + i * 89) as u8)
                .collect();
            let mut columns = Columns::new(source, target);
            let mut rows = [vec![0; columns.room()], vec![0; columns.room()]];
            columns.shrink(&bytes, &mut rows[0]);
            columns.shrink_portably(&bytes, &mut rows[1]);
            let values = 3 * target as usize;
            prop_assert_eq!(&rows[0][..values], &rows[1][..values]);
        }

        #[test]
        fn a_box_comes_back_to_where_it_was(
            w in 100u32..2000, h in 100u32..2000, x in 0.1f32..0.4, y in 0.1f32..0.4,
        ) {
            let l = Letterbox::new((w, h), (512, 512));
            let (x_min, y_min) = (x * w as f32, y * h as f32);
            let bbox = BboxPx {
                x_min_px: x_min, y_min_px: y_min, x_max_px: 2.0 * x_min, y_max_px: 2.0 * y_min,
            };
            let into = |v: f32, scale: f32, pad: u32| v * scale + pad as f32;
            let back = l.bbox_to_image(&BboxPx {
                x_min_px: into(bbox.x_min_px, l.scale_x, l.pad_x_px),
                y_min_px: into(bbox.y_min_px, l.scale_y, l.pad_y_px),
                x_max_px: into(bbox.x_max_px, l.scale_x, l.pad_x_px),
                y_max_px: into(bbox.y_max_px, l.scale_y, l.pad_y_px),
            });
            prop_assert!(bbox.iou(&back) > 0.999);
        }
    }
}
