//! Results and status, as the same messages of `magpie.v1` that go over the wire.

use std::path::Path;

use magpie_wire::{Packages, Status};

use crate::{MessageReader, RecordingError};

/// Where a recording holds messages of one type.
pub(crate) struct WireChannel {
    pub(crate) topic: &'static str,
    /// Fully qualified.
    pub(crate) schema_name: &'static str,
}

pub(crate) const PACKAGES_CHANNEL: WireChannel =
    WireChannel { topic: "/magpie/packages", schema_name: "magpie.v1.Packages" };
pub(crate) const STATUS_CHANNEL: WireChannel =
    WireChannel { topic: "/magpie/status", schema_name: "magpie.v1.Status" };

impl MessageReader<Packages> {
    /// Reads the results of a recording: one for each processed frame.
    pub fn packages(path: &Path) -> Result<MessageReader<Packages>, RecordingError> {
        MessageReader::open(path, PACKAGES_CHANNEL.topic)
    }
}

impl MessageReader<Status> {
    /// Reads what the daemon said about itself: once a second, and at every change.
    pub fn statuses(path: &Path) -> Result<MessageReader<Status>, RecordingError> {
        MessageReader::open(path, STATUS_CHANNEL.topic)
    }
}
