//! The newest results of a cell, until the picture of one of them comes.

use std::collections::VecDeque;

use magpie_wire as wire;

/// Pictures come a few results later; some never do.
const KEPT_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct RecentResults {
    kept: VecDeque<wire::Packages>,
}

impl RecentResults {
    pub(crate) fn keep(&mut self, message: wire::Packages) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(message);
    }

    /// The result of the frame that a picture shows.
    pub(crate) fn of(&self, picture: &wire::ImageHeader) -> Option<&wire::Packages> {
        self.kept.iter().find(|message| {
            message.sequence == picture.sequence && message.instance_id == picture.instance_id
        })
    }
}
