//! `[source]`: where frames come from.

use std::path::PathBuf;

use magpie_camera::{
    CameraConfig, FileSource, FilesConfig, GStreamerConfig, ImageFolderConfig, LiveConfig,
    LiveLimits, LiveSource, RtspConfig, V4l2Config,
};
use magpie_recording::ReadOptions;
use serde::Deserialize;

use super::checker::{Checker, ConfigError};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SourceFile {
    demo: Option<DemoFile>,
    v4l2: Option<V4l2File>,
    gstreamer: Option<GstreamerFile>,
    rtsp: Option<RtspFile>,
    video_file: Option<PlayedFile>,
    image_folder: Option<ImageFolderFile>,
    recording: Option<RecordingFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoFile {}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V4l2File {
    device: PathBuf,
    width_px: Option<u32>,
    height_px: Option<u32>,
    fps: Option<f64>,
    fourcc: Option<String>,
}

impl V4l2File {
    /// `fourcc` is what the device is asked for where the file does not say.
    pub(super) fn source(self, fourcc: Option<&str>) -> V4l2Config {
        V4l2Config {
            device: self.device,
            width_px: self.width_px,
            height_px: self.height_px,
            fps: self.fps,
            fourcc: self.fourcc.or_else(|| fourcc.map(str::to_owned)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GstreamerFile {
    pipeline: String,
}

impl GstreamerFile {
    pub(super) fn source(self) -> GStreamerConfig {
        GStreamerConfig { pipeline: self.pipeline }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RtspFile {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlayedFile {
    path: PathBuf,
    #[serde(default)]
    r#loop: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordingFile {
    path: PathBuf,
    #[serde(default)]
    r#loop: bool,
    color_topic: Option<String>,
    depth_topic: Option<String>,
    base_frame: Option<String>,
    depth_unit_m: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageFolderFile {
    path: PathBuf,
    depth_path: Option<PathBuf>,
    frame_interval_ms: Option<u64>,
    #[serde(default)]
    r#loop: bool,
}

#[derive(Clone, Debug)]
pub enum Source {
    Demo,
    Camera(CameraConfig),
    Recording { path: PathBuf, looped: bool, read: ReadOptions },
}

/// `limits`: of a live camera. `depth_unit_m`: of depth images in files.
pub(super) fn check(
    checker: &Checker<'_>,
    file: SourceFile,
    limits: LiveLimits,
    depth_unit_m: f64,
) -> Result<Source, ConfigError> {
    let live = |source| Source::Camera(CameraConfig::Live(LiveConfig { source, limits }));
    let files = |source, looped| {
        Source::Camera(CameraConfig::Files(FilesConfig { source, looped, paced: true }))
    };
    let mut sources = Vec::new();
    sources.extend(file.demo.map(|_| Source::Demo));
    sources.extend(file.v4l2.map(|v4l2| live(LiveSource::V4l2(v4l2.source(None)))));
    sources.extend(file.gstreamer.map(|stream| live(LiveSource::GStreamer(stream.source()))));
    sources.extend(file.rtsp.map(|rtsp| live(LiveSource::Rtsp(RtspConfig { url: rtsp.url }))));
    sources.extend(file.video_file.map(|video| {
        files(FileSource::VideoFile { path: checker.resolve(&video.path) }, video.r#loop)
    }));
    if let Some(folder) = file.image_folder {
        let interval_ms = folder.frame_interval_ms.unwrap_or(100);
        let source = FileSource::ImageFolder(ImageFolderConfig {
            path: checker.resolve(&folder.path),
            depth_path: folder.depth_path.map(|path| checker.resolve(&path)),
            depth_unit_m,
            frame_interval: checker.time("source.image_folder.frame_interval_ms", interval_ms)?,
        });
        sources.push(files(source, folder.r#loop));
    }
    if let Some(recording) = file.recording {
        sources.push(self::recording(checker, recording)?);
    }
    match <[Source; 1]>::try_from(sources) {
        Ok([source]) => Ok(source),
        Err(sources) => {
            Err(ConfigError::Sources { path: checker.path.to_owned(), found: sources.len() })
        }
    }
}

fn recording(checker: &Checker<'_>, file: RecordingFile) -> Result<Source, ConfigError> {
    if let Some(unit_m) = file.depth_unit_m {
        checker.depth_unit("source.recording.depth_unit_m", unit_m)?;
    }
    Ok(Source::Recording {
        path: checker.resolve(&file.path),
        looped: file.r#loop,
        read: ReadOptions {
            color_topic: file.color_topic,
            depth_topic: file.depth_topic,
            base_frame_id: file.base_frame,
            depth_unit_m: file.depth_unit_m,
        },
    })
}
