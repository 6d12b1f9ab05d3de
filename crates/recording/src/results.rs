//! Results, status and outcomes of picks, as the same messages of `magpie.v1` that go over the wire.

use std::path::Path;

use magpie_wire::{Packages, PickOutcome, Status};

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
pub(crate) const OUTCOMES_CHANNEL: WireChannel =
    WireChannel { topic: "/magpie/outcomes", schema_name: "magpie.v1.PickOutcome" };

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

impl MessageReader<PickOutcome> {
    /// Reads what was reported of picks, in the order in which it came: the last report about a pick
    /// counts. A pick and the result that it was made by have `instance_id` and `publication` in common.
    pub fn outcomes(path: &Path) -> Result<MessageReader<PickOutcome>, RecordingError> {
        MessageReader::open(path, OUTCOMES_CHANNEL.topic)
    }
}
