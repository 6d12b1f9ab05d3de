//! Which pixel formats, sizes and frame rates a camera offers, for people who configure one.

use std::collections::BTreeMap;

use gstreamer as gst;
use gstreamer::glib::Value;
use gstreamer::prelude::*;
use gstreamer::{Caps, Element, ElementFlags, Fraction, FractionRange, IntRange, List};

use super::caps::format_name;

/// A list longer than this is cut: nobody reads a hundred formats of a test source.
const LISTED_MAX: usize = 8;

/// What the sources of a pipeline offer, one line for each pixel format. They must have been opened.
pub(super) fn offers_of(pipeline: &gst::Bin) -> Vec<String> {
    sources(pipeline)
        .flat_map(|source| source.src_pads().into_iter().map(|pad| pad.query_caps(None)))
        .flat_map(|caps| offers(&caps))
        .collect()
}

/// The elements that frames come from.
fn sources(pipeline: &gst::Bin) -> impl Iterator<Item = Element> {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements.filter(|element| {
        element.element_flags().contains(ElementFlags::SOURCE) && !element.is::<gst::Bin>()
    })
}

/// One line for each pixel format, with its sizes.
fn offers(caps: &Caps) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (structure, _) in caps.iter_with_features() {
        let mut one = Caps::new_empty();
        one.get_mut().expect("just made").append_structure(structure.to_owned());
        let format = match structure.value("format") {
            Ok(formats) if formats.get::<&str>().is_err() => words(formats),
            _ => format_name(&one),
        };
        let field = |name| structure.value(name).ok().map(|value| words(value));
        let (width, height) = (field("width"), field("height"));
        let size = width.zip(height).map(|(width, height)| format!("{width}x{height} px"));
        let rate = field("framerate").map(|rate| format!("at {rate} fps"));
        let offer = size.into_iter().chain(rate).collect::<Vec<_>>().join(" ");
        let place = *places.entry(format.clone()).or_insert_with(|| {
            lines.push((format, Vec::new()));
            lines.len() - 1
        });
        lines[place].1.push(offer);
    }
    lines.into_iter().map(|(format, sizes)| format!("{format}: {}", sizes.join(", "))).collect()
}

/// A value of caps in words: `640`, `16 to 4096`, `30/15`.
fn words(value: &Value) -> String {
    if let Ok(range) = value.get::<IntRange<i32>>() {
        return format!("{} to {}", range.min(), range.max());
    }
    if let Ok(range) = value.get::<FractionRange>() {
        return format!("{} to {}", number(range.min()), number(range.max()));
    }
    if let Ok(fraction) = value.get::<Fraction>() {
        return number(fraction);
    }
    if let Ok(list) = value.get::<List>() {
        let mut listed: Vec<String> = list.iter().take(LISTED_MAX).map(|one| words(one)).collect();
        if list.len() > LISTED_MAX {
            listed.push(format!("{} more", list.len() - LISTED_MAX));
        }
        return listed.join("/");
    }
    match (value.get::<i32>(), value.get::<String>()) {
        (Ok(number), _) => number.to_string(),
        (_, Ok(text)) => text,
        _ => "?".to_owned(),
    }
}

/// A frame rate with as many digits as it needs.
fn number(fraction: Fraction) -> String {
    let value = f64::from(fraction.numer()) / f64::from(fraction.denom());
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn formats_stand_in_a_line_each_with_their_sizes_and_rates() {
        gst::init().unwrap();
        let caps = Caps::from_str(
            "video/x-raw,format=YUY2,width=640,height=480,framerate={30/1,15/1}; \
             video/x-raw,format=YUY2,width=320,height=240,framerate=30000/1001; \
             image/jpeg,width=1920,height=1080,framerate=30/1; \
             video/x-bayer,format=rggb,width=[16,4096],height=[16,3000],framerate=[1/1,60/1]",
        );
        assert_eq!(
            offers(&caps.unwrap()),
            [
                "YUY2: 640x480 px at 30/15 fps, 320x240 px at 29.97 fps",
                "JPEG: 1920x1080 px at 30 fps",
                "Bayer rggb: 16 to 4096x16 to 3000 px at 1 to 60 fps",
            ]
        );
    }
}
