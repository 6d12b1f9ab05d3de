//! Pictures, one for each frame, that show where cups would seal and what the planner chose.
//!
//! Green to red: how uneven the surface under a cup at that place is, red where the cup cannot
//! follow. Rings: the lips of the best grasp, with its approach; white where the judge accepts it,
//! red with what is wrong where it does not.

use std::path::Path;

use anyhow::Context;
use magpie_camera::{Canvas, ImageProblem, write_png};
use magpie_perception::{BgrImage, CupProbe, Frame, Grasp, Mask, Package, Scene, Tool};
use magpie_workcell::Verdict;
use nalgebra::Point3;

use magpie_daemon::failure::{Failure, Outcome};

/// A cup is tried every so many pixels each way.
const STEP_PX: u32 = 4;
const LIP_POINTS: u32 = 24;
/// The length of the approach that is drawn.
const APPROACH_M: f64 = 0.06;
/// Share of the seal's colour over the picture.
const TINT: f32 = 0.55;
/// Blue, green, red.
const WHITE: [u8; 3] = [255; 3];
const RED: [u8; 3] = [40, 40, 255];

/// Writes `path`. The verdicts are of the best grasp of each package; `None` where none was judged.
pub(super) fn write(
    path: &Path,
    frame: &Frame,
    scene: &Scene,
    packages: &[(&Package, Option<Verdict>)],
) -> Outcome {
    let mut picture = frame.color.clone();
    if let Some(depth) = &frame.depth {
        let mut probe = CupProbe::new(depth, scene);
        for (package, _) in packages {
            seal_map(&mut picture, &package.instance.mask, &mut probe, &scene.tool);
        }
    }
    let drawn = with_grasps(&picture, scene, packages).map_err(Failure::fault)?;
    write_png(path, &drawn).with_context(|| format!("write {}", path.display()))?;
    Ok(())
}

fn seal_map(picture: &mut BgrImage, mask: &Mask, probe: &mut CupProbe<'_>, tool: &Tool) {
    let cup = &tool.cups[0];
    let width = picture.width_px();
    probe.quieten(mask);
    for (x, y_first, length) in mask.columns().filter(|(x, ..)| x % STEP_PX == 0) {
        for y in (y_first..y_first + length).filter(|y| y % STEP_PX == 0) {
            let surface = probe.touch([x as f32, y as f32], cup.radius_m);
            let Some(surface) = surface else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "a share")]
            let share = (surface.deviation_m / cup.compliance_m).clamp(0.0, 1.0) as f32;
            let color = [0.0, 200.0 * (1.0 - share), 255.0 * share];
            for (px, py) in (0..STEP_PX).flat_map(|dx| (0..STEP_PX).map(move |dy| (x + dx, y + dy)))
            {
                if px < width && py < picture.height_px() && mask.contains(px, py) {
                    let at = 3 * (py * width + px) as usize;
                    mix(&mut picture.data_mut()[at..at + 3], color);
                }
            }
        }
    }
}

fn mix(pixel: &mut [u8], color: [f32; 3]) {
    for (value, target) in pixel.iter_mut().zip(color) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mix of bytes"
        )]
        {
            *value = (f32::from(*value) * (1.0 - TINT) + target * TINT) as u8;
        }
    }
}

fn with_grasps(
    picture: &BgrImage,
    scene: &Scene,
    packages: &[(&Package, Option<Verdict>)],
) -> Result<BgrImage, ImageProblem> {
    let mut canvas = Canvas::new(picture)?;
    for (package, verdict) in packages {
        let Some(grasp) = package.best_grasp() else { continue };
        let faults = verdict.map_or_else(Vec::new, |verdict| faults(&verdict));
        let color = if faults.is_empty() { WHITE } else { RED };
        for line in outlines(grasp, scene) {
            canvas.line(&line, color)?;
        }
        let [x, y] = grasp.contact_px;
        let label = format!("{:.2} {}", grasp.quality.product(), faults.join(", "));
        canvas.text(label.trim_end(), [x, y - 18.0], color)?;
    }
    canvas.into_image()
}

/// The lips of the cups in use and the approach, in pixels.
fn outlines(grasp: &Grasp, scene: &Scene) -> Vec<Vec<[f32; 2]>> {
    let camera_from_reference = scene.reference_from_camera().inverse();
    let camera_from_tool = camera_from_reference * grasp.reference_from_grasp;
    let pixels = |points: &mut dyn Iterator<Item = Point3<f64>>| -> Vec<[f32; 2]> {
        let seen =
            points.filter_map(|point| scene.camera_info.project(&(camera_from_tool * point)));
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        seen.map(|px| [px.x as f32, px.y as f32]).collect()
    };
    let cups = grasp.cups.indices().filter_map(|index| scene.tool.cups.get(index));
    let lips = cups.map(|cup| {
        pixels(&mut (0..=LIP_POINTS).map(|at| {
            let angle = f64::from(at) / f64::from(LIP_POINTS) * std::f64::consts::TAU;
            let [x, y, z] = cup.position_m;
            Point3::new(x + cup.radius_m * angle.cos(), y + cup.radius_m * angle.sin(), z)
        }))
    });
    let approach = [0.0, -APPROACH_M].map(|z| Point3::new(0.0, 0.0, z));
    lips.chain([pixels(&mut approach.into_iter())]).collect()
}

fn faults(verdict: &Verdict) -> Vec<&'static str> {
    let all = [
        (verdict.off_package, "off"),
        (verdict.leaks, "leaks"),
        (verdict.misplaced, "misplaced"),
        (verdict.drops, "drops"),
        (verdict.hits, "hits"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, name)| name).collect()
}
