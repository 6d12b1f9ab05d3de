//! A labelled dataset, checked.
//!
//! # Conventions
//! COCO instances. An annotation may say `"mask_source": "bbox"`: then it is a rectangle, and no
//! outline. An image may say `"all_polygon"`: whether everything in it is outlined. Where a dataset
//! says either anywhere, its images are taken as labelled throughout only if they say
//! `"all_polygon": true`; else all are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use hotcoco::{Annotation, COCO, Category, Dataset, Image, Segmentation};

use super::labels::{self, Document, Labelled, Naming, Outline, Placed, Reading};
use magpie_daemon::failure::Failure;

pub(super) struct LabelledDataset {
    /// Made from the path, for headings and files.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Annotations have ids from 1 in their order, and so have images and categories.
    pub(super) coco: COCO,
    /// Names in the labels that are no class of the model.
    pub(super) unknown_names: Vec<String>,
    /// Made by `magpie simulate`: the truth is exact.
    pub(super) is_simulated: bool,
    labelled_throughout: HashSet<u64>,
}

/// Says of an annotation whether its segmentation is an outline or just its box.
const MASK_SOURCE: &str = "mask_source";
const RECTANGLE: &str = "bbox";
/// Wrong labels beyond these are only counted.
const WRONG_NAMED_MAX: usize = 20;

impl LabelledDataset {
    pub(super) fn read(
        path: &Path,
        naming: Naming<'_>,
        skip_bad_labels: bool,
    ) -> Result<LabelledDataset, Failure> {
        let dataset = read(path, naming, skip_bad_labels);
        dataset.map_err(Failure::Fault)
    }

    /// What could be typed behind `--map` for the first name that is no class.
    pub(super) fn example_of_map(&self, target: &str) -> String {
        let name = self.unknown_names.first().map_or("NAME", String::as_str);
        let pair = format!("{name}={target}");
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "=_-.".contains(letter);
        if pair.chars().all(plain) { pair } else { format!("'{}'", pair.replace('\'', "'\\''")) }
    }

    /// Whether everything in the picture is labelled: only there is a finding without a label wrong.
    pub(super) fn is_labelled_throughout(&self, image_id: u64) -> bool {
        self.labelled_throughout.contains(&image_id)
    }

    pub(super) fn picture(&self, image: &Image) -> PathBuf {
        PathBuf::from(&image.file_name)
    }
}

fn read(path: &Path, naming: Naming<'_>, skip_bad_labels: bool) -> anyhow::Result<LabelledDataset> {
    let document = Document::read(path)?;
    let reading = labels::read(&document, naming)?;
    tell(path, &reading, skip_bad_labels)?;
    let dataset = dataset(&document, &reading, naming.classes);
    ensure!(
        !dataset.annotations.is_empty(),
        "{} labels nothing: there is nothing to score against; of pictures without packages, \
         `magpie eval --empty PICTURES` counts what is found",
        path.display()
    );
    ensure!(
        dataset.annotations.iter().any(|annotation| !annotation.iscrowd),
        "read labels {}: {} pictures, none labelled: all {} annotations are crowds (iscrowd); set it to 0",
        path.display(),
        dataset.images.len(),
        dataset.annotations.len()
    );
    let images = &dataset.images;
    let says_where =
        document.has_rectangles || images.iter().any(|image| says_all(image).is_some());
    let labelled_throughout = images
        .iter()
        .filter(|image| !says_where || says_all(image) == Some(true))
        .map(|image| image.id)
        .collect();
    Ok(LabelledDataset {
        name: name(path),
        path: path.to_owned(),
        is_simulated: path.with_file_name("truth.jsonl").is_file(),
        coco: COCO::from_dataset(dataset),
        unknown_names: reading.unknown,
        labelled_throughout,
    })
}

/// Says what is wrong with the labels. That is an error unless they are to be left out.
fn tell(path: &Path, reading: &Reading, skip_bad_labels: bool) -> anyhow::Result<()> {
    for note in &reading.notes {
        tracing::warn!("{note}");
    }
    for problem in reading.problems.iter().take(WRONG_NAMED_MAX) {
        tracing::warn!("wrong label: {problem}");
    }
    let Some(first) = reading.problems.first().filter(|_| !skip_bad_labels) else {
        return Ok(());
    };
    let (path, count) = (path.display(), reading.problems.len());
    Err(anyhow::anyhow!("{first}")).with_context(|| {
        format!(
            "read labels {path}: {count} wrong, the first of which follows; correct them, or leave \
             them out by --skip-bad-labels"
        )
    })
}

/// The labels as COCO's evaluation takes them.
fn dataset(document: &Document, reading: &Reading, classes: &[String]) -> Dataset {
    let names = category_names(document, reading, classes);
    let mut dataset = Dataset {
        categories: (1..)
            .zip(&names)
            .map(|(id, name)| Category { id, name: name.clone(), ..Category::default() })
            .collect(),
        ..Dataset::default()
    };
    for (image_id, picture) in (1..).zip(&reading.pictures) {
        dataset.images.push(image(image_id, picture));
        let category = |class: &String| names.iter().position(|name| name == class);
        let packages = picture.packages.iter().map(|(class, placed)| (category(class), placed));
        let crowds = picture.crowds.iter().map(|placed| (None, placed));
        for ((category, placed), iscrowd) in
            packages.map(|package| (package, false)).chain(crowds.map(|crowd| (crowd, true)))
        {
            let id = dataset.annotations.len() as u64 + 1;
            let mut label = annotation(placed, (picture.width_px, picture.height_px));
            // What a crowd hides may be of any type; the first one stands for all.
            let category_id = category.unwrap_or(0) as u64 + 1;
            label.id = id;
            (label.image_id, label.category_id, label.iscrowd) = (image_id, category_id, iscrowd);
            dataset.annotations.push(label);
        }
    }
    dataset
}

/// Those that are labelled, and those that the file lists and the model has: a finding of theirs is
/// wrong where none is labelled.
fn category_names(document: &Document, reading: &Reading, classes: &[String]) -> Vec<String> {
    let listed = document.categories.iter().map(|name| labels::usual(name));
    let listed = listed.filter(|name| classes.contains(name));
    let labelled = reading.pictures.iter().flat_map(|picture| &picture.packages);
    let mut names: Vec<String> = Vec::new();
    for name in listed.chain(labelled.map(|(name, _)| name.clone())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.extend(classes.first().cloned());
    }
    names
}

fn image(id: u64, picture: &Labelled) -> Image {
    let extra = serde_json::Value::Object(picture.extra.clone());
    Image {
        id,
        file_name: picture.path.display().to_string(),
        width: picture.width_px,
        height: picture.height_px,
        extra: serde_json::from_value(extra).unwrap_or_default(),
        ..Image::default()
    }
}

fn annotation(placed: &Placed, (width, height): (u32, u32)) -> Annotation {
    let [x0, y0, x1, y1] = placed.beside.unwrap_or(placed.edges);
    let segmentation = match &placed.outline {
        Outline::Polygons(pieces) => Segmentation::Polygon(pieces.clone()),
        Outline::Runs(mask) => {
            Segmentation::CompressedRle { size: [height, width], counts: mask.to_coco_string() }
        }
    };
    let source = if placed.outlined { "outline" } else { RECTANGLE };
    let extra = serde_json::json!({ MASK_SOURCE: source });
    Annotation {
        bbox: Some([x0, y0, x1 - x0, y1 - y0]),
        area: Some(placed.outline.area_px()),
        segmentation: Some(segmentation),
        extra: serde_json::from_value(extra).unwrap_or_default(),
        ..Annotation::default()
    }
}

/// Whether the label is a single package with an outline.
pub(super) fn is_outlined(annotation: &Annotation) -> bool {
    let source = annotation.extra.get(MASK_SOURCE).and_then(|source| source.as_str());
    !annotation.iscrowd && source != Some(RECTANGLE)
}

fn says_all(image: &Image) -> Option<bool> {
    image.extra.get("all_polygon").and_then(serde_json::Value::as_bool)
}

/// The file's name, or its folder's where the file's says nothing; letters that files like.
fn name(path: &Path) -> String {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map_or_else(String::new, |part| part.to_string_lossy().into_owned())
    };
    let (file, folder) = (part(path.file_stem()), part(path.parent().and_then(Path::file_name)));
    let name = if file == "annotations" && !folder.is_empty() {
        folder
    } else if folder.is_empty() {
        file
    } else {
        format!("{folder}_{file}")
    };
    name.replace(|letter: char| !letter.is_alphanumeric() && !"-_.".contains(letter), "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_are_named_by_what_tells_them_apart() {
        assert_eq!(name(Path::new("sim/val_b/annotations.json")), "val_b");
        assert_eq!(name(Path::new("data/pallet boxes/val.json")), "pallet_boxes_val");
        assert_eq!(name(Path::new("val.json")), "val");
    }
}
