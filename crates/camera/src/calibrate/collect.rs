//! Views of a board for the lens, taken one after the other while somebody moves it.

use super::board::{Board, View};
use super::coverage::Coverage;
use super::errors::CalibrateError;
use super::intrinsics::{IntrinsicsReport, calibrate_intrinsics};
use super::select::{Rejection, select_views};

/// More views take long to solve and tell no more.
pub const LENS_VIEWS_MAX: usize = 60;

/// The views that were worth taking, each with its name.
#[derive(Clone, Debug)]
pub struct LensViews {
    board: Board,
    names: Vec<String>,
    views: Vec<View>,
    /// From 1, and never given to another view.
    numbers: Vec<usize>,
    /// The number of the view that was taken last.
    taken: usize,
}

/// What a picture was good for.
#[derive(Clone, Debug, PartialEq)]
pub enum Offered {
    Taken,
    /// The board is where it was, and sharper: the view takes the other one's place.
    Sharper,
    LeftOut(Rejection),
    /// The picture is larger or smaller than those before.
    OtherSize {
        size_px: (u32, u32),
        before_px: (u32, u32),
    },
    Full,
}

impl LensViews {
    /// Refuses single markers, which do not calibrate a lens.
    pub fn new(board: Board) -> Result<LensViews, CalibrateError> {
        board.check_for_lens()?;
        Ok(LensViews { board, names: Vec::new(), views: Vec::new(), numbers: Vec::new(), taken: 0 })
    }

    /// Takes the view if it shows something new, or the same more sharply.
    pub fn offer(&mut self, name: String, view: View) -> Offered {
        if let Some(first) = self.views.first() {
            let [size_px, before_px] = [&view, first].map(|view| (view.width_px, view.height_px));
            if size_px != before_px {
                return Offered::OtherSize { size_px, before_px };
            }
        }
        let newest = self.views.len();
        self.views.push(view);
        self.names.push(name);
        self.numbers.push(self.taken + 1);
        let mut verdicts = select_views(&self.views);
        if let Some(rejection) = verdicts[newest].take() {
            self.remove(newest);
            return Offered::LeftOut(rejection);
        }
        // What the newest shows to be blurred, or shows better, goes.
        for index in (0..newest).rev().filter(|&index| verdicts[index].is_some()) {
            self.remove(index);
        }
        let count = self.views.len();
        if count > LENS_VIEWS_MAX {
            self.remove(count - 1);
            return Offered::Full;
        }
        self.taken += 1;
        match count {
            count if count > newest => Offered::Taken,
            _ => Offered::Sharper,
        }
    }

    pub fn remove(&mut self, index: usize) {
        self.views.remove(index);
        self.names.remove(index);
        self.numbers.remove(index);
    }

    pub fn board(&self) -> &Board {
        &self.board
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The number of each view, which stays when others go.
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// How many views were ever taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    pub fn into_parts(self) -> (Vec<String>, Vec<View>) {
        (self.names, self.views)
    }

    /// What the views cover, by a guessed lens.
    pub fn coverage(&self) -> Coverage {
        Coverage::so_far(&self.views.iter().collect::<Vec<_>>())
    }

    /// Finds the lens.
    pub fn calibrate(&self, camera_name: &str) -> Result<IntrinsicsReport, CalibrateError> {
        let mut rejected = select_views(&self.views);
        calibrate_selected(&self.board, &self.views, &mut rejected, camera_name)
    }
}

/// [`calibrate_intrinsics`], where the views that are left show that the board ends where it was said
/// to.
pub fn calibrate_selected(
    board: &Board,
    views: &[View],
    rejected: &mut [Option<Rejection>],
    camera_name: &str,
) -> Result<IntrinsicsReport, CalibrateError> {
    let kept = views.iter().zip(&*rejected).filter(|(_, rejected)| rejected.is_none());
    let mut kept = kept.map(|(view, _)| view).peekable();
    if kept.peek().is_some() {
        board.check_ends_seen(kept)?;
    }
    calibrate_intrinsics(views, rejected, camera_name)
}

#[cfg(test)]
mod tests {
    use nalgebra::{Point2, Point3};

    use super::super::board::BoardPoint;
    use super::*;

    fn board() -> Board {
        Board::Chessboard { corners_x: 4, corners_y: 3, square_length_m: 0.03 }
    }

    /// A board that begins at `x_px`, with edges of this width.
    fn view(x_px: f64, edge_width_px: f64) -> View {
        let point = |id: usize| {
            let (column, row) = ((id % 4) as f64, (id / 4) as f64);
            BoardPoint {
                id,
                in_board: Point3::new(0.03 * column, 0.03 * row, 0.0),
                px: Point2::new(x_px + 40.0 * column, 40.0 + 40.0 * row),
            }
        };
        View {
            width_px: 640,
            height_px: 480,
            points: (0..12).map(point).collect(),
            edge_width_px: Some(edge_width_px),
            mismatch: None,
            ends_seen: true,
        }
    }

    fn check(offered: &[(f64, f64)], expected: &str) {
        let mut views = LensViews::new(board()).unwrap();
        let answers = offered.iter().map(|(x_px, edge_width_px)| {
            match views.offer(format!("at {x_px}"), view(*x_px, *edge_width_px)) {
                Offered::Taken => 'T',
                Offered::Sharper => 'S',
                Offered::LeftOut(Rejection::Blurred { .. }) => 'b',
                Offered::LeftOut(Rejection::Duplicate { .. }) => 'd',
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(answers.collect::<String>(), expected);
        assert_eq!(views.names().len(), views.views().len());
    }

    #[test]
    fn a_view_is_taken_where_the_board_was_not_yet_and_the_sharper_of_two_stays() {
        check(&[(10.0, 2.0), (12.0, 2.5), (80.0, 2.0)], "TdT");
        check(&[(10.0, 2.5), (12.0, 2.0), (80.0, 2.0)], "TST");
        check(&[(10.0, 2.0), (80.0, 2.0), (160.0, 8.0)], "TTb");
    }

    /// Else the first few would decide for ever what is sharp.
    #[test]
    fn sharp_views_are_taken_after_blurred_ones() {
        let blurred = [(10.0, 9.0), (60.0, 9.0)];
        let sharp = [(110.0, 2.0), (160.0, 2.0), (210.0, 2.0), (260.0, 2.0)];
        let mut views = LensViews::new(board()).unwrap();
        for (x_px, edge_width_px) in blurred.into_iter().chain(sharp) {
            views.offer(String::new(), view(x_px, edge_width_px));
        }
        let widths: Vec<_> = views.views().iter().map(|view| view.edge_width_px).collect();
        assert_eq!(widths, [Some(2.0); 4]);
    }

    #[test]
    fn pictures_of_another_size_and_more_than_enough_are_left_out() {
        let mut views = LensViews::new(board()).unwrap();
        views.offer(String::new(), view(10.0, 2.0));
        let other = View { width_px: 320, height_px: 240, ..view(80.0, 2.0) };
        let offered = views.offer(String::new(), other);
        let (size_px, before_px) = ((320, 240), (640, 480));
        assert_eq!(offered, Offered::OtherSize { size_px, before_px });
        for step in 1..LENS_VIEWS_MAX {
            assert_eq!(
                views.offer(String::new(), view(10.0 + 9.0 * step as f64, 2.0)),
                Offered::Taken
            );
        }
        assert_eq!(views.offer(String::new(), view(1e4, 2.0)), Offered::Full);
        assert_eq!(views.views().len(), LENS_VIEWS_MAX);
    }

    #[test]
    fn single_markers_are_refused() {
        let dictionary = "DICT_4X4_50".parse().unwrap();
        let why = LensViews::new(Board::Markers { marker_length_m: 0.03, dictionary }).unwrap_err();
        assert_eq!(why.to_string(), "single markers do not calibrate a lens: use a board");
    }
}
