//! Which views are worth solving with.

use super::board::View;
use super::errors::Mismatch;

/// Why a view was left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// Too little of the board is in view.
    FewPoints { points: usize },
    /// The board is not as it was described.
    Mismatch(Mismatch),
    /// A part of the board is out of the picture, or covered, and the rest counts for nothing.
    Cut,
    /// The edges of the board are wider than those of the median view.
    Blurred { edge_width_px: f64, median_px: f64 },
    /// The board hardly moved since another view, which is named by its index.
    Duplicate { of: usize, distance_px: f64 },
    /// The view fits far worse than the others after solving: a misread corner, or a bent board.
    Misfit { rms_px: f64, median_px: f64 },
}

/// OpenCV wants this many corners, and fewer say nothing about a lens.
const POINTS_MIN: usize = 6;
/// An edge as wide as this is blurred, however blurred the others are.
const EDGE_WIDTH_PX_MAX: f64 = 10.0;
/// No view as sharp as this is blurred.
const EDGE_WIDTH_PX_SHARP: f64 = 3.0;
/// A board that moved by less than this share of the image's diagonal was not moved.
const MOVED_SHARE_MIN: f64 = 0.01;

/// Returns a verdict for each view, in order: `None` keeps it.
pub fn select_views(views: &[View]) -> Vec<Option<Rejection>> {
    let mut widths: Vec<f64> = views.iter().filter_map(|view| view.edge_width_px).collect();
    widths.sort_by(f64::total_cmp);
    let median_px = widths.get(widths.len() / 2).copied().unwrap_or(0.0);
    let mut verdicts: Vec<Option<Rejection>> =
        views.iter().map(|view| unusable(view, median_px)).collect();
    // The sharper of two that are alike stays.
    let mut order: Vec<usize> = (0..views.len()).filter(|&i| verdicts[i].is_none()).collect();
    let width = |index: usize| views[index].edge_width_px.unwrap_or(median_px);
    order.sort_by(|&a, &b| width(a).total_cmp(&width(b)).then(a.cmp(&b)));
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        let view = &views[index];
        let diagonal_px = f64::from(view.width_px).hypot(f64::from(view.height_px));
        let same = kept.iter().find_map(|&other| {
            let distance_px = view.distance_px(&views[other])?;
            let alike = distance_px < MOVED_SHARE_MIN * diagonal_px;
            alike.then_some(Rejection::Duplicate { of: other, distance_px })
        });
        if same.is_none() {
            kept.push(index);
        }
        verdicts[index] = same;
    }
    verdicts
}

fn unusable(view: &View, median_px: f64) -> Option<Rejection> {
    if let Some(mismatch) = &view.mismatch {
        return Some(Rejection::Mismatch(mismatch.clone()));
    }
    if view.points.is_empty() && !view.ends_seen {
        return Some(Rejection::Cut);
    }
    if view.points.len() < POINTS_MIN || in_one_line(view) {
        return Some(Rejection::FewPoints { points: view.points.len() });
    }
    blurred(view, median_px)
}

/// Whether the board is blurred beside others whose edges have this median width.
pub fn blurred(view: &View, median_px: f64) -> Option<Rejection> {
    let edge_width_px = view.edge_width_px?;
    let limit_px = (2.0 * median_px).clamp(EDGE_WIDTH_PX_SHARP, EDGE_WIDTH_PX_MAX);
    (edge_width_px > limit_px).then_some(Rejection::Blurred { edge_width_px, median_px })
}

/// Corners in one row or column determine no pose.
fn in_one_line(view: &View) -> bool {
    let first = view.points[0].in_board;
    let same = |of: fn(&nalgebra::Point3<f64>) -> f64| {
        view.points.iter().all(|point| (of(&point.in_board) - of(&first)).abs() < 1e-9)
    };
    same(|point| point.x) || same(|point| point.y)
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rejection::FewPoints { points } => write!(f, "only {points} corners of the board"),
            Rejection::Mismatch(mismatch) => write!(f, "{mismatch}"),
            Rejection::Cut => f.write_str("the board reaches out of the picture, or is covered"),
            Rejection::Blurred { edge_width_px, median_px } => {
                write!(
                    f,
                    "blurred: edges are {edge_width_px:.1} px wide, {median_px:.1} px in the median"
                )
            }
            Rejection::Duplicate { distance_px, .. } => {
                write!(f, "the board moved by {distance_px:.1} px only")
            }
            Rejection::Misfit { rms_px, median_px } => write!(
                f,
                "off by {rms_px:.2} px, {median_px:.2} px in the median view: bent, or misread"
            ),
        }
    }
}
