//! Opens whatever the configuration names as a source of frames.

use std::path::Path;
use std::sync::Arc;

use magpie_camera::{CameraHandle, CameraState, DepthHandle, DepthTrouble, SlowCamera, pair_depth};
use magpie_perception::{Counters, FrameSource, Scene, SharedClock, Tool};
use magpie_recording::{FrameReader, Pace, Playback, ReadOptions, RecordingError, StopHandle};
use magpie_wire::Reason;

use crate::config::{Config, Source};
use crate::failure::Failure;

/// A simulated cell, made by `magpie simulate`; see `crates/daemon/assets/README.md`.
pub static DEMO_RECORDING: &[u8] = include_bytes!("../assets/demo.mcap");

/// An open source with what belongs to it.
pub struct OpenSource {
    pub frames: Box<dyn FrameSource + Send>,
    pub watch: SourceWatch,
    pub scene: Option<Scene>,
}

/// Watches and stops a source from any thread.
#[derive(Clone)]
pub enum SourceWatch {
    Camera { color: CameraHandle, depth: Option<DepthHandle> },
    Recording { name: String, stop: StopHandle },
}

impl SourceWatch {
    /// Ends the stream.
    pub fn stop(&self) {
        match self {
            SourceWatch::Camera { color, depth } => {
                color.stop();
                depth.iter().for_each(DepthHandle::stop);
            }
            SourceWatch::Recording { stop, .. } => stop.stop(),
        }
    }

    /// Says in words what the source is doing.
    pub fn describe(&self) -> String {
        match self {
            SourceWatch::Recording { name, .. } => format!("playing {name}"),
            SourceWatch::Camera { color, .. } => match color.state() {
                CameraState::Opening => "opening".to_owned(),
                CameraState::Streaming { fps, width_px, height_px } => {
                    let pixels = color.pixel_format().map(|pixels| format!(" of {pixels}"));
                    let pixels = pixels.unwrap_or_default();
                    // One frame tells no rate.
                    let rate = if fps > 0.0 { format!(" at {fps:.1} fps") } else { String::new() };
                    format!("streaming {width_px}x{height_px} px{pixels}{rate}")
                }
                CameraState::Lost { reason, reopen_attempts, .. } => {
                    format!("lost: {reason}; {reopen_attempts} attempts to reopen it")
                }
                CameraState::Ended { reason } => format!("ended: {reason}"),
            },
        }
    }

    /// Why the source gives no frames although it should; `None` while it does.
    pub fn lost(&self) -> Option<String> {
        match self {
            SourceWatch::Camera { color, .. } => match color.state() {
                CameraState::Lost { reason, .. } => Some(reason),
                _ => None,
            },
            SourceWatch::Recording { .. } => None,
        }
    }

    /// Why the newest frame that was left out could not be used.
    pub fn last_corrupt(&self) -> Option<String> {
        match self {
            SourceWatch::Camera { color, .. } => color.last_corrupt(),
            SourceWatch::Recording { .. } => None,
        }
    }

    /// The reason, if the camera gives fewer frames than it announces.
    pub fn slow(&self) -> Option<Reason> {
        let SourceWatch::Camera { color, .. } = self else { return None };
        let SlowCamera { fps, announced_fps } = color.slow()?;
        Some(Reason::CameraSlow { fps, announced_fps })
    }

    /// Why frames come without the depth that the configuration names, if they do.
    pub fn depth_reason(&self) -> Option<Reason> {
        let SourceWatch::Camera { depth: Some(depth), .. } = self else { return None };
        let trouble = depth.trouble()?;
        let why = trouble.to_string();
        Some(match trouble {
            DepthTrouble::Lost { .. } | DepthTrouble::Ended { .. } => Reason::DepthLost { why },
            _ => Reason::DepthUnusable { why },
        })
    }

    /// Grows with each frame of a camera, and with each round of reopening one that is lost.
    pub fn progress(&self) -> u64 {
        match self {
            SourceWatch::Camera { color, .. } => color.progress(),
            SourceWatch::Recording { .. } => 0,
        }
    }
}

/// Opens the source as a run would.
pub fn open(
    config: &Config,
    clock: &SharedClock,
    counters: &Arc<Counters>,
) -> Result<OpenSource, Failure> {
    match &config.source {
        Source::Demo => {
            let playback = as_a_camera(clock, true);
            let name = "the demo recording";
            let reader = FrameReader::from_bytes(name, DEMO_RECORDING, playback);
            Ok(recording(reader.map_err(Failure::config)?, name.to_owned()))
        }
        Source::Recording { path, looped, read } => {
            let playback = as_a_camera(clock, *looped);
            let reader = open_recording(path, playback, read, &config.tool);
            Ok(recording(reader.map_err(Failure::config)?, path.display().to_string()))
        }
        Source::Camera(camera) => {
            let camera = magpie_camera::open(camera, Arc::clone(clock), Arc::clone(counters))
                .map_err(Failure::config)?;
            let (frames, depth) = match config.depth.clone() {
                None => (camera.source, None),
                Some(depth) => {
                    let paired = pair_depth(camera.source, depth, Arc::clone(clock));
                    let paired = paired.map_err(Failure::config)?;
                    (paired.source, Some(paired.handle))
                }
            };
            Ok(OpenSource {
                frames,
                watch: SourceWatch::Camera { color: camera.handle, depth },
                scene: config.scene.clone(),
            })
        }
    }
}

/// Opens a recording, and tells what was chosen where others made it.
pub fn open_recording(
    path: &Path,
    playback: Playback,
    read: &ReadOptions,
    tool: &Tool,
) -> Result<FrameReader, RecordingError> {
    let mut reader = FrameReader::open_with(path, playback, read)?;
    reader.use_tool(tool);
    if let Some(chosen) = reader.chosen() {
        tracing::info!("{}: {chosen}", path.display());
    }
    if let Some(doubt) = reader.doubt() {
        tracing::warn!("{}: {doubt}", path.display());
    }
    Ok(reader)
}

/// Plays at the recorded pace and stamps frames anew, as the camera itself would.
fn as_a_camera(clock: &SharedClock, looped: bool) -> Playback {
    Playback { looped, pace: Pace::AsRecorded { clock: Arc::clone(clock), restamp: true } }
}

fn recording(reader: FrameReader, name: String) -> OpenSource {
    OpenSource {
        scene: reader.scene().cloned(),
        watch: SourceWatch::Recording { name, stop: reader.stop_handle() },
        frames: Box::new(reader),
    }
}
