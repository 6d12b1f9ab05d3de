//! A picture of what was found: masks and types, in which order they are to be picked, and what is
//! refused.

use magpie_camera::{Canvas, ImageProblem};
use magpie_perception::{BgrImage, GraspRefusal, Mask, Package};
use magpie_wire as wire;

use super::table;

/// One package as it is drawn.
pub struct Drawn {
    pub mask: Mask,
    pub package_type: String,
    pub track_id: u64,
    pub score: f32,
    pub hold: Hold,
    pub deepest_px: [f32; 2],
}

/// Whether a package can be held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hold {
    /// Here, and it is the `order`th to be picked, from 1.
    Contact {
        order: u32,
        contact_px: [f32; 2],
    },
    Refused(wire::GraspRefusal),
    /// Nobody knows where anything is.
    NotCalibrated,
}

impl Hold {
    fn new(pick_rank: u32, contact_px: Option<[f32; 2]>, refusal: wire::GraspRefusal) -> Hold {
        match (contact_px, refusal) {
            (Some(contact_px), _) => {
                Hold::Contact { order: pick_rank.saturating_add(1), contact_px }
            }
            (None, wire::GraspRefusal::NotCalibrated) => Hold::NotCalibrated,
            (None, refusal) => Hold::Refused(refusal),
        }
    }
}

impl Drawn {
    pub fn from_package(package: &Package, class_names: &[String]) -> Drawn {
        let contact_px = package.best_grasp().map(|grasp| grasp.contact_px);
        let refusal = package.refusal().map(GraspRefusal::into).unwrap_or_default();
        Drawn {
            mask: package.instance.mask.clone(),
            package_type: class_names[package.instance.class_id].clone(),
            track_id: package.track_id,
            score: package.instance.score,
            hold: Hold::new(package.pick_rank, contact_px, refusal),
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
            hold: Hold::new(package.pick_rank, contact.map(point), package.refusal()),
            deepest_px: package.deepest_px.as_ref().map(point)?,
        })
    }

    fn label(&self) -> String {
        let (id, kind, percent) = (self.track_id, &self.package_type, 100.0 * self.score);
        match self.hold {
            Hold::Refused(refusal) => format!("#{id} {kind}: {}", table::refusal(refusal)),
            _ => format!("#{id} {kind} {percent:.0}%"),
        }
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

/// Of what is refused, which has no colour but hatching.
const GREY: [u8; 3] = [90; 3];
const WHITE: [u8; 3] = [255; 3];
/// From one line of hatching to the next, and how wide it is.
const HATCH_PX: [usize; 2] = [14, 3];
/// Share of the mask's colour over the picture.
const TINT: f32 = 0.45;
/// Around a label.
const GAP_PX: f32 = 3.0;

/// Draws packages, the first of them on top.
///
/// A ring shows where a package is held, with its place in pick order. Labels stay inside the picture
/// and off each other: where packages pile up, only those that are picked first have one.
pub fn draw(image: &BgrImage, packages: &[Drawn]) -> Result<BgrImage, ImageProblem> {
    let mut picture = image.clone();
    for package in packages.iter().rev() {
        match package.hold {
            Hold::Refused(_) => hatch(&mut picture, &package.mask),
            _ => tint(&mut picture, &package.mask, color(package.track_id)),
        }
    }
    let picture_px = [picture.width_px() as f32, picture.height_px() as f32];
    let mut canvas = Canvas::new(&picture)?;
    let ring_px = canvas.ring_radius_px();
    let mut taken = Vec::new();
    for package in packages.iter().rev() {
        if let Hold::Contact { order, contact_px } = package.hold {
            canvas.ring(&order.to_string(), contact_px, WHITE)?;
            taken.push(Area { center_px: contact_px, half_px: [ring_px; 2] });
        }
    }
    for package in packages {
        let label = package.label();
        let half_px = canvas.text_size_px(&label)?.map(|side| side / 2.0 + GAP_PX);
        let anchor = match package.hold {
            Hold::Contact { contact_px, .. } => {
                Area { center_px: contact_px, half_px: [ring_px; 2] }
            }
            _ => Area { center_px: package.deepest_px, half_px: [0.0; 2] },
        };
        if let Some(area) = place(half_px, anchor, picture_px, &taken) {
            canvas.text(&label, area.center_px, WHITE)?;
            taken.push(area);
        }
    }
    canvas.into_image()
}

/// An upright rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    center_px: [f32; 2],
    half_px: [f32; 2],
}

impl Area {
    fn meets(&self, other: &Area) -> bool {
        (0..2).all(|axis| {
            let apart = (self.center_px[axis] - other.center_px[axis]).abs();
            apart < self.half_px[axis] + other.half_px[axis]
        })
    }
}

/// Where a label has room: below, above, or beside its anchor, within the picture. `None`: nowhere.
fn place(half_px: [f32; 2], anchor: Area, picture_px: [f32; 2], taken: &[Area]) -> Option<Area> {
    let sides = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]];
    sides.into_iter().find_map(|side| {
        let along = |axis: usize| {
            let wish = anchor.center_px[axis] + side[axis] * (anchor.half_px[axis] + half_px[axis]);
            let (low, high) = (half_px[axis], picture_px[axis] - half_px[axis]);
            (low <= high).then(|| wish.clamp(low, high))
        };
        let area = Area { center_px: [along(0)?, along(1)?], half_px };
        (!taken.iter().any(|other| area.meets(other))).then_some(area)
    })
}

fn color(track_id: u64) -> [u8; 3] {
    let at = track_id % COLORS.len() as u64;
    COLORS[usize::try_from(at).expect("less than eight")]
}

/// A mask in its colour, its rim without a tint of the picture.
pub(crate) fn tint(picture: &mut BgrImage, mask: &Mask, color: [u8; 3]) {
    paint(picture, mask, color, |_, _| color);
}

fn hatch(picture: &mut BgrImage, mask: &Mask) {
    let [period, width] = HATCH_PX;
    paint(picture, mask, WHITE, |x, y| if (x + y) % period < width { WHITE } else { GREY });
}

fn paint(
    picture: &mut BgrImage,
    mask: &Mask,
    rim: [u8; 3],
    color_at: impl Fn(usize, usize) -> [u8; 3],
) {
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
            let is_rim = edge
                || !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
            let (share, color) = if is_rim { (1.0, rim) } else { (TINT, color_at(x, y)) };
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

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE_PX: [f32; 2] = [200.0, 100.0];
    const LABEL_PX: [f32; 2] = [30.0, 8.0];

    fn at(x: f32, y: f32) -> Area {
        Area { center_px: [x, y], half_px: [10.0; 2] }
    }

    #[test]
    fn a_label_stands_below_its_anchor_and_inside_the_picture() {
        let middle = place(LABEL_PX, at(100.0, 50.0), PICTURE_PX, &[]);
        assert_eq!(middle.unwrap().center_px, [100.0, 68.0]);
        let corner = place(LABEL_PX, at(2.0, 50.0), PICTURE_PX, &[]);
        assert_eq!(corner.unwrap().center_px, [30.0, 68.0]);
    }

    #[test]
    fn a_label_makes_way_and_is_left_out_where_all_is_taken() {
        let anchor = at(100.0, 50.0);
        let below = at(100.0, 68.0);
        let above = place(LABEL_PX, anchor, PICTURE_PX, &[anchor, below]);
        assert_eq!(above.unwrap().center_px, [100.0, 32.0]);
        let all = Area { center_px: [100.0, 50.0], half_px: PICTURE_PX };
        assert_eq!(place(LABEL_PX, anchor, PICTURE_PX, &[all]), None);
        let too_wide = place([150.0, 8.0], anchor, PICTURE_PX, &[]);
        assert_eq!(too_wide, None);
    }

    #[test]
    fn what_is_refused_is_hatched_and_what_is_not_has_its_colour() {
        let grey = BgrImage::new(60, 60, vec![128; 60 * 60 * 3]).unwrap();
        let drawn = |hold| {
            let package = Drawn {
                mask: Mask::from_bitmap(60, 60, &[1; 3600]),
                package_type: "box".into(),
                track_id: 1,
                score: 0.9,
                hold,
                deepest_px: [30.0; 2],
            };
            draw(&grey, &[package]).unwrap()
        };
        let is_grey = |picture: &BgrImage, y: u32| {
            picture.pixel(5, y).iter().all(|v| v.abs_diff(picture.pixel(5, y)[0]) < 2)
        };
        let refused = drawn(Hold::Refused(wire::GraspRefusal::TooSteep));
        assert!((2..20).all(|y| is_grey(&refused, y)));
        assert_ne!(refused.pixel(5, 4), refused.pixel(5, 9), "no hatching");
        let held = drawn(Hold::Contact { order: 3, contact_px: [30.0; 2] });
        assert!(!is_grey(&held, 7));
        let anywhere = drawn(Hold::NotCalibrated);
        assert!(!is_grey(&anywhere, 7));
    }
}
