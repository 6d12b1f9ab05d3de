//! A labelled dataset, checked.
//!
//! # Conventions
//! COCO instances. An annotation may say `"mask_source": "bbox"`: then it is a rectangle, and no
//! outline. An image may say `"all_polygon"`: whether everything in it is outlined. Where a dataset
//! says either anywhere, its images are taken as labelled throughout only if they say
//! `"all_polygon": true`; else all are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotcoco::{Annotation, COCO, Image, Segmentation};

use magpie_daemon::failure::Failure;

pub(super) struct LabelledDataset {
    /// Made from the path, for headings and files.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Annotations have ids from 1 in their order.
    pub(super) coco: COCO,
    /// Made by `magpie simulate`: the truth is exact.
    pub(super) is_simulated: bool,
    labelled_throughout: HashSet<u64>,
}

/// Five times the largest set of labels that we know of, COCO's own.
const LABELS_BYTES_MAX: u64 = 2_000_000_000;
/// Empty outlines beyond these are only counted.
const EMPTY_NAMED_MAX: usize = 20;

impl LabelledDataset {
    pub(super) fn read(path: &Path) -> Result<LabelledDataset, Failure> {
        let coco = without_empty_outlines(&read_coco(path).map_err(Failure::Fault)?, path);
        let says_where = coco.dataset.images.iter().any(|image| says_all(image).is_some())
            || coco.dataset.annotations.iter().any(is_rectangle);
        let images = coco.dataset.images.iter();
        let labelled_throughout = images
            .filter(|image| !says_where || says_all(image) == Some(true))
            .map(|image| image.id)
            .collect();
        Ok(LabelledDataset {
            name: name(path),
            path: path.to_owned(),
            is_simulated: path.with_file_name("truth.jsonl").is_file(),
            coco,
            labelled_throughout,
        })
    }

    /// Whether everything in the picture is labelled: only there is a finding without a label wrong.
    pub(super) fn is_labelled_throughout(&self, image_id: u64) -> bool {
        self.labelled_throughout.contains(&image_id)
    }

    pub(super) fn picture(&self, image: &Image) -> PathBuf {
        self.path.parent().unwrap_or_else(|| Path::new(".")).join(&image.file_name)
    }
}

fn read_coco(path: &Path) -> anyhow::Result<COCO> {
    let read = || {
        magpie_files::check_input(path, LABELS_BYTES_MAX)?;
        COCO::new(path).map_err(anyhow::Error::from)
    };
    let mut coco = read().with_context(|| {
        let path = path.display();
        format!("read COCO annotations {path} (JSON with images, annotations, categories)")
    })?;
    let dataset = &mut coco.dataset;
    anyhow::ensure!(
        !dataset.images.is_empty(),
        "{} lists no images; expected COCO instances (images, annotations, categories)",
        path.display()
    );
    anyhow::ensure!(
        !dataset.annotations.is_empty(),
        "{} labels nothing: there is nothing to score against; of pictures without packages, \
         `magpie eval --empty PICTURES` counts what is found",
        path.display()
    );
    let images: HashSet<u64> = dataset.images.iter().map(|image| image.id).collect();
    let categories: HashSet<u64> = dataset.categories.iter().map(|category| category.id).collect();
    for annotation in &dataset.annotations {
        let Annotation { id, image_id, category_id, .. } = annotation;
        let known = images.contains(image_id) && categories.contains(category_id);
        anyhow::ensure!(
            known,
            "{}: annotation {id} is of image {image_id} and category {category_id}, \
             and one of them is not in the file; add it, or remove the annotation",
            path.display()
        );
    }
    for image in &dataset.images {
        anyhow::ensure!(
            image.width > 0 && image.height > 0 && !image.file_name.is_empty(),
            "{}: image {} has no file_name, width or height; add what is missing",
            path.display(),
            image.id
        );
    }
    Ok(coco)
}

/// An outline that encloses no pixel is none: its label is scored by its box alone. Annotations
/// are numbered anew: a file may count them as it likes.
fn without_empty_outlines(coco: &COCO, path: &Path) -> COCO {
    let mut dataset = coco.dataset.clone();
    let mut empty = 0;
    for annotation in &mut dataset.annotations {
        if !is_outlined(annotation) || encloses_something(coco, annotation) {
            continue;
        }
        // An empty list of polygons is COCO's way of saying that nothing was drawn.
        let was_drawn =
            !matches!(&annotation.segmentation, Some(Segmentation::Polygon(p)) if p.is_empty());
        annotation.segmentation = None;
        if was_drawn {
            empty += 1;
            if empty <= EMPTY_NAMED_MAX {
                let file = coco.get_img(annotation.image_id).map_or("", |image| &image.file_name);
                tracing::warn!(
                    "the outline of label {} in {file} encloses no pixel",
                    annotation.id
                );
            }
        }
    }
    if empty > 0 {
        tracing::warn!(
            "{}: {empty} outlines enclose no pixel; their labels are scored by their boxes alone",
            path.display()
        );
    }
    for (id, annotation) in (1..).zip(&mut dataset.annotations) {
        annotation.id = id;
    }
    COCO::from_dataset(dataset)
}

fn encloses_something(coco: &COCO, annotation: &Annotation) -> bool {
    coco.ann_to_rle(annotation).is_some_and(|rle| hotcoco::mask::area(&rle) > 0)
}

/// Whether the label is a single package with an outline.
pub(super) fn is_outlined(annotation: &Annotation) -> bool {
    !annotation.iscrowd && annotation.segmentation.is_some() && !is_rectangle(annotation)
}

/// Whether only a rectangle was drawn, whatever the segmentation says.
pub(super) fn is_rectangle(annotation: &Annotation) -> bool {
    let source = annotation.extra.get("mask_source").and_then(|source| source.as_str());
    source == Some("bbox")
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
