//! Sets of pixels within a window of a picture.

use magpie_perception::Mask;

/// A rectangle of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) x_px: usize,
    pub(super) y_px: usize,
    pub(super) width_px: usize,
    pub(super) height_px: usize,
}

impl Window {
    /// Around a mask, with as much room on each side as the mask's longer side, within the picture.
    /// `None` for an empty mask.
    pub(super) fn around(mask: &Mask) -> Option<Window> {
        let [x_min, y_min, x_max, y_max] = mask.bounds_px()?;
        let room = (x_max - x_min).max(y_max - y_min);
        let (x, y) = (x_min.saturating_sub(room), y_min.saturating_sub(room));
        let right = x_max.saturating_add(room).min(mask.width_px());
        let below = y_max.saturating_add(room).min(mask.height_px());
        Some(Window {
            x_px: x as usize,
            y_px: y as usize,
            width_px: (right - x) as usize,
            height_px: (below - y) as usize,
        })
    }

    pub(super) fn area_px(&self) -> usize {
        self.width_px * self.height_px
    }

    /// Where pixel `at` of the window lies in the picture.
    pub(super) fn in_picture(&self, at: usize) -> (u32, u32) {
        let small = |value: usize| u32::try_from(value).expect("pixels of an image");
        (small(self.x_px + at % self.width_px), small(self.y_px + at / self.width_px))
    }

    /// A point of the picture, as column and row of the window.
    pub(super) fn place(&self, point_px: [f32; 2]) -> Option<(usize, usize)> {
        let within = |value: f32, start: usize, length: usize| {
            let offset = f64::from(value).floor() - start as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it lies within the window"
            )]
            (offset >= 0.0 && offset < length as f64).then_some(offset as usize)
        };
        let [x, y] = point_px;
        Some((within(x, self.x_px, self.width_px)?, within(y, self.y_px, self.height_px)?))
    }
}

/// Some pixels of a window, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    width: usize,
    inside: Vec<bool>,
}

impl Region {
    pub(super) fn from_fn(window: &Window, is_inside: impl FnMut(usize) -> bool) -> Region {
        let inside = (0..window.area_px()).map(is_inside).collect();
        Region { width: window.width_px, inside }
    }

    /// The part of a mask that lies in the window.
    pub(super) fn of_mask(window: &Window, mask: &Mask) -> Region {
        let mut region = Region::from_fn(window, |_| false);
        let height = window.height_px;
        for (x, y, length) in mask.columns() {
            let Some(column) = (x as usize).checked_sub(window.x_px) else { continue };
            if column >= region.width {
                continue;
            }
            let first = (y as usize).max(window.y_px) - window.y_px;
            let last = ((y + length) as usize).saturating_sub(window.y_px).min(height);
            for row in first..last {
                region.inside[row * region.width + column] = true;
            }
        }
        region
    }

    pub(super) fn to_mask(&self, window: &Window, width_px: u32, height_px: u32) -> Mask {
        let mut bitmap = vec![0; width_px as usize * height_px as usize];
        for at in self.pixels() {
            let (x, y) = window.in_picture(at);
            bitmap[y as usize * width_px as usize + x as usize] = 1;
        }
        Mask::from_bitmap(width_px, height_px, &bitmap)
    }

    pub(super) fn contains(&self, at: usize) -> bool {
        self.inside[at]
    }

    pub(super) fn pixels(&self) -> impl Iterator<Item = usize> {
        self.inside.iter().enumerate().filter_map(|(at, inside)| inside.then_some(at))
    }

    pub(super) fn area_px(&self) -> usize {
        self.inside.iter().filter(|inside| **inside).count()
    }

    fn height(&self) -> usize {
        self.inside.len() / self.width
    }

    fn joined(&self, other: &Region, join: impl Fn(bool, bool) -> bool) -> Region {
        let inside = self.inside.iter().zip(&other.inside).map(|(a, b)| join(*a, *b)).collect();
        Region { width: self.width, inside }
    }

    pub(super) fn and(&self, other: &Region) -> Region {
        self.joined(other, |a, b| a && b)
    }

    pub(super) fn or(&self, other: &Region) -> Region {
        self.joined(other, |a, b| a || b)
    }

    pub(super) fn without(&self, other: &Region) -> Region {
        self.joined(other, |a, b| a && !b)
    }

    /// With every pixel that is at most so far away, along rows and along columns.
    pub(super) fn grown(&self, reach_px: usize) -> Region {
        let (width, height) = (self.width, self.height());
        let mut along = vec![false; self.inside.len()];
        for at in self.pixels() {
            let (row, column) = (at / width, at % width);
            let columns = column.saturating_sub(reach_px)..(column + reach_px + 1).min(width);
            along[row * width + columns.start..row * width + columns.end].fill(true);
        }
        let mut inside = vec![false; self.inside.len()];
        for at in along.iter().enumerate().filter_map(|(at, is)| is.then_some(at)) {
            let (row, column) = (at / width, at % width);
            for row in row.saturating_sub(reach_px)..(row + reach_px + 1).min(height) {
                inside[row * width + column] = true;
            }
        }
        Region { width, inside }
    }

    /// Without the pixels that are so near to one outside. What lies beyond the window takes nothing
    /// away.
    pub(super) fn shrunk(&self, reach_px: usize) -> Region {
        self.inverted().grown(reach_px).inverted()
    }

    /// With its bays and gaps of so little width closed.
    pub(super) fn closed(&self, reach_px: usize) -> Region {
        // What grows beyond the window shrinks back from there.
        let (width, height) = (self.width + 2 * reach_px, self.height() + 2 * reach_px);
        let mut wide = Region { width, inside: vec![false; width * height] };
        for at in self.pixels() {
            let (row, column) = (at / self.width, at % self.width);
            wide.inside[(row + reach_px) * width + column + reach_px] = true;
        }
        let closed = wide.grown(reach_px).shrunk(reach_px);
        let rows = closed.inside.chunks(width).skip(reach_px).take(self.height());
        let inside = rows.flat_map(|row| &row[reach_px..reach_px + self.width]).copied().collect();
        Region { width: self.width, inside }
    }

    fn inverted(&self) -> Region {
        Region { width: self.width, inside: self.inside.iter().map(|inside| !inside).collect() }
    }

    /// The pixels that are connected with one of these, along rows and columns.
    pub(super) fn connected(&self, from: impl IntoIterator<Item = usize>) -> Region {
        let mut found = Region { width: self.width, inside: vec![false; self.inside.len()] };
        let mut open: Vec<usize> = from.into_iter().collect();
        while let Some(at) = open.pop() {
            if !self.inside[at] || found.inside[at] {
                continue;
            }
            found.inside[at] = true;
            let column = at % self.width;
            open.extend((column > 0).then(|| at - 1));
            open.extend((column + 1 < self.width).then_some(at + 1));
            open.extend(at.checked_sub(self.width));
            open.extend(Some(at + self.width).filter(|below| *below < self.inside.len()));
        }
        found
    }

    /// All connected pieces.
    pub(super) fn pieces(&self) -> Vec<Region> {
        let mut left = self.clone();
        let mut pieces = Vec::new();
        while let Some(at) = left.inside.iter().position(|inside| *inside) {
            let piece = left.connected([at]);
            left = left.without(&piece);
            pieces.push(piece);
        }
        pieces
    }

    /// With its holes closed: what is outside, but not connected with the window's border.
    pub(super) fn filled(&self) -> Region {
        self.inverted().connected(self.border()).inverted()
    }

    fn border(&self) -> impl Iterator<Item = usize> {
        let (width, height) = (self.width, self.height());
        (0..self.inside.len()).filter(move |at| {
            let (row, column) = (at / width, at % width);
            row == 0 || column == 0 || row + 1 == height || column + 1 == width
        })
    }

    /// Whether it reaches an edge of the window that is no edge of the picture.
    pub(super) fn leaves(&self, window: &Window, width_px: u32, height_px: u32) -> bool {
        self.border().filter(|at| self.inside[*at]).any(|at| {
            let (x, y) = window.in_picture(at);
            let (row, column) = (at / self.width, at % self.width);
            let inner_row = (row == 0 && y > 0) || (row + 1 == self.height() && y + 1 < height_px);
            let inner_column =
                (column == 0 && x > 0) || (column + 1 == self.width && x + 1 < width_px);
            inner_row || inner_column
        })
    }

    /// The pixel of the set that is nearest to this place, at most so far along rows and columns.
    pub(super) fn nearest(&self, (column, row): (usize, usize), reach_px: usize) -> Option<usize> {
        let rows = row.saturating_sub(reach_px)..(row + reach_px + 1).min(self.height());
        let near = rows.flat_map(|y| {
            let columns = column.saturating_sub(reach_px)..(column + reach_px + 1).min(self.width);
            columns.map(move |x| (x, y))
        });
        let inside = near.filter(|(x, y)| self.inside[y * self.width + x]);
        let away = |(x, y): &(usize, usize)| x.abs_diff(column).pow(2) + y.abs_diff(row).pow(2);
        inside.min_by_key(away).map(|(x, y)| y * self.width + x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(rows: &[&str]) -> Window {
        Window { x_px: 0, y_px: 0, width_px: rows[0].len(), height_px: rows.len() }
    }

    fn region(rows: &[&str]) -> Region {
        let pixels: Vec<u8> = rows.concat().into_bytes();
        Region::from_fn(&window(rows), |at| pixels[at] == b'#')
    }

    #[test]
    fn what_grows_and_shrinks_comes_back_and_the_border_takes_nothing_away() {
        let square = region(&[".......", ".......", "..##...", "..##...", ".......", "......."]);
        let grown = region(&[".......", ".####..", ".####..", ".####..", ".####..", "......."]);
        assert_eq!(square.grown(1), grown);
        assert_eq!(grown.shrunk(1), square);
        let whole = region(&["##", "##"]);
        assert_eq!(whole.shrunk(1), whole);
    }

    #[test]
    fn gaps_are_closed_but_not_those_to_the_border() {
        let gap = region(&["......", ".#.#..", ".#.#..", "......"]);
        assert_eq!(gap.closed(1), region(&["......", ".###..", ".###..", "......"]));
        let beside = region(&["...", ".#.", "..."]);
        assert_eq!(beside.closed(2), beside);
    }

    #[test]
    fn pieces_are_what_is_connected_and_holes_are_closed() {
        let two = region(&["###..", "#.#.#", "###.."]);
        let pieces = two.pieces();
        assert_eq!(pieces.iter().map(Region::area_px).collect::<Vec<_>>(), [8, 1]);
        assert_eq!(pieces[0].filled(), region(&["###..", "###..", "###.."]));
        let open = region(&["###", "#.#", "#.#"]);
        assert_eq!(open.filled(), open, "a bay is no hole");
    }

    #[test]
    fn the_nearest_pixel_is_found_within_reach_only() {
        let far = region(&["#....", ".....", "....#"]);
        assert_eq!(far.nearest((3, 1), 1), Some(14));
        assert_eq!(far.nearest((2, 0), 1), None);
    }

    #[test]
    fn a_window_has_the_mask_in_its_middle_and_stays_in_the_picture() {
        let mut bitmap = vec![0; 40 * 30];
        for (x, y) in [(20, 12), (21, 12), (22, 13)] {
            bitmap[y * 40 + x] = 1;
        }
        let mask = Mask::from_bitmap(40, 30, &bitmap);
        let window = Window::around(&mask).unwrap();
        assert_eq!(window, Window { x_px: 17, y_px: 9, width_px: 9, height_px: 8 });
        let region = Region::of_mask(&window, &mask);
        assert_eq!(region.to_mask(&window, 40, 30), mask);
        assert_eq!(window.place([20.5, 12.9]), Some((3, 3)));
        assert_eq!(window.place([16.9, 12.0]), None);
        assert!(!region.leaves(&window, 40, 30));
        assert!(region.grown(9).leaves(&window, 40, 30));
        assert_eq!(Window::around(&Mask::empty(4, 4)), None);
    }
}
