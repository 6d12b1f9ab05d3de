//! Messages of ours in recordings: the wire's own, under topics of their own.

use magpie_recording::{ForeignMessage, StoredFile};
use magpie_wire as wire;

pub const PACKAGES_TOPIC: &str = "/magpie/packages";
pub const STATUS_TOPIC: &str = "/magpie/status";
const CONFIG_ATTACHMENT: &str = "magpie.toml";

/// `data` is an encoded [`wire::Packages`].
pub fn packages(data: &[u8]) -> ForeignMessage<'_> {
    message(PACKAGES_TOPIC, "magpie.v1.Packages", data)
}

/// `data` is an encoded [`wire::Status`].
pub fn status(data: &[u8]) -> ForeignMessage<'_> {
    message(STATUS_TOPIC, "magpie.v1.Status", data)
}

fn message<'a>(topic: &'a str, schema_name: &'a str, data: &'a [u8]) -> ForeignMessage<'a> {
    ForeignMessage { topic, schema_name, file_descriptor_set: wire::FILE_DESCRIPTOR_SET, data }
}

/// The configuration as the operator wrote it, if there was one.
pub fn config_file(written: &str) -> Option<StoredFile> {
    (!written.is_empty()).then(|| StoredFile {
        name: CONFIG_ATTACHMENT.to_owned(),
        media_type: "application/toml".to_owned(),
        data: written.as_bytes().to_vec(),
    })
}
