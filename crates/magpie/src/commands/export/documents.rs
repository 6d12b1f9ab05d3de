//! Labels in the words of COCO, LabelMe and Label Studio.

use magpie_perception::ModelSpec;
use serde_json::{Value, json};

use super::prelabel::{Prelabel, PrelabelledPicture};

/// The form of LabelMe's files that is written.
const LABELME_VERSION: &str = "5.5.0";
/// Background colours of labels in Label Studio.
const COLORS: [&str; 8] =
    ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#c8c8c8"];

/// COCO instances: polygons, `iscrowd` 0, the score as an attribute (CVAT and Datumaro keep it).
pub(super) fn coco(named: &[(String, &PrelabelledPicture)], spec: &ModelSpec) -> Value {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (name, picture) in named {
        let image_id = images.len() + 1;
        images.push(json!({
            "id": image_id,
            "file_name": name,
            "width": picture.width_px,
            "height": picture.height_px,
        }));
        for label in &picture.labels {
            annotations.push(annotation(annotations.len() + 1, image_id, label));
        }
    }
    let categories: Vec<Value> = spec
        .class_names
        .iter()
        .enumerate()
        .map(|(id, name)| json!({"id": id + 1, "name": name, "supercategory": ""}))
        .collect();
    json!({
        "info": {"description": format!("Predictions of {}, to be corrected", spec.name)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    })
}

fn annotation(id: usize, image_id: usize, label: &Prelabel) -> Value {
    let flat = |piece: &Vec<[i32; 2]>| -> Vec<f64> {
        piece.iter().flatten().map(|value| f64::from(*value)).collect()
    };
    let points = || label.polygons.iter().flatten();
    let edge = |axis: usize, pick: fn(i32, i32) -> i32| -> f64 {
        f64::from(points().map(|point| point[axis]).reduce(pick).expect("a polygon has points"))
    };
    let [x_min, y_min] = [0, 1].map(|axis| edge(axis, i32::min));
    let [x_max, y_max] = [0, 1].map(|axis| edge(axis, i32::max));
    json!({
        "id": id,
        "image_id": image_id,
        "category_id": label.class_id + 1,
        "segmentation": label.polygons.iter().map(flat).collect::<Vec<_>>(),
        "area": label.polygons.iter().map(|piece| area_px(piece)).sum::<f64>(),
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "iscrowd": 0,
        "attributes": {"score": rounded(label.score)},
    })
}

/// The area that a polygon encloses, by the shoelace formula.
fn area_px(points: &[[i32; 2]]) -> f64 {
    let next = points.iter().cycle().skip(1);
    let products = points.iter().zip(next).map(|(a, b)| {
        let [ax, ay] = a.map(f64::from);
        let [bx, by] = b.map(f64::from);
        ax * by - bx * ay
    });
    0.5 * products.sum::<f64>().abs()
}

/// One picture's file; pieces of one package share a group.
pub(super) fn labelme(name: &str, picture: &PrelabelledPicture, class_names: &[String]) -> Value {
    let shape = |number: usize, label: &Prelabel, points: &Vec<[i32; 2]>| {
        let points: Vec<[f64; 2]> = points.iter().map(|point| point.map(f64::from)).collect();
        json!({
            "label": class_names[label.class_id],
            "points": points,
            "group_id": (label.polygons.len() > 1).then_some(number + 1),
            "description": format!("score {:.2}", label.score),
            "shape_type": "polygon",
            "flags": {},
            "mask": null,
        })
    };
    let shapes: Vec<Value> = (picture.labels.iter().enumerate())
        .flat_map(|(number, label)| label.polygons.iter().map(move |p| shape(number, label, p)))
        .collect();
    json!({
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": null,
        "imageHeight": picture.height_px,
        "imageWidth": picture.width_px,
    })
}

/// Tasks with their predictions; coordinates are percent of the picture.
pub(super) fn label_studio(
    named: &[(String, &PrelabelledPicture)],
    image_url: &str,
    spec: &ModelSpec,
) -> Value {
    let tasks = named.iter().map(|(name, picture)| {
        let regions: Vec<Value> = (picture.labels.iter().enumerate())
            .flat_map(|(number, label)| {
                let pieces = label.polygons.iter().enumerate();
                pieces.map(move |(piece, points)| {
                    let id = format!("{}-{}", number + 1, piece + 1);
                    region(&id, label, points, picture, &spec.class_names)
                })
            })
            .collect();
        json!({
            "data": {"image": format!("{image_url}{}", percent_encoded(name))},
            "predictions": [{
                "model_version": spec.name,
                "score": (1e4 * (1.0 - picture.unsure)).round() / 1e4,
                "result": regions,
            }],
        })
    });
    tasks.collect()
}

fn region(
    id: &str,
    label: &Prelabel,
    points: &[[i32; 2]],
    picture: &PrelabelledPicture,
    class_names: &[String],
) -> Value {
    let percent = |value: i32, side: u32| 100.0 * f64::from(value) / f64::from(side);
    let points: Vec<[f64; 2]> = points
        .iter()
        .map(|[x, y]| [percent(*x, picture.width_px), percent(*y, picture.height_px)])
        .collect();
    json!({
        "id": id,
        "from_name": "label",
        "to_name": "image",
        "type": "polygonlabels",
        "original_width": picture.width_px,
        "original_height": picture.height_px,
        "image_rotation": 0,
        "score": rounded(label.score),
        "value": {
            "points": points,
            "closed": true,
            "polygonlabels": [class_names[label.class_id]],
        },
    })
}

/// Label Studio's labelling configuration for those tasks.
pub(super) fn label_studio_config(class_names: &[String]) -> String {
    let label = |(name, color): (&String, &&str)| {
        format!("    <Label value=\"{}\" background=\"{color}\"/>\n", escaped(name))
    };
    let labels: String = class_names.iter().zip(COLORS.iter().cycle()).map(label).collect();
    format!(
        "<View>\n  <Image name=\"image\" value=\"$image\" zoom=\"true\"/>\n  \
         <PolygonLabels name=\"label\" toName=\"image\">\n{labels}  </PolygonLabels>\n</View>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Encodes for a URL (RFC 3986) all but letters, digits and `-._~`.
fn percent_encoded(name: &str) -> String {
    let code = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(code).collect()
}

/// Which picture is which, and how unsure the model is of it.
pub(super) fn order_csv(named: &[(String, &PrelabelledPicture)]) -> String {
    let lines = named.iter().map(|(name, picture)| {
        let (count, unsure) = (picture.labels.len(), picture.unsure);
        format!("{},{},{unsure:.3},{count}\n", quoted(name), quoted(&picture.origin))
    });
    std::iter::once("image,picture,unsure,packages\n".to_owned()).chain(lines).collect()
}

/// Pictures that were left out, and which one shows the same.
pub(super) fn near_duplicates_csv(pairs: &[(&str, &str)]) -> String {
    let lines = pairs.iter().map(|(one, other)| format!("{},{}\n", quoted(one), quoted(other)));
    std::iter::once("picture,same_as\n".to_owned()).chain(lines).collect()
}

/// A field of a CSV file (RFC 4180).
fn quoted(field: &str) -> String {
    let needs = field.contains([',', '"', '\n', '\r']);
    if needs { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

fn rounded(score: f32) -> f64 {
    (1e4 * f64::from(score)).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_urls_and_tables() {
        assert_eq!(percent_encoded("a b#1&ü.png"), "a%20b%231%26%C3%BC.png");
        assert_eq!(quoted("plain.png"), "plain.png");
        assert_eq!(quoted("a,\"b\".png"), "\"a,\"\"b\"\".png\"");
    }
}
