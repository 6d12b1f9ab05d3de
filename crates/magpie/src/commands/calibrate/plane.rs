//! `magpie calibrate plane`: the plane that packages rest on.

use std::path::PathBuf;

use anyhow::anyhow;
use magpie_camera::calibrate::{CLEARED_SHARE_MIN, board_pose, fit_plane, view_of};
use magpie_camera::{read_camera_info, read_depth_png, read_sensor_image};
use magpie_perception::{BgrImage, CameraInfo, CameraPlace, DepthImage, Plane, doubt_plane};
use nalgebra::{Isometry3, Point3, Unit, Vector3};
use serde_json::json;

use super::arguments::list;
use super::board_args::BoardArgs;
use super::live::LiveCamera;
use super::same_lens::{check_same_lens, check_size};
use crate::present::output;
use magpie_daemon::calibration_files::{HandEyeFile, camera_info_id};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(super) struct PlaneArgs {
    /// ROS camera_info YAML.
    #[arg(long)]
    camera_info: PathBuf,
    #[command(flatten)]
    from: From,
    /// Configuration with the camera, for --live.
    #[arg(long)]
    config: Option<PathBuf>,
    /// What one step of --depth stands for, in metres: 0.0002 in TUM's data sets, 0.00025 with a
    /// RealSense L515. Absent: [depth] of the configuration, whose default are millimetres.
    #[arg(long, value_parser = crate::arguments::depth_unit, requires = "depth")]
    depth_unit_m: Option<f64>,
    #[command(flatten)]
    board: BoardArgs,
    /// Look at this part of the depth image only: x,y,width,height in pixels.
    #[arg(long, value_parser = list::<u32, 4>)]
    region: Option<[u32; 4]>,
    /// The file that `magpie calibrate hand-eye` wrote: it gives the plane's height in base.
    #[arg(long)]
    hand_eye: Option<PathBuf>,
    /// Print the plane as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct From {
    /// 16-bit PNG, TIFF or PGM, aligned with the colour image, of the cleared cell.
    #[arg(long)]
    depth: Option<PathBuf>,
    /// A picture of the board lying on the plane.
    #[arg(long)]
    image: Option<PathBuf>,
    /// A frame of the camera that --config names: its depth, or the board in it.
    #[arg(long, requires = "config")]
    live: bool,
}

/// A plane that leans further than this in base is no support for loose packages.
const LEAN_DEG_MAX: f64 = 5.0;

pub(super) fn plane(args: &PlaneArgs) -> Outcome {
    let info = read_camera_info(&args.camera_info, None).map_err(Failure::config)?;
    let base_from_camera = base_from_camera(args, &info)?;
    let (plane, how) = find(args, &info)?;
    let in_base = base_from_camera.map(|base_from_camera| in_base(&plane, &base_from_camera));
    let n = plane.normal;
    if args.json {
        let document = json!({
            "support_plane_in_camera": [n.x, n.y, n.z, plane.offset_m],
            "support_plane_z_in_base_m": in_base.map(|(z_m, _)| z_m),
            "lean_deg": in_base.map(|(_, lean_deg)| lean_deg),
            "how": how,
        });
        return output::line(&document.to_string());
    }
    output::line(&how)?;
    output::line(&format!("the plane is {:.3} m from the camera", plane.offset_m.abs()))?;
    output::line("for [scene] in the configuration:")?;
    output::line(&format!(
        "support_plane_in_camera = [{:.6}, {:.6}, {:.6}, {:.5}]",
        n.x, n.y, n.z, plane.offset_m
    ))?;
    let Some((z_m, lean_deg)) = in_base else { return Ok(()) };
    output::line(&format!(
        "# in base, straight under the camera, the plane is at the height z = {z_m:.4} m; it leans by \
         {lean_deg:.2} degrees"
    ))?;
    if lean_deg > LEAN_DEG_MAX {
        tracing::warn!(
            "the plane leans {lean_deg:.1} degrees in base: is it the support, and is the hand-eye \
             calibration right?"
        );
    }
    Ok(())
}

fn find(args: &PlaneArgs, info: &CameraInfo) -> Result<(Plane, String), Failure> {
    if let Some(path) = &args.from.depth {
        let unit_m = depth_unit_m(args)?;
        return from_depth(args, info, &read_depth_png(path, unit_m).map_err(Failure::config)?);
    }
    if let Some(path) = &args.from.image {
        return from_board(args, info, &read_sensor_image(path).map_err(Failure::config)?);
    }
    let frame = LiveCamera::open(args.config.as_deref(), Some(&args.camera_info))?.frame()?;
    match &frame.depth {
        Some(depth) => from_depth(args, info, depth),
        None => from_board(args, info, &frame.color),
    }
}

fn depth_unit_m(args: &PlaneArgs) -> Result<f64, Failure> {
    if let Some(unit_m) = args.depth_unit_m {
        return Ok(unit_m);
    }
    let config = Config::load_uncalibrated(args.config.as_deref(), None);
    Ok(config.map_err(Failure::config)?.depth_unit_m)
}

fn from_depth(
    args: &PlaneArgs,
    info: &CameraInfo,
    depth: &DepthImage,
) -> Result<(Plane, String), Failure> {
    check_size("the depth image", (depth.width_px(), depth.height_px()), info)?;
    let fit = fit_plane(depth, info, args.region, CLEARED_SHARE_MIN).map_err(Failure::config)?;
    let how = format!(
        "{:.0} % of {} depth pixels lie on one plane, within {:.2} mm rms",
        100.0 * fit.inlier_share,
        fit.pixels,
        fit.rms_mm
    );
    if let Some(doubt) = doubt_plane(&fit.plane, args.depth_unit_m.is_some()) {
        tracing::warn!("depth is doubtful: {doubt} see --depth-unit-m and [depth] unit_m");
    }
    Ok((fit.plane, how))
}

fn from_board(
    args: &PlaneArgs,
    info: &CameraInfo,
    picture: &BgrImage,
) -> Result<(Plane, String), Failure> {
    let board = args.board.board_to_scale()?;
    check_size("the picture", (picture.width_px(), picture.height_px()), info)?;
    let view = view_of(picture, &board).map_err(Failure::config)?;
    let pose = board_pose(&view.points, info).map_err(Failure::config)?;
    let normal = pose.camera_from_board.rotation * Vector3::z_axis();
    let place = pose.camera_from_board.translation.vector;
    let normal = if normal.dot(&place) > 0.0 { -normal } else { normal };
    let plane = Plane { normal, offset_m: normal.dot(&place) };
    let how = format!(
        "the plane of the board, from {} corners, {:.3} px rms; the board's thickness is not \
         subtracted",
        view.points.len(),
        pose.rms_px
    );
    Ok((plane, how))
}

fn base_from_camera(
    args: &PlaneArgs,
    info: &CameraInfo,
) -> Result<Option<Isometry3<f64>>, Failure> {
    let Some(path) = &args.hand_eye else { return Ok(None) };
    let file = HandEyeFile::read(path).map_err(Failure::config)?;
    check_same_lens(path, &file, &camera_info_id(info))?;
    match file.place(path).map_err(Failure::config)? {
        CameraPlace::InBase(base_from_camera) => Ok(Some(base_from_camera)),
        CameraPlace::InGripper(_) => Err(Failure::Config(anyhow!(
            "{}: with the camera on the arm a plane has no fixed place in base; leave --hand-eye out, \
             and the plane holds while the arm looks from this place",
            path.display()
        ))),
    }
}

/// The plane's height in base, in metres, at its point straight under the camera, and how far it
/// leans from level, in degrees.
fn in_base(plane: &Plane, base_from_camera: &Isometry3<f64>) -> (f64, f64) {
    let normal = Unit::new_normalize(base_from_camera * plane.normal.into_inner());
    let point = base_from_camera * Point3::from(plane.normal.into_inner() * plane.offset_m);
    let camera = base_from_camera.translation.vector;
    let z_m =
        point.z - (normal.x * (camera.x - point.x) + normal.y * (camera.y - point.y)) / normal.z;
    (z_m, normal.angle(&Vector3::z_axis()).to_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_daemon::config::plane_in_camera;

    #[test]
    fn the_height_of_a_plane_is_its_z_in_base_and_not_its_distance_from_the_camera() {
        let base_from_camera =
            Isometry3::new(Vector3::new(0.6, 0.1, 1.5), Vector3::new(3.0, 0.1, -0.2));
        let plane = plane_in_camera(0.39, &base_from_camera);
        let (z_m, lean_deg) = in_base(&plane, &base_from_camera);
        assert!((z_m - 0.39).abs() < 1e-9 && lean_deg < 1e-6, "{z_m} m, {lean_deg} degrees");
    }
}
