//! A package of a few pixels on a plane, before it is picked and after.

use magpie_perception::{BgrImage, DepthImage, StampNs, StampSource};

use super::*;

const WIDTH_PX: u32 = 160;
const HEIGHT_PX: u32 = 120;
const PLANE_MM: u16 = 1000;

/// Columns and rows, their ends left out.
#[derive(Clone, Copy)]
struct Block {
    x: [u32; 2],
    y: [u32; 2],
    height_mm: u16,
    bgr: [u8; 3],
}

const PACKAGE: Block = Block { x: [60, 100], y: [40, 70], height_mm: 80, bgr: [40, 120, 190] };

impl Block {
    fn holds(&self, x: u32, y: u32) -> bool {
        (self.x[0]..self.x[1]).contains(&x) && (self.y[0]..self.y[1]).contains(&y)
    }

    fn mask(&self) -> Mask {
        let bitmap: Vec<u8> = (0..WIDTH_PX * HEIGHT_PX)
            .map(|at| u8::from(self.holds(at % WIDTH_PX, at / WIDTH_PX)))
            .collect();
        Mask::from_bitmap(WIDTH_PX, HEIGHT_PX, &bitmap)
    }

    fn moved(self, by_px: i32) -> Block {
        let shift = |value: u32| value.checked_add_signed(by_px).unwrap();
        Block { x: self.x.map(shift), y: self.y.map(shift), ..self }
    }
}

/// Small numbers without a pattern.
fn noise(at: u32, seed: u32) -> u32 {
    (at.wrapping_add(seed * 7919).wrapping_mul(2_654_435_761) >> 16) % 5
}

fn frame(blocks: &[Block], seed: u32) -> Frame {
    let (mut color, mut depth) = (Vec::new(), Vec::new());
    for at in 0..WIDTH_PX * HEIGHT_PX {
        let (x, y) = (at % WIDTH_PX, at / WIDTH_PX);
        let top = blocks.iter().rfind(|block| block.holds(x, y));
        let bgr = top.map_or([90, 95, 100], |block| block.bgr);
        color.extend(bgr.map(|value| value + noise(3 * at, seed) as u8));
        let mm = PLANE_MM - top.map_or(0, |block| block.height_mm);
        // Every eleventh value is missing.
        let is_hole = noise(at, seed + 1) == 0 && at % 2 == 0;
        depth.push(if is_hole { 0 } else { mm + noise(at, seed + 2) as u16 });
    }
    Frame {
        sequence: u64::from(seed),
        stamp: StampNs(u64::from(seed)),
        stamp_source: StampSource::Recorded,
        color: BgrImage::new(WIDTH_PX, HEIGHT_PX, color).unwrap(),
        depth: Some(DepthImage::new(WIDTH_PX, HEIGHT_PX, depth).unwrap()),
    }
}

fn without_depth(frame: Frame) -> Frame {
    Frame { depth: None, ..frame }
}

fn found(
    before: &Frame,
    after: &Frame,
    outline: &Mask,
    others: &[Other],
) -> Result<Vanished, Refusal> {
    vanished(&Sighting { before, after, outline, contact_px: [80.5, 55.5], others })
}

/// The outline that the model published, and how well what vanished is the package.
fn check(outline: &Mask, others: &[(Block, Option<Block>)], iou_min: f32) {
    let mut before: Vec<Block> = others.iter().map(|(block, _)| *block).collect();
    before.push(PACKAGE);
    let after: Vec<Block> = others.iter().filter_map(|(_, after)| *after).collect();
    let told: Vec<Other> = (others.iter())
        .map(|(block, after)| Other { outline: block.mask(), is_still_there: after.is_some() })
        .collect();
    let (before, after) = (frame(&before, 1), frame(&after, 2));
    let vanished = found(&before, &after, outline, &told).unwrap();
    let iou = vanished.mask.iou(&PACKAGE.mask());
    assert!(iou >= iou_min, "IoU {iou:.3}");
    assert!(vanished.strength > 1.0);
}

#[test]
fn what_vanished_is_the_package_whatever_the_model_said() {
    let half = Block { x: [60, 78], ..PACKAGE };
    let double = Block { x: [50, 120], y: [35, 80], ..PACKAGE };
    for outline in [PACKAGE, half, double, PACKAGE.moved(6)] {
        check(&outline.mask(), &[], 0.97);
    }
}

#[test]
fn colour_tells_where_there_is_no_depth() {
    let [before, after] = [frame(&[PACKAGE], 1), frame(&[], 2)].map(without_depth);
    let outline = PACKAGE.moved(4).mask();
    let vanished = found(&before, &after, &outline, &[]).unwrap();
    assert_eq!(vanished.evidence, Evidence::Color);
    let iou = vanished.mask.iou(&PACKAGE.mask());
    assert!(iou > 0.9, "IoU {iou:.3}");
    assert!((vanished.iou - vanished.mask.iou(&outline)).abs() < 1e-6);
}

#[test]
fn a_film_that_is_too_thin_for_depth_is_found_by_its_colour() {
    let film = Block { height_mm: 1, ..PACKAGE };
    let (before, after) = (frame(&[film], 1), frame(&[], 2));
    let vanished = found(&before, &after, &film.mask(), &[]).unwrap();
    assert!(vanished.mask.iou(&film.mask()) > 0.95);
}

#[test]
fn a_neighbour_that_stays_or_moves_is_no_part_of_it() {
    let neighbour = Block { x: [100, 130], y: [40, 70], height_mm: 60, bgr: [150, 60, 60] };
    check(&PACKAGE.mask(), &[(neighbour, Some(neighbour))], 0.97);
    let settled = Block { height_mm: 40, ..neighbour };
    check(&PACKAGE.mask(), &[(neighbour, Some(settled))], 0.97);
}

#[track_caller]
fn check_refused(before: &Frame, after: &Frame, others: &[Other], expected: Refusal) {
    let refused = found(before, after, &PACKAGE.mask(), others);
    assert_eq!(refused.map(|vanished| vanished.mask.area_px()), Err(expected));
}

#[test]
fn what_cannot_be_told_is_refused_by_its_reason() {
    let before = frame(&[PACKAGE], 1);
    check_refused(&before, &frame(&[PACKAGE], 2), &[], Refusal::NothingGone);
    let arm = Block { height_mm: 300, ..PACKAGE };
    check_refused(&before, &frame(&[arm], 2), &[], Refusal::SomethingCame);

    let neighbour = Block { x: [100, 130], bgr: [150, 60, 60], ..PACKAGE };
    let two = frame(&[PACKAGE, neighbour], 1);
    let gone = [Other { outline: neighbour.mask(), is_still_there: false }];
    check_refused(&two, &frame(&[], 2), &gone, Refusal::NeighbourGone);

    let lower_by = |by_mm: u16| {
        let mut lower = frame(&[], 2);
        let depth = lower.depth.unwrap();
        let fallen = depth.data_mm().iter().map(|mm| mm + by_mm * u16::from(*mm > 0)).collect();
        lower.depth = DepthImage::new(WIDTH_PX, HEIGHT_PX, fallen).ok();
        lower
    };
    let drifted = found(&before, &lower_by(10), &PACKAGE.mask(), &[]).unwrap();
    assert!(drifted.mask.iou(&PACKAGE.mask()) > 0.95);
    check_refused(&before, &lower_by(40), &[], Refusal::SceneMoved);

    // Less than half of the surroundings, and all of them.
    for heap in [
        Block { x: [30, 115], y: [20, 105], ..PACKAGE },
        Block { x: [0, WIDTH_PX], y: [0, HEIGHT_PX], ..PACKAGE },
    ] {
        check_refused(&frame(&[heap], 1), &frame(&[], 2), &[], Refusal::SceneMoved);
    }

    let small = Block { x: [60, 70], y: [40, 46], ..PACKAGE };
    let part = frame(&[small], 1);
    let at_it = Sighting {
        before: &part,
        after: &frame(&[], 2),
        outline: &PACKAGE.mask(),
        contact_px: [65.0, 43.0],
        others: &[],
    };
    assert_eq!(vanished(&at_it).map(|v| v.mask.area_px()), Err(Refusal::TooSmall));
}

#[test]
fn pictures_of_other_sizes_and_outlines_that_fill_the_picture_are_refused() {
    let (before, after) = (frame(&[PACKAGE], 1), frame(&[], 2));
    let whole = Block { x: [0, WIDTH_PX], y: [0, HEIGHT_PX], ..PACKAGE };
    let refused = |outline: &Mask| found(&before, &after, outline, &[]).unwrap_err();
    assert_eq!(refused(&whole.mask()), Refusal::NoSurroundings);
    assert_eq!(refused(&Mask::empty(WIDTH_PX, HEIGHT_PX)), Refusal::NoOutline);
    assert_eq!(refused(&Mask::empty(80, 60)), Refusal::Sizes);
}

#[test]
fn two_packages_that_passed_for_one_come_apart_after_a_double_pick() {
    let left = Block { x: [60, 78], ..PACKAGE };
    let right = Block { x: [82, 100], ..PACKAGE };
    let (before, after) = (frame(&[left, right], 1), frame(&[], 2));
    let sighting = Sighting {
        before: &before,
        after: &after,
        outline: &PACKAGE.mask(),
        contact_px: [80.5, 55.5],
        others: &[],
    };
    let mut found = pieces(&sighting).unwrap();
    found.sort_by_key(|mask| mask.bbox().unwrap().x_min_px as u32);
    assert_eq!(found.len(), 2);
    for (mask, block) in found.iter().zip([left, right]) {
        assert!(mask.iou(&block.mask()) > 0.9);
    }
    let one = frame(&[PACKAGE], 1);
    assert_eq!(pieces(&Sighting { before: &one, ..sighting }).unwrap().len(), 1);
}

#[test]
fn a_double_pick_is_not_learned_from_a_picture_in_which_nothing_is_gone_yet() {
    let (before, after) = (frame(&[PACKAGE], 1), frame(&[PACKAGE], 2));
    let sighting = Sighting {
        before: &before,
        after: &after,
        outline: &PACKAGE.mask(),
        contact_px: [80.5, 55.5],
        others: &[],
    };
    assert!(matches!(pieces(&sighting), Err(Refusal::NothingGone)));
}
