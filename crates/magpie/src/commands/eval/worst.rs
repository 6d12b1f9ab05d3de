//! A dataset's worst pictures, the labels on the left, the findings on the right.
//!
//! Green: found, right. Red: missed, wrong. Grey: neither right nor wrong (see
//! [`Verdict::Unproven`]).

use std::path::Path;

use anyhow::Context;
use hotcoco::Image;
use magpie_camera::{Canvas, encode_jpeg, read_image};
use magpie_perception::{BgrImage, Mask};

use super::card::Section;
use super::matches::Verdict;
use crate::present::output;
use crate::present::overlay::tint;
use magpie_daemon::failure::{Failure, Outcome};

/// Blue, green, red; of colours that stay apart for most eyes (Okabe and Ito).
const GREEN: [u8; 3] = [115, 158, 0];
const RED: [u8; 3] = [0, 94, 213];
const GREY: [u8; 3] = [200, 200, 200];
const GAP_PX: u32 = 8;
const BANNER_PX: u32 = 24;
const BANNER_GREY: u8 = 40;
const JPEG_QUALITY_PERCENT: u8 = 88;

/// The two halves of one picture: labels and findings.
#[derive(Default)]
struct Halves {
    labels: Vec<(Mask, [u8; 3])>,
    findings: Vec<(Mask, [u8; 3])>,
    missed: usize,
    wrong: usize,
    /// Area of what is missed or wrong.
    area_px: u64,
}

/// Draws the `count` pictures with the largest share missed or wrong into `folder`, worst first.
pub(super) fn draw(section: &Section<'_>, score_min: f64, count: usize, folder: &Path) -> Outcome {
    let images = &section.dataset.coco.dataset.images;
    let mut all: Vec<(&Image, Halves)> =
        images.iter().map(|image| (image, halves(section, image, score_min))).collect();
    all.retain(|(_, halves)| halves.area_px > 0);
    let share = |(image, halves): &(&Image, Halves)| {
        halves.area_px as f64 / (f64::from(image.width) * f64::from(image.height))
    };
    all.sort_by(|a, b| share(b).total_cmp(&share(a)));
    all.truncate(count);
    if !all.is_empty() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("make folder {}", folder.display()))?;
    }
    for (rank, (image, halves)) in all.iter().enumerate() {
        let picture = read_image(&section.dataset.picture(image)).map_err(Failure::fault)?;
        let drawn = side_by_side(&picture, halves).map_err(Failure::fault)?;
        let bytes = encode_jpeg(&drawn, JPEG_QUALITY_PERCENT).map_err(Failure::fault)?;
        let stem = Path::new(&image.file_name).file_stem().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{:02}_{stem}.jpg", rank + 1));
        output::write(&path, bytes)?;
    }
    Ok(())
}

fn halves(section: &Section<'_>, image: &Image, score_min: f64) -> Halves {
    let (matches, coco) = (&section.matches, &section.dataset.coco);
    let mut halves = Halves::default();
    for annotation in coco.dataset.annotations.iter().filter(|a| a.image_id == image.id) {
        let Some(rle) = coco.ann_to_rle(annotation) else { continue };
        let Ok(mask) = Mask::from_counts(rle.w, rle.h, rle.counts) else { continue };
        let at = usize::try_from(annotation.id).expect("ids are positions in memory") - 1;
        let color = match matches.labels.iter().find(|label| label.annotation == at) {
            None => GREY,
            Some(label) if matches.is_found(label, score_min) => GREEN,
            Some(_) => {
                halves.missed += 1;
                halves.area_px += u64::from(mask.area_px());
                RED
            }
        };
        halves.labels.push((mask, color));
    }
    let findings = matches.found.iter().zip(&section.predictions);
    let shown = findings.filter(|(f, _)| f.image_id == image.id && f.score >= score_min);
    for (finding, prediction) in shown {
        let color = match finding.verdict {
            Verdict::Right(_) => GREEN,
            Verdict::Unproven => GREY,
            Verdict::Wrong => {
                halves.wrong += 1;
                halves.area_px += u64::from(prediction.mask.area_px());
                RED
            }
        };
        halves.findings.push((prediction.mask.clone(), color));
    }
    // Small ones are drawn last, on top.
    for half in [&mut halves.labels, &mut halves.findings] {
        half.sort_by_key(|(mask, _)| std::cmp::Reverse(mask.area_px()));
    }
    halves
}

fn side_by_side(
    picture: &BgrImage,
    halves: &Halves,
) -> Result<BgrImage, magpie_camera::ImageProblem> {
    let (width, height) = (picture.width_px(), picture.height_px());
    let mut both = [picture.clone(), picture.clone()];
    for (picture, drawn) in both.iter_mut().zip([&halves.labels, &halves.findings]) {
        for (mask, color) in drawn {
            tint(picture, mask, *color);
        }
    }
    let full = (2 * width + GAP_PX, height + BANNER_PX);
    let row = |picture: &BgrImage, y: u32| {
        let from = (y * width * 3) as usize;
        picture.data()[from..from + (width * 3) as usize].to_vec()
    };
    let mut data = vec![BANNER_GREY; (full.0 * BANNER_PX * 3) as usize];
    for y in 0..height {
        data.extend(row(&both[0], y));
        data.extend(vec![BANNER_GREY; (GAP_PX * 3) as usize]);
        data.extend(row(&both[1], y));
    }
    let image = BgrImage::new(full.0, full.1, data).expect("rows of the full width");
    let mut canvas = Canvas::new(&image)?;
    let left = format!("labels: {}, {} missed", halves.labels.len(), halves.missed);
    let right = format!("findings: {}, {} wrong", halves.findings.len(), halves.wrong);
    for (text, center_px) in [(left, width / 2), (right, width + GAP_PX + width / 2)] {
        canvas.text(&text, [center_px as f32, BANNER_PX as f32 / 2.0], [255; 3])?;
    }
    canvas.into_image()
}
