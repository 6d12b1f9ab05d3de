//! Pictures by what is known of how they were taken.

use std::collections::BTreeMap;

use hotcoco::Image;

use super::dataset::LabelledDataset;

/// A group's name and the images in it.
pub(super) struct Group {
    /// `distance`, `tilt` or `background`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) image_ids: Vec<u64>,
}

/// Edges between groups of distance.
const DISTANCE_M: [f64; 3] = [0.8, 1.4, 2.2];
/// Edges between groups of tilt: from straight above (0) to along the ground (90).
const TILT_DEG: [f64; 3] = [15.0, 40.0, 65.0];

/// The groups of a dataset whose images say `distance_m`, `tilt_deg` and `background`; one that
/// says nothing has none.
pub(super) fn groups(dataset: &LabelledDataset) -> Vec<Group> {
    let number = |image: &Image, key: &str| image.extra.get(key).and_then(|value| value.as_f64());
    let images = &dataset.coco.dataset.images;
    let distance =
        by(images, "distance", |image| Some(span(number(image, "distance_m")?, DISTANCE_M, "m")));
    let tilt = by(images, "tilt", |image| Some(span(number(image, "tilt_deg")?, TILT_DEG, "deg")));
    let background = by(images, "background", |image| {
        Some((0, image.extra.get("background")?.as_str()?.to_owned()))
    });
    distance.chain(tilt).chain(background).collect()
}

/// In the order of the keys.
fn by(
    images: &[Image],
    kind: &'static str,
    key: impl Fn(&Image) -> Option<(usize, String)>,
) -> impl Iterator<Item = Group> {
    let mut groups: BTreeMap<(usize, String), Vec<u64>> = BTreeMap::new();
    for image in images {
        if let Some(key) = key(image) {
            groups.entry(key).or_default().push(image.id);
        }
    }
    groups.into_iter().map(move |((_, name), image_ids)| Group { kind, name, image_ids })
}

/// Where a value lies among the edges, and that in words.
fn span(value: f64, edges: [f64; 3], unit: &str) -> (usize, String) {
    let at = edges.iter().filter(|edge| value >= **edge).count();
    let name = match at {
        0 => format!("under {} {unit}", edges[0]),
        3 => format!("{} {unit} and more", edges[2]),
        _ => format!("{} to {} {unit}", edges[at - 1], edges[at]),
    };
    (at, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_an_edge_belongs_to_the_span_above() {
        assert_eq!(span(0.79, DISTANCE_M, "m"), (0, "under 0.8 m".to_owned()));
        assert_eq!(span(0.8, DISTANCE_M, "m"), (1, "0.8 to 1.4 m".to_owned()));
        assert_eq!(span(65.0, TILT_DEG, "deg"), (3, "65 deg and more".to_owned()));
    }
}
