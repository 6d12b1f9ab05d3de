//! Labels of other formats, told by name: `kind_of` of
//! `models/training/magpie_training/label_formats.py` tells the same.

use serde_json::Value;

/// The name of a format that is not COCO; `None` of COCO, and of what is no labels that we know.
pub(super) fn format_of(text: &str, value: Option<&Value>) -> Option<&'static str> {
    match value {
        Some(value) => format_of_json(value),
        None if text.trim_start().starts_with('<') => format_of_xml(text),
        None => is_yolo(text).then_some("YOLO's"),
    }
}

fn format_of_json(value: &Value) -> Option<&'static str> {
    if let Value::Array(list) = value {
        let first = list.first()?;
        return match first {
            _ if first.get("data").is_some() => Some("Label Studio's JSON"),
            _ if first.get("image_id").is_some() => Some("COCO results without pictures"),
            _ => None,
        };
    }
    let has = |key: &str| value.get(key).is_some();
    match () {
        () if has("images") && has("annotations") => None,
        () if has("_via_img_metadata") => Some("VIA"),
        () if has("shapes") && has("imagePath") => Some("LabelMe's, of one picture"),
        () => None,
    }
}

/// So much of a file is looked at for its first element.
const HEAD_BYTES: usize = 4096;

fn format_of_xml(text: &str) -> Option<&'static str> {
    let head = text.get(..HEAD_BYTES).unwrap_or(text);
    match () {
        () if head.contains("<annotations") => Some("CVAT's XML"),
        () if head.contains("<annotation") => Some("Pascal VOC"),
        () => None,
    }
}

/// A line of a class and four or more numbers up to 1, as YOLO's `.txt` files begin.
fn is_yolo(text: &str) -> bool {
    let mut words = text.lines().next().unwrap_or_default().split_whitespace();
    let class = words.next().is_some_and(|class| class.parse::<u32>().is_ok());
    let mut numbers = 0;
    let are_shares = words.all(|word| {
        numbers += 1;
        word.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share))
    });
    class && numbers >= 4 && are_shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_other_formats_are_told_by_name() {
        for (text, expected) in [
            ("0 0.5 0.5 0.2 0.2\n", Some("YOLO's")),
            ("3 0.1 0.1 0.9 0.1 0.9 0.9\r\n1 0.5 0.5 0.1 0.1", Some("YOLO's")),
            ("<?xml version=\"1.0\"?><annotations><image/></annotations>", Some("CVAT's XML")),
            ("<annotation><filename>a.png</filename></annotation>", Some("Pascal VOC")),
            (r#"{"shapes": [], "imagePath": "a.png"}"#, Some("LabelMe's, of one picture")),
            (r#"{"_via_img_metadata": {}}"#, Some("VIA")),
            (r#"[{"id": 1, "data": {}}]"#, Some("Label Studio's JSON")),
            (r#"[{"image_id": 1}]"#, Some("COCO results without pictures")),
            (r#"{"images": [], "annotations": [], "categories": []}"#, None),
            (r#"{"images": ["#, None),
            ("notes of the shift", None),
        ] {
            let value = serde_json::from_str(text).ok();
            assert_eq!(format_of(text, value.as_ref()), expected, "{text}");
        }
    }
}
