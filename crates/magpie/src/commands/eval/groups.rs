//! Groups of pictures that were taken under similar conditions.

use std::collections::{BTreeMap, HashMap};

use hotcoco::Image;

use super::dataset::LabelledDataset;

/// A group's name and the images in it.
pub(super) struct Group {
    /// `largest package`, `distance`, `tilt` or `background`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) image_ids: Vec<u64>,
}

/// Edges between groups of the longest side of a package, in sides of the picture.
const LARGEST_PERCENT: [f64; 3] = [25.0, 50.0, 75.0];
/// Edges between groups of distance.
const DISTANCE_M: [f64; 3] = [0.8, 1.4, 2.2];
/// Edges between groups of tilt: from straight above (0) to along the ground (90).
const TILT_DEG: [f64; 3] = [15.0, 40.0, 65.0];

/// The groups of a dataset by how much of the picture its largest package fills, and, where its
/// images say `distance_m`, `tilt_deg` and `background`, by these.
pub(super) fn groups(dataset: &LabelledDataset) -> Vec<Group> {
    let number = |image: &Image, key: &str| image.extra.get(key).and_then(|value| value.as_f64());
    let images = &dataset.coco.dataset.images;
    let largest = largest_percent(dataset);
    let size = by(images, "largest package", |image| {
        Some(span(*largest.get(&image.id)?, LARGEST_PERCENT, "%"))
    });
    let distance =
        by(images, "distance", |image| Some(span(number(image, "distance_m")?, DISTANCE_M, "m")));
    let tilt = by(images, "tilt", |image| Some(span(number(image, "tilt_deg")?, TILT_DEG, "deg")));
    let background = by(images, "background", |image| {
        Some((0, image.extra.get("background")?.as_str()?.to_owned()))
    });
    size.chain(distance).chain(tilt).chain(background).collect()
}

/// The longest side of a package in each image, in percent of the image's own side.
fn largest_percent(dataset: &LabelledDataset) -> HashMap<u64, f64> {
    let mut largest: HashMap<u64, f64> = HashMap::new();
    for annotation in dataset.coco.dataset.annotations.iter().filter(|label| !label.iscrowd) {
        let image = dataset.coco.get_img(annotation.image_id);
        let (Some(image), Some([_, _, width, height])) = (image, annotation.bbox) else { continue };
        let share = (width / f64::from(image.width)).max(height / f64::from(image.height));
        let percent = largest.entry(annotation.image_id).or_default();
        *percent = percent.max(100.0 * share);
    }
    largest
}

/// Groups the images by a key, in the order of the keys.
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

/// The number of the span that a value lies in, and its name.
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
    use super::super::labels::Naming;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_on_an_edge_belongs_to_the_span_above() {
        assert_eq!(span(0.79, DISTANCE_M, "m"), (0, "under 0.8 m".to_owned()));
        assert_eq!(span(0.8, DISTANCE_M, "m"), (1, "0.8 to 1.4 m".to_owned()));
        assert_eq!(span(65.0, TILT_DEG, "deg"), (3, "65 deg and more".to_owned()));
    }

    #[test]
    fn a_picture_belongs_to_its_largest_package() {
        let folder = tempfile::tempdir().unwrap();
        let image = |id: u64| {
            let name = format!("{id}.png");
            image::RgbImage::new(200, 100).save(folder.path().join(&name)).unwrap();
            json!({"id": id, "file_name": name, "width": 200, "height": 100})
        };
        let label = |id, image_id, bbox: [f64; 4], crowd: u8| {
            let mut label = json!({"id": id, "image_id": image_id, "category_id": 7});
            label["bbox"] = json!(bbox);
            label["iscrowd"] = crowd.into();
            label
        };
        let document = json!({
            "images": [image(1), image(2), image(3)],
            "annotations": [
                label(1, 1, [0.0, 0.0, 20.0, 10.0], 0),
                label(2, 1, [30.0, 0.0, 20.0, 60.0], 0),
                label(3, 2, [0.0, 0.0, 30.0, 5.0], 0),
                label(4, 2, [0.0, 0.0, 200.0, 100.0], 1),
            ],
            "categories": [{"id": 7, "name": "box"}],
        });
        let path = folder.path().join("labels.json");
        std::fs::write(&path, document.to_string()).unwrap();
        let naming = Naming { classes: &["box".to_owned()], mapping: &[] };
        let dataset = LabelledDataset::read(&path, naming, false);
        let dataset = dataset.unwrap_or_else(|e| panic!("{}", e.message()));
        let found: Vec<_> = groups(&dataset).into_iter().map(|g| (g.name, g.image_ids)).collect();
        let expected = [("under 25 %", vec![2]), ("50 to 75 %", vec![1])];
        assert_eq!(found, expected.map(|(name, ids)| (name.to_owned(), ids)));
    }
}
