//! Pictures from the cell's own camera.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use magpie_camera::CameraConfig;
use magpie_perception::{BgrImage, CameraInfo, Counters, Frame};

use super::same_lens::check_size;
use magpie_daemon::config::{Config, Source};
use magpie_daemon::failure::{Failure, source_ended};
use magpie_daemon::source::{self, OpenSource, SourceWatch};
use magpie_network::SystemClock;
use magpie_perception::SharedClock;

/// The watch of a camera decides when it is lost; this is for its telling.
const GRACE: Duration = Duration::from_secs(1);

/// A source of frames for somebody who stands before it.
pub(super) struct LiveCamera {
    source: OpenSource,
    pub(super) clock: SharedClock,
    /// The device's name, where it has a lasting one.
    pub(super) device_name: Option<String>,
}

impl LiveCamera {
    /// The camera that `config` names; with depth where its `lens` is known.
    pub(super) fn open(config: Option<&Path>, lens: Option<&Path>) -> Result<LiveCamera, Failure> {
        let config = Config::load_uncalibrated(config, lens).map_err(Failure::config)?;
        let clock = SystemClock::start();
        let source = source::open(&config, &clock, &Arc::new(Counters::default()))?;
        if let (Source::Camera(CameraConfig::Live(live)), SourceWatch::Camera { color, .. }) =
            (&config.source, &source.watch)
        {
            color.wait_while_opening(live.limits.open_time_max + GRACE);
        }
        if let Some(reason) = source.watch.lost() {
            return Err(Failure::Fault(anyhow!(
                "the camera gives no frames: {reason}; check its cable and [source]"
            )));
        }
        Ok(LiveCamera { source, clock, device_name: config.device_name() })
    }

    /// The next frame; an error at the end of a recording or a folder.
    pub(super) fn frame(&mut self) -> Result<Frame, Failure> {
        Ok(self.next()?.ok_or_else(|| {
            anyhow!(
                "read a frame: the source ended before its first one; name a source with frames"
            )
        })?)
    }

    /// The next frame; `None` at the end of a recording or a folder.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Failure> {
        self.source.frames.next_frame().map_err(source_ended)
    }
}

impl Drop for LiveCamera {
    fn drop(&mut self) {
        self.source.watch.stop();
    }
}

/// One picture: a file, or the cell's camera.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PictureArgs {
    #[command(flatten)]
    from: PictureFrom,
    /// Configuration with the camera, for --live.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct PictureFrom {
    /// A picture: JPEG, PNG, BMP, TIFF or PGM.
    #[arg(long)]
    image: Option<PathBuf>,
    /// A picture from the camera that --config names.
    #[arg(long, requires = "config")]
    live: bool,
}

impl PictureArgs {
    /// Refuses a picture of another size than the calibration's.
    pub(super) fn take(&self, info: &CameraInfo) -> Result<BgrImage, Failure> {
        let picture = match &self.from.image {
            Some(path) => magpie_camera::read_sensor_image(path).map_err(Failure::config)?,
            None => LiveCamera::open(self.config.as_deref(), None)?.frame()?.color,
        };
        check_size("the picture", (picture.width_px(), picture.height_px()), info)?;
        Ok(picture)
    }
}
