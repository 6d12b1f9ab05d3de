//! Messages of ours in recordings: the wire's own, under topics of their own.

use magpie_recording::{ForeignMessage, FrameWriter, RecordingError};
use magpie_transport::wire;

pub(crate) const PACKAGES_TOPIC: &str = "/magpie/packages";
pub(crate) const CONFIG_ATTACHMENT: &str = "magpie.toml";

/// `data` is an encoded [`wire::Packages`].
pub(crate) fn packages(data: &[u8]) -> ForeignMessage<'_> {
    message(PACKAGES_TOPIC, "magpie.v1.Packages", data)
}

fn message<'a>(topic: &'a str, schema_name: &'a str, data: &'a [u8]) -> ForeignMessage<'a> {
    ForeignMessage { topic, schema_name, file_descriptor_set: wire::FILE_DESCRIPTOR_SET, data }
}

/// The configuration as the operator wrote it, if there was one.
pub(crate) fn attach_config(writer: &mut FrameWriter, text: &str) -> Result<(), RecordingError> {
    if text.is_empty() {
        return Ok(());
    }
    writer.attach(CONFIG_ATTACHMENT, "application/toml", text.as_bytes())
}
