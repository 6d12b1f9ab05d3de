//! What the views cover, and which ones are still wanted.

use magpie_perception::{CameraInfo, Distortion, Intrinsics};

use super::board::View;
use super::pose::board_pose;

/// Thirds of the picture, row by row.
const REGIONS: [[&str; 3]; 3] = [
    ["upper left", "upper middle", "upper right"],
    ["middle left", "middle", "middle right"],
    ["lower left", "lower middle", "lower right"],
];
/// Where the board was, over all views.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Coverage {
    pub views: usize,
    /// Corners in each ninth of the picture, row by row.
    pub corners: [[usize; 3]; 3],
    /// The largest tilts of the board: left, right, up, down, in degrees.
    pub tilts_deg: [f64; 4],
    /// The largest share of the picture that the board filled.
    pub fill_share: f64,
    /// The largest angle between two boards.
    pub normals_deg: f64,
}

impl Coverage {
    /// A lens is well determined by this many views.
    pub const VIEWS_WANTED: usize = 15;
    /// Foreshortening separates focal length from distance from here on.
    pub const TILT_DEG_WANTED: f64 = 20.0;
    /// A board that fills this share of the picture reaches where a lens bends lines.
    pub const FILL_SHARE_WANTED: f64 = 0.25;

    /// Measures what the views cover. `info` need not be exact.
    pub fn of(views: &[&View], info: &CameraInfo) -> Coverage {
        let mut coverage = Coverage { views: views.len(), ..Coverage::default() };
        let mut normals = Vec::new();
        for view in views {
            coverage.count_corners(view);
            let Ok(pose) = board_pose(&view.points, info) else { continue };
            let normal = pose.camera_from_board.rotation * nalgebra::Vector3::z();
            // Boards' z may point either way; a board that is seen faces the camera.
            let facing = if normal.z > 0.0 { normal } else { -normal };
            let horizontal_deg = facing.x.atan2(facing.z).to_degrees();
            let vertical_deg = facing.y.atan2(facing.z).to_degrees();
            let tilts = [-horizontal_deg, horizontal_deg, -vertical_deg, vertical_deg];
            for (largest, tilt) in coverage.tilts_deg.iter_mut().zip(tilts) {
                *largest = largest.max(tilt);
            }
            normals.push(facing);
        }
        for (index, a) in normals.iter().enumerate() {
            for b in &normals[index + 1..] {
                coverage.normals_deg = coverage.normals_deg.max(a.angle(b).to_degrees());
            }
        }
        coverage
    }

    fn count_corners(&mut self, view: &View) {
        let (width, height) = (f64::from(view.width_px), f64::from(view.height_px));
        let (mut min, mut max) = ([f64::MAX; 2], [f64::MIN; 2]);
        for point in &view.points {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2")]
            let third = |at: f64, size: f64| (3.0 * at / size).clamp(0.0, 2.0) as usize;
            self.corners[third(point.px.y, height)][third(point.px.x, width)] += 1;
            for (axis, value) in [point.px.x, point.px.y].into_iter().enumerate() {
                min[axis] = min[axis].min(value);
                max[axis] = max[axis].max(value);
            }
        }
        let fill = (max[0] - min[0]) * (max[1] - min[1]) / (width * height);
        self.fill_share = self.fill_share.max(fill);
    }

    /// Lists what is still wanted, most important first; empty when nothing is.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let [left, right, up, down] = self.tilts_deg;
        let sideways = left.max(right) < Self::TILT_DEG_WANTED;
        let upwards = up.max(down) < Self::TILT_DEG_WANTED;
        match (sideways, upwards) {
            (true, true) => advice.push("tilt the board by 30 degrees and more, each way".into()),
            (true, false) => advice.push("tilt the board 30 degrees to the left and right".into()),
            (false, true) => advice.push("tilt the board 30 degrees up and down".into()),
            (false, false) => {}
        }
        let missing: Vec<&str> = (0..9)
            .filter(|&region| self.corners[region / 3][region % 3] == 0)
            .map(|region| REGIONS[region / 3][region % 3])
            .collect();
        if !missing.is_empty() {
            let regions = missing.join(", ");
            advice
                .push(format!("hold the board where no corner was yet: {regions} of the picture"));
        }
        if self.fill_share < Self::FILL_SHARE_WANTED {
            advice.push(format!(
                "bring the board closer: it filled {:.0} % of the picture at most",
                100.0 * self.fill_share
            ));
        }
        if self.views < Self::VIEWS_WANTED {
            let wanted = Self::VIEWS_WANTED;
            advice.push(format!("take more views: {} of {wanted}", self.views));
        }
        advice
    }

    /// Writes a line for each row of the picture, for people.
    pub fn map(&self) -> String {
        let row = |row: &[usize; 3]| {
            row.iter().map(|count| format!("{count:>6}")).collect::<Vec<_>>().concat()
        };
        self.corners.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

/// Guesses a lens as most are: enough to tell tilts apart before there is a calibration.
pub(crate) fn guess(width_px: u32, height_px: u32) -> CameraInfo {
    let (width, height) = (f64::from(width_px), f64::from(height_px));
    CameraInfo {
        camera_name: String::new(),
        frame_id: String::new(),
        width_px,
        height_px,
        intrinsics: Intrinsics {
            fx_px: width,
            fy_px: width,
            cx_px: (width - 1.0) / 2.0,
            cy_px: (height - 1.0) / 2.0,
        },
        distortion: Distortion::default(),
    }
}

impl Coverage {
    /// Measures what the views cover before there is a calibration.
    pub fn so_far(views: &[&View]) -> Coverage {
        match views.first() {
            Some(view) => Coverage::of(views, &guess(view.width_px, view.height_px)),
            None => Coverage::default(),
        }
    }
}

/// Limits of pixels are for pictures as wide as this, and more on wider ones.
const USUAL_WIDTH_PX: f64 = 1280.0;

/// By how much limits of pixels are larger in a picture of this width.
pub(crate) fn wider_by(width_px: u32) -> f64 {
    (f64::from(width_px) / USUAL_WIDTH_PX).max(1.0)
}
