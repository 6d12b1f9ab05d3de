//! Pictures of a printed board, as a real camera takes them: the sheet that `board_svg` prints, seen
//! through a lens with distortion, blur and noise, from a known place.

use magpie_camera::calibrate::{Board, board_svg};
use magpie_perception::{BgrImage, CameraInfo, Distortion, Intrinsics};
use nalgebra::{Isometry3, Point3, UnitQuaternion, Vector3};

/// Tenths of a millimetre: every edge of the boards in these tests lies on this grid.
const DOTS_PER_MM: f64 = 10.0;
/// Rays per pixel, each way.
const RAYS: usize = 3;

/// A number generator of its own, so that no library's next version changes the pictures
/// (Vigna's splitmix64).
pub struct Noise(pub u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `-1.0..1.0`.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// Standard normal, by the sum of twelve.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform() / 2.0).sum()
    }

    pub fn vector(&mut self) -> Vector3<f64> {
        Vector3::new(self.uniform(), self.uniform(), self.uniform())
    }
}

/// A sheet of paper with its ink.
struct Sheet {
    columns: usize,
    rows: usize,
    ink: Vec<bool>,
    /// Where the board's reference frame begins, in dots.
    origin: [f64; 2],
}

/// Rasterises what would go to the printer.
fn print(board: &Board) -> Sheet {
    let svg = board_svg(board, None).unwrap();
    let number = |line: &str, key: &str| -> f64 {
        let start = line.find(&format!(" {key}=\"")).unwrap() + key.len() + 3;
        line[start..].split('"').next().unwrap().trim_end_matches("mm").parse().unwrap()
    };
    let dots = |mm: f64| (mm * DOTS_PER_MM).round() as usize;
    let head = svg.lines().next().unwrap();
    let (columns, rows) = (dots(number(head, "width")), dots(number(head, "height")));
    let mut ink = vec![false; columns * rows];
    let mut first: Option<[f64; 2]> = None;
    for line in svg.lines().filter(|line| line.starts_with("<rect x=")) {
        let (x, y) = (number(line, "x"), number(line, "y"));
        // Squares are drawn first, and the upper left one is black.
        first.get_or_insert([x * DOTS_PER_MM, y * DOTS_PER_MM]);
        for row in dots(y)..dots(y + number(line, "height")) {
            ink[row * columns + dots(x)..row * columns + dots(x + number(line, "width"))]
                .fill(true);
        }
    }
    let [x, y] = first.unwrap();
    let shift = match board {
        Board::Chessboard { square_length_m, .. } => 1000.0 * square_length_m * DOTS_PER_MM,
        _ => 0.0,
    };
    Sheet { columns, rows, ink, origin: [x + shift, y + shift] }
}

/// A camera in front of a printed board.
pub struct BoardScene {
    pub info: CameraInfo,
    sheet: Sheet,
    rays: Vec<Vector3<f64>>,
    pub blur_px: f64,
    pub noise_sigma: f64,
}

/// A lens with visible distortion.
pub fn lens(width_px: u32, height_px: u32) -> CameraInfo {
    let width = f64::from(width_px);
    CameraInfo {
        camera_name: "simulated".into(),
        frame_id: "simulated_optical_frame".into(),
        width_px,
        height_px,
        intrinsics: Intrinsics {
            fx_px: 0.98 * width,
            fy_px: 0.982 * width,
            cx_px: 0.507 * width,
            cy_px: 0.494 * f64::from(height_px),
        },
        distortion: Distortion::plumb_bob([-0.12, 0.06, 0.0008, -0.0005, 0.0]),
    }
}

impl BoardScene {
    pub fn new(board: &Board, info: CameraInfo) -> BoardScene {
        let (columns, rows) = (info.width_px as usize * RAYS, info.height_px as usize * RAYS);
        let at = |index: usize| (index as f64 + 0.5) / RAYS as f64 - 0.5;
        let rays = (0..rows)
            .flat_map(|y| (0..columns).map(move |x| (x, y)))
            .map(|(x, y)| info.ray(at(x), at(y)))
            .collect();
        BoardScene { info, sheet: print(board), rays, blur_px: 0.6, noise_sigma: 2.0 }
    }

    pub fn picture(&self, camera_from_board: &Isometry3<f64>, noise: &mut Noise) -> BgrImage {
        let (width, height) = (self.info.width_px as usize, self.info.height_px as usize);
        let board_from_camera = camera_from_board.inverse();
        let origin = board_from_camera.translation.vector;
        let mut values = vec![0.0_f64; width * height];
        for (index, ray) in self.rays.iter().enumerate() {
            let (x, y) = (index % (width * RAYS) / RAYS, index / (width * RAYS) / RAYS);
            let direction = board_from_camera.rotation * ray;
            let scale = -origin.z / direction.z;
            let hit = origin + direction * scale;
            let bright = if scale > 0.0 { self.bright(hit.x, hit.y) } else { 60.0 };
            values[y * width + x] += bright / (RAYS * RAYS) as f64;
        }
        blur(&mut values, width, height, self.blur_px);
        let mut byte = |index: usize| {
            // Light falls off to one side.
            let light = 1.0 - 0.25 * (index % width) as f64 / width as f64;
            (values[index] * light + self.noise_sigma * noise.normal()).round().clamp(0.0, 255.0)
                as u8
        };
        let bgr = (0..width * height).flat_map(|index| [byte(index); 3]).collect();
        BgrImage::new(self.info.width_px, self.info.height_px, bgr).unwrap()
    }

    fn bright(&self, x_m: f64, y_m: f64) -> f64 {
        let [x0, y0] = self.sheet.origin;
        let column = x_m * 1000.0 * DOTS_PER_MM + x0;
        let row = y_m * 1000.0 * DOTS_PER_MM + y0;
        if column < 0.0 || row < 0.0 {
            return 90.0;
        }
        let (column, row) = (column as usize, row as usize);
        if column >= self.sheet.columns || row >= self.sheet.rows {
            return 90.0;
        }
        if self.sheet.ink[row * self.sheet.columns + column] { 25.0 } else { 215.0 }
    }
}

/// Gaussian, separable.
fn blur(values: &mut [f64], width: usize, height: usize, sigma_px: f64) {
    let reach = (3.0 * sigma_px).ceil() as isize;
    let kernel: Vec<f64> =
        (-reach..=reach).map(|k| (-0.5 * (k as f64 / sigma_px).powi(2)).exp()).collect();
    let sum: f64 = kernel.iter().sum();
    for (along, across) in [((1, width), (width, height)), ((width, height), (1, width))] {
        let (step, length) = along;
        let (stride, lines) = across;
        let mut line = vec![0.0; length];
        for start in (0..lines).map(|index| index * stride) {
            for (i, value) in line.iter_mut().enumerate() {
                *value = (-reach..=reach)
                    .zip(&kernel)
                    .map(|(k, weight)| {
                        let at = (i as isize + k).clamp(0, length as isize - 1) as usize;
                        values[start + at * step] * weight / sum
                    })
                    .sum();
            }
            for (i, value) in line.iter().enumerate() {
                values[start + i * step] = *value;
            }
        }
    }
}

/// The camera at a distance from a point of the board, tilted away from its normal, looking at it.
pub fn look_at(
    target_in_board: Point3<f64>,
    distance_m: f64,
    tilt_deg: f64,
    azimuth_deg: f64,
    roll_deg: f64,
) -> Isometry3<f64> {
    let (tilt, azimuth) = (tilt_deg.to_radians(), azimuth_deg.to_radians());
    // The board's z goes into the paper: the camera is at negative z.
    let offset = Vector3::new(tilt.sin() * azimuth.cos(), tilt.sin() * azimuth.sin(), -tilt.cos());
    let eye = target_in_board + offset * distance_m;
    let forward = target_in_board - eye;
    // Image x along the board's x, image y along its y.
    let rotation = UnitQuaternion::face_towards(&forward, &Vector3::y());
    let roll = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), roll_deg.to_radians());
    let board_from_camera = Isometry3::from_parts(eye.coords.into(), rotation * roll);
    board_from_camera.inverse()
}
