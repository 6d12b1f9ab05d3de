//! The outline or the box of one label.

use magpie_perception::Mask;
use serde_json::Value;

/// What cannot be meant, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Outline {
    /// `[x, y, x, y, ...]` each.
    Polygons(Vec<Vec<f64>>),
    Runs(Mask),
}

impl Outline {
    pub(in super::super) fn area_px(&self) -> f64 {
        match self {
            Outline::Polygons(pieces) => pieces.iter().map(|piece| area(piece)).sum(),
            Outline::Runs(mask) => f64::from(mask.area_px()),
        }
    }
}

/// As it was drawn.
pub(super) struct Shape {
    pub(super) outline: Option<Outline>,
    /// `x_min, y_min, x_max, y_max`: all that is known, or what stands for an empty outline.
    pub(super) edges: Option<[f64; 4]>,
}

/// Within its picture.
pub(in super::super) struct Placed {
    pub(in super::super) outline: Outline,
    /// `x_min, y_min, x_max, y_max`.
    pub(in super::super) edges: [f64; 4],
    /// The box that the file has beside an outline, by which boxes are scored.
    pub(in super::super) beside: Option<[f64; 4]>,
    /// Not just a rectangle drawn around.
    pub(in super::super) outlined: bool,
}

/// One label.
pub(super) struct Drawn {
    pub(super) name: String,
    /// File, number and picture, for messages.
    pub(super) place: String,
    pub(super) shape: Result<Shape, Wrong>,
}

/// An area below this encloses no pixel.
const AREA_PX_MIN: f64 = 1.0;

pub(super) fn shape(annotation: &Value) -> Result<Shape, Wrong> {
    let wrong = |what: &str| Err(Wrong(what.to_owned()));
    let bbox = box_beside(annotation.get("bbox"));
    let edges = bbox.filter(|edges| edges.iter().all(|edge| edge.is_finite()));
    let outline = annotation.get("segmentation").filter(|outline| !is_nothing(outline));
    let outline = outline.filter(|_| !says_rectangle(annotation));
    match outline {
        None => match annotation.get("bbox").filter(|bbox| !is_nothing(bbox)) {
            None => wrong("has neither an outline nor a box; draw it again"),
            Some(_) if bbox.is_none() => {
                wrong("its box is not x, y, width and height; draw it again")
            }
            Some(_) if edges.is_none() => wrong("its box holds NaN or infinity; draw it again"),
            Some(_) => Ok(Shape { outline: None, edges }),
        },
        Some(Value::Object(runs)) => {
            let mask = runs_of(runs.get("size"), runs.get("counts"))?;
            Ok(Shape { outline: Some(Outline::Runs(mask)), edges })
        }
        Some(Value::Array(pieces)) => {
            let pieces: Option<Vec<Vec<f64>>> = pieces.iter().map(polygon).collect();
            let is_finite = |piece: &Vec<f64>| piece.iter().all(|value| value.is_finite());
            match pieces {
                Some(pieces) if !pieces.iter().all(is_finite) => {
                    wrong("its outline holds NaN or infinity; draw it again")
                }
                Some(pieces) => Ok(Shape { outline: Some(Outline::Polygons(pieces)), edges }),
                None => {
                    wrong("its segmentation is not made of lists of x, y pairs; export it again")
                }
            }
        }
        Some(_) => wrong("its segmentation is not made of lists of x, y pairs; export it again"),
    }
}

pub(super) fn says_rectangle(annotation: &Value) -> bool {
    annotation.get("mask_source").and_then(Value::as_str) == Some("bbox")
}

/// What Python takes for false.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    }
}

/// `[x, y, x, y, ...]` or `[[x, y], ...]`; `None` where there are no pairs.
fn polygon(piece: &Value) -> Option<Vec<f64>> {
    let mut flat = Vec::new();
    for value in piece.as_array()? {
        match value {
            Value::Array(pair) => {
                flat.extend(pair.iter().map(number).collect::<Option<Vec<f64>>>()?);
            }
            value => flat.push(number(value)?),
        }
    }
    flat.len().is_multiple_of(2).then_some(flat)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Edges from `[x, y, width, height]`.
pub(super) fn box_beside(bbox: Option<&Value>) -> Option<[f64; 4]> {
    let values: Option<Vec<f64>> = bbox?.as_array()?.iter().map(number).collect();
    match values?.as_slice() {
        &[x, y, width, height] => Some([x, y, x + width, y + height]),
        _ => None,
    }
}

/// Runs that do not cover the picture exactly would be read as another mask.
fn runs_of(size: Option<&Value>, counts: Option<&Value>) -> Result<Mask, Wrong> {
    let unknown = || Wrong("its segmentation has no size or no counts; export it again".to_owned());
    let side = |value: &Value| whole_run(value).map(|side| side as f64);
    let sides = size.and_then(Value::as_array).ok_or_else(unknown)?;
    let sides: Option<Vec<f64>> = sides.iter().map(side).collect();
    let Some(&[height, width]) = sides.as_deref() else { return Err(unknown()) };
    let mask = match counts {
        Some(Value::Array(counts)) => {
            let runs: Option<Vec<i64>> = counts.iter().map(whole_run).collect();
            let runs = runs.ok_or_else(unknown)?;
            let runs: Option<Vec<u32>> = runs.iter().map(|run| u32::try_from(*run).ok()).collect();
            let filled = |runs| Mask::from_counts(px(width)?, px(height)?, runs).ok();
            runs.and_then(filled)
        }
        Some(Value::String(text)) => {
            let read = || Mask::from_coco_string(px(width)?, px(height)?, text).ok();
            read()
        }
        _ => return Err(unknown()),
    };
    mask.ok_or_else(|| Wrong(format!("its runs do not fill {width}x{height}; export it again")))
}

#[expect(clippy::cast_possible_truncation, reason = "far within the range of i64")]
fn whole_run(value: &Value) -> Option<i64> {
    let float = || value.as_f64().filter(|run| run.abs() < 1e15).map(|run| run as i64);
    value.as_i64().or_else(float).or_else(|| value.as_str()?.trim().parse().ok())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the range of u32"
)]
fn px(side: f64) -> Option<u32> {
    (1.0..=f64::from(u32::MAX)).contains(&side).then_some(side as u32)
}

/// The shape within a picture of this size.
pub(super) fn placed(drawn: &Drawn, size: (u32, u32)) -> Result<Placed, Wrong> {
    let Shape { outline, edges } = drawn.shape.as_ref().map_err(Clone::clone)?;
    let nothing = || Wrong("encloses nothing inside the picture; draw it again".to_owned());
    let outlined = match outline {
        Some(Outline::Polygons(pieces)) => polygons_within(pieces, size),
        Some(Outline::Runs(mask)) => runs_within(mask, size)?,
        None => None,
    };
    let boxed = edges.and_then(|edges| rectangle(edges, size));
    let Some(outlined) = outlined else { return boxed.ok_or_else(nothing) };
    Ok(Placed { beside: boxed.and(*edges), ..outlined })
}

fn polygons_within(pieces: &[Vec<f64>], (width, height): (u32, u32)) -> Option<Placed> {
    let whole = |piece: &&Vec<f64>| piece.len() >= 6 && piece.iter().all(|v| v.is_finite());
    let pieces: Vec<Vec<f64>> = (pieces.iter().filter(whole))
        .map(|piece| within(piece, f64::from(width), f64::from(height)))
        .filter(|piece| area(piece) >= AREA_PX_MIN)
        .collect();
    let mut edges = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for corner in pieces.iter().flat_map(|piece| piece.as_chunks::<2>().0) {
        for axis in 0..2 {
            edges[axis] = edges[axis].min(corner[axis]);
            edges[axis + 2] = edges[axis + 2].max(corner[axis]);
        }
    }
    let outline = Outline::Polygons(pieces);
    edges[0].is_finite().then_some(Placed { outline, edges, beside: None, outlined: true })
}

fn runs_within(mask: &Mask, size: (u32, u32)) -> Result<Option<Placed>, Wrong> {
    let (width, height) = (mask.width_px(), mask.height_px());
    if (width, height) != size {
        return Err(Wrong(format!(
            "its mask is {width}x{height}, its picture {}x{}; export it again",
            size.0, size.1
        )));
    }
    Ok(mask.bbox().map(|bbox| Placed {
        outline: Outline::Runs(mask.clone()),
        edges: [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px].map(f64::from),
        beside: None,
        outlined: true,
    }))
}

fn rectangle(edges: [f64; 4], (width, height): (u32, u32)) -> Option<Placed> {
    let ends = [width, height, width, height].map(f64::from);
    // As NumPy's `nan_to_num`: no number is 0.
    let inside = |at: usize| if edges[at].is_nan() { 0.0 } else { edges[at].clamp(0.0, ends[at]) };
    let edges: [f64; 4] = std::array::from_fn(inside);
    let [x0, y0, x1, y1] = edges;
    let outline = Outline::Polygons(vec![vec![x0, y0, x1, y0, x1, y1, x0, y1]]);
    (x1 - x0 >= 1.0 && y1 - y0 >= 1.0).then_some(Placed {
        outline,
        edges,
        beside: None,
        outlined: false,
    })
}

/// The part of a polygon inside the picture, by Sutherland and Hodgman.
fn within(flat: &[f64], width: f64, height: f64) -> Vec<f64> {
    let mut corners: Vec<[f64; 2]> = flat.as_chunks::<2>().0.to_vec();
    for (axis, edge, sign) in [(0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)] {
        let inside = |corner: &[f64; 2]| sign * (corner[axis] - edge) >= 0.0;
        let mut kept = Vec::new();
        for (at, one) in corners.iter().enumerate() {
            let other = &corners[(at + 1) % corners.len()];
            if inside(one) {
                kept.push(*one);
            }
            if inside(one) != inside(other) {
                let share = (edge - one[axis]) / (other[axis] - one[axis]);
                let across = one[1 - axis] + share * (other[1 - axis] - one[1 - axis]);
                kept.push(if axis == 0 { [edge, across] } else { [across, edge] });
            }
        }
        corners = kept;
    }
    corners.concat()
}

fn area(flat: &[f64]) -> f64 {
    let corners = flat.as_chunks::<2>().0;
    let next = corners.iter().cycle().skip(1);
    let twice: f64 = corners.iter().zip(next).map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum();
    0.5 * twice.abs()
}
