//! Which topics a recording of others is read from, and that this is told.

use std::path::Path;

use magpie_perception::Tool;
use magpie_recording::{FrameReader, Playback, RecordingError, Topics};

#[derive(Clone, Debug, Default, clap::Args)]
pub struct TopicArgs {
    /// Of a ROS 2 bag or a file of Foxglove's: where its colour pictures are; absent: guessed, and
    /// told.
    #[arg(long, value_name = "TOPIC")]
    color_topic: Option<String>,
    /// Where its depth is, aligned with colour; absent: guessed, and told.
    #[arg(long, value_name = "TOPIC")]
    depth_topic: Option<String>,
}

impl TopicArgs {
    pub fn open(
        &self,
        path: &Path,
        playback: Playback,
        tool: &Tool,
    ) -> Result<FrameReader, RecordingError> {
        let topics = Topics { color: self.color_topic.clone(), depth: self.depth_topic.clone() };
        let mut reader = FrameReader::open_topics(path, playback, &topics)?;
        reader.use_tool(tool);
        if let Some(chosen) = reader.chosen() {
            tracing::info!("{}: {chosen}", path.display());
        }
        Ok(reader)
    }
}

/// Whether a path is a recording: an MCAP file, a ROS 2 bag, or the folder of one.
pub fn is_recording(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "mcap" || end == "db3")
        || path.join("metadata.yaml").is_file()
}
