//! A COCO file as far as it can be understood without its pictures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::foreign;
use super::shape::{Drawn, says_rectangle, shape};

pub(in super::super) struct Document {
    pub(in super::super) path: PathBuf,
    pub(in super::super) pictures: Vec<Picture>,
    /// All that the file lists, by their own names.
    pub(in super::super) categories: Vec<String>,
    /// Whether any label says that it is only a rectangle.
    pub(in super::super) has_rectangles: bool,
}

pub(in super::super) struct Picture {
    /// As the file writes it.
    pub(super) file_name: String,
    pub(super) stated_size: Option<(u32, u32)>,
    pub(super) shapes: Vec<Drawn>,
    /// Shapes that mark no single package.
    pub(super) crowds: Vec<Drawn>,
    /// What of it cannot be meant.
    pub(super) wrong: Option<String>,
    pub(super) extra: Map<String, Value>,
}

/// Five times the largest set of labels that we know of, COCO's own.
const LABELS_BYTES_MAX: u64 = 2_000_000_000;
/// Keys of an image that are taken here, or are typed in COCO's own way; whoever needs others finds
/// them in `extra`.
const IMAGE_KEYS: [&str; 4] = ["id", "file_name", "width", "height"];

impl Document {
    pub(in super::super) fn read(path: &Path) -> anyhow::Result<Document> {
        let told = path.display();
        let text = magpie_files::read_text(path, LABELS_BYTES_MAX)
            .with_context(|| format!("read labels {told}"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // Python writes NaN and Infinity, which are no JSON: they are read as what they say.
        let value: Result<Value, _> = serde_json::from_str(text)
            .or_else(|error| serde_json::from_str(&no_numbers_quoted(text)).map_err(|_| error));
        if let Some(format) = foreign::format_of(text, value.as_ref().ok()) {
            bail!(
                "read labels {told}: it is {format}, which is not read; export the labels as COCO"
            );
        }
        let value = value.with_context(|| {
            format!("read labels {told}: no whole JSON; expected COCO instances, saved again")
        })?;
        document(path, &value).with_context(|| {
            format!("read labels {told}: expected COCO (images, annotations, categories)")
        })
    }
}

fn document(path: &Path, value: &Value) -> anyhow::Result<Document> {
    let list = |key: &'static str| -> anyhow::Result<&Vec<Value>> {
        value.get(key).and_then(Value::as_array).ok_or_else(|| anyhow!("no list {key:?} in it"))
    };
    let mut names = HashMap::new();
    let mut categories = Vec::new();
    for category in list("categories")? {
        let id = category.get("id").context("a category without id")?;
        let name = category.get("name").map(named).context("a category without name")?;
        if let Some(other) = names.insert(identity(id), name.clone())
            && other != name
        {
            // Whichever was meant, the labels of the other would get its name.
            bail!(
                "the categories {other:?} and {name:?} have the same id, {}; give each its own",
                identity(id)
            );
        }
        categories.push(name);
    }
    let (mut pictures, mut places) = (Vec::new(), HashMap::new());
    for image in list("images")? {
        add_image(image, &mut pictures, &mut places)?;
    }
    ensure!(!pictures.is_empty(), "it lists no images");
    let annotations = list("annotations")?;
    for (at, annotation) in annotations.iter().enumerate() {
        let number = annotation.get("id").map_or_else(|| (at + 1).to_string(), identity);
        let image_id = identity(annotation.get("image_id").unwrap_or(&Value::Null));
        let place = *places.entry(image_id.clone()).or_insert_with(|| {
            let wrong = format!(
                "annotation {number} is on image {image_id}, which is not among its images"
            );
            pictures.push(Picture::new("", None, Some(wrong)));
            pictures.len() - 1
        });
        let picture: &mut Picture = &mut pictures[place];
        let category = identity(annotation.get("category_id").unwrap_or(&Value::Null));
        let name =
            names.get(&category).cloned().unwrap_or_else(|| format!("category_id {category}"));
        let place = format!("{}, annotation {number} on {}", path.display(), picture.file_name);
        let drawn = Drawn { name, place, shape: shape(annotation) };
        if is_crowd(annotation) {
            picture.crowds.push(drawn);
        } else {
            picture.shapes.push(drawn);
        }
    }
    let has_rectangles = annotations.iter().any(says_rectangle);
    Ok(Document { path: path.to_owned(), pictures, categories, has_rectangles })
}

impl Picture {
    fn new(name: &str, stated_size: Option<(u32, u32)>, wrong: Option<String>) -> Picture {
        Picture {
            file_name: name.to_owned(),
            stated_size,
            shapes: Vec::new(),
            crowds: Vec::new(),
            wrong,
            extra: Map::new(),
        }
    }
}

fn add_image(
    image: &Value,
    pictures: &mut Vec<Picture>,
    places: &mut HashMap<String, usize>,
) -> anyhow::Result<()> {
    let id = identity(image.get("id").context("an image without id")?);
    let name = image.get("file_name").and_then(Value::as_str).unwrap_or_default();
    if let Some(&known) = places.get(&id) {
        let known: &mut Picture = &mut pictures[known];
        known.wrong = Some(format!("{} and {name} have the same id, {id}", known.file_name));
        return Ok(());
    }
    let side = |key: &str| image.get(key).and_then(whole).filter(|side| *side > 0);
    let wrong = name.is_empty().then(|| format!("image {id} has no file_name"));
    let mut picture = Picture::new(name, side("width").zip(side("height")), wrong);
    if let Some(fields) = image.as_object() {
        let others = fields.iter().filter(|(key, _)| !IMAGE_KEYS.contains(&key.as_str()));
        picture.extra = others.map(|(key, value)| (key.clone(), value.clone())).collect();
    }
    places.insert(id, pictures.len());
    pictures.push(picture);
    Ok(())
}

/// The text with `NaN` and `Infinity` as strings, where they stand for values.
fn no_numbers_quoted(text: &str) -> String {
    const NO_NUMBERS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    let mut quoted = String::with_capacity(text.len() + 64);
    let (mut rest, mut in_string) = (text, false);
    while let Some(first) = rest.chars().next() {
        let found = NO_NUMBERS.iter().find(|word| !in_string && rest.starts_with(**word));
        let step = match (first, found) {
            (_, Some(word)) => {
                quoted.push('"');
                quoted.push_str(word);
                quoted.push('"');
                rest = &rest[word.len()..];
                continue;
            }
            ('\\', _) if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            ('"', _) => {
                in_string = !in_string;
                1
            }
            (other, _) => other.len_utf8(),
        };
        quoted.push_str(&rest[..step]);
        rest = &rest[step..];
    }
    quoted
}

/// An id as it is compared and told: 1, 1.0 and "1" are one.
fn identity(value: &Value) -> String {
    let text = match value {
        Value::Null => "None".to_owned(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number.fract() == 0.0 => format!("{number:.0}"),
        _ => text,
    }
}

fn named(value: &Value) -> String {
    match value {
        Value::String(name) if !name.is_empty() => name.clone(),
        Value::Number(number) => number.to_string(),
        _ => "unnamed".to_owned(),
    }
}

/// A number of pixels, also one that a tool wrote as `640.0` or `"640"`.
fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range of u32"
    )]
    (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
}

/// Whether it marks packages that nobody told apart. CVAT marks single packages drawn with a brush
/// as crowds; its files have `attributes`.
fn is_crowd(annotation: &Value) -> bool {
    let says = match annotation.get("iscrowd") {
        Some(Value::Bool(says)) => *says,
        Some(other) => whole(other).is_some_and(|flag| flag != 0),
        None => false,
    };
    says && annotation.get("attributes").is_none()
}
