//! Printed matter: shipping labels, barcodes, logos, tape, artwork.
//!
//! All of it is invented; the letters belong to no alphabet.

use crate::random::Rng;

/// RGBA, sRGB bytes, row 0 at the top.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Vec<[u8; 4]>,
}

pub(crate) type Ink = [u8; 4];
pub(crate) const BLACK: Ink = [24, 22, 24, 255];
pub(crate) const WHITE: Ink = [244, 243, 240, 255];
pub(crate) const CLEAR: Ink = [255, 255, 255, 0];

impl Picture {
    pub(crate) fn filled(width: u32, height: u32, ink: Ink) -> Picture {
        Picture { width, height, pixels: vec![ink; (width * height) as usize] }
    }

    /// The pixel at (u, v) in `0.0..=1.0`, v downwards.
    pub(crate) fn at(&self, u: f32, v: f32) -> Ink {
        let x = ((u * self.width as f32) as u32).min(self.width - 1);
        let y = ((v * self.height as f32) as u32).min(self.height - 1);
        self.pixels[(y * self.width + x) as usize]
    }

    pub(crate) fn rectangle(&mut self, x: i32, y: i32, width: i32, height: i32, ink: Ink) {
        for row in y.max(0)..(y + height).min(self.height as i32) {
            for column in x.max(0)..(x + width).min(self.width as i32) {
                self.pixels[(row * self.width as i32 + column) as usize] = ink;
            }
        }
    }

    fn disc(&mut self, x: f32, y: f32, radius_x: f32, radius_y: f32, ink: Ink) {
        for row in 0..self.height {
            for column in 0..self.width {
                let dx = (column as f32 + 0.5 - x) / radius_x;
                let dy = (row as f32 + 0.5 - y) / radius_y;
                if dx * dx + dy * dy < 1.0 {
                    self.pixels[(row * self.width + column) as usize] = ink;
                }
            }
        }
    }

    /// Letter-like strokes on a grid of two by two cells.
    fn letter(&mut self, rng: &mut Rng, x: i32, y: i32, size: i32, ink: Ink) {
        let stroke = (size / 5).max(1);
        let (half, full) = (size / 3, size * 2 / 3);
        for (px, py, w, h) in [
            (0, 0, full, stroke),
            (0, size / 2, full, stroke),
            (0, size - stroke, full, stroke),
            (0, 0, stroke, size),
            (full - stroke, 0, stroke, size),
            (half - stroke / 2, 0, stroke, size),
        ] {
            if rng.chance(0.48) {
                self.rectangle(x + px, y + py, w, h, ink);
            }
        }
    }

    /// A line of words; returns where it ended.
    pub(crate) fn text(&mut self, rng: &mut Rng, x: i32, y: i32, x_end: i32, size: i32, ink: Ink) {
        let mut at = x;
        let mut left = rng.count(2, 9);
        while at + size * 2 / 3 < x_end {
            if left == 0 {
                left = rng.count(2, 9);
            } else {
                self.letter(rng, at, y, size, ink);
                left -= 1;
            }
            at += (size * 4 / 5).max(2);
        }
    }

    fn bars(&mut self, rng: &mut Rng, x: i32, y: i32, width: i32, height: i32) {
        let mut at = x;
        while at < x + width {
            let bar = rng.count(1, 3) as i32;
            self.rectangle(at, y, bar.min(x + width - at), height, BLACK);
            at += bar + rng.count(1, 3) as i32;
        }
    }

    fn matrix_code(&mut self, rng: &mut Rng, x: i32, y: i32, cells: i32, cell: i32) {
        for row in 0..cells {
            for column in 0..cells {
                if rng.chance(0.5) {
                    self.rectangle(x + column * cell, y + row * cell, cell, cell, BLACK);
                }
            }
        }
    }
}

fn random_ink(rng: &mut Rng) -> Ink {
    let hue = rng.within(0.0..6.0);
    let (saturation, brightness) = (rng.within(0.25..1.0), rng.within(0.25..1.0));
    let channel = |offset: f32| {
        let t = ((hue + offset).rem_euclid(6.0) - 3.0).abs() - 1.0;
        (255.0 * brightness * (1.0 - saturation * (1.0 - t.clamp(0.0, 1.0)))) as u8
    };
    [channel(0.0), channel(4.0), channel(2.0), 255]
}

/// A white label with address lines, rules and a large barcode, as couriers print it.
pub(crate) fn shipping_label(rng: &mut Rng) -> Picture {
    let (w, h) = (176_i32, *rng.pick(&[120_i32, 176, 250]));
    let paper = if rng.chance(0.9) { WHITE } else { [236, 226, 160, 255] };
    let mut label = Picture::filled(w as u32, h as u32, paper);
    let mut y = 6;
    if rng.chance(0.5) {
        let ink = if rng.chance(0.6) { BLACK } else { random_ink(rng) };
        label.rectangle(0, 0, w, 22, ink);
        label.text(rng, 8, 5, w - 60, 12, WHITE);
        y = 28;
    }
    for _ in 0..rng.count(2, 5) {
        let end = (rng.within(0.4..0.9) * w as f32) as i32;
        label.text(rng, 8, y, end, 7, BLACK);
        y += 10;
    }
    if rng.chance(0.6) {
        let cell = 2;
        label.matrix_code(rng, w - 48, 30, 20, cell);
    }
    label.rectangle(0, y + 2, w, 2, BLACK);
    if rng.chance(0.6) {
        label.text(rng, 10, y + 8, w / 2, 20, BLACK);
        y += 26;
    }
    let bars = (h - y - 24).clamp(12, 90);
    label.bars(rng, 14, y + 8, w - 28, bars);
    label.text(rng, 30, y + 12 + bars, w - 30, 7, BLACK);
    if rng.chance(0.3) {
        label.rectangle(0, 0, w, 2, BLACK);
        label.rectangle(0, h - 2, w, 2, BLACK);
        label.rectangle(0, 0, 2, h, BLACK);
        label.rectangle(w - 2, 0, 2, h, BLACK);
    }
    label
}

/// A small sticker with a barcode.
pub(crate) fn barcode_sticker(rng: &mut Rng) -> Picture {
    let mut sticker = Picture::filled(120, 64, WHITE);
    sticker.text(rng, 6, 5, 110, 8, BLACK);
    sticker.bars(rng, 8, 18, 104, 30);
    sticker.text(rng, 20, 52, 100, 7, BLACK);
    sticker
}

/// Words and a simple mark in one ink, printed straight on the package.
pub(crate) fn logo(rng: &mut Rng, ink: Ink) -> Picture {
    let mut print = Picture::filled(160, 80, CLEAR);
    let left = if rng.chance(0.6) {
        match rng.below(3) {
            0 => print.disc(36.0, 40.0, 30.0, 30.0, ink),
            1 => print.rectangle(8, 12, 54, 54, ink),
            _ => {
                for ring in 0..4 {
                    let r = 34.0 - 8.0 * ring as f32;
                    print.disc(38.0, 40.0, r, r, if ring % 2 == 0 { ink } else { CLEAR });
                }
            }
        }
        76
    } else {
        4
    };
    let size = rng.count(14, 40) as i32;
    print.text(rng, left, 40 - size / 2 - 8, 156, size, ink);
    if rng.chance(0.7) {
        print.text(rng, left, 62, 156, 8, ink);
    }
    print
}

/// Handling marks: a row of framed pictograms.
pub(crate) fn handling_marks(rng: &mut Rng, ink: Ink) -> Picture {
    let mut marks = Picture::filled(150, 50, CLEAR);
    for index in 0..3 {
        let x = index * 50;
        marks.rectangle(x + 4, 4, 42, 42, ink);
        marks.rectangle(x + 7, 7, 36, 36, CLEAR);
        match rng.below(3) {
            0 => {
                marks.rectangle(x + 22, 14, 6, 26, ink);
                marks.rectangle(x + 16, 14, 18, 6, ink);
            }
            1 => marks.disc(x as f32 + 25.0, 25.0, 12.0, 14.0, ink),
            _ => {
                marks.rectangle(x + 12, 14, 26, 4, ink);
                marks.rectangle(x + 16, 22, 18, 14, ink);
            }
        }
    }
    marks
}

/// A strip of adhesive tape; `printed` repeats a text along it.
pub(crate) fn tape(rng: &mut Rng, ink: Ink, printed: bool) -> Picture {
    let mut strip = Picture::filled(256, 24, ink);
    if printed {
        let print = if u32::from(ink[0]) + u32::from(ink[1]) > 300 { BLACK } else { WHITE };
        let start = rng.count(0, 20) as i32;
        strip.text(rng, start, 6, 256, 12, print);
    }
    strip
}

/// Colourful artwork, as on retail boxes, books and tins.
pub(crate) fn artwork(rng: &mut Rng) -> Picture {
    let ground = random_ink(rng);
    let mut art = Picture::filled(160, 160, ground);
    for _ in 0..rng.count(2, 7) {
        let ink = random_ink(rng);
        let (x, y) = (rng.within(0.0..160.0), rng.within(0.0..160.0));
        let (w, h) = (rng.within(15.0..110.0), rng.within(8.0..80.0));
        match rng.below(3) {
            0 => art.rectangle(x as i32 - 40, y as i32 - 20, w as i32, h as i32, ink),
            1 => art.rectangle(0, y as i32, 160, h as i32 / 2, ink),
            _ => art.disc(x, y, w * 0.5, h * 0.6, ink),
        }
    }
    for _ in 0..rng.count(1, 5) {
        let ink = if rng.chance(0.5) { WHITE } else { BLACK };
        let size = rng.count(7, 30) as i32;
        let (x, y) = (rng.count(4, 60) as i32, rng.count(4, 140) as i32);
        art.text(rng, x, y, x + 90, size, ink);
    }
    art
}

/// Lines of small print on clear ground.
pub(crate) fn small_print(rng: &mut Rng, ink: Ink) -> Picture {
    let mut print = Picture::filled(128, 96, CLEAR);
    for row in 0..rng.count(2, 8) as i32 {
        let end = rng.count(60, 124) as i32;
        print.text(rng, 4, 4 + row * 11, end, 8, ink);
    }
    print
}
