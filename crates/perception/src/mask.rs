//! Instance masks as COCO run-length encoding.
//!
//! # Conventions
//!
//! Pixels are counted column by column, top to bottom; the first run counts background. The
//! compressed string is pycocotools' (`rleToString`): signed differences to the count two runs
//! earlier, in little-endian groups of five bits, each offset by 48.

use crate::BboxPx;

/// COCO's code: groups of five bits with a sixth that says that more follow, offset into ASCII.
const GROUP_BITS: u32 = 5;
const GROUP: u8 = 0x1f;
const SIGN: u8 = 0x10;
const MORE: u8 = 0x20;
const ASCII_OFFSET: u8 = 48;
const CODES: u8 = 64;

/// The visible part of an object at the camera's resolution, holes kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width_px: u32,
    height_px: u32,
    counts: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("mask runs cover {covered} pixels of an image of {width_px}x{height_px} px")]
    Coverage { width_px: u32, height_px: u32, covered: u64 },
    #[error("mask string ends or breaks at byte {at}; COCO strings hold only the bytes 48 to 111")]
    Coding { at: usize },
}

impl Mask {
    /// Runs must cover the image exactly.
    pub fn from_counts(width_px: u32, height_px: u32, counts: Vec<u32>) -> Result<Mask, MaskError> {
        let covered: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let image_px = u64::from(width_px) * u64::from(height_px);
        // Pixels are counted in 32 bits.
        if covered != image_px || image_px > u64::from(u32::MAX) {
            return Err(MaskError::Coverage { width_px, height_px, covered });
        }
        Ok(Mask { width_px, height_px, counts })
    }

    /// A mask without a single pixel.
    pub fn empty(width_px: u32, height_px: u32) -> Mask {
        Mask { width_px, height_px, counts: vec![width_px * height_px] }
    }

    /// `bitmap` is row-major; any value but zero is foreground.
    pub fn from_bitmap(width_px: u32, height_px: u32, bitmap: &[u8]) -> Mask {
        assert_eq!(bitmap.len(), width_px as usize * height_px as usize);
        let mut counts = Vec::new();
        let mut builder = MaskBuilder::new(width_px, height_px, &mut counts);
        for x in 0..width_px as usize {
            for y in 0..height_px as usize {
                builder.push(bitmap[y * width_px as usize + x] != 0, 1);
            }
        }
        builder.finish(Vec::new())
    }

    pub fn width_px(&self) -> u32 {
        self.width_px
    }

    pub fn height_px(&self) -> u32 {
        self.height_px
    }

    /// The buffer of the counts.
    pub(crate) fn into_counts(self) -> Vec<u32> {
        self.counts
    }

    /// Alternating lengths of background and foreground, background first.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Foreground runs as `(start, length)` in column-major pixel indices.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut at = 0;
        self.counts.iter().enumerate().filter_map(move |(i, &length)| {
            let start = at;
            at += length;
            (i % 2 == 1 && length > 0).then_some((start, length))
        })
    }

    /// Foreground pieces that stay within one column: `(x_px, y_start_px, length_px)`.
    pub fn columns(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        let height = self.height_px;
        self.runs().flat_map(move |(start, length)| {
            let end = start + length;
            (start / height..=(end - 1) / height).map(move |x| {
                let from = start.max(x * height);
                let to = end.min((x + 1) * height);
                (x, from - x * height, to - from)
            })
        })
    }

    /// The same pieces as [`columns`](Self::columns), without a division for each.
    pub(crate) fn for_each_column(&self, mut see: impl FnMut(u32, u32, u32)) {
        let height = self.height_px;
        let mut x = self.counts.first().and_then(|count| count.checked_div(height)).unwrap_or(0);
        let (mut column_start, mut end) = (x * height, 0);
        for counts in self.counts.chunks_exact(2) {
            let mut from = end + counts[0];
            end = from + counts[1];
            while from < end {
                while from >= column_start + height {
                    (x, column_start) = (x + 1, column_start + height);
                }
                let to = end.min(column_start + height);
                see(x, from - column_start, to - from);
                from = to;
            }
        }
    }

    pub fn area_px(&self) -> u32 {
        self.counts.iter().skip(1).step_by(2).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.area_px() == 0
    }

    /// `[x_min, y_min, x_max, y_max]` of the foreground, the last two just beyond it; `None` for an empty
    /// mask.
    pub fn bounds_px(&self) -> Option<[u32; 4]> {
        let (mut x_min, mut x_max, mut y_min, mut y_max) = (u32::MAX, 0, u32::MAX, 0);
        for (x, y, length) in self.columns() {
            (x_min, x_max) = (x_min.min(x), x_max.max(x + 1));
            (y_min, y_max) = (y_min.min(y), y_max.max(y + length));
        }
        (x_max > 0).then_some([x_min, y_min, x_max, y_max])
    }

    /// Tight box around the foreground; `None` for an empty mask.
    pub fn bbox(&self) -> Option<BboxPx> {
        let [x_min_px, y_min_px, x_max_px, y_max_px] = self.bounds_px()?.map(|edge| edge as f32);
        Some(BboxPx { x_min_px, y_min_px, x_max_px, y_max_px })
    }

    /// Whether the image may cut the object off.
    pub fn touches_border(&self) -> bool {
        self.border_px() > 0
    }

    /// Pixels along the image's border: how much of its outline the image may cut off.
    pub fn border_px(&self) -> u32 {
        let (width, height) = (self.width_px, self.height_px);
        let mut border_px = 0;
        self.for_each_column(|x, y, length| {
            border_px += u32::from(y == 0) + u32::from(y + length == height);
            if x == 0 || x + 1 == width {
                border_px += length;
            }
        });
        border_px
    }

    pub fn contains(&self, x_px: u32, y_px: u32) -> bool {
        let at = x_px * self.height_px + y_px;
        self.runs().any(|(start, length)| (start..start + length).contains(&at))
    }

    /// Row-major bitmap, `1` inside and `0` outside.
    pub fn to_bitmap(&self) -> Vec<u8> {
        let mut bitmap = vec![0; self.width_px as usize * self.height_px as usize];
        self.write_bitmap(&mut bitmap);
        bitmap
    }

    /// [`Mask::to_bitmap`] into a buffer of `width_px * height_px` bytes, in place of what it holds.
    pub fn write_bitmap(&self, bitmap: &mut [u8]) {
        assert_eq!(bitmap.len(), self.width_px as usize * self.height_px as usize);
        bitmap.fill(0);
        let width = self.width_px as usize;
        self.for_each_column(|x, y, length| {
            let column = bitmap[y as usize * width + x as usize..].iter_mut().step_by(width);
            column.take(length as usize).for_each(|pixel| *pixel = 1);
        });
    }

    pub fn intersection_px(&self, other: &Mask) -> u32 {
        assert_eq!((self.width_px, self.height_px), (other.width_px, other.height_px));
        let (mut ours, mut theirs) = (self.runs(), other.runs());
        let (mut a, mut b) = (ours.next(), theirs.next());
        let mut total = 0;
        while let (Some((a_start, a_length)), Some((b_start, b_length))) = (a, b) {
            let (a_end, b_end) = (a_start + a_length, b_start + b_length);
            total += a_end.min(b_end).saturating_sub(a_start.max(b_start));
            if a_end <= b_end { a = ours.next() } else { b = theirs.next() }
        }
        total
    }

    /// Intersection over union, `0.0..=1.0`; zero where both are empty.
    pub fn iou(&self, other: &Mask) -> f32 {
        let intersection = self.intersection_px(other);
        let union = self.area_px() + other.area_px() - intersection;
        if union > 0 { intersection as f32 / union as f32 } else { 0.0 }
    }

    /// COCO's compressed `counts`.
    pub fn to_coco_string(&self) -> String {
        let mut coded = Vec::new();
        self.write_coco_bytes(&mut coded);
        String::from_utf8(coded).expect("groups of bits are coded as ASCII")
    }

    /// [`Mask::to_coco_string`] as bytes, in place of what `coded` holds.
    pub fn write_coco_bytes(&self, coded: &mut Vec<u8>) {
        coded.clear();
        // Rounded up, so that it need not grow for every mask that is a little larger.
        coded.reserve((2 * self.counts.len()).next_power_of_two());
        for (i, &count) in self.counts.iter().enumerate() {
            let earlier = if i > 2 { i64::from(self.counts[i - 2]) } else { 0 };
            push_varint(coded, i64::from(count) - earlier);
        }
    }

    pub fn from_coco_string(width_px: u32, height_px: u32, coded: &str) -> Result<Mask, MaskError> {
        let bytes = coded.as_bytes();
        let mut counts: Vec<u32> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (difference, next) = read_varint(bytes, at).ok_or(MaskError::Coding { at })?;
            let earlier = if counts.len() > 2 { i64::from(counts[counts.len() - 2]) } else { 0 };
            let count =
                u32::try_from(difference + earlier).map_err(|_| MaskError::Coding { at })?;
            counts.push(count);
            at = next;
        }
        Mask::from_counts(width_px, height_px, counts)
    }
}

fn push_varint(coded: &mut Vec<u8>, mut value: i64) {
    loop {
        let group = value.to_le_bytes()[0] & GROUP;
        value >>= GROUP_BITS;
        let done = if group & SIGN == 0 { value == 0 } else { value == -1 };
        coded.push(ASCII_OFFSET + if done { group } else { group | MORE });
        if done {
            return;
        }
    }
}

/// The value that starts at `at`, and where the next one starts.
fn read_varint(bytes: &[u8], mut at: usize) -> Option<(i64, usize)> {
    let (mut value, mut shift) = (0i64, 0);
    loop {
        let group = bytes.get(at)?.checked_sub(ASCII_OFFSET).filter(|group| *group < CODES)?;
        value |= i64::from(group & GROUP) << shift;
        (shift, at) = (shift + GROUP_BITS, at + 1);
        if group & MORE == 0 {
            if group & SIGN != 0 {
                value |= -1 << shift;
            }
            return Some((value, at));
        }
        // A count fits in 32 bits, a difference in 33: seven groups.
        if shift > 6 * GROUP_BITS {
            return None;
        }
    }
}

/// Collects runs in column-major order, in a buffer that is used again; equal neighbours merge.
#[derive(Debug)]
pub(crate) struct MaskBuilder<'a> {
    width_px: u32,
    height_px: u32,
    counts: &'a mut Vec<u32>,
    foreground: bool,
    length: u32,
}

impl<'a> MaskBuilder<'a> {
    pub(crate) fn new(width_px: u32, height_px: u32, counts: &'a mut Vec<u32>) -> MaskBuilder<'a> {
        counts.clear();
        MaskBuilder { width_px, height_px, counts, foreground: false, length: 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, foreground: bool, length: u32) {
        if foreground != self.foreground && length > 0 {
            self.counts.push(self.length);
            (self.foreground, self.length) = (foreground, 0);
        }
        self.length += length;
    }

    /// Panics unless the runs cover the image: they are ours. `spare` is what the mask keeps them in.
    pub(crate) fn finish(self, mut spare: Vec<u32>) -> Mask {
        if self.length > 0 {
            self.counts.push(self.length);
        }
        spare.clear();
        // Rounded up, so that it need not grow for every mask that is a little larger.
        spare.reserve(self.counts.len().next_power_of_two());
        spare.extend_from_slice(self.counts);
        Mask::from_counts(self.width_px, self.height_px, spare)
            .expect("the builder's caller covers the image")
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn mask(rows: &[&str]) -> Mask {
        let bitmap: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
        Mask::from_bitmap(rows[0].len() as u32, rows.len() as u32, &bitmap)
    }

    fn check(rows: &[&str], expected: Expect) {
        let mask = mask(rows);
        expected.assert_eq(&format!("{:?} {:?}", mask.counts(), mask.to_coco_string()));
    }

    #[test]
    fn runs_go_down_columns() {
        check(&["..", "##"], expect![[r#"[1, 1, 1, 1] "1110""#]]);
    }

    #[test]
    fn the_first_run_counts_background_even_where_there_is_none() {
        check(&["##", "##"], expect![[r#"[0, 4] "04""#]]);
    }

    #[test]
    fn a_hole_stays_a_hole() {
        check(&["###", "#.#", "###"], expect![[r#"[0, 4, 1, 4] "0410""#]]);
    }

    #[test]
    fn a_string_of_other_bytes_or_another_size_is_refused() {
        assert_eq!(Mask::from_coco_string(2, 2, "1 1"), Err(MaskError::Coding { at: 1 }));
        let covered = MaskError::Coverage { width_px: 3, height_px: 3, covered: 4 };
        assert_eq!(Mask::from_coco_string(3, 3, "04"), Err(covered));
    }

    fn any_mask() -> impl Strategy<Value = (u32, u32, Vec<u8>)> {
        (1u32..40, 1u32..40).prop_flat_map(|(w, h)| {
            (Just(w), Just(h), proptest::collection::vec(0u8..2, (w * h) as usize))
        })
    }

    proptest! {
        #[test]
        fn bitmap_and_string_come_back_unchanged((w, h, bitmap) in any_mask()) {
            let mask = Mask::from_bitmap(w, h, &bitmap);
            prop_assert_eq!(mask.to_bitmap(), bitmap.clone());
            prop_assert_eq!(mask.area_px(), bitmap.iter().map(|&b| u32::from(b)).sum::<u32>());
            let back = Mask::from_coco_string(w, h, &mask.to_coco_string());
            prop_assert_eq!(back.as_ref(), Ok(&mask));
        }

        #[test]
        fn any_string_is_a_mask_or_an_error(coded in "[ -~]{0,20}") {
            let _ = Mask::from_coco_string(7, 5, &coded);
        }

        #[test]
        fn iou_is_that_of_the_bitmaps((w, h, a) in any_mask(), seed in 1usize..97) {
            let b: Vec<u8> = (0..a.len()).map(|i| u8::from((i * seed) % 7 < 3)).collect();
            let both = a.iter().zip(&b).filter(|(a, b)| **a == 1 && **b == 1).count();
            let any = a.iter().zip(&b).filter(|(a, b)| **a == 1 || **b == 1).count();
            let found = Mask::from_bitmap(w, h, &a).iou(&Mask::from_bitmap(w, h, &b));
            let expected = if any > 0 { both as f32 / any as f32 } else { 0.0 };
            prop_assert!((found - expected).abs() < 1e-6);
        }
    }
}
