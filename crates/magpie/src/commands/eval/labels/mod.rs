//! COCO labels as annotation tools write them, read by the rules by which they are learned
//! (`models/training/magpie_training/label_formats.py` and `labels.py`); `tests/labels` holds both
//! sides to them.
//!
//! # Conventions
//! Coordinates are pixels of the picture as viewers show it, a pixel's centre at half-integers.

mod beside;
mod document;
mod foreign;
mod picture;
mod shape;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::ensure;

use self::beside::{Contradiction, contradiction};
pub(super) use self::document::Document;
use self::document::Picture;
use self::picture::Finder;
use self::shape::{Drawn, Wrong, placed};
pub(super) use self::shape::{Outline, Placed};

/// A name that stands for "leave these out".
const NOTHING: &str = "none";
/// Outlines, and boxes that contradict them, beyond these are only counted.
const BOXED_NAMED_MAX: usize = 20;

/// What the names in the labels stand for.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    /// The model's.
    pub(super) classes: &'a [String],
    pub(super) mapping: &'a [(String, String)],
}

/// What a label file says, and what of it cannot be meant.
pub(super) struct Reading {
    pub(super) pictures: Vec<Labelled>,
    /// One line each.
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Names that stand for no class.
    pub(super) unknown: Vec<String>,
}

/// A picture whose labels were checked.
pub(super) struct Labelled {
    pub(super) path: PathBuf,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    pub(super) packages: Vec<(String, Placed)>,
    /// Where packages are that nobody told apart.
    pub(super) crowds: Vec<Placed>,
    /// What else the file says of the picture.
    pub(super) extra: serde_json::Map<String, serde_json::Value>,
}

/// Reads the labels of every picture, those without any among them.
pub(super) fn read(document: &Document, naming: Naming<'_>) -> anyhow::Result<Reading> {
    let path = &document.path;
    let names = Names::new(document, naming)?;
    let mut reading = Reading {
        pictures: Vec::new(),
        problems: Vec::new(),
        notes: names.unused(path, naming.mapping),
        unknown: names.unknown.clone(),
    };
    let mut finder = Finder::new(path);
    let (mut seen, mut notes) = (HashSet::new(), Notes::default());
    for picture in &document.pictures {
        match check(picture, path, &mut finder, &names, &mut reading.problems, &mut notes) {
            Ok(Some(labelled)) if !seen.insert(labelled.path.clone()) => {
                let (path, picture) = (path.display(), labelled.path.display());
                reading.problems.push(format!("{path}: {picture} is also labelled in {path}"));
            }
            Ok(Some(labelled)) => reading.pictures.push(labelled),
            Ok(None) => {}
            Err(Wrong(problem)) => reading.problems.push(problem),
        }
    }
    let Notes { boxed, doubted } = notes;
    let told = boxed.iter().take(BOXED_NAMED_MAX);
    reading.notes.extend(
        told.map(|place| format!("{place}: its outline encloses nothing; its box stands for it")),
    );
    if let Some(more) = boxed.len().checked_sub(BOXED_NAMED_MAX).filter(|more| *more > 0) {
        reading
            .notes
            .push(format!("{more} more outlines enclose nothing; their boxes stand for them"));
    }
    let more = doubted.len().saturating_sub(BOXED_NAMED_MAX);
    reading.notes.extend(doubted.into_iter().take(BOXED_NAMED_MAX));
    if more > 0 {
        reading.notes.push(format!("{more} more boxes contradict their outlines or pictures"));
    }
    Ok(reading)
}

/// What is told of labels that are taken all the same.
#[derive(Default)]
struct Notes {
    /// Where a box stands for an empty outline.
    boxed: Vec<String>,
    /// One line each.
    doubted: Vec<String>,
}

/// From each name in the labels to a class, or to `None` for what is to be left out.
struct Names {
    table: BTreeMap<String, Option<String>>,
    unknown: Vec<String>,
}

impl Names {
    fn new(document: &Document, Naming { classes, mapping }: Naming<'_>) -> anyhow::Result<Names> {
        for (_, target) in mapping {
            ensure!(
                target == NOTHING || classes.contains(target),
                "--map: {target:?} is none of {}, {NOTHING}",
                classes.join(", ")
            );
        }
        let mut names = Names { table: BTreeMap::new(), unknown: Vec::new() };
        for shape in document.pictures.iter().flat_map(|picture| &picture.shapes) {
            if names.table.contains_key(&shape.name) {
                continue;
            }
            let mapped = mapping.iter().rev().find(|(name, _)| *name == shape.name);
            let meant = mapped.map_or_else(|| usual(&shape.name), |(_, target)| target.clone());
            let meant = Some(meant).filter(|meant| meant != NOTHING);
            if meant.as_ref().is_some_and(|meant| !classes.contains(meant)) {
                names.unknown.push(shape.name.clone());
            }
            names.table.insert(shape.name.clone(), meant);
        }
        Ok(names)
    }

    fn class(&self, shape: &Drawn) -> Option<&String> {
        self.table.get(&shape.name).and_then(Option::as_ref)
    }

    fn unused(&self, path: &Path, mapping: &[(String, String)]) -> Vec<String> {
        let present: Vec<&str> = self.table.keys().map(String::as_str).collect();
        let mut unused: Vec<&str> = mapping.iter().map(|(name, _)| name.as_str()).collect();
        unused.retain(|name| !present.contains(name));
        unused.sort_unstable();
        unused.dedup();
        let (path, present) = (path.display(), present.join(", "));
        let told = unused.iter().map(|name| {
            format!("--map: no label of {path} is named '{name}'; there are {present}")
        });
        told.collect()
    }
}

/// A name as types are spelled: `Poly Bag` is `poly_bag`.
pub(super) fn usual(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// Shapes that cannot be read are added to `problems`, what is doubtful of others to `notes`. `None`
/// where one of them means a package that cannot be read: what is found there would be wrong.
fn check(
    picture: &Picture,
    file: &Path,
    finder: &mut Finder,
    names: &Names,
    problems: &mut Vec<String>,
    notes: &mut Notes,
) -> Result<Option<Labelled>, Wrong> {
    let path = finder.find(picture)?;
    let (size, turned) = picture::shown_size(&path)?;
    if let Some((width, height)) = picture.stated_size.filter(|stated| *stated != size) {
        let shown = if turned { ", turned as its EXIF orientation says" } else { "" };
        return Err(Wrong(format!(
            "{}: it is {}x{}{shown}, {} labels it at {width}x{height}; label it at its own size",
            path.display(),
            size.0,
            size.1,
            file.display(),
        )));
    }
    let mut labelled = Labelled {
        path,
        width_px: size.0,
        height_px: size.1,
        packages: Vec::new(),
        crowds: Vec::new(),
        extra: picture.extra.clone(),
    };
    let mut unreadable = false;
    for shape in &picture.shapes {
        let Some(class) = names.class(shape) else { continue };
        unreadable |= shape.shape.is_err();
        match placed(shape, size) {
            Ok(placed) => {
                if shape.shape.as_ref().is_ok_and(|shape| shape.outline.is_some())
                    && !placed.outlined
                {
                    notes.boxed.push(shape.place.clone());
                }
                let bbox = shape.shape.as_ref().ok().and_then(|shape| shape.edges);
                match bbox.and_then(|bbox| contradiction(&placed, bbox, size)) {
                    Some(Contradiction::Kind(told)) => {
                        problems.push(format!("{}: {told}; export it again", shape.place));
                        unreadable = true;
                        continue;
                    }
                    Some(Contradiction::Unknown(told)) => {
                        notes.doubted.push(format!("{}: {told}", shape.place));
                    }
                    None => {}
                }
                labelled.packages.push((class.clone(), placed));
            }
            Err(Wrong(problem)) => problems.push(format!("{}: {problem}", shape.place)),
        }
    }
    if unreadable {
        return Ok(None);
    }
    // One that encloses nothing hides nothing.
    labelled.crowds.extend(picture.crowds.iter().filter_map(|shape| placed(shape, size).ok()));
    Ok(Some(labelled))
}

#[cfg(test)]
mod tests;
