//! Which views are worth solving with.

use super::View;

/// Why a view was left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// Too little of the board.
    FewPoints {
        points: usize,
    },
    /// The board is not as it was described.
    Doubtful(String),
    Blurred {
        edge_width_px: f64,
        usual_px: f64,
    },
    /// The board hardly moved since another view, which is named by its index.
    Duplicate {
        of: usize,
        distance_px: f64,
    },
    /// Far worse than the others after solving: a misread corner, or a bent board.
    Misfit {
        rms_px: f64,
        usual_px: f64,
    },
}

/// Corners that OpenCV wants, and that say something about a lens.
const POINTS_MIN: usize = 6;
/// An edge as wide as this is blurred, however blurred the others are.
const EDGE_WIDTH_PX_MAX: f64 = 10.0;
/// No view as sharp as this is blurred.
const EDGE_WIDTH_PX_SHARP: f64 = 3.0;
/// A board that moved by less than this share of the image's diagonal was not moved.
const MOVED_SHARE_MIN: f64 = 0.01;

/// One answer for each view, in order: `None` keeps it.
pub fn select_views(views: &[View]) -> Vec<Option<Rejection>> {
    let mut widths: Vec<f64> = views.iter().filter_map(|view| view.edge_width_px).collect();
    widths.sort_by(f64::total_cmp);
    let usual_px = widths.get(widths.len() / 2).copied().unwrap_or(0.0);
    let mut answers: Vec<Option<Rejection>> =
        views.iter().map(|view| unusable(view, usual_px)).collect();
    // Of two alike the sharper stays.
    let mut order: Vec<usize> = (0..views.len()).filter(|&i| answers[i].is_none()).collect();
    let width = |index: usize| views[index].edge_width_px.unwrap_or(usual_px);
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
        answers[index] = same;
    }
    answers
}

fn unusable(view: &View, usual_px: f64) -> Option<Rejection> {
    if let Some(doubt) = &view.doubt {
        return Some(Rejection::Doubtful(doubt.clone()));
    }
    if view.points.len() < POINTS_MIN || in_one_line(view) {
        return Some(Rejection::FewPoints { points: view.points.len() });
    }
    let edge_width_px = view.edge_width_px?;
    let limit_px = (2.0 * usual_px).clamp(EDGE_WIDTH_PX_SHARP, EDGE_WIDTH_PX_MAX);
    (edge_width_px > limit_px).then_some(Rejection::Blurred { edge_width_px, usual_px })
}

/// One row or column of corners determines no pose.
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
            Rejection::Doubtful(doubt) => f.write_str(doubt),
            Rejection::Blurred { edge_width_px, usual_px } => {
                write!(f, "blurred: edges are {edge_width_px:.1} px wide, usually {usual_px:.1} px")
            }
            Rejection::Duplicate { distance_px, .. } => {
                write!(f, "the board moved by {distance_px:.1} px only")
            }
            Rejection::Misfit { rms_px, usual_px } => write!(
                f,
                "off by {rms_px:.2} px where {usual_px:.2} px are usual: bent, or misread"
            ),
        }
    }
}
