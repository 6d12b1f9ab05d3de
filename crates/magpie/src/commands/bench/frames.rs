//! The frames of a bench, all in memory before the first one is measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb};
use magpie_camera::is_picture_name;
use magpie_perception::{
    BgrImage, CameraInfo, DepthImage, Frame, FrameSource, Intrinsics, Scene, StampNs,
};
use magpie_recording::{FrameReader, Pace, Playback};

use crate::pictures::{read_frame, read_sensor_frame};
use crate::topics::{TopicArgs, is_recording};
use magpie_daemon::config::Config;
use magpie_daemon::failure::Failure;
use magpie_daemon::source::DEMO_RECORDING;

/// More frames would only fill memory.
const FRAMES_MAX: usize = 64;

#[derive(Clone)]
pub struct BenchFrames {
    /// Names the recording, folder or cell that the pictures come from.
    pub name: String,
    /// The true number; `None` where it is not known.
    pub packages_visible: Option<usize>,
    pub frames: Vec<Frame>,
    pub scene: Option<Scene>,
}

impl BenchFrames {
    /// A recording with its own calibration, or pictures with the configuration's, if that fits.
    pub fn load(
        path: Option<&Path>,
        topics: &TopicArgs,
        config: &Config,
    ) -> Result<BenchFrames, Failure> {
        let playback = Playback { looped: false, pace: Pace::AsAsked };
        let loaded = match path {
            None => {
                let reader =
                    FrameReader::from_bytes("the demo recording", DEMO_RECORDING, playback);
                from_recording("the demo recording".into(), reader.map_err(Failure::config)?)
            }
            Some(path) if path.is_dir() && !is_recording(path) => from_folder(path, config),
            Some(path) => {
                let reader = topics.open(path, playback, &config.tool).map_err(Failure::config)?;
                from_recording(path.display().to_string(), reader)
            }
        }?;
        if loaded.frames.is_empty() {
            return Err(Failure::fault(anyhow!(
                "bench {}: it holds no frames; name a folder of pictures, or an MCAP \
                 recording",
                loaded.name
            )));
        }
        Ok(loaded)
    }

    /// Why no grasp is planned in these frames.
    pub(super) fn why_no_grasps(&self) -> Option<&'static str> {
        let Some(scene) = &self.scene else { return Some("the frames have no calibration") };
        let has_surface = scene.support_plane_in_camera.is_some()
            || self.frames.iter().any(|frame| frame.depth.is_some());
        (!has_surface).then_some("the frames have neither depth nor a support plane")
    }

    /// Every frame to this size, the calibration with them.
    pub fn scale(&mut self, (width_px, height_px): (u32, u32)) {
        let color = &self.frames[0].color;
        let size = (color.width_px(), color.height_px());
        if size == (width_px, height_px) {
            return;
        }
        let depth = if self.frames[0].depth.is_some() { ", depth by nearest pixel" } else { "" };
        self.name += &format!(", scaled from {}x{} px{depth}", size.0, size.1);
        if let Some(scene) = &mut self.scene {
            scale_camera_info(&mut scene.camera_info, width_px, height_px);
        }
        for frame in &mut self.frames {
            frame.color = scale_color(&frame.color, width_px, height_px);
            frame.depth = frame.depth.take().map(|depth| scale_depth(&depth, width_px, height_px));
        }
    }
}

/// "1280x720".
pub(super) fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parsed {
        Some((w, h)) if (16..=16_384).contains(&w) && (16..=16_384).contains(&h) => Ok((w, h)),
        _ => Err("write it as WIDTHxHEIGHT in pixels, 16 to 16384 each, such as 1280x720".into()),
    }
}

fn from_recording(name: String, mut reader: FrameReader) -> Result<BenchFrames, Failure> {
    let mut frames = Vec::new();
    while frames.len() < FRAMES_MAX
        && let Some(frame) = reader.next_frame().map_err(Failure::fault)?
    {
        frames.push(frame);
    }
    let losses = reader.losses();
    if !losses.is_none() {
        tracing::warn!("{name}: {losses}");
    }
    Ok(BenchFrames { name, packages_visible: None, frames, scene: reader.scene().cloned() })
}

fn from_folder(folder: &Path, config: &Config) -> Result<BenchFrames, Failure> {
    let mut frames: Vec<Frame> = Vec::new();
    for path in pictures(folder)?.into_iter().take(FRAMES_MAX) {
        frames.push(match config.scene {
            Some(_) => read_sensor_frame(&path, None, StampNs::default())?,
            None => read_frame(&path, StampNs::default())?,
        });
    }
    let fits = |info: &CameraInfo| {
        let size = (info.width_px, info.height_px);
        frames.iter().all(|frame| (frame.color.width_px(), frame.color.height_px()) == size)
    };
    let scene = config.scene.clone().filter(|scene| fits(&scene.camera_info));
    let name = folder.display().to_string();
    Ok(BenchFrames { name, packages_visible: None, frames, scene })
}

fn pictures(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("read folder {}", folder.display()))?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| is_picture_name(path)).collect();
    paths.sort();
    Ok(paths)
}

/// Which channel is which does not matter to the filter.
fn scale_color(image: &BgrImage, width_px: u32, height_px: u32) -> BgrImage {
    let (w, h) = (image.width_px(), image.height_px());
    let buffer: ImageBuffer<Rgb<u8>, _> =
        ImageBuffer::from_raw(w, h, image.data().to_vec()).expect("the image fills its size");
    let scaled = resize(&buffer, width_px, height_px, FilterType::Triangle).into_raw();
    BgrImage::new(width_px, height_px, scaled).expect("the filter fills the size")
}

/// Depths are never mixed: half-way between two packages there is nothing.
fn scale_depth(image: &DepthImage, width_px: u32, height_px: u32) -> DepthImage {
    let (w, h) = (image.width_px(), image.height_px());
    let buffer: ImageBuffer<Luma<u16>, _> =
        ImageBuffer::from_raw(w, h, image.data_mm().to_vec()).expect("the image fills its size");
    let scaled = resize(&buffer, width_px, height_px, FilterType::Nearest).into_raw();
    DepthImage::new(width_px, height_px, scaled).expect("the filter fills the size")
}

/// The pixel grid's corner is at -0.5: centres move with the scale.
fn scale_camera_info(info: &mut CameraInfo, width_px: u32, height_px: u32) {
    let x = f64::from(width_px) / f64::from(info.width_px);
    let y = f64::from(height_px) / f64::from(info.height_px);
    let k = &info.intrinsics;
    info.intrinsics = Intrinsics {
        fx_px: x * k.fx_px,
        fy_px: y * k.fy_px,
        cx_px: x * (k.cx_px + 0.5) - 0.5,
        cy_px: y * (k.cy_px + 0.5) - 0.5,
    };
    (info.width_px, info.height_px) = (width_px, height_px);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_constants_and_slopes_and_never_mixes_depths() {
        // Ten a pixel: a pixel half as fine lies between two of the old ones.
        let ramp: Vec<u8> = (0..8 * 4_u8).flat_map(|at| [10 * (at % 8), 7, 200]).collect();
        let half = scale_color(&BgrImage::new(8, 4, ramp).unwrap(), 4, 2);
        for (at, pixel) in half.data().chunks(3).enumerate() {
            assert_eq!(&pixel[1..], [7, 200]);
            let expected = 20 * u8::try_from(at % 4).unwrap() + 5;
            let inside = (1..3).contains(&(at % 4));
            assert!(!inside || pixel[0].abs_diff(expected) <= 1, "{pixel:?} for {expected}");
        }
        let blocks: Vec<u16> = (0..8 * 4_u16).map(|at| 100 * (at % 8 / 2) + at / 16).collect();
        let half = scale_depth(&DepthImage::new(8, 4, blocks).unwrap(), 4, 2);
        assert_eq!(half.data_mm(), [0, 100, 200, 300, 1, 101, 201, 301]);
    }

    /// The picture's edges stay its edges: at -0.5 and at its size less a half.
    #[test]
    fn a_scaled_lens_sees_the_same_rays_at_the_same_shares_of_the_picture() {
        let mut info = CameraInfo {
            camera_name: "test".into(),
            frame_id: "test".into(),
            width_px: 640,
            height_px: 480,
            intrinsics: Intrinsics { fx_px: 600.0, fy_px: 610.0, cx_px: 321.0, cy_px: 236.0 },
            distortion: magpie_perception::Distortion::default(),
        };
        let before = info.ray(639.5, 100.0);
        scale_camera_info(&mut info, 320, 120);
        let after = info.ray(319.5, 24.625);
        assert!((before - after).norm() < 1e-12, "{before} is not {after}");
    }
}
