//! A picture of what was found: masks, outlines, types, track ids and contact points.

use magpie_camera::{Canvas, ImageProblem};
use magpie_perception::{BgrImage, Mask, Package};
use magpie_wire as wire;

/// One package as it is drawn.
pub struct Drawn {
    pub mask: Mask,
    pub package_type: String,
    pub track_id: u64,
    pub score: f32,
    /// `None` where nothing can be held.
    pub contact_px: Option<[f32; 2]>,
    pub deepest_px: [f32; 2],
}

impl Drawn {
    pub fn from_package(package: &Package, class_names: &[String]) -> Drawn {
        Drawn {
            mask: package.instance.mask.clone(),
            package_type: class_names[package.instance.class_id].clone(),
            track_id: package.track_id,
            score: package.instance.score,
            contact_px: package.best_grasp().map(|grasp| grasp.contact_px),
            deepest_px: package.deepest_px,
        }
    }

    /// `None` for a message without a whole mask.
    pub fn from_wire(package: &wire::Package) -> Option<Drawn> {
        let mask = Mask::try_from(package.mask.as_ref()?).ok()?;
        let point = |point: &wire::PointPx| [point.x_px, point.y_px];
        let contact = package.grasps.first().and_then(|grasp| grasp.contact_px.as_ref());
        Some(Drawn {
            mask,
            package_type: package.r#type.clone(),
            track_id: package.track_id,
            score: package.score,
            contact_px: contact.map(point),
            deepest_px: package.deepest_px.as_ref().map(point)?,
        })
    }
}

/// Colours in blue, green, red: those that stay apart for most eyes (Okabe and Ito), one a track.
const COLORS: [[u8; 3]; 8] = [
    [0, 159, 230],
    [233, 180, 86],
    [115, 158, 0],
    [66, 228, 240],
    [178, 114, 0],
    [0, 94, 213],
    [167, 121, 204],
    [200, 200, 200],
];

/// Share of the mask's colour over the picture.
const TINT: f32 = 0.45;

/// Draws packages, the first of them on top.
pub fn draw(image: &BgrImage, packages: &[Drawn]) -> Result<BgrImage, ImageProblem> {
    let mut picture = image.clone();
    for package in packages.iter().rev() {
        tint(&mut picture, &package.mask, color(package.track_id));
    }
    let mut canvas = Canvas::new(&picture)?;
    for package in packages.iter().rev() {
        if let Some(contact_px) = package.contact_px {
            canvas.target(contact_px, [255; 3])?;
        }
        let [x, y] = package.deepest_px;
        let label =
            format!("{} {} {:.0}%", package.track_id, package.package_type, 100.0 * package.score);
        canvas.text(&label, [x, y + 18.0], [255; 3])?;
    }
    canvas.into_image()
}

fn color(track_id: u64) -> [u8; 3] {
    let at = track_id % COLORS.len() as u64;
    COLORS[usize::try_from(at).expect("less than eight")]
}

/// A mask in its colour, its rim without a tint of the picture.
pub(crate) fn tint(picture: &mut BgrImage, mask: &Mask, color: [u8; 3]) {
    if (mask.width_px(), mask.height_px()) != (picture.width_px(), picture.height_px()) {
        return;
    }
    let (width, height) = (picture.width_px() as usize, picture.height_px() as usize);
    let bitmap = mask.to_bitmap();
    let inside = |x: usize, y: usize| bitmap[y * width + x] != 0;
    let data = picture.data_mut();
    for y in 0..height {
        for x in 0..width {
            if !inside(x, y) {
                continue;
            }
            let edge = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
            let rim = edge
                || !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
            let share = if rim { 1.0 } else { TINT };
            for (value, target) in data[3 * (y * width + x)..][..3].iter_mut().zip(color) {
                let mixed = f32::from(*value) * (1.0 - share) + f32::from(target) * share;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a mix of bytes"
                )]
                {
                    *value = mixed as u8;
                }
            }
        }
    }
}
