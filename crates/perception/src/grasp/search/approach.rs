//! Whether the tool's way to its contact is free.

use nalgebra::Vector3;

use crate::Tool;
use crate::grasp::surface::depth::{CELL_NOISE_SHARE, DEPTH_M_MIN, MM_PER_M, smooth_depth_m};
use crate::grasp::surface::rays::Rays;
use crate::grasp::surface::view::View;
use crate::number::{floor_px, to_f32, to_u16};

/// Depth is a few pixels off at the edges of walls, and an arm a little off its way.
const ASIDE_M: f32 = 0.004;
/// The far end of a way that is cut off at the nearest depth must not be lost to rounding.
const PROJECTED_M_MIN: f32 = 0.9 * DEPTH_M_MIN;
/// What a cup pushes aside, or may touch: as high as half a finger, and so many standard deviations
/// of a cell's noise.
const MARGIN_M: f32 = 0.008;
const MARGIN_SIGMAS: f32 = 4.0;
/// Depth values are off by no more standard deviations than this.
const NOISE_SIGMAS: f32 = 3.0;
/// The cylinder's radius is drawn for no nearer depth than this: it would fill the picture.
const REACH_DEPTH_M_MIN: f32 = 0.1;
/// Samples across the cylinder.
const SAMPLES_ACROSS: f32 = 14.0;
/// One sample in the way may be a flying pixel.
const HITS_MIN: u32 = 2;

/// Whether something measured stands in the cylinder that the tool takes on its way: from its lips,
/// `origin` being that of its reference frame, back along `normal`.
pub(crate) fn is_blocked(
    view: View<'_>,
    origin: &Vector3<f32>,
    normal: &Vector3<f32>,
    tool: &Tool,
    noise_m: f32,
) -> bool {
    let cylinder = Cylinder::new(origin, normal, tool, noise_m);
    let Some(window) = cylinder.window(view) else { return false };
    cylinder.count_hits(view, &window) >= HITS_MIN
}

/// What must be free.
struct Cylinder {
    contact: Vector3<f32>,
    /// From the contact back along the approach.
    normal: Vector3<f32>,
    radius_m: f32,
    length_m: f32,
    /// Nothing counts that is not farther from the contact, along the normal.
    margin_m: f32,
    noise_m: f32,
}

/// Where a cylinder is in the picture.
struct Window {
    /// The contact's pixel.
    contact_px: [f32; 2],
    first: [u32; 2],
    end: [u32; 2],
    step: u32,
}

impl Cylinder {
    fn new(origin: &Vector3<f32>, normal: &Vector3<f32>, tool: &Tool, noise_m: f32) -> Cylinder {
        let contact = origin - normal * to_f32(tool.lips_z_m());
        // What is nearer to the camera it does not see, and nothing stands there but the camera.
        let towards = -normal.z;
        let seen_m = if towards > 0.0 { (contact.z - DEPTH_M_MIN) / towards } else { f32::MAX };
        Cylinder {
            contact,
            normal: *normal,
            radius_m: to_f32(tool.approach_radius_m) + ASIDE_M,
            length_m: to_f32(tool.approach_length_m).min(seen_m),
            margin_m: MARGIN_M + MARGIN_SIGMAS * CELL_NOISE_SHARE * noise_m,
            noise_m,
        }
    }

    /// `None` where an end of it is not before the camera.
    fn window(&self, view: View<'_>) -> Option<Window> {
        let far = self.contact + self.normal * self.length_m;
        let (contact_px, far_px) = (project(view.rays, &self.contact)?, project(view.rays, &far)?);
        // What stands near the far end is seen near it; its radius there bounds the nearer ones.
        let nearest_m = self.contact.z.min(far.z).max(REACH_DEPTH_M_MIN);
        let reach = view.pixels(self.radius_m, nearest_m);
        let last = [view.depth.width_px() - 1, view.depth.height_px() - 1];
        let end = [0, 1].map(|axis| {
            let high = contact_px[axis].max(far_px[axis]) + reach;
            floor_px(high).min(last[axis]) + 1
        });
        let first = [0, 1].map(|axis| {
            let low = contact_px[axis].min(far_px[axis]) - reach;
            floor_px(low).min(end[axis])
        });
        let step = floor_px(2.0 * reach / SAMPLES_ACROSS).max(1);
        Some(Window { contact_px, first, end, step })
    }

    /// Samples that were measured within the cylinder, or beyond its far end.
    fn count_hits(&self, view: View<'_>, window: &Window) -> u32 {
        let Cylinder { contact, normal, radius_m, margin_m, noise_m, .. } = self;
        let Window { contact_px, first, end, step } = window;
        let near = view.rays.near(contact_px.map(|px| px.max(0.0)));
        // Deeper than this nothing in the cylinder can be, whichever way it leans.
        let lean = normal.x.hypot(normal.y);
        let z_max_m = contact.z + margin_m * normal.z + radius_m * lean + NOISE_SIGMAS * noise_m;
        let mm_max = to_u16(floor_px(MM_PER_M * z_max_m.max(0.0)).min(u32::from(u16::MAX)));
        // Neither a hole, which is 0, nor deeper.
        let is_near = |mm: u16| mm.wrapping_sub(1) < mm_max;
        let mut hits = 0;
        for y in (first[1]..end[1]).step_by(*step as usize) {
            let line = &view.depth.row_mm(y)[first[0] as usize..end[0] as usize];
            // Most rows hold nothing so near: seen many pixels at once, that takes less than the
            // samples.
            if !line.iter().fold(false, |any, mm| any | is_near(*mm)) {
                continue;
            }
            let columns = (first[0]..end[0]).step_by(*step as usize);
            for (x, &mm) in columns.zip(line.iter().step_by(*step as usize)) {
                if !is_near(mm) {
                    continue;
                }
                let Some(z_m) = smooth_depth_m(view.depth, x, y) else { continue };
                let d = near.at(x as f32, y as f32) * z_m - contact;
                // What is seen above the cylinder's end stands on something inside of it.
                let above = normal.dot(&d);
                let aside = d.norm_squared() - above * above;
                hits += u32::from(above > *margin_m && aside < radius_m * radius_m);
            }
        }
        hits
    }
}

fn project(rays: &Rays, point: &Vector3<f32>) -> Option<[f32; 2]> {
    (point.z >= PROJECTED_M_MIN).then(|| rays.project(point.x / point.z, point.y / point.z))
}
