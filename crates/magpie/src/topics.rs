//! How a recording of others is read, by options.

use std::path::Path;

use magpie_daemon::source::open_recording;
use magpie_perception::Tool;
use magpie_recording::{FrameReader, Playback, ReadOptions, RecordingError};

use crate::arguments;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct TopicArgs {
    /// Of a ROS 2 bag or a file of Foxglove's: where its colour pictures are; absent: guessed, and
    /// told.
    #[arg(long, value_name = "TOPIC")]
    color_topic: Option<String>,
    /// Where its depth is, aligned with colour; absent: guessed, and told.
    #[arg(long, value_name = "TOPIC")]
    depth_topic: Option<String>,
    /// The frame of its transforms that is the robot's base: poses are given in it. Absent: guessed
    /// by its name, and told.
    #[arg(long, value_name = "FRAME")]
    base_frame: Option<String>,
    /// What 1 stands for in its depth images, in metres: 0.0002 in TUM's data sets. Absent: a
    /// millimetre in images of 16 bits, a metre in floating point, as ROS has it.
    #[arg(long, value_parser = arguments::depth_unit, value_name = "METRES")]
    depth_unit_m: Option<f64>,
}

impl TopicArgs {
    pub fn open(
        &self,
        path: &Path,
        playback: Playback,
        tool: &Tool,
    ) -> Result<FrameReader, RecordingError> {
        let read = ReadOptions {
            color_topic: self.color_topic.clone(),
            depth_topic: self.depth_topic.clone(),
            base_frame_id: self.base_frame.clone(),
            depth_unit_m: self.depth_unit_m,
        };
        open_recording(path, playback, &read, tool)
    }
}

/// Whether a path is a recording: an MCAP file, a ROS 2 bag, or the folder of one.
pub fn is_recording(path: &Path) -> bool {
    // The last two are not read, and reading them says what to do.
    path.extension().is_some_and(|end| ["mcap", "db3", "zstd", "bag"].iter().any(|one| end == *one))
        || path.join("metadata.yaml").is_file()
}
