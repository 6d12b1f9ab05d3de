//! Whether the box beside an outline is that outline's: a contradiction gives away which of COCO's
//! conventions a file does not keep. `models/training/magpie_training/box_beside.py` tells the same.

use super::shape::{Outline, Placed};

/// A box that overlaps its outline's by less is not drawn around it.
const SAME_IOU_MIN: f64 = 0.5;
/// Read in another way, it is.
const MEANT_IOU_MIN: f64 = 0.8;
/// A box may reach this share of the picture beyond it: tools round, and draw past its border.
const BEYOND_SHARE_MAX: f64 = 0.02;

/// What a contradiction says.
pub(super) enum Contradiction {
    /// Which convention is not kept: nothing of the label can be believed.
    Kind(&'static str),
    /// That nobody knows which of the two is wrong.
    Unknown(String),
}

/// `edges`: the box as it is read, before it is cut at the picture's border.
pub(super) fn contradiction(
    placed: &Placed,
    edges: [f64; 4],
    size: (u32, u32),
) -> Option<Contradiction> {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let [x, y, x_max, y_max] = edges;
    if !placed.outlined {
        let is_beyond =
            x_max > (1.0 + BEYOND_SHARE_MAX) * width || y_max > (1.0 + BEYOND_SHARE_MAX) * height;
        let told =
            "its box ends beyond the picture, and is cut there; COCO's is x, y, width, height";
        return is_beyond.then(|| Contradiction::Unknown(told.to_owned()));
    }
    let overlap = |outline: [f64; 4], edges: [f64; 4]| {
        let [x0, y0, x1, y1] = edges;
        let inside = |value: f64, end: f64| value.clamp(0.0, end);
        let edges = [inside(x0, width), inside(y0, height), inside(x1, width), inside(y1, height)];
        iou(outline, edges)
    };
    let outline = placed.edges;
    let as_read = overlap(outline, edges);
    if as_read >= SAME_IOU_MIN {
        return None;
    }
    let (w, h) = (x_max - x, y_max - y);
    let readings = [
        (
            outline,
            [x, y, w, h],
            "its box is x_min, y_min, x_max, y_max, by its outline; COCO's is x, y, width, height",
        ),
        (
            outline,
            [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0],
            "its box is its centre, width and height, by its outline; COCO's begins at its corner",
        ),
        (
            outline,
            [x * width, y * height, (x + w) * width, (y + h) * height],
            "its box is in shares of the picture, by its outline; COCO's is in pixels",
        ),
        (
            [outline[1], outline[0], outline[3], outline[2]],
            edges,
            "its outline is y, x, by its box; COCO's is x, y",
        ),
    ];
    let along_rows = match &placed.outline {
        Outline::Runs(mask) => edges_along_rows(mask.counts(), u64::from(size.0)),
        Outline::Polygons(_) => None,
    };
    let along_rows = along_rows.map(|outline| {
        (outline, edges, "its runs go along rows, by its box; COCO's go down columns")
    });
    let mut meant = readings.into_iter().chain(along_rows);
    let kind = meant.find(|(outline, edges, _)| overlap(*outline, *edges) >= MEANT_IOU_MIN);
    Some(match kind {
        Some((.., told)) => Contradiction::Kind(told),
        None => Contradiction::Unknown(format!(
            "its box and its outline hardly overlap (IoU {as_read:.2}); one of them is wrong"
        )),
    })
}

fn iou(one: [f64; 4], other: [f64; 4]) -> f64 {
    let area = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let common = area([
        one[0].max(other[0]),
        one[1].max(other[1]),
        one[2].min(other[2]),
        one[3].min(other[3]),
    ]);
    let union = area(one) + area(other) - common;
    if union > 0.0 { common / union } else { 0.0 }
}

/// The box around runs that are read along rows instead of down columns.
fn edges_along_rows(counts: &[u32], width: u64) -> Option<[f64; 4]> {
    let mut found: Option<[u64; 4]> = None;
    let mut end = 0;
    for (at, &count) in counts.iter().enumerate() {
        let start = end;
        end += u64::from(count);
        if at.is_multiple_of(2) || count == 0 {
            continue;
        }
        let (top, bottom) = (start / width, (end - 1) / width);
        let (left, right) =
            if top == bottom { (start % width, (end - 1) % width) } else { (0, width - 1) };
        let [x0, y0, x1, y1] = found.unwrap_or([left, top, right, bottom]);
        found = Some([x0.min(left), y0.min(top), x1.max(right), y1.max(bottom)]);
    }
    found.map(|[x0, y0, x1, y1]| [x0, y0, x1 + 1, y1 + 1].map(|edge| edge as f64))
}
