//! One opening of a camera, and how it ended.

use magpie_perception::StampNs;

use crate::errors::LiveFault;

/// After this many frames of one new size in a row it is the camera that changed.
const RESIZED_FRAMES_MAX: u32 = 5;

/// One opening of the camera and what came of it so far.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Changes when the attempt is abandoned, so that whatever its thread still says is ignored.
    pub(crate) number: u64,
    pub(crate) began: StampNs,
    /// The stamp of the newest frame.
    pub(crate) newest: Option<StampNs>,
    pub(crate) end: Option<End>,
    pub(crate) last_corrupt: Option<String>,
    /// The size of the newest frames when it is not the expected one, and how many had it.
    resized: Option<((u32, u32), u32)>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Stopped,
    /// Another attempt may succeed.
    Lost(String),
    Fault(LiveFault),
}

impl Attempt {
    pub(crate) fn new(number: u64, began: StampNs) -> Attempt {
        Attempt { number, began, ..Attempt::default() }
    }

    /// A single frame of another size is corrupt; several in a row are a fault.
    pub(crate) fn check_size(
        &mut self,
        found: (u32, u32),
        expected: (u32, u32),
    ) -> Result<(), String> {
        if found == expected {
            self.resized = None;
            return Ok(());
        }
        let count = match self.resized {
            Some((size, count)) if size == found => count + 1,
            _ => 1,
        };
        self.resized = Some((found, count));
        let (width_px, height_px) = expected;
        let (new_width_px, new_height_px) = found;
        let resized = LiveFault::Resized { width_px, height_px, new_width_px, new_height_px };
        let reason = resized.to_string();
        if count >= RESIZED_FRAMES_MAX {
            self.end = Some(End::Fault(resized));
        }
        Err(reason)
    }
}
